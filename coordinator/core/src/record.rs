//! What the state provider keeps, as values: the record of a replica set, its members, the settings, the history.
//! Nothing here knows how they are encoded or who may write them.

use crate::ids::{
    BadName, CoordinatorName, DataId, Endpoint, Epoch, Incarnation, InstanceName, ReplicaSetName, Term,
    Version, Zone,
};
use crate::position::Position;
use crate::time::Span;
use std::collections::{BTreeMap, BTreeSet};

/// The appointment of a replica set: durable before anybody acts on it (design, *The record*).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The set.
    pub replicaset: ReplicaSetName,
    /// Raised by every appointment.
    pub term: Term,
    /// Raised by every change, appointments included.
    pub version: Version,
    /// Who accepts writes. `None` only in the tombstone of a deleted set, which keeps its term.
    pub master: Option<InstanceName>,
    /// Where clients reach the master.
    pub endpoint: Option<Endpoint>,
    /// The run of the master's guard that holds this term; evidence 1 counts only from it or its successor.
    pub incarnation: Option<Incarnation>,
    /// What the appointed instance held when it was chosen. A later master must hold it too.
    pub start: Position,
    /// Who may be appointed, and whose acknowledgements may count.
    pub in_sync: BTreeSet<InstanceName>,
    /// Members outside the in-sync set that may still replicate from a master of theirs, and from which: they were not
    /// heard when the set was left without them. Empty where no commit waits for replicas.
    pub stragglers: BTreeMap<InstanceName, InstanceName>,
    /// For how many replicas a commit waits (0: none).
    pub ack_quorum: u32,
    /// The identity of the data, once known.
    pub data_id: Option<DataId>,
    /// Whether the master keeps its right without a lease (pause).
    pub pinned: bool,
    /// Why, for people (`crashed`, `switchover`, `grow a3`, …).
    pub reason: String,
    /// Which arbiter.
    pub decided_by: CoordinatorName,
    /// In which epoch of the lock.
    pub epoch: Epoch,
    /// The generation of the epoch in which the term was appointed: below the epoch's where the record was written back
    /// after a restore of the provider.
    pub term_generation: u64,
    /// When, as milliseconds since 1970 of the decider's wall clock: for people only, no decision reads it.
    pub at_unix_millis: u64,
}

/// One conditional change of one record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The version that must be there now (`None`: there must be no record).
    pub expected: Option<Version>,
    /// What is there afterwards. Its version is `expected + 1`, or 1; its term is never lower, and higher if the
    /// master or its incarnation is another.
    pub record: Record,
    /// The decision record as text for people and tools (JSON), kept in the history where the term rises.
    pub decision: String,
}

/// A member of a replica set as the provider lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its name.
    pub instance: InstanceName,
    /// Its set.
    pub replicaset: ReplicaSetName,
    /// The coordinator that guards it.
    pub coordinator: CoordinatorName,
    /// Where clients reach it.
    pub endpoint: Endpoint,
    /// Where it stands.
    pub zone: Option<Zone>,
    /// Higher is preferred.
    pub priority: u32,
    /// Whether it may ever be appointed.
    pub electable: bool,
    /// How many members the set's first appointment waits for.
    pub bootstrap_members: u32,
    /// Raised by every change of this member.
    pub version: Version,
}

/// One line of a replica set's history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryEntry {
    /// The record as it was appointed.
    pub record: Record,
    /// The decision record that belongs to it.
    pub decision: String,
}

/// Cluster-wide settings; they live in the provider, so that two hosts cannot disagree (contracts, *Configuration*).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a silent master may keep its right.
    pub lease_ttl: Span,
    /// How long a tiny write may take before the engine counts as stalled; `lease_ttl` if not set.
    pub stall_timeout: Option<Span>,
    /// Candidates further behind than this are refused; not set: the best wins and the loss is reported.
    pub max_lag_bytes: Option<u64>,
    /// For how many replicas a commit waits.
    pub ack_quorum: u32,
    /// Whether a master goes on while no arbiter answers, as long as every other in-sync member promises to lead nothing.
    pub failsafe: bool,
    /// How two hosts' clocks may differ in rate, in millionths (5,000 = 0.5 %).
    pub clock_drift_ppm: u32,
    /// Values of single replica sets.
    pub overrides: BTreeMap<ReplicaSetName, SetSettings>,
    /// Where this provider stands in a move of the cluster's state to or from another one. Part of this document so that
    /// one version orders changes of the settings and the steps of a move; changed by none but the steps of a move.
    pub moving: Option<Move>,
    /// Raised by every change.
    pub version: Version,
}

/// One end of a move of the cluster's state from one provider to another, as that end keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// Drawn for each run of the move: both ends of one move have the same.
    pub id: u64,
    /// How far it has come, at this end.
    pub phase: MovePhase,
    /// The other end, in the words of the configuration, for people: `etcd http://10.0.0.1:2379`.
    pub other: String,
    /// How long a lock of the end that is left can be believed in after its last renewal, at most.
    pub lock: Span,
}

/// How far a move has come, at one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MovePhase {
    /// This end is to be left. Nothing is different yet.
    Announced,
    /// It is being copied: nothing changes here and the lock changes no hands; whoever holds it keeps it.
    Frozen,
    /// It was left: nothing changes here any more, and nobody has the lock.
    Moved,
    /// The state comes here, and is no state yet: nobody has the lock.
    Arriving,
}

