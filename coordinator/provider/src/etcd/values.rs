//! What stands under the keys: one line of JSON each, which a person reads with `etcdctl get`. Written whole, read
//! strictly: an unknown format, a missing field or a name that is none is an error that names the key. Fields that are
//! not known here are passed over: a newer version may have added them.

mod documents;
mod record;
mod settings;

pub(super) use documents::{
    BidDoc, EpochDoc, EpochValue, HistoryDoc, IdentityDoc, LockDoc, LockValue, MemberDoc, ReleasedDoc,
    TaskDoc, hash_of,
};
pub(super) use record::RecordDoc;
pub(super) use settings::SettingsDoc;

use crate::error::FatalError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this version writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 1;

/// A value that cannot be understood. Nobody ever writes over it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {key} cannot be understood: {why}")]
pub(super) struct Damaged {
    key: String,
    why: String,
}

impl Damaged {
    /// A good value, of something else than its key says.
    pub(super) fn misplaced(key: &str) -> Self {
        Self { key: key.to_owned(), why: "it is about something else than its key".to_owned() }
    }
}

impl From<Damaged> for FatalError {
    fn from(damaged: Damaged) -> Self {
        Self::Protocol(damaged.to_string())
    }
}

impl From<Damaged> for crate::ProviderError {
    fn from(damaged: Damaged) -> Self {
        FatalError::from(damaged).into()
    }
}

/// A document of etcd and what it stands for.
pub(super) trait Document: Serialize + DeserializeOwned {
    /// What it stands for.
    type Value;

    /// From what was read; every rule of the value is checked.
    fn into_value(self) -> Result<Self::Value, String>;
}

#[derive(serde::Deserialize)]
struct AnyFormat {
    format: u32,
}

/// Reads the value of `key`.
pub(super) fn read<D: Document>(key: &str, value: &[u8]) -> Result<D::Value, Damaged> {
    let damaged = |why: String| Damaged { key: key.to_owned(), why };
    // The format first: what another one means by its fields is not to be guessed from them.
    let AnyFormat { format } = serde_json::from_slice(value).map_err(|error| damaged(error.to_string()))?;
    if format != FORMAT {
        return Err(damaged(format!("its format is {format}, the only one known here is {FORMAT}")));
    }
    let document: D = serde_json::from_slice(value).map_err(|error| damaged(error.to_string()))?;
    document.into_value().map_err(damaged)
}

/// Writes a value: one line.
pub(super) fn write<D: Document>(document: &D) -> Vec<u8> {
    serde_json::to_vec(document).expect("our documents have text keys only and no numbers that JSON lacks")
}

#[cfg(test)]
mod tests;
