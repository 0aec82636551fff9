//! Everything but the record: identity, epoch, lock, what an arbiter that resigned left, members, tasks, history.

use super::{Document, FORMAT, RecordDoc};
use baton_board::{Candidate, Identity, LockSecret};
use baton_core::contender::Bid;
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, TaskId, Version, Zone,
};
use baton_core::record::{HistoryEntry, Member};
use baton_core::task::{StoredTask, TASK_ID_END};
use baton_core::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash_from_hex(text: &str) -> Result<[u8; 32], String> {
    let bad = || "a hash is written as 64 hexadecimal digits".to_owned();
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(bad());
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        let digits = text.get(2 * index..2 * index + 2).ok_or_else(bad)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
    }
    Ok(hash)
}

/// The identity of the cluster.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct IdentityDoc {
    format: u32,
    cluster: String,
    secret_hash: String,
}

impl From<&Identity> for IdentityDoc {
    fn from(identity: &Identity) -> Self {
        let secret_hash = hex(&identity.secret_hash);
        Self { format: FORMAT, cluster: identity.cluster.to_string(), secret_hash }
    }
}

impl Document for IdentityDoc {
    type Value = Identity;

    fn into_value(self) -> Result<Identity, String> {
        let cluster = ClusterName::parse(&self.cluster).map_err(text)?;
        Ok(Identity { cluster, secret_hash: hash_from_hex(&self.secret_hash)? })
    }
}

/// The generation. Its key is written again, unchanged, by each hand-over of the lock, so that its revision is the
/// number of the last epoch even when nobody holds the lock.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct EpochDoc {
    format: u32,
    generation: u64,
    /// Added to the revision. A cluster that was moved here goes on above the epochs that it had before.
    #[serde(default, skip_serializing_if = "is_zero")]
    above: u64,
}

// Serde hands a reference over.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// [`EpochDoc`], read: by it the revision of a lock is the number of its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct EpochValue {
    pub(in super::super) generation: u64,
    pub(in super::super) above: u64,
}

impl EpochValue {
    /// The epoch of a lock that this revision created.
    pub(in super::super) fn epoch(self, created: i64) -> Epoch {
        let number = created.unsigned_abs().saturating_add(self.above);
        Epoch { generation: self.generation, number }
    }
}

impl EpochDoc {
    pub(in super::super) fn new(value: EpochValue) -> Self {
        Self { format: FORMAT, generation: value.generation, above: value.above }
    }
}

impl Document for EpochDoc {
    type Value = EpochValue;

    fn into_value(self) -> Result<EpochValue, String> {
        let Self { generation, above, .. } = self;
        if generation == 0 {
            Err("generations count from 1".to_owned())
        } else if above > u64::MAX / 2 {
            Err("above leaves no room to count on".to_owned())
        } else {
            Ok(EpochValue { generation, above })
        }
    }
}

/// Who holds the lock. The number of its epoch is the revision that created the key.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct LockDoc {
    format: u32,
    generation: u64,
    holder: String,
    address: String,
    /// Of the secret that the holder shows: whoever reads etcd must not be able to write as the holder.
    secret_hash: String,
}

/// [`LockDoc`], read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct LockValue {
    pub(in super::super) generation: u64,
    pub(in super::super) holder: Candidate,
    pub(in super::super) secret_hash: [u8; 32],
}

impl LockDoc {
    pub(in super::super) fn new(generation: u64, holder: &Candidate, secret: LockSecret) -> Self {
        Self {
            format: FORMAT,
            generation,
            holder: holder.coordinator.to_string(),
            address: holder.address.to_string(),
            secret_hash: hex(&hash_of(secret)),
        }
    }
}

impl Document for LockDoc {
    type Value = LockValue;

    fn into_value(self) -> Result<LockValue, String> {
        Ok(LockValue {
            generation: self.generation,
            holder: Candidate {
                coordinator: CoordinatorName::parse(&self.holder).map_err(text)?,
                address: Endpoint(Arc::from(self.address)),
            },
            secret_hash: hash_from_hex(&self.secret_hash)?,
        })
    }
}

/// A call or a bid beside the lock.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct BidDoc {
    format: u32,
    epoch: String,
    by: String,
    address: String,
    hears: u32,
    number: u64,
}

impl BidDoc {
    pub(in super::super) fn new(epoch: Epoch, bid: &Bid) -> Self {
        Self {
            format: FORMAT,
            epoch: epoch.to_string(),
            by: bid.by.to_string(),
            address: bid.address.to_string(),
            hears: bid.hears,
            number: bid.number,
        }
    }
}

impl Document for BidDoc {
    /// In which epoch.
    type Value = (Epoch, Bid);

    fn into_value(self) -> Result<(Epoch, Bid), String> {
        let bid = Bid {
            by: CoordinatorName::parse(&self.by).map_err(text)?,
            address: Endpoint(Arc::from(self.address)),
            hears: self.hears,
            number: self.number,
        };
        Ok((self.epoch.parse().map_err(text)?, bid))
    }
}