impl Settings {
    /// Why records and members cannot be changed at this end now; `None` where they can.
    #[must_use]
    pub fn standstill(&self) -> Option<String> {
        let Move { phase, other, .. } = self.moving.as_ref()?;
        match phase {
            MovePhase::Announced => None,
            MovePhase::Frozen => {
                Some(format!("the cluster's state is being moved to {other}; nothing changes meanwhile"))
            }
            MovePhase::Moved => Some(format!("the cluster's state was moved to {other}")),
            MovePhase::Arriving => Some(format!("the cluster's state has not arrived here yet from {other}")),
        }
    }

    /// How far a move has come here, if there is one.
    #[must_use]
    pub fn phase(&self) -> Option<MovePhase> {
        self.moving.as_ref().map(|it| it.phase)
    }
}

impl MovePhase {
    /// Whether an end in phase `before` of a move may go on to `after`, `same` where both are of the same move. An end that
    /// was left comes back by being filled anew, never by a step; and only what has come may be opened.
    #[must_use]
    pub fn may_step(before: Option<Self>, after: Option<Self>, same: bool) -> bool {
        match (before, after) {
            (None | Some(Self::Announced), Some(Self::Announced))
            | (Some(Self::Announced | Self::Frozen | Self::Arriving), None) => true,
            (Some(Self::Announced), Some(Self::Frozen)) | (Some(Self::Frozen), Some(Self::Moved)) => same,
            (None, None)
            | (None, Some(Self::Frozen | Self::Moved | Self::Arriving))
            | (Some(Self::Announced), Some(Self::Moved | Self::Arriving))
            | (Some(Self::Frozen), Some(Self::Announced | Self::Frozen | Self::Arriving))
            | (Some(Self::Moved), _)
            | (Some(Self::Arriving), Some(_)) => false,
        }
    }
}

/// What one replica set has otherwise than the cluster. (`lease_ttl` is the cluster's: one beat serves all sets.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetSettings {
    /// See [`Settings::max_lag_bytes`].
    pub max_lag_bytes: Option<u64>,
    /// See [`Settings::ack_quorum`].
    pub ack_quorum: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ttl: Span::from_secs(3),
            stall_timeout: None,
            max_lag_bytes: None,
            ack_quorum: 0,
            failsafe: true,
            clock_drift_ppm: 5_000,
            overrides: BTreeMap::new(),
            moving: None,
            version: Version(0),
        }
    }
}

impl Settings {
    /// What holds for one replica set.
    #[must_use]
    pub fn ack_quorum_of(&self, set: &ReplicaSetName) -> u32 {
        self.overrides.get(set).and_then(|own| own.ack_quorum).unwrap_or(self.ack_quorum)
    }

    /// What holds for one replica set.
    #[must_use]
    pub fn max_lag_bytes_of(&self, set: &ReplicaSetName) -> Option<u64> {
        self.overrides.get(set).and_then(|own| own.max_lag_bytes).or(self.max_lag_bytes)
    }
}

/// Why a change of a record is no step of the protocol, whoever asks for it. Checked by the arbiter before it writes
/// (an assertion there) and by the provider before it accepts (an error there).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// The new version is not the expected one plus one.
    #[error("version {found} does not follow {expected}")]
    Version {
        /// What it must be.
        expected: Version,
        /// What it is.
        found: Version,
    },
    /// The term went back.
    #[error("term {found} is below the recorded {recorded}")]
    TermFell {
        /// What is recorded.
        recorded: Term,
        /// What was asked for.
        found: Term,
    },
    /// Another master, or another run of its guard, at the same term.
    #[error("term {term} belongs to {recorded}; {found} needs a higher one")]
    TermReused {
        /// The term.
        term: Term,
        /// Whose it is.
        recorded: String,
        /// Who wanted it.
        found: String,
    },
    /// The master is not in the in-sync set.
    #[error("the master {master} is not in the in-sync set")]
    MasterNotInSync {
        /// The master.
        master: InstanceName,
    },
    /// A new term whose in-sync set has members that the old one had not.
    #[error("the in-sync set of a new term may only shrink, {added} is new")]
    InSyncGrew {
        /// Who.
        added: InstanceName,
    },
    /// A name is no name.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl Record {
    /// Whether `self` may follow `before` (design, *The record* and *Promotion*; I1).
    ///
    /// # Errors
    /// [`BadChange`] names the broken rule.
    pub fn check_follows(&self, before: Option<&Self>) -> Result<(), BadChange> {
        if let Some(master) = &self.master
            && !self.in_sync.contains(master)
        {
            return Err(BadChange::MasterNotInSync { master: master.clone() });
        }
        let expected = before.map_or(Version(1), |before| before.version.next());
        if self.version != expected {
            return Err(BadChange::Version { expected, found: self.version });
        }
        let Some(before) = before else { return Ok(()) };
        if self.term < before.term {
            return Err(BadChange::TermFell { recorded: before.term, found: self.term });
        }
        let same_holder = self.master == before.master && self.incarnation == before.incarnation;
        if self.term == before.term && !same_holder {
            let holder =
                |record: &Self| record.master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
            return Err(BadChange::TermReused {
                term: self.term,
                recorded: holder(before),
                found: holder(self),
            });
        }
        // Across a restore of the provider the old set is not the one that the new term follows.
        let restored = self.epoch.generation > before.epoch.generation;
        if self.term > before.term
            && !restored
            && before.master.is_some()
            && let Some(added) = self.in_sync.difference(&before.in_sync).next()
        {
            return Err(BadChange::InSyncGrew { added: added.clone() });
        }
        Ok(())
    }
}
