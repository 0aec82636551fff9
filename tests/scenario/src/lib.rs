//! Stories about a cluster, told in text and run in the world of `tests/sim`: guards, arbiters and the board, on scripted
//! engines, clocks, disks and a scripted network. After every moment the oracle looks; a story never says what is safe.
//!
//! `tests/stories.rs` runs `stories/*.txt`; with `REWRITE=1` it writes what it sees into them, and whoever commits that
//! reads the difference first. `tests/broken_rules.rs` breaks each rule in turn and shows that the oracle sees it.

pub mod story;
pub use sim::{fixtures, show, world};