/// The hash by which a lock's secret is kept. A secret is random and long, so nothing slower is needed.
pub(in super::super) fn hash_of(secret: LockSecret) -> [u8; 32] {
    Sha256::digest(secret.0.to_be_bytes()).into()
}

/// The last grant of an arbiter that resigned lives on for so long, at most.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct ReleasedDoc {
    format: u32,
    epoch: String,
    /// The time to live that its lease was granted with.
    seconds: u64,
}

impl ReleasedDoc {
    pub(in super::super) fn new(epoch: Epoch, seconds: u64) -> Self {
        Self { format: FORMAT, epoch: epoch.to_string(), seconds }
    }
}

impl Document for ReleasedDoc {
    type Value = Span;

    fn into_value(self) -> Result<Span, String> {
        self.epoch.parse::<Epoch>().map_err(text)?;
        Ok(Span::from_secs(self.seconds))
    }
}

/// A member.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct MemberDoc {
    format: u32,
    instance: String,
    replicaset: String,
    coordinator: String,
    endpoint: String,
    zone: Option<String>,
    priority: u32,
    electable: bool,
    bootstrap_members: u32,
    version: u64,
}

impl From<&Member> for MemberDoc {
    fn from(member: &Member) -> Self {
        Self {
            format: FORMAT,
            instance: member.instance.to_string(),
            replicaset: member.replicaset.to_string(),
            coordinator: member.coordinator.to_string(),
            endpoint: member.endpoint.to_string(),
            zone: member.zone.as_ref().map(ToString::to_string),
            priority: member.priority,
            electable: member.electable,
            bootstrap_members: member.bootstrap_members,
            version: member.version.0,
        }
    }
}

impl Document for MemberDoc {
    type Value = Member;

    fn into_value(self) -> Result<Member, String> {
        Ok(Member {
            instance: InstanceName::parse(&self.instance).map_err(text)?,
            replicaset: ReplicaSetName::parse(&self.replicaset).map_err(text)?,
            coordinator: CoordinatorName::parse(&self.coordinator).map_err(text)?,
            endpoint: Endpoint(Arc::from(self.endpoint)),
            zone: self.zone.map(|zone| Zone::parse(&zone)).transpose().map_err(text)?,
            priority: self.priority,
            electable: self.electable,
            bootstrap_members: self.bootstrap_members,
            version: Version(self.version),
        })
    }
}

/// One line of a set's history.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct HistoryDoc {
    format: u32,
    record: Box<RawValue>,
    /// The decision record itself where it is a JSON object, so that a person can read it; any other text as a text.
    decision: Box<RawValue>,
}

/// An object as it is, where the text is one on one line; any other text as a text.
fn raw_of(text: &str) -> Box<RawValue> {
    let object = text.starts_with('{') && !text.contains('\n');
    let raw = object.then(|| RawValue::from_string(text.to_owned()).ok()).flatten();
    raw.unwrap_or_else(|| serde_json::value::to_raw_value(text).expect("a text is JSON"))
}

/// The text again.
fn text_of(raw: &RawValue) -> Result<String, String> {
    let raw = raw.get();
    if raw.starts_with('{') { Ok(raw.to_owned()) } else { serde_json::from_str(raw).map_err(text) }
}

impl From<&HistoryEntry> for HistoryDoc {
    fn from(entry: &HistoryEntry) -> Self {
        let record = serde_json::value::to_raw_value(&RecordDoc::from(&entry.record));
        Self {
            format: FORMAT,
            record: record.expect("a record has text keys only"),
            decision: raw_of(&entry.decision),
        }
    }
}

impl Document for HistoryDoc {
    type Value = HistoryEntry;

    fn into_value(self) -> Result<HistoryEntry, String> {
        let record: RecordDoc = serde_json::from_str(self.record.get()).map_err(text)?;
        Ok(HistoryEntry { record: record.into_value()?, decision: text_of(&self.decision)? })
    }
}

/// A task of an operator.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct TaskDoc {
    format: u32,
    id: u64,
    version: u64,
    /// As the decision of a history: to be read with etcdctl where it can be.
    task: Box<RawValue>,
}

impl From<&StoredTask> for TaskDoc {
    fn from(task: &StoredTask) -> Self {
        Self { format: FORMAT, id: task.id.0, version: task.version.0, task: raw_of(&task.body) }
    }
}

impl Document for TaskDoc {
    type Value = StoredTask;

    fn into_value(self) -> Result<StoredTask, String> {
        if self.id == 0 || self.id >= TASK_ID_END {
            return Err(format!("{} is no number of a task", self.id));
        }
        Ok(StoredTask { id: TaskId(self.id), body: text_of(&self.task)?, version: Version(self.version) })
    }
}
