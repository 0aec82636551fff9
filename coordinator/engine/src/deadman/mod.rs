//! The deadman: a tiny process beside each engine that kills it when its deadline has passed, whatever has become of
//! the coordinator. It knows one engine, one deadline and one coordinator; not leases, terms or what an engine is.
//!
//! Rules:
//! 1. **Armed means that the engine may be writable.** The coordinator arms before it makes the engine writable, and
//!    disarms after it knows that it is not. When the deadline passes, all of the engine is killed, at once and without
//!    asking anybody.
//! 2. A lost connection changes nothing: the deadline stays, the engine stays. The next coordinator finds both in the
//!    status. A newer connection supersedes an older one.
//! 3. The engine is *all its processes*. It has ended when none is left; where its main process ends and leaves others,
//!    these are killed. Strongest in a cgroup (v2) of its own; without one, the deadman is the subreaper of its
//!    descendants and waits until it has none.
//! 4. The death of the deadman kills the engine's main process (`PR_SET_PDEATHSIG`, set by [`exec`] before the engine
//!    is executed). What that leaves behind is killed by the next deadman before it takes a request.
//! 5. Nothing that the loop does while it is armed waits for a disk: memory is locked, the group's kill file is open,
//!    the log is written by a thread of its own.
//!
//! Under systemd the coordinator's unit needs `Delegate=yes` (else there is no cgroup) and `KillMode=process` (else a
//! restart of the coordinator kills deadman and engine).

mod cgroup;
mod client;
mod connection;
pub mod exec;
mod held;
mod leftovers;
mod log;
pub mod protocol;
mod server;
mod startup;
pub mod trial;

pub use client::{Attached, Client, ClientError, Notice, Spawn};
pub use server::main;

use std::path::{Path, PathBuf};

/// Where the deadman of an instance listens.
#[must_use]
pub fn socket_path(dir: &Path) -> PathBuf {
    dir.join("deadman.sock")
}

/// CLOCK_BOOTTIME in microseconds: the clock of all deadlines, the same for all processes of a host, counting suspension.
#[must_use]
pub fn boottime_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
    u64::try_from(micros).unwrap_or(0)
}
