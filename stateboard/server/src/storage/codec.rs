//! Keys and values of the file. Values are protobuf with a format number; keys are readable and sort by kind.

use baton_board::{Durable, DurableLock, Identity, Write};
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision};
use baton_core::record::{HistoryEntry, Member, Record, Settings};
use baton_core::time::Span;
use baton_proto::v1;
use baton_provider::wire::{self, Malformed};
use prost::Message;
use std::collections::BTreeMap;

/// The format of the whole file. A higher one is refused.
const FILE_FORMAT: u32 = 1;

const META: &str = "meta";
const REVISION: &str = "revision";
const LOCK: &str = "lock";
const SETTINGS: &str = "settings";
const RECORD: &str = "record/";
const MEMBER: &str = "member/";
const HISTORY: &str = "history/";

/// Whose file it is.
#[derive(Clone, PartialEq, Message)]
struct Meta {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, optional, tag = "2")]
    identity: Option<v1::ClusterIdentity>,
}

/// The lock as it survives a restart.
#[derive(Clone, PartialEq, Message)]
struct StoredLock {
    #[prost(message, optional, tag = "1")]
    epoch: Option<v1::Epoch>,
    #[prost(message, optional, tag = "2")]
    holder: Option<v1::Candidate>,
    #[prost(bytes = "vec", tag = "3")]
    secret: Vec<u8>,
    #[prost(uint64, tag = "4")]
    longest_ttl_us: u64,
}

