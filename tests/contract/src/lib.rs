//! What the contract suite needs of each provider: a fresh one, clients of it over roads that can be broken, and a way to
//! freeze, kill and restart what serves it.

mod ask;
mod etcd;
mod fixtures;
mod frames;
mod peers;
mod ports;
mod process;
mod proxy;
mod raw;
mod route;
mod stateboard;
mod world;

pub use etcd::SecureEtcd;
pub use fixtures::{
    Arbiter, Dice, HISTORY, candidate, change, contents, member, name, record, renewed, set, within,
};
pub use proxy::{Direction, Trap};
pub use raw::{Raw, RawKey};
pub use route::Route;
pub use world::{Kind, LONG, MIDDLE, Plan, SHORT, World};
