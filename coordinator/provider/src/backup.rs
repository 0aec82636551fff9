//! The backup file of a stateboard: how it is written piece by piece, and how it is read and checked before anything of
//! it is believed. Knows no files, no connections and no storage; whoever moves the bytes is elsewhere.
//!
//! The bytes: `batonbak`, the format (4 bytes, big-endian like all numbers here), then messages, each behind its length
//! in 4 bytes: one [`v1::BackupHeader`], the [`v1::BackupItem`]s that it announces, a length of zero. At last the SHA-256
//! of all bytes before it. Nobody holds the lock in a backup: its secret is in no file that is copied around.

use crate::wire::{self, Malformed};
use baton_board::{Durable, DurableLock, ForeignCluster, Identity, Limits};
use baton_core::ids::{Epoch, Revision};
use baton_core::record::HistoryEntry;
use baton_core::time::Span;
use baton_proto::v1;
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use v1::backup_item::Item;

/// The format that this version writes, and the highest that it reads.
pub const FORMAT: u32 = 1;
const MAGIC: &[u8] = b"batonbak";
/// Bytes of a length, and of the format.
const NUMBER: usize = 4;
const CHECKSUM: usize = 32;
/// No item of the default limits comes near it.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Numbers above it are no stateboard's: they would leave no room to count on.
const NUMBER_MAX: u64 = u64::MAX / 2;
/// No timing that is accepted gives a lock for so long.
const TTL_MAX: Span = Span::from_secs(24 * 3_600);

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose it is.
    pub identity: Identity,
    /// The revision that all of it is from.
    pub revision: Revision,
    /// The epoch that was given last.
    pub epoch: Epoch,
    /// When it was taken: milliseconds since 1970, for people only.
    pub at_unix_millis: u64,
    /// The version of the stateboard that took it.
    pub version: String,
    /// How many items follow.
    pub items: u64,
    /// The longest ttl that a lock was ever given.
    pub longest_ttl: Span,
}

/// Why a file is refused. Nothing of it was used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Not a backup at all.
    #[error("it is no backup of a stateboard: it does not begin with {:?}", String::from_utf8_lossy(MAGIC))]
    NoBackup,
    /// Written by a newer version.
    #[error("its format is {found}, this version reads up to {FORMAT}: use the newer stateboard")]
    Newer {
        /// What was found.
        found: u32,
    },
    /// It ends before its end.
    #[error("it is cut off after {bytes} bytes, {items} of {announced} items were there")]
    Truncated {
        /// How long it is.
        bytes: u64,
        /// How many items came.
        items: u64,
        /// How many the header announced.
        announced: u64,
    },
    /// The checksum is another.
    #[error("it is damaged: the checksum at its end is not that of what is before it")]
    Checksum,
    /// Bytes after the end.
    #[error("it is damaged: there are bytes after its end")]
    Surplus,
    /// What it holds cannot be what a stateboard wrote.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A part in a format that is too new, or one without which the rest means nothing.
    #[error("it cannot be used: {0}")]
    Malformed(#[from] Malformed),
    /// Of another cluster.
    #[error("it is not ours: {0}")]
    Foreign(#[from] ForeignCluster),
    /// More than this stateboard keeps.
    #[error("it holds {found} {what}, this stateboard keeps at most {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
}

/// Writes a backup: each call gives the bytes that come next.
#[derive(Clone, Debug)]
pub struct Writer {
    hash: Sha256,
}

impl Writer {
    /// Begins one.
    #[must_use]
    pub fn begin(header: &Header) -> (Self, Vec<u8>) {
        let message = v1::BackupHeader {
            identity: Some(wire::identity_to_wire(&header.identity)),
            revision: header.revision.0,
            epoch: Some(wire::epoch_to_wire(header.epoch)),
            at_unix_millis: header.at_unix_millis,
            version: header.version.clone(),
            items: header.items,
            longest_ttl_us: header.longest_ttl.0,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_be_bytes());
        frame(&mut bytes, &message);
        let mut hash = Sha256::new();
        hash.update(&bytes);
        (Self { hash }, bytes)
    }

    /// The next item.
    pub fn item(&mut self, item: Item) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, &v1::BackupItem { item: Some(item) });
        self.hash.update(&bytes);
        bytes
    }

    /// The end. Without it the backup is refused as cut off.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let mut bytes = 0_u32.to_be_bytes().to_vec();
        self.hash.update(&bytes);
        bytes.extend(self.hash.finalize());
        bytes
    }
}

fn frame(bytes: &mut Vec<u8>, message: &impl Message) {
    let length = u32::try_from(message.encoded_len()).expect("items of the limits are short");
    bytes.extend(length.to_be_bytes());
    message.encode(bytes).expect("a vector grows");
}

