//! What the contract suite needs of each provider: a fresh one, clients of it, and a way to kill and restart it.

mod world;

pub use world::{HISTORY, Kind, World, candidate, change, member, name, record, within};
