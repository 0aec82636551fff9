//! The durable side: one redb file with one table, one commit for many writes. Decides nothing about the protocol;
//! what it hands back at the start is checked, and a file that is damaged, newer or foreign is refused and left as it is.

mod backup;
mod check;
mod codec;
#[cfg(test)]
pub(crate) mod disk;
mod restore;
mod room;

pub use backup::{Archive, ArchiveError, Piece};
pub use codec::{BadEntry, FILE_FORMAT};
pub use restore::{Backup, Restoration, RestoreError, restore, unix_millis};
pub(crate) use restore::{check_room, keep_backup};
pub(crate) use room::{RESERVE, Room, file_bytes, free_bytes};

use baton_board::{Durable, Identity, Persist};
use baton_core::record::Settings;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file in the data directory.
pub const FILE_NAME: &str = "stateboard.redb";
/// A new file until it is complete: one that a crash left half made must never be taken for a damaged one.
const NEW_NAME: &str = "stateboard.redb.new";
/// Held while a stateboard runs on the directory.
const LOCK_NAME: &str = "stateboard.lock";
/// Everything in one tree: a commit then writes one path of pages, not one for each kind of thing.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// Why the storage cannot be opened. In each case nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or the file cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// Another stateboard runs on it.
    #[error(
        "{path}: another stateboard is running on this directory; stop it, or give this one another data_dir"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Not what was written, or not written by a stateboard.
    #[error(
        "{path} is damaged or was not written by a stateboard ({what}); nothing was changed. Keep a copy of the \
         file, then restore it from a backup (baton-stateboard restore --from FILE --force), or move it away to \
         start with an empty stateboard (every replica set then needs a person's confirmation before it is given a \
         master again)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by a newer version.
    #[error("{path}: {bad}; nothing was changed. Use the newer stateboard")]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is newer.
        #[source]
        bad: BadEntry,
    },
    /// Written for another cluster.
    #[error(
        "{path} belongs to another cluster: {error}; nothing was changed. Give this stateboard its own data_dir"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How it differs.
        #[source]
        error: baton_board::ForeignCluster,
    },
}

