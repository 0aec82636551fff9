//! A backup as a consistent stream: what is committed at one moment, read piece by piece while commits go on. Knows no
//! connections; the format of the bytes is `baton_provider::backup`'s.

use super::{BadEntry, STATE, codec, restore::unix_millis};
use baton_provider::backup::{Header, Writer};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use std::sync::Arc;

/// Pieces are about so long.
const PIECE_BYTES: usize = 64 * 1024;
/// The entries that stand in the header of a backup: whose it is, the revision, the lock.
const IN_THE_HEADER: u64 = 3;

/// A way to what is committed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    database: Arc<Database>,
}

/// The next bytes of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where they belong.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many items are in this piece and those before.
    pub items_done: u64,
    /// How many there are.
    pub items_total: u64,
}

/// Why there is no backup, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("the state cannot be read: {0}")]
    Storage(#[from] redb::Error),
    /// What it holds is not what was written.
    #[error("the state cannot be read: {0}")]
    Entry(#[from] BadEntry),
    /// Whoever takes the pieces does not go on.
    #[error("nobody takes the backup any more")]
    Stopped,
}

impl Archive {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Gives the backup of this moment to `take`, piece by piece, until that says that it wants no more. Blocks. The
    /// space of what is replaced meanwhile is not used again before the end, so whoever takes must not dawdle.
    ///
    /// # Errors
    /// [`ArchiveError`]; the pieces so far are no backup then.
    pub fn export(&self, mut take: impl FnMut(Piece) -> bool) -> Result<(), ArchiveError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(STATE).map_err(redb::Error::from)?;
        let entry = |key: &'static str| match table.get(key) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(ArchiveError::Entry(BadEntry::Missing(key))),
            Err(error) => Err(ArchiveError::Storage(error.into())),
        };
        let lock = codec::lock(entry(codec::LOCK)?.value())?;
        let header = Header {
            identity: codec::identity(entry(codec::META)?.value())?,
            revision: codec::revision(entry(codec::REVISION)?.value())?,
            epoch: lock.epoch,
            at_unix_millis: unix_millis(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            items: table.len().map_err(redb::Error::from)?.saturating_sub(IN_THE_HEADER),
            longest_ttl: lock.longest_ttl,
        };
        let (mut writer, bytes) = Writer::begin(&header);
        let mut piece = Piece { bytes, items_total: header.items, ..Piece::default() };
        for entry in table.iter().map_err(redb::Error::from)? {
            let (key, value) = entry.map_err(redb::Error::from)?;
            let Some(item) = codec::backup_item(key.value(), value.value())? else { continue };
            piece.bytes.extend(writer.item(item));
            piece.items_done += 1;
            if piece.bytes.len() >= PIECE_BYTES {
                let next = Piece {
                    offset: piece.offset + u64::try_from(piece.bytes.len()).expect("a length fits 64 bits"),
                    bytes: Vec::new(),
                    ..piece
                };
                if !take(std::mem::replace(&mut piece, next)) {
                    return Err(ArchiveError::Stopped);
                }
            }
        }
        piece.bytes.extend(writer.finish());
        if take(piece) { Ok(()) } else { Err(ArchiveError::Stopped) }
    }
}
