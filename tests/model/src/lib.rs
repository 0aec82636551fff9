//! The model: the very guard and arbiter of production under a model checker, in small worlds with clocks that drift, and
//! everything that goes wrong in them bounded by number only. It checks I1 to I6.
//!
//! Start at `world.rs` (what there is) and `worlds` (which there are), then `moves.rs` and `faults.rs` (what can happen),
//! `carry.rs` and `strike.rs` (what it does), `property.rs` (what must hold) and `search.rs`.

pub mod carry;
pub mod engine;
pub mod faults;
pub mod host;
pub mod model;
pub mod moves;
pub mod property;
pub mod provider;
pub mod report;
pub mod search;
pub mod shared;
pub mod state;
pub mod story;
pub mod strike;
pub mod watch;
pub mod world;
pub mod worlds;
