//! A whole cluster in one value: real guards, arbiters and the board, on scripted engines, clocks, disks and a scripted
//! network. Stories (`tests/scenario`) tell it what happens; random search draws what happens from a seed.
//!
//! After every moment the oracle looks; nothing here says what is safe.

pub mod fixtures;
pub mod show;
pub mod world;
