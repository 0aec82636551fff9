//! How requests end, as values. An outcome here is an answer: what the transport adds (not applied, unknown) is the
//! business of whoever carries it.

use baton_core::ids::{Epoch, ReplicaSetName, Revision};
use baton_core::record::{BadChange, Record, Settings};
use baton_core::task::StoredTask;
use std::collections::BTreeMap;
use std::fmt;

/// How an `appoint` ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AppointOutcome {
    /// All changes are durable, at this revision.
    Applied(Revision),
    /// Nothing was changed: these sets have other versions than expected. The value is what is there now (`None`: no
    /// record). Sets whose version was as expected are not named.
    Conflict(BTreeMap<ReplicaSetName, Option<Record>>),
    /// Nothing was changed: the epoch of the request is not the current one, which is this.
    StaleEpoch(Epoch),
    /// Nothing was changed: the request is no step of the protocol, whatever is recorded.
    Refused(Refusal),
}

/// How a write of a member ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// Durable. The revision is the current one; it did not rise if there was nothing to change.
    Applied(Revision),
    /// Nothing was changed: the epoch of the request is not the current one, which is this.
    StaleEpoch(Epoch),
    /// Nothing was changed.
    Refused(Refusal),
}

/// How a write of a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TaskOutcome {
    /// Durable, at this revision.
    Applied(Revision),
    /// Nothing was changed: this is the task now; `None`: there is no such task.
    Conflict(Option<Box<StoredTask>>),
    /// Nothing was changed: the epoch of the request is not the current one, which is this.
    StaleEpoch(Epoch),
    /// Nothing was changed.
    Refused(Refusal),
}

/// How a write of the settings ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SettingsOutcome {
    /// Durable, at this revision.
    Applied(Revision),
    /// Nothing was changed: these are the settings now.
    Conflict(Box<Settings>),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a request was refused: a code for programs, the set it is about, and the facts as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}{detail}", DisplaySet(.replicaset.as_ref()))]
pub struct Refusal {
    /// The rule.
    pub reason: RefusalReason,
    /// The set, where it is about one.
    pub replicaset: Option<ReplicaSetName>,
    /// The facts, for people.
    pub detail: String,
}

struct DisplaySet<'a>(Option<&'a ReplicaSetName>);

impl fmt::Display for DisplaySet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |set| write!(f, "{set}: "))
    }
}

/// The rule that a refused request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalReason {
    /// No change at all was asked for.
    Empty,
    /// One set twice in one request.
    Duplicate,
    /// The new version is not the expected one plus one.
    Version,
    /// The term went back, or is 0.
    TermFell,
    /// A term that belongs to another master or another run of its guard.
    TermReused,
    /// The master is not in the in-sync set.
    MasterNotInSync,
    /// A new term whose in-sync set grew.
    InSyncGrew,
    /// A record without a master that still has an in-sync set or an endpoint.
    BadTombstone,
    /// The record names another epoch than the request.
    WrongEpoch,
    /// A limit of the board.
    Limit,
    /// The member is master or in the in-sync set.
    InUse,
    /// Settings whose timing is not safe.
    Timing,
    /// The state moves to another provider, or was moved there, or the step is none that a move has here.
    Moving,
    /// A rule that this version does not know (a newer stateboard).
    Other,
}

impl Refusal {
    /// A refusal for `reason`, about `set`, with the facts in `detail`.
    #[must_use]
    pub fn new(reason: RefusalReason, set: Option<&ReplicaSetName>, detail: impl Into<String>) -> Self {
        Self { reason, replicaset: set.cloned(), detail: detail.into() }
    }

    pub(crate) fn of_change(set: &ReplicaSetName, error: &BadChange) -> Self {
        let reason = match error {
            BadChange::Version { .. } => RefusalReason::Version,
            BadChange::TermFell { .. } => RefusalReason::TermFell,
            BadChange::TermReused { .. } => RefusalReason::TermReused,
            BadChange::MasterNotInSync { .. } => RefusalReason::MasterNotInSync,
            BadChange::InSyncGrew { .. } => RefusalReason::InSyncGrew,
            BadChange::Name(_) => RefusalReason::Other,
        };
        Self::new(reason, Some(set), error.to_string())
    }
}