/// Writes a whole board. Of the lock only its epoch and its longest ttl are taken.
#[must_use]
pub fn encode(durable: &Durable, at_unix_millis: u64, version: &str) -> Vec<u8> {
    let mut items = vec![Item::Settings(wire::settings_to_wire(&durable.settings))];
    items.extend(durable.records.values().map(|record| Item::Record(wire::record_to_wire(record))));
    items.extend(durable.members.values().map(|member| Item::Member(wire::member_to_wire(member))));
    items.extend(durable.tasks.values().map(|task| Item::Task(wire::task_to_wire(task))));
    let history = durable.history.values().flatten();
    items.extend(history.map(|line| Item::History(wire::history_to_wire(line))));
    let header = Header {
        identity: durable.identity.clone(),
        revision: durable.revision,
        epoch: durable.lock.epoch,
        at_unix_millis,
        version: version.to_owned(),
        items: u64::try_from(items.len()).expect("a length fits 64 bits"),
        longest_ttl: durable.lock.longest_ttl,
    };
    let (mut writer, mut bytes) = Writer::begin(&header);
    for item in items {
        bytes.extend(writer.item(item));
    }
    bytes.extend(writer.finish());
    bytes
}

/// Reads a backup as its bytes come, and keeps no more than one message of them.
#[derive(Debug)]
pub struct Reader {
    ours: Identity,
    limits: Limits,
    pending: Vec<u8>,
    /// What was taken from `pending` in all.
    bytes: u64,
    hash: Sha256,
    stage: Stage,
    items: u64,
    header: Option<Header>,
    durable: Option<Durable>,
    history: BTreeMap<(String, u64), HistoryEntry>,
    settings: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Messages,
    Checksum,
    Done,
}

impl Reader {
    /// For a backup of `ours` that a board with `limits` is to keep.
    #[must_use]
    pub fn new(ours: Identity, limits: Limits) -> Self {
        Self {
            ours,
            limits,
            pending: Vec::new(),
            bytes: 0,
            hash: Sha256::new(),
            stage: Stage::Start,
            items: 0,
            header: None,
            durable: None,
            history: BTreeMap::new(),
            settings: false,
        }
    }

