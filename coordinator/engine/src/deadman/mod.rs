//! The deadman: a tiny process beside each engine that kills it when its deadline has passed, whatever has become of
//! the coordinator.

mod client;
pub mod protocol;

pub use client::{Attached, Client, ClientError, Notice, Spawn};

use std::path::{Path, PathBuf};

/// Where the deadman of an instance listens.
#[must_use]
pub fn socket_path(dir: &Path) -> PathBuf {
    dir.join("deadman.sock")
}
