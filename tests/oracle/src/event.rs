//! What can be observed of a cluster, as plain values in true time (the observer's one clock, not a node's).

use baton_core::engine::DataState;
use baton_core::ids::{Epoch, Incarnation, InstanceName, ReplicaSetName, Term};
use baton_core::position::Position;
use baton_core::record::Record;
use std::collections::BTreeSet;

pub use baton_history::{Moment, WriteId};

/// An observation and its moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// What.
    pub seen: Seen,
}

/// A guard's run, and the term at which it holds the right to accept writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lead {
    /// Its instance.
    pub instance: InstanceName,
    /// The run.
    pub incarnation: Incarnation,
    /// At which term.
    pub term: Term,
    /// The term that this run read when it started; `None` if it has read nothing.
    pub floor: Option<Term>,
    /// The highest term that it has seen.
    pub highest_seen: Term,
}

/// What was observed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// The provider made a record durable while `current` was the epoch of its lock.
    Recorded {
        /// What is durable from now on.
        record: Box<Record>,
        /// The epoch of the provider's lock at that moment.
        current: Epoch,
    },
    /// An arbiter asked the provider for a change.
    Asked {
        /// The record whose version it names, if it is there.
        before: Option<Box<Record>>,
        /// What shall be there.
        record: Box<Record>,
    },
    /// An engine began to accept writes because its guard promoted it. (An operator's hand is not Baton's doing; see
    /// [`crate::intruder`].)
    Writable {
        /// Its set.
        replicaset: ReplicaSetName,
        /// Which.
        instance: InstanceName,
        /// The term that it was promoted for.
        term: Term,
        /// What its data said of itself before the promotion.
        found: DataState,
        /// The writes that its data held.
        holds: BTreeSet<WriteId>,
    },
    /// An engine stopped accepting writes, whatever the cause (fenced, ended, frozen).
    NotWritable {
        /// Its set.
        replicaset: ReplicaSetName,
        /// Which.
        instance: InstanceName,
    },
    /// A guard holds the right at a term (said whenever it begins to).
    Leads(Lead),
    /// A guard gave the right at a term up.
    Ceased {
        /// The run.
        incarnation: Incarnation,
        /// At which term.
        term: Term,
    },
    /// The provider's state is another one from here: it was lost, or put back as it had been. Whatever was on its way to it reached
    /// nobody.
    OtherState,
    /// A client was told that its write is committed, by an engine that waited for replicas.
    Acknowledged {
        /// In which set.
        replicaset: ReplicaSetName,
        /// Which.
        write: WriteId,
        /// By whom.
        by: InstanceName,
        /// How far that engine's data reached with this write as its last; unknown where nobody says.
        at: Position,
    },
    /// A guard acted upon a message of the arbiter's.
    Heeded {
        /// Whose guard.
        instance: InstanceName,
        /// The epoch of the message.
        message: Epoch,
        /// The highest epoch that the guard had seen before.
        highest: Epoch,
    },
    /// From now on a person lets data of any identity lead (`check_identity` is off), or does not any more.
    AnyData {
        /// In which set.
        replicaset: ReplicaSetName,
        /// Whether it may.
        may_lead: bool,
    },
    /// An arbiter accepted evidence 1 against the holder of a term.
    Relinquished {
        /// In which set.
        replicaset: ReplicaSetName,
        /// At which term.
        term: Term,
        /// The run that the record names.
        holder: Option<Incarnation>,
        /// The run that said so.
        said_by: Incarnation,
    },
}
