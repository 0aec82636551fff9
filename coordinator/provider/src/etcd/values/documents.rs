//! Everything but the record: identity, epoch, lock, what an arbiter that resigned left, members, settings, history.
//! Spans are texts that a person reads (`3s`, `375ms`).

use super::{Document, FORMAT, RecordDoc};
use baton_board::{Candidate, Identity, LockSecret};
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Version, Zone,
};
use baton_core::record::{HistoryEntry, Member, Move, MovePhase, SetSettings, Settings};
use baton_core::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

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

/// The settings.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct SettingsDoc {
    format: u32,
    version: u64,
    lease_ttl: String,
    stall_timeout: Option<String>,
    max_lag_bytes: Option<u64>,
    ack_quorum: u32,
    #[serde(default = "failsafe_by_default")]
    failsafe: bool,
    clock_drift_ppm: u32,
    overrides: BTreeMap<String, SetSettingsDoc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moving: Option<MoveDoc>,
}

/// Where etcd stands in a move of the cluster's state.
#[derive(Serialize, Deserialize)]
struct MoveDoc {
    /// In hexadecimal.
    id: String,
    phase: String,
    other: String,
    lock: String,
}

const PHASES: [(MovePhase, &str); 4] = [
    (MovePhase::Announced, "announced"),
    (MovePhase::Frozen, "frozen"),
    (MovePhase::Moved, "moved"),
    (MovePhase::Arriving, "arriving"),
];

impl From<&Move> for MoveDoc {
    fn from(it: &Move) -> Self {
        let phase = PHASES.iter().find(|(phase, _)| *phase == it.phase).map_or("", |(_, name)| name);
        let (other, lock) = (it.other.clone(), span_to_text(it.lock));
        Self { id: format!("{:016x}", it.id), phase: phase.to_owned(), other, lock }
    }
}

impl MoveDoc {
    fn into_value(self) -> Result<Move, String> {
        let phase = PHASES.iter().find(|(_, name)| *name == self.phase);
        let (phase, _) = phase.ok_or_else(|| format!("{:?} is no phase of a move", self.phase))?;
        let id = u64::from_str_radix(&self.id, 16).map_err(text)?;
        Ok(Move { id, phase: *phase, other: self.other, lock: span_from_text(&self.lock)? })
    }
}

#[derive(Serialize, Deserialize)]
struct SetSettingsDoc {
    max_lag_bytes: Option<u64>,
    ack_quorum: Option<u32>,
}

fn span_to_text(span: Span) -> String {
    humantime::format_duration(span.as_duration()).to_string()
}

fn span_from_text(text: &str) -> Result<Span, String> {
    let duration: Duration =
        humantime::parse_duration(text).map_err(|error| format!("{text:?} is no span of time: {error}"))?;
    Ok(Span::from_duration(duration))
}

impl From<&Settings> for SettingsDoc {
    fn from(settings: &Settings) -> Self {
        let own =
            |it: &SetSettings| SetSettingsDoc { max_lag_bytes: it.max_lag_bytes, ack_quorum: it.ack_quorum };
        Self {
            format: FORMAT,
            version: settings.version.0,
            lease_ttl: span_to_text(settings.lease_ttl),
            stall_timeout: settings.stall_timeout.map(span_to_text),
            max_lag_bytes: settings.max_lag_bytes,
            ack_quorum: settings.ack_quorum,
            failsafe: settings.failsafe,
            clock_drift_ppm: settings.clock_drift_ppm,
            overrides: settings.overrides.iter().map(|(set, it)| (set.to_string(), own(it))).collect(),
            moving: settings.moving.as_ref().map(MoveDoc::from),
        }
    }
}

/// What settings of a version that did not know it mean.
fn failsafe_by_default() -> bool {
    Settings::default().failsafe
}

impl Document for SettingsDoc {
    type Value = Settings;

    fn into_value(self) -> Result<Settings, String> {
        let mut overrides = BTreeMap::new();
        for (set, own) in self.overrides {
            let own = SetSettings { max_lag_bytes: own.max_lag_bytes, ack_quorum: own.ack_quorum };
            overrides.insert(ReplicaSetName::parse(&set).map_err(text)?, own);
        }
        Ok(Settings {
            lease_ttl: span_from_text(&self.lease_ttl)?,
            stall_timeout: self.stall_timeout.map(|it| span_from_text(&it)).transpose()?,
            max_lag_bytes: self.max_lag_bytes,
            ack_quorum: self.ack_quorum,
            failsafe: self.failsafe,
            clock_drift_ppm: self.clock_drift_ppm,
            overrides,
            moving: self.moving.map(MoveDoc::into_value).transpose()?,
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

impl From<&HistoryEntry> for HistoryDoc {
    fn from(entry: &HistoryEntry) -> Self {
        let record = serde_json::value::to_raw_value(&RecordDoc::from(&entry.record));
        let as_text = || serde_json::value::to_raw_value(&entry.decision);
        let decision = if entry.decision.starts_with('{') && !entry.decision.contains('\n') {
            RawValue::from_string(entry.decision.clone()).or_else(|_| as_text())
        } else {
            as_text()
        };
        Self {
            format: FORMAT,
            record: record.expect("a record has text keys only"),
            decision: decision.expect("a text is JSON"),
        }
    }
}

impl Document for HistoryDoc {
    type Value = HistoryEntry;

    fn into_value(self) -> Result<HistoryEntry, String> {
        let record: RecordDoc = serde_json::from_str(self.record.get()).map_err(text)?;
        let raw = self.decision.get();
        let decision =
            if raw.starts_with('{') { raw.to_owned() } else { serde_json::from_str(raw).map_err(text)? };
        Ok(HistoryEntry { record: record.into_value()?, decision })
    }
}
