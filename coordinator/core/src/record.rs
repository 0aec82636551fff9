//! What the state provider keeps, as values: the record of a replica set, its members, the settings, the history.
//! Nothing here knows how they are encoded or who may write them.

use crate::ids::{
    BadName, CoordinatorName, DataId, Endpoint, Epoch, Incarnation, InstanceName, ReplicaSetName, Term,
    Version, Zone,
};
pub use crate::settings::{Move, MovePhase, SetSettings, Settings};

use crate::position::Position;
use crate::stragglers::Stragglers;
use crate::time::Span;
use std::collections::BTreeSet;

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
    /// Who was not heard to follow the master of this term, and may replicate from another one still, or again. Empty where no
    /// commit waits for replicas.
    pub stragglers: Stragglers,
    /// When somebody was appointed by nobody's wish, as milliseconds since 1970, the oldest first: what holds a set that failed
    /// over too often, also under the next arbiter. At most [`FAILOVERS_KEPT`]; emptied when a person has looked.
    pub failovers: Vec<u64>,
    /// Held since the cluster had more failovers within a minute than `max_failovers_per_minute`, and no person has looked: while
    /// any set's record says so, all are held, also under the next arbiter.
    pub over_budget: bool,
    /// For how many replicas a commit waits (0: none).
    pub ack_quorum: u32,
    /// The identity of the data, once known.
    pub data_id: Option<DataId>,
    /// The master keeps its right without a lease (pause).
    pub pinned: Option<Pin>,
    /// A person accepted what may be lost by this appointment: the master need not come from the set before it.
    pub forced: bool,
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

/// Most failovers that a record tells of.
pub const FAILOVERS_KEPT: usize = 64;

/// A pause: no automatic change of master, and a right that needs no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin {
    /// For how long, from when it was asked for; a pause for good has [`Pin::FOR_GOOD`].
    pub span: Span,
    /// When it ends by itself, as milliseconds since 1970, for people and for whoever takes the lock over; no right rests on
    /// it. 0: never.
    pub until_unix_millis: u64,
}

impl Pin {
    /// A hundred years.
    pub const FOR_GOOD: Span = Span::from_secs(100 * 365 * 86_400);

    /// Whether nobody but a person ends it.
    #[must_use]
    pub fn is_for_good(self) -> bool {
        self.until_unix_millis == 0
    }
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
        let forced = |added: &InstanceName| self.forced && self.master.as_ref() == Some(added);
        if self.term > before.term
            && !restored
            && before.master.is_some()
            && let Some(added) = self.in_sync.difference(&before.in_sync).find(|added| !forced(added))
        {
            return Err(BadChange::InSyncGrew { added: added.clone() });
        }
        Ok(())
    }
}
