//! Looks at a file before it is opened for writing: on a copy in memory, with every checksum, so that a damaged, newer or
//! foreign file is refused without a byte of it changed.

use super::{OpenError, load};
use baton_board::Durable;
use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};
use std::path::Path;

/// What redb writes at the start of every file.
const MAGIC: &[u8] = b"redb";

/// What the file holds, if it is undamaged. A file that was not closed cleanly is fine: what was committed is whole, and
/// the copy is repaired as the file will be.
pub(super) fn read_copy(path: &Path) -> Result<Durable, OpenError> {
    let bytes = std::fs::read(path).map_err(super::at(path))?;
    read_bytes(path, bytes)
}

/// The same of bytes that stand for the file at `path`.
pub(super) fn read_bytes(path: &Path, bytes: Vec<u8>) -> Result<Durable, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    if bytes.is_empty() {
        return Err(damaged("the file is empty".into()));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(damaged("it does not begin as one".into()));
    }
    let copy = InMemoryBackend::new();
    let length = u64::try_from(bytes.len()).expect("a length fits 64 bits");
    copy.set_len(length).and_then(|()| copy.write(0, &bytes)).map_err(super::at(path))?;
    drop(bytes);
    let database = Builder::new()
        .set_check_integrity_on_open(true)
        .create_with_backend(copy)
        .map_err(|error| damaged(error.to_string()))?;
    load(&database).map_err(|bad| bad.at(path))
}