/// A commit that failed: what is on the disk is unknown, so the process must end.
#[derive(Debug, thiserror::Error)]
#[error("a change could not be made durable: {0}")]
pub struct CommitError(#[from] redb::Error);

/// The open file.
#[derive(Debug)]
pub struct Storage {
    database: Arc<Database>,
    path: PathBuf,
    /// The lock on the directory, until the end of the process or of this.
    _lock: Option<File>,
}

impl Storage {
    /// Opens the file in `directory`, or makes one for `identity` with `seed` as its first settings.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed then.
    pub fn open(
        directory: &Path,
        identity: &Identity,
        seed: &Settings,
    ) -> Result<(Self, Durable), OpenError> {
        std::fs::create_dir_all(directory).map_err(at(directory))?;
        let lock = lock(directory)?;
        let path = directory.join(FILE_NAME);
        if path.try_exists().map_err(at(&path))? {
            // On a copy: opening the file itself may write to it (a repair), and a damaged one must stay as it is.
            belongs(&check::read_copy(&path)?, identity, &path)?;
        } else {
            create(directory, &Durable::genesis(identity.clone(), seed.clone()))?;
        }
        let database = Database::open(&path).map_err(|error| damaged(&path, error))?;
        let durable = load(&database).map_err(|bad| bad.at(&path))?;
        Ok((Self { database: Arc::new(database), path, _lock: Some(lock) }, durable))
    }

    /// Makes all of it durable with one sync.
    ///
    /// # Errors
    /// [`CommitError`], after which the process must end.
    pub fn commit(&self, batch: &[Persist]) -> Result<(), CommitError> {
        self.try_commit(batch).map_err(CommitError)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A way to what is committed, for backups.
    #[must_use]
    pub fn archive(&self) -> Archive {
        Archive::new(Arc::clone(&self.database))
    }

    /// Everything that is committed.
    ///
    /// # Errors
    /// [`OpenError`], where the file is not what it was when it was opened.
    pub fn read(&self) -> Result<Durable, OpenError> {
        load(&self.database).map_err(|bad| bad.at(&self.path))
    }

    /// Puts `durable` in the place of everything, atomically.
    ///
    /// # Errors
    /// [`CommitError`], after which the process must end.
    pub fn replace(&self, durable: &Durable) -> Result<(), CommitError> {
        fill(&self.database, durable).map_err(CommitError)
    }

    fn try_commit(&self, batch: &[Persist]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(STATE)?;
            for persist in batch {
                for write in &persist.writes {
                    match codec::entry(write) {
                        (key, Some(value)) => {
                            table.insert(key.as_str(), value.as_slice())?;
                        }
                        (key, None) => {
                            table.remove(key.as_str())?;
                        }
                    }
                }
            }
            if let Some(last) = batch.last() {
                let (key, value) = codec::revision_entry(last.revision);
                table.insert(key, value.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn belongs(durable: &Durable, identity: &Identity, path: &Path) -> Result<(), OpenError> {
    durable.identity.check(identity).map_err(|error| OpenError::Foreign { path: path.to_owned(), error })
}

/// Makes the file with `durable` in it: complete under another name first.
fn create(directory: &Path, durable: &Durable) -> Result<(), OpenError> {
    let (new, path) = (directory.join(NEW_NAME), directory.join(FILE_NAME));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&new)(error)),
        Ok(()) | Err(_) => {}
    }
    let made = Database::create(&new).map_err(redb::Error::from).and_then(|new| fill(&new, durable));
    made.map_err(|error| at(&new)(std::io::Error::other(error)))?;
    std::fs::rename(&new, &path).map_err(at(&path))?;
    sync_directory(directory)
}

/// The name of a file must survive power loss as well as its contents.
fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))
}

/// One transaction that leaves `durable` and nothing else.
fn fill(database: &Database, durable: &Durable) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.delete_table(STATE)?;
    {
        let mut table = transaction.open_table(STATE)?;
        for (key, value) in codec::entries(durable) {
            table.insert(key.as_str(), value.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// What is wrong with a file whose pages are whole.
#[derive(Debug)]
enum BadFile {
    Storage(redb::Error),
    Entry(BadEntry),
}

impl BadFile {
    fn at(self, path: &Path) -> OpenError {
        match self {
            Self::Entry(bad @ BadEntry::Format { .. }) => OpenError::Newer { path: path.to_owned(), bad },
            Self::Entry(bad) => damaged(path, bad),
            Self::Storage(error) => damaged(path, error),
        }
    }
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.to_string() }
}

/// Reads and checks everything.
fn load(database: &Database) -> Result<Durable, BadFile> {
    let storage = |error: redb::Error| BadFile::Storage(error);
    let transaction = database.begin_read().map_err(|error| storage(error.into()))?;
    let table = transaction.open_table(STATE).map_err(|error| storage(error.into()))?;
    // What the file is decides how its entries are to be read, so it comes before them.
    let meta = table.get(codec::META).map_err(|error| storage(error.into()))?;
    if let Some(meta) = meta {
        codec::identity(meta.value()).map_err(BadFile::Entry)?;
    }
    let mut loader = codec::Loader::default();
    for entry in table.iter().map_err(|error| storage(error.into()))? {
        let (key, value) = entry.map_err(|error| storage(error.into()))?;
        loader.take(key.value(), value.value()).map_err(BadFile::Entry)?;
    }
    loader.finish().map_err(BadFile::Entry)
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK_NAME);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { path: directory.to_owned() }),
        Err(errno) => Err(OpenError::Io { path, error: errno.into() }),
    }
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| OpenError::Io { path: path.clone(), error }
}

#[cfg(test)]
mod tests;
