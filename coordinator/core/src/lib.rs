//! The protocol of Baton without any IO: the vocabulary, the timing, and the two machines that use them, [`guard`] and
//! [`arbiter`]. Production, the scenario tests, the model checker and the simulation run these very structs.
//!
//! The contract with whoever drives a machine:
//! 1. `step(now, input)` takes one input in. `now` is read *after* the input was received, from one clock that never
//!    goes back while the machine lives (CLOCK_BOOTTIME in production). A machine that is late is safe, only slow.
//! 2. After every step, `pop_action` is called until it gives nothing, and the actions are begun in that order. What an
//!    action must wait for is not left to the driver: the machine asks for it only once its condition has come in.
//! 3. Not later than `next_deadline()`, `step` is called again, with `Input::Tick` if there is nothing else.
//! 4. An effect that is answered is answered exactly once, or never where the process dies. A time-out is answered as
//!    unknown; it is never a failure.
//! 5. `Persist` is answered when the bytes are on the disk, not before.
//! 6. Engine commands go over one connection, in order, each sent once. What was asked and not
//!    answered when `EngineDisconnected` comes in is taken for lost; an answer that comes after it is ignored.
//! 7. `EngineEnded` comes in only when no process of the engine is left; `EngineConnected` only for a connection to the
//!    very engine that the deadman holds. A guard's driver holds the instance's file lock, and has made sure that no
//!    older guard's deadman holds a deadline before it says `DeadmanUp`; for a guard that goes on from a hand-over, that it
//!    is the same deadman with the same run and deadline, else it says `DeadmanLost` first.
//! 8. A machine that breaks one of its own assertions stops the process: a stopped arbiter loses its lock, a stopped
//!    guard gets its engine fenced by the deadman, and both are safe.
//!
//! Architecture invariants: no clock, no socket, no task, no log, no unseeded randomness; no serde, no wire types. Guard
//! and arbiter never import each other; they share [`message`] and the vocabulary only.

pub mod arbiter;
pub mod contender;
pub mod decision;
pub mod engine;
#[cfg(test)]
mod fixture;
pub mod guard;
pub mod ids;
pub mod message;
pub mod position;
pub mod record;
pub mod rng;
pub mod rules;
pub mod settings;
pub mod stragglers;
pub mod task;
pub mod time;
pub mod timing;
