//! Real processes, real faults, and verdicts: the demo and the measurements. It knows Baton's programs, their
//! configuration files and their wire.
//!
//! Architecture invariant: nothing of Baton's inside is linked here, so that a wrong belief inside the code cannot excuse
//! itself: what a client saw is judged by [`checker`] and [`verdict`] from the client's own history alone.

pub mod bench;
pub mod check;
pub mod checker;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod evidence;
pub mod field;
pub mod nemesis;
pub mod procfs;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod told;
pub mod verdict;
pub mod workload;
