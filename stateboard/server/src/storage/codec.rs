//! Keys and values of the file. Values are protobuf with a format number; keys are readable and sort by kind.

use baton_board::{Durable, DurableLock, Identity, Restored, Write};
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision, TaskId};
use baton_core::record::{HistoryEntry, Member, Record, Settings};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use baton_proto::v1;
use baton_provider::wire::{self, Malformed};
use prost::Message;
use std::collections::BTreeMap;
use v1::backup_item::Item;

/// The format of the whole file, as this version writes it. Lower ones are read (each release has a file in
/// `tests/fixtures` that must stay readable); a higher one is refused.
pub const FILE_FORMAT: u32 = 1;
/// The first that there was.
const OLDEST_FORMAT: u32 = 1;

pub(super) const META: &str = "meta";
pub(super) const REVISION: &str = "revision";
pub(super) const LOCK: &str = "lock";
const SETTINGS: &str = "settings";
const RECORD: &str = "record/";
const MEMBER: &str = "member/";
const HISTORY: &str = "history/";
const TASK: &str = "task/";

/// Whose file it is.
#[derive(Clone, PartialEq, Message)]
struct Meta {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, optional, tag = "2")]
    identity: Option<v1::ClusterIdentity>,
    #[prost(message, optional, tag = "3")]
    restored: Option<v1::Restored>,
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
    #[error("{what} has format {found}, this version reads {OLDEST_FORMAT} to {highest}")]
    Format {
        /// The file, or an entry of it.
        what: String,
        /// What was found.
        found: u32,
        /// What can be read.
        highest: u32,
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

/// Sixteen digits: every task's number has them at most.
fn task_key(id: TaskId) -> String {
    format!("{TASK}{:016}", id.0)
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
        Write::Task(task) => (task_key(task.id), Some(wire::task_to_wire(task).encode_to_vec())),
        Write::TaskRemoved(id) => (task_key(*id), None),
    }
}

pub(super) fn revision_entry(revision: Revision) -> (&'static str, Vec<u8>) {
    (REVISION, v1::Applied { revision: revision.0 }.encode_to_vec())
}

/// All entries of a board.
pub(super) fn entries(durable: &Durable) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let meta = Meta {
        format: FILE_FORMAT,
        identity: Some(wire::identity_to_wire(&durable.identity)),
        restored: durable.restored.map(wire::restored_to_wire),
    };
    let (revision_key, revision) = revision_entry(durable.revision);
    let writes = std::iter::once(Write::Lock(durable.lock.clone()))
        .chain(std::iter::once(Write::Settings(Box::new(durable.settings.clone()))))
        .chain(durable.records.values().map(|record| Write::Record(Box::new(record.clone()))))
        .chain(durable.members.values().map(|member| Write::Member(Box::new(member.clone()))))
        .chain(durable.tasks.values().map(|task| Write::Task(Box::new(task.clone()))))
        .chain(durable.history.values().flatten().map(|line| Write::History(Box::new(line.clone()))));
    let entries = writes.filter_map(|write| match entry(&write) {
        (key, Some(value)) => Some((key, value)),
        (_, None) => None,
    });
    [(META.to_owned(), meta.encode_to_vec()), (revision_key.to_owned(), revision)].into_iter().chain(entries)
}

/// An entry as an item of a backup; `None` for those that stand in its header.
pub(super) fn backup_item(key: &str, value: &[u8]) -> Result<Option<Item>, BadEntry> {
    Ok(match key {
        META | REVISION | LOCK => None,
        SETTINGS => Some(Item::Settings(decode(key, value)?)),
        _ if key.starts_with(RECORD) => Some(Item::Record(decode(key, value)?)),
        _ if key.starts_with(MEMBER) => Some(Item::Member(decode(key, value)?)),
        _ if key.starts_with(TASK) => Some(Item::Task(decode(key, value)?)),
        _ if key.starts_with(HISTORY) => Some(Item::History(decode(key, value)?)),
        _ => return Err(BadEntry::Stray { key: key.to_owned() }),
    })
}

/// Puts the entries of a file together again.
#[derive(Default)]
pub(super) struct Loader {
    identity: Option<Identity>,
    restored: Option<Restored>,
    revision: Option<Revision>,
    lock: Option<DurableLock>,
    settings: Option<Settings>,
    records: BTreeMap<ReplicaSetName, Record>,
    members: BTreeMap<(ReplicaSetName, InstanceName), Member>,
    tasks: BTreeMap<TaskId, StoredTask>,
    history: Vec<HistoryEntry>,
}

impl Loader {
    pub(super) fn take(&mut self, key: &str, value: &[u8]) -> Result<(), BadEntry> {
        let malformed = |error| of_malformed(key, error);
        let expected = match key {
            META => {
                let (identity, restored) = load_meta(key, value)?;
                (self.identity, self.restored) = (Some(identity), restored);
                META.to_owned()
            }
            REVISION => {
                self.revision = Some(revision(value)?);
                REVISION.to_owned()
            }
            LOCK => {
                self.lock = Some(lock(value)?);
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
            _ if key.starts_with(TASK) => {
                let task = wire::task_from_wire(decode(key, value)?).map_err(malformed)?;
                let expected = task_key(task.id);
                self.tasks.insert(task.id, task);
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
            tasks: self.tasks,
            history: BTreeMap::new(),
            restored: self.restored,
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

fn of_malformed(key: &str, error: Malformed) -> BadEntry {
    match error {
        Malformed::Format { found, highest, .. } => {
            BadEntry::Format { what: format!("entry {key:?}"), found, highest }
        }
        error => BadEntry::Malformed { key: key.to_owned(), error },
    }
}

fn load_meta(key: &str, value: &[u8]) -> Result<(Identity, Option<Restored>), BadEntry> {
    let meta: Meta = decode(key, value)?;
    if !(OLDEST_FORMAT..=FILE_FORMAT).contains(&meta.format) {
        let what = "the file".to_owned();
        return Err(BadEntry::Format { what, found: meta.format, highest: FILE_FORMAT });
    }
    let identity = wire::identity_from_wire(meta.identity)
        .map_err(|error| BadEntry::Malformed { key: key.to_owned(), error })?;
    Ok((identity, meta.restored.map(wire::restored_from_wire)))
}

pub(super) fn lock(value: &[u8]) -> Result<DurableLock, BadEntry> {
    load_lock(decode(LOCK, value)?).map_err(|error| of_malformed(LOCK, error))
}

pub(super) fn revision(value: &[u8]) -> Result<Revision, BadEntry> {
    Ok(Revision(decode::<v1::Applied>(REVISION, value)?.revision))
}

pub(super) fn identity(value: &[u8]) -> Result<Identity, BadEntry> {
    load_meta(META, value).map(|(identity, _)| identity)
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
