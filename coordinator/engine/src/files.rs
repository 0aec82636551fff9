//! The files of an instance: its directory, the lock that says who guards it, and small files that a crash at any moment
//! leaves whole, old or new. What is in them is their owners' business, but for [`GuardFile`], which is kept here.

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The format of [`GuardFile`] that is written.
pub const GUARD_FORMAT: u32 = 1;
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a file of the state directory cannot be used. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system's.
    #[error("cannot {what} {file}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody else holds the lock.
    #[error("{file} is locked: another coordinator of this host guards this instance")]
    Locked {
        /// The lock.
        file: PathBuf,
    },
    /// It is not what it should be.
    #[error(
        "{file} is damaged: {what}. Move it away to start without it (the guard then waits as after a loss)"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// In which way.
        what: String,
    },
    /// It was written by another version.
    #[error("{file} has format {found}; this version reads format {GUARD_FORMAT}")]
    Format {
        /// The file.
        file: PathBuf,
        /// What it has.
        found: u32,
    },
}

fn system(what: &'static str, file: &Path) -> impl FnOnce(io::Error) -> FileError {
    let file = file.to_owned();
    move |error| FileError::System { what, file, error }
}

/// The directory of one instance, `STATE_DIR/instances/NAME`, locked for as long as this value lives.
#[derive(Debug)]
pub struct InstanceDir {
    path: PathBuf,
    _lock: File,
}

impl InstanceDir {
    /// Makes the directory (readable by its owner only) and takes the lock `lock` in it.
    ///
    /// # Errors
    /// [`FileError::Locked`] where another process has it.
    pub fn lock(state_dir: &Path, instance: &str) -> Result<Self, FileError> {
        let path = state_dir.join("instances").join(instance);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(system("make", &path))?;
        let file = path.join("lock");
        let lock = try_lock(&file)?.ok_or(FileError::Locked { file })?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the guard keeps its state.
    #[must_use]
    pub fn guard_file(&self) -> PathBuf {
        self.path.join("guard.json")
    }

    /// Where a guard leaves its state for the next process of its run.
    #[must_use]
    pub fn hand_over_file(&self) -> PathBuf {
        self.path.join("hand-over")
    }
}

/// Takes an exclusive lock on `file`, which is made; `None` where another process has it. Closing the file gives it
/// back, also when the process is killed.
///
/// # Errors
/// The file system's.
pub(crate) fn try_lock(file: &Path) -> Result<Option<File>, FileError> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(file)
        .map_err(system("open", file))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(system("lock", file)(error.into())),
    }
}

/// Replaces `file` by `bytes`. When this answers, a crash leaves the new content; before, the old or the new one, whole.
///
/// # Errors
/// The file system's. It is not known then which of the two a crash would leave.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let (out, next) = write_next(file, bytes)?;
    // Before the rename: some file systems would else show the new name with nothing in it after a crash.
    out.sync_all().map_err(system("sync", &next))?;
    fs::rename(&next, file).map_err(system("replace", file))?;
    sync_dir(file)
}

/// Replaces `file` by `bytes`, whole, for another process of this boot: a crash of the machine may undo it.
///
/// # Errors
/// The file system's.
pub fn leave(file: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let (_, next) = write_next(file, bytes)?;
    fs::rename(&next, file).map_err(system("replace", file))
}

fn write_next(file: &Path, bytes: &[u8]) -> Result<(File, PathBuf), FileError> {
    let mut next = file.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&next)
        .map_err(system("open", &next))?;
    out.write_all(bytes).map_err(system("write", &next))?;
    Ok((out, next))
}

/// The whole of a small file; `None` where there is none.
///
/// # Errors
/// The file system's, and [`FileError::Damaged`] where it is far too long.
pub fn read(file: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            let what = format!("it has {} bytes", metadata.len());
            Err(FileError::Damaged { file: file.to_owned(), what })
        }
        Ok(_) => fs::read(file).map(Some).map_err(system("read", file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(system("read", file)(error)),
    }
}

/// Removes `file`, durably; it may be gone already.
///
/// # Errors
/// The file system's.
pub fn remove(file: &Path) -> Result<(), FileError> {
    unlink(file)?;
    sync_dir(file)
}

/// Removes `file`; it may be gone already. Durable once another file of its directory is replaced.
///
/// # Errors
/// The file system's.
pub fn unlink(file: &Path) -> Result<(), FileError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system("remove", file)(error)),
        _ => Ok(()),
    }
}

fn sync_dir(file: &Path) -> Result<(), FileError> {
    let dir = file.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(system("sync", dir))
}

/// The kernel's id of this boot, folded to 64 bits.
///
/// # Errors
/// Where the kernel does not tell.
pub fn boot_id() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok(((id >> 64) ^ id) as u64)
}

