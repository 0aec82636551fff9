//! What guards and the arbiter say to each other. Values only: the wire is another crate's business.
//!
//! A heartbeat's number *is* its send time on the guard's own clock: the arbiter echoes it without looking at it, so
//! that a grant is matched to its very heartbeat and counts from its send (design, *The lease*).

use crate::engine::DataState;
use crate::ids::{
    CoordinatorName, DataId, Endpoint, EngineRun, Epoch, Incarnation, InstanceName, ReplicaSetName, Stamp,
    Term, Version, Zone,
};
use crate::position::Position;
use crate::time::{Span, Time};
use std::collections::BTreeSet;

/// What a guard says of itself when its host attaches to an arbiter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The instance that it guards.
    pub instance: InstanceName,
    /// Its set.
    pub replicaset: ReplicaSetName,
    /// The run of the guard.
    pub incarnation: Incarnation,
    /// Its host's daemon.
    pub coordinator: CoordinatorName,
    /// Where clients reach the engine.
    pub endpoint: Endpoint,
    /// Where it stands.
    pub zone: Option<Zone>,
    /// Higher is preferred.
    pub priority: u32,
    /// Whether it may ever be appointed.
    pub electable: bool,
    /// How many members the first appointment waits for.
    pub bootstrap_members: u32,
    /// Whether its engine is started again by its own deadman. False from guards of older builds.
    pub supervised: bool,
}

/// How a guard stands to the mastership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stand {
    /// Has not read the provider yet: promises nothing and leads nothing.
    Starting,
    /// Leads nothing.
    Standby,
    /// Was directed to lead at this term and asks for its first grant.
    Candidate(Term),
    /// Holds the right at this term; `writable` once the engine confirmed.
    Leading {
        /// The term.
        term: Term,
        /// Whether the engine has confirmed that it accepts writes.
        writable: bool,
    },
}

/// The engine's health as the guard sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// Answers.
    Up,
    /// Not running, or not yet answering.
    Down,
    /// Runs, but a tiny write or the probe does not finish.
    Stalled,
}

/// A guard's report of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EngineView {
    /// Its health.
    pub health: Health,
    /// The run that the rest speaks of; a report of another run is no report.
    pub run: Option<EngineRun>,
    /// How far the data reaches.
    pub position: Position,
    /// What the data says of itself.
    pub data: DataState,
    /// Whom it follows with a link that is up.
    pub follows: Option<Endpoint>,
    /// Whether it was found writable when the guard started (an existing master to adopt).
    pub found_writable: bool,
    /// Whether it cannot be excluded that a client's write is accepted: it leads, its fence has not been answered, or it was not seen
    /// yet (docs/protocol.md, P227).
    pub may_write: bool,
    /// How many attached replicas hold everything.
    pub replicas_caught_up: u32,
    /// Whether this run of the engine has held, at some moment, a position that the master reported after the run
    /// began. A run that has not may have lost what an earlier run acknowledged (design, *Promotion*, sever).
    pub whole: bool,
}

/// A member that has stopped replicating, by a directive at `stamp`; binding until a higher one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Severed {
    /// Of the directive.
    pub stamp: Stamp,
    /// Everything that it will ever hold of that term.
    pub position: Position,
    /// The run of the engine that held the position.
    pub run: Option<EngineRun>,
    /// Whether that run is known to have held everything that it ever acknowledged (see [`EngineView::whole`]).
    pub whole: bool,
}

/// "I lead nothing at `term` or below, and never will": the engine has ended wholly or its fence is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relinquished {
    /// Up to this term.
    pub term: Term,
    /// The final position, where the fence answered; unknown where the engine ended.
    pub position: Position,
    /// Whether the engine ended (crashed) rather than was fenced.
    pub ended: bool,
}

