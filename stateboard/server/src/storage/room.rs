//! How much room the disk has. A commit that finds the disk full leaves the open file of no use, so a change is refused
//! before the board hears of it where the room for it is not surely there.

use baton_board::{Input, Request};
use std::path::{Path, PathBuf};

/// Kept free for what cannot be refused: the lock changes hands also when the disk is full.
pub(crate) const RESERVE: u64 = 4 * 1024 * 1024;
/// What one change of a record may take, with its history and the pages that it touches.
const CHANGE: u64 = 64 * 1024;
/// What a member may take.
const MEMBER: u64 = 32 * 1024;
/// What the overrides of one set may take.
const OVERRIDE: u64 = 512;

/// Looks at the room once for each commit.
#[derive(Debug)]
pub(crate) struct Room {
    path: PathBuf,
    /// What was free when this batch first asked, less what its changes may take.
    left: Option<u64>,
    full: bool,
}

impl Room {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), left: None, full: false }
    }

    /// Whether there is room for what `input` changes, beside everything of this batch.
    pub(crate) fn admits(&mut self, input: &Input) -> bool {
        let needed = bytes(input);
        let left = self.left.unwrap_or_else(|| self.free());
        self.left = Some(left.saturating_sub(needed));
        let full = left < RESERVE + needed;
        if full != self.full {
            self.full = full;
            let path = self.path.display();
            if full {
                tracing::error!(%path, free_bytes = left, "the disk is full: changes are refused, reads are served");
            } else {
                tracing::info!(%path, free_bytes = left, "there is room on the disk again: changes are taken");
            }
        }
        !full
    }

    /// The batch is committed: what is left is to be looked at anew.
    pub(crate) fn committed(&mut self) {
        self.left = None;
    }

    /// Bytes that are free. A disk that cannot be asked is taken for one with room: the commit will tell.
    pub(crate) fn free(&self) -> u64 {
        free_bytes(&self.path).unwrap_or(u64::MAX)
    }
}

/// Bytes that are free for the file at `path`.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes that the file takes on the disk.
pub(crate) fn file_bytes(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    /// Of `st_blocks`, whatever the file system's own are.
    const BLOCK: u64 = 512;
    std::fs::metadata(path).ok().map(|found| found.blocks().saturating_mul(BLOCK))
}

fn bytes(input: &Input) -> u64 {
    match input {
        Input::Request { request: Request::Appoint { changes, .. }, .. } => {
            CHANGE.saturating_mul(u64::try_from(changes.len()).unwrap_or(u64::MAX))
        }
        Input::Request { request: Request::PutSettings { settings, .. }, .. } => {
            let overrides = u64::try_from(settings.overrides.len()).unwrap_or(u64::MAX);
            MEMBER.saturating_add(OVERRIDE.saturating_mul(overrides))
        }
        Input::Request { .. } | Input::Campaign { .. } => MEMBER,
        Input::Renew { .. }
        | Input::Resign { .. }
        | Input::Closed { .. }
        | Input::Persisted(_)
        | Input::Tick => 0,
    }
}
