//! Whether an engine's data volume still finishes a write: a tiny file, written and synced. A disk that hangs holds
//! whoever waits for it, so a thread does that, and there is never more than one. What a stall means is the guard's.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The file, in the engine's data directory. It stays, so that a check writes no metadata of the directory.
const FILE: &str = ".baton-disk-probe";
/// With less than that an engine's data cannot grow, however well it answers otherwise.
const FREE_MIN: u64 = 1 << 20;
/// The thread does nothing but a few system calls.
const STACK_BYTES: usize = 128 * 1024;

/// How a check of the disk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskCheck {
    /// Synced, in this time.
    Done(Duration),
    /// The disk answered with an error (full, read-only).
    Failed(String),
    /// No answer in time, or the last check still waits for its own.
    Stalled,
}

/// Checks one directory.
#[derive(Debug)]
pub struct DiskProbe {
    file: PathBuf,
    outstanding: Arc<AtomicBool>,
}

impl DiskProbe {
    /// For a directory that the guard may write to.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { file: data_dir.join(FILE), outstanding: Arc::default() }
    }

    /// Writes and syncs; answers within `timeout`.
    pub async fn check(&self, timeout: Duration) -> DiskCheck {
        if self.outstanding.swap(true, Ordering::SeqCst) {
            return DiskCheck::Stalled;
        }
        let (done_in, done) = oneshot::channel();
        let (file, outstanding) = (self.file.clone(), Arc::clone(&self.outstanding));
        let thread = std::thread::Builder::new().name("disk-probe".into()).stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            let result = write_and_sync(&file);
            outstanding.store(false, Ordering::SeqCst);
            // Whoever asked may have given up.
            let _ = done_in.send(result);
        });
        if let Err(error) = started {
            self.outstanding.store(false, Ordering::SeqCst);
            return DiskCheck::Failed(format!("no thread for the check: {error}"));
        }
        match tokio::time::timeout(timeout, done).await {
            Ok(Ok(Ok(took))) => DiskCheck::Done(took),
            Ok(Ok(Err(error))) => DiskCheck::Failed(error.to_string()),
            Ok(Err(_)) => DiskCheck::Failed("the check ended without a result".into()),
            Err(_) => DiskCheck::Stalled,
        }
    }
}

fn write_and_sync(file: &Path) -> io::Result<Duration> {
    let start = Instant::now();
    let mut out = OpenOptions::new().create(true).truncate(false).write(true).open(file)?;
    out.write_all(b"baton\n")?;
    out.sync_data()?;
    // The file has its block, and so has what else is written over and over. Blocks that only root may use are not the engine's.
    let disk = rustix::fs::fstatvfs(&out)?;
    enough(disk.f_bavail.saturating_mul(disk.f_frsize))?;
    Ok(start.elapsed())
}

fn enough(free: u64) -> io::Result<()> {
    if free >= FREE_MIN {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::StorageFull, format!("only {free} bytes are free")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_good_disk_and_a_missing_one_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(matches!(DiskProbe::new(dir.path()).check(PATIENCE).await, DiskCheck::Done(_)));
        let missing = DiskProbe::new(&dir.path().join("none")).check(PATIENCE).await;
        assert!(matches!(missing, DiskCheck::Failed(_)), "{missing:?}");
    }

    #[test]
    fn a_disk_without_room_is_full() {
        assert!(enough(FREE_MIN).is_ok());
        let error = enough(FREE_MIN - 1).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_a_stall_and_stays_the_only_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join(FILE);
        // Opening a pipe for writing waits for a reader: a disk that hangs, as the thread sees it.
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a pipe");
        let probe = DiskProbe::new(dir.path());
        assert_eq!(probe.check(Duration::from_millis(10)).await, DiskCheck::Stalled);
        assert_eq!(probe.check(PATIENCE).await, DiskCheck::Stalled, "a second one does not even begin");
        let _reader = OpenOptions::new().read(true).write(true).open(&fifo).expect("a reader");
    }
}
