//! The first model: the very guard and arbiter of production under a model checker, in small worlds with clocks that
//! drift, and everything that goes wrong in them bounded by number only. It checks I1 to I4 and I6.
//!
//! Start at `world.rs` (what there is), then `moves.rs` (what can happen) and `carry.rs` (what it does).

pub mod carry;
pub mod host;
pub mod model;
pub mod moves;
pub mod property;
pub mod provider;
pub mod search;
pub mod state;
pub mod story;
pub mod world;
