//! Puts a backup in the place of what is there: into the data directory of a stateboard that does not run, or into one
//! that does (`shell.rs` asks for the same checks). What was there is kept in a file beside.

use super::room::{RESERVE, file_bytes, free_bytes};
use super::{FILE_NAME, NEW_NAME, OpenError, Storage, at, belongs, check, create, lock, sync_directory};
use baton_board::{Durable, Identity, Limits, Restored};
use baton_core::ids::{Epoch, Revision};
use baton_core::record::Move;
use baton_provider::backup::{self, BackupError, Header, Reader};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes read at a time.
const BLOCK: usize = 256 * 1024;

/// A backup that was read and checked wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// What it says of itself.
    pub header: Header,
    /// What it holds.
    pub durable: Durable,
    /// How long its file is.
    pub bytes: u64,
    /// Also in the place of something.
    pub force: bool,
    /// The new generation is at least this.
    pub generation_at_least: u64,
    /// It is the state of a cluster that moves here: nothing is raised, and nothing is open before the move is committed.
    pub arriving: Option<Move>,
}

/// What a restore made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restoration {
    /// The revision now.
    pub revision: Revision,
    /// The generation of the next epoch.
    pub generation: u64,
    /// Records that are there now.
    pub records: usize,
    /// Members that are there now.
    pub members: usize,
    /// From what and when.
    pub restored: Restored,
    /// Where what was there before is kept.
    pub kept_as: Option<PathBuf>,
}