/// A master's answer to a proposal made at `stamp`: from now on it needs the promise of each of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Honoured {
    /// Of the proposal.
    pub stamp: Stamp,
    /// Of the arbiter that proposed it: an order of the next one may have taken it back since. `None` from older builds.
    pub epoch: Option<Epoch>,
    /// The set that the master's right rests on.
    pub members: BTreeSet<InstanceName>,
    /// Who the master made sure no longer counts (a shrink), if any.
    pub dropped: Option<InstanceName>,
    /// Commits wait for so many replicas from now on, and so many hold everything that was acknowledged before (a raise).
    pub ack_quorum: Option<u32>,
}

/// Guard to arbiter: a heartbeat with the whole state, never a delta, so that a lost one loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Beat {
    /// Who.
    pub instance: InstanceName,
    /// Which run of the guard.
    pub incarnation: Incarnation,
    /// When, on the guard's own clock; echoed in the grant.
    pub sent_at: Time,
    /// The highest term that it has seen.
    pub highest_term: Term,
    /// The highest term of which it knows whose it is, and whose.
    pub known_master: Option<(Term, InstanceName)>,
    /// How it stands.
    pub stand: Stand,
    /// Of a master: the other members whose promise it needs, at least those whose acknowledgement can count.
    pub needs: BTreeSet<InstanceName>,
    /// Evidence 1.
    pub relinquished: Option<Relinquished>,
    /// Its severance, if any.
    pub severed: Option<Severed>,
    /// Its answer to a proposal, if any.
    pub honoured: Option<Honoured>,
    /// The last order to give a pinned right up that was carried out, down to the deadman's deadline: of which arbiter, and
    /// of which version. Another arbiter may have told the same pin again since.
    pub unpinned: Option<(Epoch, Version)>,
    /// What is left of a pinned right; nothing where its right rests on leases or promises.
    pub pinned: Span,
    /// Of a master that is writable: how many replicas hold each write that it ever acknowledged, besides what a later
    /// master took over. `None`: it is none, or of an older build.
    pub ack_quorum: Option<u32>,
    /// By which arbiter it was greeted last: this was sent later. `None`: by none, or it is of an older build.
    pub greeted: Option<Epoch>,
    /// How long it may not lead yet (promises of an earlier run are waited out).
    pub hold: Span,
    /// Its engine.
    pub engine: EngineView,
}

/// Arbiter to guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToGuard {
    /// The answer to a beat: the right to accept writes.
    Grant(Grant),
    /// What to do.
    Directive(Directive),
    /// The arbiter waits for a beat that was sent after this.
    Greeting(Greeting),
}

/// Beats may have been on their way for any time. One that names the epoch of a greeting was sent after that arbiter had its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Greeting {
    /// The run of the guard that it is for.
    pub incarnation: Incarnation,
    /// The arbiter's epoch.
    pub epoch: Epoch,
}

/// The right to accept writes at `term` until `beat + ttl - margin` on the guard's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The send time of the beat that this answers.
    pub beat: Time,
    /// The run of the guard that it is for.
    pub incarnation: Incarnation,
    /// The granter's epoch.
    pub epoch: Epoch,
    /// For which term.
    pub term: Term,
    /// For how long.
    pub ttl: Span,
    /// The version of the record that pins the master: the right is not cut to a lease (pause).
    pub pinned: Option<Version>,
    /// By which `lease_ttl` the arbiter grants, also where its lock leaves less; nothing: an older build did not say.
    pub lease: Span,
}

/// Master to another member of its set: nobody grants me leases; promise to lead nothing for a while (design,
/// *Failsafe*). It carries the whole beat, for an arbiter that the member may still hear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The beat that the arbiter should have answered. Its send time is what the promise counts from.
    pub beat: Box<Beat>,
    /// The term that the master leads at.
    pub term: Term,
    /// For how long it asks.
    pub ttl: Span,
}

/// A member's answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAnswer {
    /// It will promote nothing for so long.
    Promise(Promise),
    /// It hears the arbiter, which grants this.
    Relayed(Grant),
    /// Neither.
    Refused(PromiseRefusal),
}

/// A member promotes nothing within `ttl` of the receipt of the request, and promises nothing at a lower term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Promise {
    /// The run of the guard that asked.
    pub incarnation: Incarnation,
    /// The send time of its request, echoed.
    pub asked_at: Time,
    /// Its term.
    pub term: Term,
    /// For how long.
    pub ttl: Span,
}

