//! Where a stage may be: at most two at a time, each in a folder of its own. It knows nothing of what is in it.

use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::fs::statvfs;
use tempfile::TempDir;

/// How many stages there may be at a time.
const STAGES_MAX: usize = 2;
/// How much room a folder in memory must have, in bytes: an append-only file grows for as long as a stage has a writer.
const MEMORY_MIN: u64 = 1 << 30;
static STAGES: Mutex<usize> = Mutex::new(0);
static STAGE_FREE: Condvar = Condvar::new();

/// One of the places; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place;

impl Place {
    pub(super) fn take() -> Self {
        let taken = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = STAGE_FREE
            .wait_while(taken, |taken| *taken >= STAGES_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *STAGES.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        STAGE_FREE.notify_one();
    }
}

/// Stages lie in memory, where there is enough. Leases, promises and the record wait for syncs, and a disk on which
/// somebody compiles may take seconds for one; that would be a story of its own in every test.
pub(super) fn own_folder() -> io::Result<TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix("baton-e2e-");
    let memory = Path::new("/dev/shm");
    let room = statvfs(memory).is_ok_and(|seen| seen.f_bavail * seen.f_frsize >= MEMORY_MIN);
    if room { folder.tempdir_in(memory) } else { folder.tempdir() }
}