/// What a guard must remember across its own end. JSON, one file an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardFile {
    /// [`GUARD_FORMAT`].
    pub format: u32,
    /// Drawn at random when the directory was made.
    pub home: u64,
    /// The boot on which it was written ([`boot_id`]).
    pub boot: u64,
    /// Counted up by each start of a guard in this home, but for one that goes on from a hand-over.
    pub run: u64,
    /// How many hand-overs were taken in this home.
    #[serde(default)]
    pub hand_overs: u64,
    /// The highest term that was seen.
    pub highest_term: u64,
    /// The highest term of which it is known whose it is.
    #[serde(default)]
    pub known_master: Option<MasterEntry>,
    /// The highest epoch that was seen.
    pub highest_epoch: EpochEntry,
    /// The version of the directive by which this instance was severed, if it is.
    pub severed_version: Option<u64>,
    /// The generation of that directive's epoch; absent where an older build wrote the file.
    #[serde(default)]
    pub severed_generation: Option<u64>,
    /// Promises that may still hold.
    #[serde(default)]
    pub promises: Vec<PromiseEntry>,
    /// The run of the engine that is known to hold everything that the instance ever confirmed; absent where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_run: Option<String>,
}

/// An epoch as it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEntry {
    /// Raised by a restore.
    pub generation: u64,
    /// Raised by each hand-over.
    pub number: u64,
}

/// Whose a term is, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterEntry {
    /// The term.
    pub term: u64,
    /// The instance's name.
    pub instance: String,
}

/// A promise as it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseEntry {
    /// For which term.
    pub term: u64,
    /// Until when, in microseconds of CLOCK_BOOTTIME of the boot that the file names.
    pub until_us: u64,
}

impl GuardFile {
    /// Reads the file; `None` where there is none.
    ///
    /// # Errors
    /// [`FileError::Damaged`] and [`FileError::Format`]: nothing may be assumed then.
    pub fn read(file: &Path) -> Result<Option<Self>, FileError> {
        let damaged = |what: String| FileError::Damaged { file: file.to_owned(), what };
        let Some(bytes) = read(file)? else { return Ok(None) };
        // The format first: another version's file may lack fields, and is no damage.
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        let format = format.and_then(|format| u32::try_from(format).ok());
        match format {
            None => Err(damaged("it has no format number".into())),
            Some(GUARD_FORMAT) => {
                serde_json::from_value(value).map(Some).map_err(|error| damaged(error.to_string()))
            }
            Some(found) => Err(FileError::Format { file: file.to_owned(), found }),
        }
    }

    /// Writes the file, durably, with the format of this version.
    ///
    /// # Errors
    /// As [`replace`].
    pub fn write(&self, file: &Path) -> Result<(), FileError> {
        let damaged =
            |error: serde_json::Error| FileError::Damaged { file: file.to_owned(), what: error.to_string() };
        let text = serde_json::to_vec(&Self { format: GUARD_FORMAT, ..self.clone() }).map_err(damaged)?;
        replace(file, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> GuardFile {
        GuardFile {
            format: GUARD_FORMAT,
            home: u64::MAX,
            boot: 7,
            run: 3,
            hand_overs: 2,
            highest_term: 12,
            known_master: Some(MasterEntry { term: 11, instance: "a2".into() }),
            highest_epoch: EpochEntry { generation: 1, number: 9 },
            severed_version: Some(19),
            severed_generation: Some(1),
            promises: vec![PromiseEntry { term: 12, until_us: 99 }],
            whole_run: Some("r1".into()),
        }
    }

    #[test]
    fn a_guard_file_goes_both_ways_and_replaces_the_last_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("guard.json");
        assert_eq!(GuardFile::read(&file).expect("nothing is no error"), None);
        GuardFile::default().write(&file).expect("written");
        written().write(&file).expect("written again");
        assert_eq!(GuardFile::read(&file).expect("whole"), Some(written()));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("guard.json");
        for text in ["", "{", "[]", "{\"format\":1}", "{\"format\":\"1\"}", "null"] {
            fs::write(&file, text).expect("written");
            let error = GuardFile::read(&file).expect_err(text);
            assert!(matches!(&error, FileError::Damaged { .. }), "{text}: {error}");
            assert!(error.to_string().contains("guard.json"));
        }
        fs::write(&file, "{\"format\":2,\"anything\":true}").expect("written");
        assert!(matches!(GuardFile::read(&file), Err(FileError::Format { found: 2, .. })));
    }

    #[test]
    fn one_guard_an_instance() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = InstanceDir::lock(dir.path(), "a1").expect("free");
        assert!(matches!(InstanceDir::lock(dir.path(), "a1"), Err(FileError::Locked { .. })));
        assert!(InstanceDir::lock(dir.path(), "a2").is_ok());
        drop(held);
        assert!(InstanceDir::lock(dir.path(), "a1").is_ok());
    }

    #[test]
    fn the_boot_id_stays_the_same() {
        assert_eq!(boot_id().expect("a kernel"), boot_id().expect("a kernel"));
    }
}