/// Why nothing was restored, and nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup.
    #[error("{path}: {error}")]
    Backup {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: BackupError,
    },
    /// There is something that would be replaced.
    #[error(
        "this stateboard is not empty (revision {revision}, {records} records): nothing was changed. With --force it \
         is replaced, and what is there is kept in a file beside"
    )]
    NotEmpty {
        /// Its revision.
        revision: Revision,
        /// How many records it has.
        records: usize,
    },
    /// There is a state that a move must not replace.
    #[error(
        "this stateboard holds a state (epoch {here}, {records} records) and was not moved away from, or it is further \
         than the one that would come (epoch {comes}): nothing was changed"
    )]
    InUse {
        /// The epoch that was given here last.
        here: Epoch,
        /// That of the state that would come.
        comes: Epoch,
        /// How many records are here.
        records: usize,
    },
    /// The disk is too full for it.
    #[error(
        "there is no room for it: {needed} bytes are needed for certain, {free} are free; nothing was changed"
    )]
    NoRoom {
        /// What it may take.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// The data directory.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// How many times its own length a backup may take as pages.
const PAGES: u64 = 4;

/// Whether there is room for `bytes` of a backup beside the file at `path`, what is kept of it, and the reserve: a commit
/// that finds none ends the process.
pub(crate) fn check_room(path: &Path, bytes: u64) -> Result<(), RestoreError> {
    let kept = file_bytes(path).unwrap_or(0);
    let needed = RESERVE.saturating_add(bytes.saturating_mul(PAGES)).saturating_add(kept);
    match free_bytes(path) {
        Some(free) if free < needed => Err(RestoreError::NoRoom { needed, free }),
        Some(_) | None => Ok(()),
    }
}

impl Restoration {
    pub(crate) fn of(durable: &Durable, restored: Restored, kept_as: Option<PathBuf>) -> Self {
        Self {
            revision: durable.revision,
            generation: durable.lock.epoch.generation,
            records: durable.records.len(),
            members: durable.members.len(),
            restored,
            kept_as,
        }
    }
}

impl Backup {
    /// Reads the file at `path`, as one of the cluster `identity`.
    ///
    /// # Errors
    /// [`RestoreError`] names the file and what is wrong with it.
    pub fn read(path: &Path, identity: &Identity, limits: &Limits) -> Result<Self, RestoreError> {
        let bad = |error| RestoreError::Backup { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(at(path))?;
        let mut reader = Reader::new(identity.clone(), limits.clone());
        let mut block = vec![0; BLOCK];
        let mut bytes = 0_u64;
        loop {
            let length = file.read(&mut block).map_err(at(path))?;
            if length == 0 {
                break;
            }
            bytes += u64::try_from(length).expect("a length fits 64 bits");
            reader.feed(block.get(..length).unwrap_or_default()).map_err(bad)?;
        }
        let (header, durable) = reader.finish().map_err(bad)?;
        Ok(Self { header, durable, bytes, force: false, generation_at_least: 0, arriving: None })
    }

    /// What a stateboard that holds `over` begins with instead. What `over` holds is not lost only if `force` says so.
    pub(crate) fn over(self, over: Option<&Durable>) -> Result<(Durable, Restored), RestoreError> {
        if let Some(arriving) = self.arriving {
            let comes = self.durable.lock.epoch;
            if let Some(over) = over.filter(|over| !over.may_be_filled(comes)) {
                let (here, records) = (over.lock.epoch, over.records.len());
                return Err(RestoreError::InUse { here, comes, records });
            }
            let (backup_revision, at_unix_millis) = (self.durable.revision, unix_millis());
            let restored = Restored {
                backup_at_unix_millis: self.header.at_unix_millis,
                backup_revision,
                at_unix_millis,
            };
            return Ok((self.durable.arriving_over(over, arriving), restored));
        }
        if let Some(over) = over.filter(|over| !over.is_empty() && !self.force) {
            return Err(RestoreError::NotEmpty { revision: over.revision, records: over.records.len() });
        }
        let taken = self.header.at_unix_millis;
        let durable = self.durable.restored_over(over, self.generation_at_least, taken, unix_millis());
        let restored = durable.restored.expect("it was just set");
        Ok((durable, restored))
    }
}

/// Restores into `directory`, on which no stateboard may be running. A file that cannot be read is replaced only with
/// `force`, and kept beside as it is.
///
/// # Errors
/// [`RestoreError`]; nothing was changed then.
pub fn restore(directory: &Path, backup: Backup) -> Result<Restoration, RestoreError> {
    std::fs::create_dir_all(directory).map_err(at(directory))?;
    let _lock = lock(directory)?;
    let path = directory.join(FILE_NAME);
    let there = if path.try_exists().map_err(at(&path))? { Some(check::read_copy(&path)) } else { None };
    let over = match there {
        None => None,
        Some(Ok(over)) => {
            belongs(&over, &backup.durable.identity, &path)?;
            Some(over)
        }
        Some(Err(OpenError::Damaged { .. })) if backup.force => None,
        Some(Err(error)) => return Err(error.into()),
    };
    let (durable, restored) = backup.over(over.as_ref())?;
    let kept_as = match path.try_exists().map_err(at(&path))? {
        true => Some(keep_file(directory, &path)?),
        false => None,
    };
    // Takes the old file's place in one step: at no moment is there none, which a start would take for a first one.
    create(directory, &durable)?;
    Ok(Restoration::of(&durable, restored, kept_as))
}

/// A second name for the file, which stays when the first is given to another.
fn keep_file(directory: &Path, path: &Path) -> Result<PathBuf, OpenError> {
    let kept = free_name(directory, "redb");
    std::fs::hard_link(path, &kept).map_err(at(&kept))?;
    sync_directory(directory)?;
    Ok(kept)
}

/// Writes what a running stateboard holds to a backup file beside it.
pub(crate) fn keep_backup(storage: &Storage, durable: &Durable) -> Result<PathBuf, OpenError> {
    let directory = storage.path().parent().unwrap_or_else(|| Path::new("."));
    let kept = free_name(directory, "batonbak");
    let new = directory.join(NEW_NAME);
    let bytes = backup::encode(durable, unix_millis(), env!("CARGO_PKG_VERSION"));
    let written =
        File::create(&new).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
    if let Err(error) = written {
        // It would only take room.
        let _ = std::fs::remove_file(&new);
        return Err(at(&new)(error));
    }
    std::fs::rename(&new, &kept).map_err(at(&kept))?;
    sync_directory(directory)?;
    Ok(kept)
}

fn free_name(directory: &Path, extension: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for number in 1..=u32::MAX {
        path = directory.join(format!("before-restore-{number}.{extension}"));
        if !path.exists() {
            break;
        }
    }
    path
}

/// Milliseconds since 1970, for people only.
#[must_use]
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