/// An entry of the file that cannot be what a stateboard wrote.
#[derive(Debug, thiserror::Error)]
pub enum BadEntry {
    /// No message.
    #[error("entry {key:?} is no message: {error}")]
    Decode {
        /// Which.
        key: String,
        /// Why.
        error: prost::DecodeError,
    },
    /// A message, but not what belongs there.
    #[error("entry {key:?}: {error}")]
    Malformed {
        /// Which.
        key: String,
        /// Why.
        error: Malformed,
    },
    /// A key that no stateboard of this version writes, or one that does not fit its value.
    #[error("entry {key:?} does not belong there")]
    Stray {
        /// Which.
        key: String,
    },
    /// Something that every file has.
    #[error("entry {0:?} is missing")]
    Missing(&'static str),
    /// Written by a newer version.
    #[error("its format is {found}, this version reads up to {FILE_FORMAT}: use the newer stateboard")]
    Format {
        /// What was found.
        found: u32,
    },
}

fn record_key(set: &ReplicaSetName) -> String {
    format!("{RECORD}{set}")
}

fn member_key(set: &ReplicaSetName, instance: &InstanceName) -> String {
    format!("{MEMBER}{set}/{instance}")
}

/// Twenty digits, so that the terms of a set sort as numbers.
fn history_key(set: &ReplicaSetName, term: u64) -> String {
    format!("{HISTORY}{set}/{term:020}")
}

fn stored_lock(lock: &DurableLock) -> Vec<u8> {
    let stored = StoredLock {
        epoch: Some(wire::epoch_to_wire(lock.epoch)),
        holder: lock.holder.as_ref().map(|(candidate, _)| wire::candidate_to_wire(candidate)),
        secret: lock.holder.as_ref().map(|(_, secret)| secret.0.to_be_bytes().to_vec()).unwrap_or_default(),
        longest_ttl_us: lock.longest_ttl.0,
    };
    stored.encode_to_vec()
}

/// The key of a write and its value, `None` where the entry goes.
pub(super) fn entry(write: &Write) -> (String, Option<Vec<u8>>) {
    match write {
        Write::Lock(lock) => (LOCK.to_owned(), Some(stored_lock(lock))),
        Write::Record(record) => {
            (record_key(&record.replicaset), Some(wire::record_to_wire(record).encode_to_vec()))
        }
        Write::History(line) => {
            let key = history_key(&line.record.replicaset, line.record.term.0);
            (key, Some(wire::history_to_wire(line).encode_to_vec()))
        }
        Write::HistoryDropped { replicaset, term } => (history_key(replicaset, term.0), None),
        Write::Member(member) => {
            let key = member_key(&member.replicaset, &member.instance);
            (key, Some(wire::member_to_wire(member).encode_to_vec()))
        }
        Write::MemberRemoved { replicaset, instance } => (member_key(replicaset, instance), None),
        Write::Settings(settings) => {
            (SETTINGS.to_owned(), Some(wire::settings_to_wire(settings).encode_to_vec()))
        }
    }
}

pub(super) fn revision_entry(revision: Revision) -> (&'static str, Vec<u8>) {
    (REVISION, v1::Applied { revision: revision.0 }.encode_to_vec())
}

/// What a new file begins with.
pub(super) fn genesis_entries(durable: &Durable) -> Vec<(String, Vec<u8>)> {
    let meta = Meta { format: FILE_FORMAT, identity: Some(wire::identity_to_wire(&durable.identity)) };
    let (revision_key, revision) = revision_entry(durable.revision);
    vec![
        (META.to_owned(), meta.encode_to_vec()),
        (revision_key.to_owned(), revision),
        (LOCK.to_owned(), stored_lock(&durable.lock)),
        (SETTINGS.to_owned(), wire::settings_to_wire(&durable.settings).encode_to_vec()),
    ]
}

/// Puts the entries of a file together again.
#[derive(Default)]
pub(super) struct Loader {
    identity: Option<Identity>,
    revision: Option<Revision>,
    lock: Option<DurableLock>,
    settings: Option<Settings>,
    records: BTreeMap<ReplicaSetName, Record>,
    members: BTreeMap<(ReplicaSetName, InstanceName), Member>,
    history: Vec<HistoryEntry>,
}

impl Loader {
    pub(super) fn take(&mut self, key: &str, value: &[u8]) -> Result<(), BadEntry> {
        let malformed = |error| BadEntry::Malformed { key: key.to_owned(), error };
        let expected = match key {
            META => {
                self.identity = Some(load_meta(key, value)?);
                META.to_owned()
            }
            REVISION => {
                self.revision = Some(Revision(decode::<v1::Applied>(key, value)?.revision));
                REVISION.to_owned()
            }
            LOCK => {
                self.lock = Some(load_lock(decode(key, value)?).map_err(malformed)?);
                LOCK.to_owned()
            }
            SETTINGS => {
                self.settings = Some(wire::settings_from_wire(decode(key, value)?).map_err(malformed)?);
                SETTINGS.to_owned()
            }
            _ if key.starts_with(RECORD) => {
                let record = wire::record_from_wire(decode(key, value)?).map_err(malformed)?;
                let expected = record_key(&record.replicaset);
                self.records.insert(record.replicaset.clone(), record);
                expected
            }
            _ if key.starts_with(MEMBER) => {
                let member = wire::member_from_wire(decode(key, value)?).map_err(malformed)?;
                let expected = member_key(&member.replicaset, &member.instance);
                self.members.insert((member.replicaset.clone(), member.instance.clone()), member);
                expected
            }
            _ if key.starts_with(HISTORY) => {
                let line = wire::history_from_wire(decode(key, value)?).map_err(malformed)?;
                let expected = history_key(&line.record.replicaset, line.record.term.0);
                self.history.push(line);
                expected
            }
            _ => String::new(),
        };
        if expected != key {
            return Err(BadEntry::Stray { key: key.to_owned() });
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Durable, BadEntry> {
        let mut durable = Durable {
            identity: self.identity.ok_or(BadEntry::Missing(META))?,
            revision: self.revision.ok_or(BadEntry::Missing(REVISION))?,
            lock: self.lock.ok_or(BadEntry::Missing(LOCK))?,
            records: self.records,
            members: self.members,
            settings: self.settings.ok_or(BadEntry::Missing(SETTINGS))?,
            history: BTreeMap::new(),
        };
        // The keys of a set sort by term, so the lines come oldest first.
        for line in self.history {
            durable.history.entry(line.record.replicaset.clone()).or_default().push_back(line);
        }
        Ok(durable)
    }
}

fn decode<M: Message + Default>(key: &str, value: &[u8]) -> Result<M, BadEntry> {
    M::decode(value).map_err(|error| BadEntry::Decode { key: key.to_owned(), error })
}

fn load_meta(key: &str, value: &[u8]) -> Result<Identity, BadEntry> {
    let meta: Meta = decode(key, value)?;
    if meta.format != FILE_FORMAT {
        return Err(BadEntry::Format { found: meta.format });
    }
    wire::identity_from_wire(meta.identity)
        .map_err(|error| BadEntry::Malformed { key: key.to_owned(), error })
}

fn load_lock(stored: StoredLock) -> Result<DurableLock, Malformed> {
    let epoch: Epoch = wire::epoch_from_wire(stored.epoch)?;
    let holder = match stored.holder {
        None => None,
        Some(candidate) => {
            Some((wire::candidate_from_wire(candidate)?, wire::secret_from_wire(&stored.secret)?))
        }
    };
    Ok(DurableLock { epoch, holder, longest_ttl: Span(stored.longest_ttl_us) })
}
