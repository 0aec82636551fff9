//! The coordinators' real shells (arbiter, link, directory, operator, contender) and their real gRPC, on turmoil's simulated
//! network: what the simulation of the pure machines leaves out. A seed is a run.
//!
//! Here are real: everything that a coordinator without instances runs, and every host's link with its guards. Acted are
//! engines, disks and deadmen (as in `load`), and the provider is the stateboard's machine in memory, which the network does
//! not reach. Not simulated: the shell of a guard with its files, processes and engine; the stateboard's own port; HTTP;
//! clocks that drift.

mod surroundings;
mod world;

pub use world::{ARBITERS, HOSTS, World};
