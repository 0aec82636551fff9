//! The engine's output: a thread that copies a pipe into a file and keeps the file small. A thread of its own, since a
//! disk that hangs must stop this and nothing else; the engine then waits for its log, the deadline does not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Size at which the file is moved away where nothing else is asked for, in bytes.
const BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Writers that may still hang in earlier runs' output.
const WRITERS_MAX: usize = 3;
/// The thread needs a buffer and little else; all of it may be locked into memory.
const STACK_BYTES: usize = 128 * 1024;

/// Counts the writers that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Writers(Arc<AtomicUsize>);

impl Writers {
    /// Copies `pipe` into `file` until its other end is closed. At `bytes_max` the file becomes `FILE.1`, and `FILE.1`
    /// becomes `FILE.2`.
    ///
    /// # Errors
    /// Where no thread can be had, or the writers of earlier runs hang.
    pub(super) fn start(&self, pipe: OwnedFd, file: PathBuf, bytes_max: u64) -> io::Result<()> {
        let running = self.0.fetch_add(1, Ordering::SeqCst);
        let count = Running(Arc::clone(&self.0));
        if running >= WRITERS_MAX {
            return Err(io::Error::other("the logs of earlier runs cannot be written: does the disk hang?"));
        }
        let bytes_max = if bytes_max == 0 { BYTES_DEFAULT } else { bytes_max };
        std::thread::Builder::new().name("engine-log".into()).stack_size(STACK_BYTES).spawn(move || {
            copy(&mut File::from(pipe), &mut Rotating { file: None, path: file, size: 0, bytes_max });
            drop(count);
        })?;
        Ok(())
    }
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn copy(pipe: &mut File, log: &mut Rotating) {
    let mut buffer = vec![0_u8; 16 * 1024];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            // Output that cannot be written is dropped: an engine must not stop because its log's disk is full.
            Ok(length) => drop(log.write(buffer.get(..length).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

struct Rotating {
    file: Option<File>,
    path: PathBuf,
    size: u64,
    bytes_max: u64,
}

impl Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size >= self.bytes_max {
            self.file = None;
            rotate(&self.path)?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                self.size = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        self.size += bytes.len() as u64;
        file.write_all(bytes)
    }
}

fn rotate(path: &Path) -> io::Result<()> {
    let older = |number: u8| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    match fs::rename(older(1), older(2)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(path, older(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_older_files_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("engine.log");
        let mut log = Rotating { file: None, path: path.clone(), size: 0, bytes_max: 4 };
        for text in ["aaaa", "bbbb", "cccc", "dddd"] {
            log.write(text.as_bytes()).expect("a write");
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("a log");
        assert_eq!(
            [read("engine.log"), read("engine.log.1"), read("engine.log.2")],
            ["dddd", "cccc", "bbbb"]
        );
        assert!(!dir.path().join("engine.log.3").exists());
    }
}