    /// The next bytes of the file.
    ///
    /// # Errors
    /// [`BackupError`], after which the rest is of no use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.pending.extend_from_slice(bytes);
        let mut taken = 0;
        loop {
            let rest = self.pending.get(taken..).unwrap_or_default();
            let length = match self.next_length(rest)? {
                Some(length) if length <= rest.len() => length,
                _ => break,
            };
            let part: Vec<u8> = rest.get(..length).unwrap_or_default().to_vec();
            taken += length;
            self.take(&part)?;
        }
        self.pending.drain(..taken);
        self.bytes += u64::try_from(taken).expect("a length fits 64 bits");
        Ok(())
    }

    /// How long the next part is, where that is known yet.
    fn next_length(&self, rest: &[u8]) -> Result<Option<usize>, BackupError> {
        match self.stage {
            Stage::Start => {
                let known = rest.len().min(MAGIC.len());
                if rest.get(..known) != MAGIC.get(..known) {
                    return Err(BackupError::NoBackup);
                }
                Ok(Some(MAGIC.len() + NUMBER))
            }
            Stage::Messages => {
                let Some(length) = number(rest) else { return Ok(None) };
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > MESSAGE_BYTES_MAX {
                    return Err(BackupError::Damaged(format!("an item of {length} bytes")));
                }
                Ok(Some(NUMBER + length))
            }
            Stage::Checksum => Ok(Some(CHECKSUM)),
            Stage::Done if rest.is_empty() => Ok(None),
            Stage::Done => Err(BackupError::Surplus),
        }
    }

    fn take(&mut self, part: &[u8]) -> Result<(), BackupError> {
        if self.stage != Stage::Checksum {
            self.hash.update(part);
        }
        match self.stage {
            Stage::Start => {
                let found = part.get(MAGIC.len()..).and_then(number).unwrap_or(0);
                if found == 0 || found > FORMAT {
                    return Err(BackupError::Newer { found });
                }
                self.stage = Stage::Messages;
            }
            Stage::Messages => {
                let message = part.get(NUMBER..).unwrap_or_default();
                if self.header.is_none() {
                    self.begin(message)?;
                } else if message.is_empty() {
                    self.stage = Stage::Checksum;
                } else {
                    self.item(message)?;
                }
            }
            Stage::Checksum => {
                if self.hash.clone().finalize().as_slice() != part {
                    return Err(BackupError::Checksum);
                }
                self.stage = Stage::Done;
            }
            Stage::Done => return Err(BackupError::Surplus),
        }
        Ok(())
    }

    fn begin(&mut self, message: &[u8]) -> Result<(), BackupError> {
        let header = v1::BackupHeader::decode(message)
            .map_err(|error| BackupError::Damaged(format!("its header: {error}")))?;
        let header = Header {
            identity: wire::identity_from_wire(header.identity)?,
            revision: Revision(header.revision),
            epoch: wire::epoch_from_wire(header.epoch)?,
            at_unix_millis: header.at_unix_millis,
            version: header.version,
            items: header.items,
            longest_ttl: Span(header.longest_ttl_us),
        };
        self.ours.check(&header.identity)?;
        let numbers = [header.revision.0, header.epoch.generation, header.epoch.number];
        if numbers.iter().any(|number| *number > NUMBER_MAX) || header.longest_ttl > TTL_MAX {
            return Err(BackupError::Damaged("its header names numbers that no stateboard reaches".into()));
        }
        let mut durable = Durable::genesis(header.identity.clone(), baton_core::record::Settings::default());
        durable.revision = header.revision;
        durable.lock = DurableLock { epoch: header.epoch, holder: None, longest_ttl: header.longest_ttl };
        self.durable = Some(durable);
        self.header = Some(header);
        Ok(())
    }

    fn item(&mut self, message: &[u8]) -> Result<(), BackupError> {
        let damaged = |what: String| Err(BackupError::Damaged(what));
        let item = match v1::BackupItem::decode(message) {
            Ok(v1::BackupItem { item: Some(item) }) => item,
            Ok(v1::BackupItem { item: None }) => return damaged("an item of no known kind".into()),
            Err(error) => return damaged(format!("item {}: {error}", self.items + 1)),
        };
        self.items += 1;
        let Some(durable) = self.durable.as_mut() else { return damaged("no header".into()) };
        let twice = match item {
            Item::Settings(settings) => {
                durable.settings = wire::settings_from_wire(settings)?;
                std::mem::replace(&mut self.settings, true).then(|| "settings".to_owned())
            }
            Item::Record(record) => {
                let record = wire::record_from_wire(record)?;
                let name = record.replicaset.to_string();
                durable.records.insert(record.replicaset.clone(), record).map(|_| name)
            }
            Item::Member(member) => {
                let member = wire::member_from_wire(member)?;
                let name = format!("{}/{}", member.replicaset, member.instance);
                let key = (member.replicaset.clone(), member.instance.clone());
                durable.members.insert(key, member).map(|_| name)
            }
            Item::Task(task) => {
                let task = wire::task_from_wire(task)?;
                let name = format!("task {}", task.id);
                durable.tasks.insert(task.id, task).map(|_| name)
            }
            Item::History(line) => {
                let line = wire::history_from_wire(line)?;
                let key = (line.record.replicaset.to_string(), line.record.term.0);
                let name = format!("the history of {} at term {}", key.0, key.1);
                self.history.insert(key, line).map(|_| name)
            }
        };
        if let Some(name) = twice {
            return Err(Malformed::Twice(name).into());
        }
        self.check_limits()
    }

    fn check_limits(&self) -> Result<(), BackupError> {
        let Some(durable) = &self.durable else { return Ok(()) };
        let lines = self.limits.records.saturating_mul(self.limits.history_per_set);
        for (what, found, limit) in [
            ("records", durable.records.len(), self.limits.records),
            ("members", durable.members.len(), self.limits.members),
            ("tasks", durable.tasks.len(), self.limits.tasks),
            ("lines of history", self.history.len(), lines),
        ] {
            if found > limit {
                return Err(BackupError::Limit { what, found, limit });
            }
        }
        Ok(())
    }

    /// The whole, once all bytes were fed. The lines of history are in the order of their terms, the newest that are kept.
    ///
    /// # Errors
    /// [`BackupError::Truncated`] where bytes are missing.
    pub fn finish(self) -> Result<(Header, Durable), BackupError> {
        let announced = self.header.as_ref().map_or(0, |header| header.items);
        let bytes = self.bytes + u64::try_from(self.pending.len()).expect("a length fits 64 bits");
        let truncated = BackupError::Truncated { bytes, items: self.items, announced };
        let (Some(header), Some(mut durable)) = (self.header, self.durable) else { return Err(truncated) };
        if self.stage != Stage::Done {
            return Err(truncated);
        }
        if self.items != announced || !self.settings {
            let what = format!("{announced} items are announced, {} are there", self.items);
            return Err(BackupError::Damaged(what));
        }
        let mut history: BTreeMap<_, VecDeque<HistoryEntry>> = BTreeMap::new();
        for line in self.history.into_values() {
            let lines = history.entry(line.record.replicaset.clone()).or_default();
            lines.push_back(line);
            if lines.len() > self.limits.history_per_set {
                lines.pop_front();
            }
        }
        let known: BTreeSet<_> = durable.records.keys().collect();
        if let Some(stray) = history.keys().find(|set| !known.contains(set)) {
            return Err(BackupError::Damaged(format!("history of {stray}, of which there is no record")));
        }
        durable.history = history;
        Ok((header, durable))
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.get(..NUMBER).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests;