/// Why a member does not promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromiseRefusal {
    /// It has not read the provider since it started, so it does not know what was decided.
    Starting,
    /// It knows a higher term.
    HigherTerm(Term),
    /// An arbiter has evidence against the master and has severed it, or it leads itself.
    Severed,
    /// Its daemon ends.
    Stopping,
    /// It hears an arbiter that is well and does not grant.
    InContact,
}

impl PromiseRefusal {
    /// For people.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Starting => "it has not read the provider since it started".to_owned(),
            Self::HigherTerm(term) => format!("it knows term {term}"),
            Self::Severed => "it has left this master by the arbiter's order".to_owned(),
            Self::Stopping => "its daemon stops".to_owned(),
            Self::InContact => "it hears the arbiter, which does not grant".to_owned(),
        }
    }
}

/// An order that rests on a durable record. Lower `(epoch, version)` than the highest seen are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Directive {
    /// The run of the guard that it is for.
    pub incarnation: Incarnation,
    /// The arbiter's epoch.
    pub epoch: Epoch,
    /// The version of the record.
    pub version: Version,
    /// The term of the record.
    pub term: Term,
    /// What to do.
    pub order: Order,
}

impl Directive {
    /// When it was given.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { generation: self.epoch.generation, version: self.version }
    }
}

/// What a directive orders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Become (or stay) the master at the directive's term. Also tells a master the current in-sync set.
    Lead {
        /// Who may be appointed after you.
        in_sync: BTreeSet<InstanceName>,
        /// The identity to mark the data with.
        data_id: DataId,
        /// For how many replicas a commit waits, as it is recorded.
        ack_quorum: u32,
    },
    /// Follow the master of the record.
    Follow {
        /// The master.
        master: InstanceName,
        /// Where it is.
        endpoint: Endpoint,
        /// The identity of its data; an engine with other data does not follow.
        data_id: DataId,
        /// What the master held when it was appointed: what an old master holds beyond it will be lost.
        start: Position,
        /// A position that the master reported: whoever reaches it in one run of its engine is whole.
        reach: Option<Position>,
    },
    /// Stop replicating and report the final position, as soon as `reach` is held (at once, if it is not given).
    Sever {
        /// The master of the directive's term, which is not followed any more. Absent from arbiters of older builds.
        master: Option<InstanceName>,
        /// The final position of a master that has relinquished (switchover).
        reach: Option<Position>,
        /// The master of the directive's term has relinquished it: what it was promised is over.
        relinquished: bool,
    },
    /// Give up the mastership: fence, and report the final position (switchover).
    Relinquish,
    /// Answer with [`Honoured`]: need this member's promise from now on (in-sync set, *grow*).
    Grow {
        /// The newcomer.
        member: InstanceName,
        /// The recorded set, which it joins.
        in_sync: BTreeSet<InstanceName>,
    },
    /// Stop counting this member, make sure that enough of the rest hold everything, then answer (*shrink*).
    Shrink {
        /// The leaver.
        member: InstanceName,
        /// The recorded set, which it leaves.
        in_sync: BTreeSet<InstanceName>,
        /// How many of the others must hold everything.
        ack_quorum: u32,
    },
    /// Let commits wait for more replicas than is recorded, make sure that so many hold everything, then answer (*raise*).
    Quorum {
        /// The recorded set, which stays.
        in_sync: BTreeSet<InstanceName>,
        /// For how many.
        ack_quorum: u32,
    },
    /// Give a pinned right up for one that rests on leases, and say so (resume).
    Unpin,
    /// A drill: end your engine, as if it had crashed. For the master at the directive's term only, once, and not later than
    /// `within` after this beat of its own was sent.
    EndEngine {
        /// When the beat that the order rests on was sent, by the guard's own clock.
        beat: Time,
        /// For how long after it the order counts.
        within: Span,
    },
    /// A later run of a guard with this name exists: fence and stop.
    StandDown,
}
