//! The state of a cluster as people and programs see it: one shape for `batonctl status --json`, the daemon's HTTP and
//! the gRPC of operators. Plain texts and numbers; nothing is decided from them.

use crate::decision::DecisionRecord;
use crate::drill::LastDrill;
use baton_core::position::Position;
use baton_core::record::Record;
use serde::{Deserialize, Serialize};
use std::time::{Duration, UNIX_EPOCH};

/// The whole cluster, as one coordinator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster: String,
    /// The coordinator that answers.
    pub answered_by: String,
    /// Who decides.
    pub arbiter: ArbiterStatus,
    /// Every replica set, by name.
    pub replicasets: Vec<ReplicaSetStatus>,
    /// What is wrong with the cluster as a whole, in words.
    pub issues: Vec<String>,
    /// The move of the state to another provider, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<MovingStatus>,
}

/// A move of the state to another provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovingStatus {
    /// Drawn for this run of the move, in hexadecimal.
    pub id: String,
    /// `announced`, `frozen` or `moved`.
    pub phase: String,
    /// Where it is moved to.
    pub to: String,
    /// The attached hosts.
    pub hosts: Vec<MovingHost>,
}

/// Whether one host reaches the new provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovingHost {
    /// Its coordinator.
    pub coordinator: String,
    /// Why it does not; absent where it does.
    pub problem: Option<String>,
}

/// Who decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArbiterStatus {
    /// Whether the coordinator that answers is the active arbiter.
    pub active_here: bool,
    /// The active arbiter's name, if one is known.
    pub coordinator: Option<String>,
    /// Its gRPC address, `host:port`.
    pub address: Option<String>,
    /// The epoch of its lock (`GENERATION.NUMBER`).
    pub epoch: Option<String>,
    /// For how many milliseconds the lock is still good without a renewal; only the holder knows.
    pub lock_valid_ms: Option<u64>,
}

/// One replica set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSetStatus {
    /// Its name.
    pub replicaset: String,
    /// The recorded term; 0 before the first appointment.
    pub term: u64,
    /// The recorded master.
    pub master: Option<String>,
    /// Where clients reach it.
    pub endpoint: Option<String>,
    /// `appointed`, `active` or `none`.
    pub state: String,
    /// The appointment, if there is one.
    pub record: Option<RecordStatus>,
    /// Its members, by name.
    pub members: Vec<MemberStatus>,
    /// What the arbiter is doing with the set, in words; `steady` if nothing.
    pub phase: String,
    /// Why nobody else is made master by itself: `paused`, `suppressed` or `budget`; absent where nothing holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// What is wrong, in words.
    pub issues: Vec<String>,
    /// The last decision, a refusal too; absent if there was none in this epoch.
    pub last_decision: Option<DecisionRecord>,
    /// The last drill whose fault was brought about; absent where there was none, or none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drill: Option<LastDrill>,
}

/// One member of a replica set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub instance: String,
    /// `master`, `replica`, `candidate`, `fenced`, `starting` or `unknown`.
    pub role: String,
    /// `up`, `down`, `stalled` or `unknown`.
    pub health: String,
    /// `TERM:OFFSET` or `unknown`.
    pub position: String,
    /// Bytes behind the master; absent where one of the two positions is unknown.
    pub lag_bytes: Option<u64>,
    /// Whether it may be appointed.
    pub in_sync: bool,
    /// The run of its guard.
    pub incarnation: Option<String>,
    /// How long ago its last beat came; absent where none ever did.
    pub beat_age_ms: Option<u64>,
    /// The coordinator whose stream brings its beats, if one does.
    pub coordinator: Option<String>,
    /// Where clients reach it.
    pub endpoint: String,
    /// Where it stands.
    pub zone: Option<String>,
    /// Higher is preferred.
    pub priority: u32,
    /// Whether it may ever be appointed.
    pub electable: bool,
}

/// Something that a person should look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueStatus {
    /// A stable word for programs.
    pub code: String,
    /// `critical`, `warning` or `notice`.
    pub severity: String,
    /// The set; absent where it is the cluster's.
    pub replicaset: Option<String>,
    /// Whom it is about, if one member.
    pub instance: Option<String>,
    /// What is wrong, with the evidence.
    pub text: String,
    /// What to do about it.
    pub suggestion: String,
    /// A command that is safe now and shows more, or mends it.
    pub command: String,
}

/// The appointment in the JSON of the contracts, the same that is kept in etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// The format of these fields.
    pub format: u32,
    /// The set.
    pub replicaset: String,
    /// Raised by every appointment.
    pub term: u64,
    /// Raised by every change.
    pub version: u64,
    /// The master; absent only in the tombstone of a deleted set.
    pub master: Option<String>,
    /// Where clients reach it.
    pub endpoint: Option<String>,
    /// What the master held when it was chosen.
    pub start: String,
    /// Who may be appointed.
    pub in_sync: Vec<String>,
    /// For how many replicas a commit waits.
    pub ack_quorum: u32,
    /// The identity of the data, once known.
    pub data_id: Option<String>,
    /// Whether the master keeps its right without a lease.
    pub pinned: bool,
    /// When a pause ends by itself (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_until: Option<String>,
    /// Whether a person forced the appointment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Why.
    pub reason: String,
    /// Which arbiter.
    pub decided_by: String,
    /// In which epoch.
    pub epoch: String,
    /// When (RFC 3339).
    pub at: String,
}

/// The format of [`RecordStatus`].
pub const RECORD_FORMAT: u32 = 1;

impl From<&Record> for RecordStatus {
    fn from(record: &Record) -> Self {
        Self {
            format: RECORD_FORMAT,
            replicaset: record.replicaset.to_string(),
            term: record.term.0,
            version: record.version.0,
            master: record.master.as_ref().map(ToString::to_string),
            endpoint: record.endpoint.as_ref().map(ToString::to_string),
            start: record.start.to_string(),
            in_sync: record.in_sync.iter().map(ToString::to_string).collect(),
            ack_quorum: record.ack_quorum,
            data_id: record.data_id.as_ref().map(ToString::to_string),
            pinned: record.pinned.is_some(),
            pinned_until: record
                .pinned
                .filter(|pin| pin.until_unix_millis > 0)
                .map(|pin| rfc3339(pin.until_unix_millis)),
            forced: record.forced,
            reason: record.reason.clone(),
            decided_by: record.decided_by.to_string(),
            epoch: record.epoch.to_string(),
            at: rfc3339(record.at_unix_millis),
        }
    }
}

/// Bytes that `member` is behind `master`; `None` where one is unknown or they are of different terms.
#[must_use]
pub fn lag_bytes(master: &Position, member: &Position) -> Option<u64> {
    if master.term() != member.term() {
        return None;
    }
    Some(master.offset()?.saturating_sub(member.offset()?))
}

/// A wall-clock moment for people; the last one that the format can name where it is out of range.
#[must_use]
pub fn rfc3339(unix_millis: u64) -> String {
    /// 9999-12-31T23:59:59.999Z: beyond it the formatter refuses, and a damaged value must not panic anybody.
    const LAST: u64 = 253_402_300_799_999;
    let moment = UNIX_EPOCH + Duration::from_millis(unix_millis.min(LAST));
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_wall_clock_value_prints() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn lag_is_known_only_within_one_term() {
        assert_eq!(lag_bytes(&Position::at(7, 100), &Position::at(7, 90)), Some(10));
        assert_eq!(lag_bytes(&Position::at(7, 100), &Position::at(6, 90)), None);
        assert_eq!(lag_bytes(&Position::Unknown, &Position::at(6, 90)), None);
    }
}
