//! The guard's door: what can come in, what goes out. Closed enums; whoever drives the machine handles every one.

use super::failsafe::Promised;
use crate::engine::{EngineCommand, EngineOutcome, Probe};
use crate::ids::{Endpoint, EngineRun, Epoch, InstanceName, OpId, Stamp, Term, Version};
use crate::message::{Ask, Beat, Grant, PeerAnswer, PromiseRefusal, ToGuard};
use crate::position::Position;
use crate::record::Record;
use crate::time::{Span, Time};
use crate::timing::Timing;

/// What a guard keeps on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Saved {
    /// The highest term that it has seen.
    pub highest_term: Term,
    /// The highest term of which it knows whose it is, and whose.
    pub known_master: Option<(Term, InstanceName)>,
    /// The highest epoch that it has seen.
    pub highest_epoch: Epoch,
    /// The directive that severed it, while that binds.
    pub severed: Option<Stamp>,
    /// What it promised a master, on the clock of the boot that wrote it.
    pub promised: Option<Promised>,
    /// The run of the engine, on the boot that wrote it, that holds everything that the instance ever confirmed; while no
    /// order to follow another master is open.
    pub whole: Option<EngineRun>,
}

/// Everything that can happen to a guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Nothing but time.
    Tick,
    /// A linearizable read of the provider, made after the guard started.
    ProviderRead {
        /// The set's record.
        record: Option<Record>,
        /// The current epoch.
        epoch: Epoch,
    },
    /// There is a stream to the active arbiter.
    Attached,
    /// There is none any more.
    Detached,
    /// The arbiter said something.
    FromArbiter(ToGuard),
    /// A master of our set asks for a promise.
    Asked {
        /// Which.
        from: InstanceName,
        /// What for.
        ask: Box<Ask>,
    },
    /// A member of our set answers an [`Action::Ask`].
    Answered {
        /// Who.
        from: InstanceName,
        /// What.
        answer: Box<PeerAnswer>,
    },
    /// The active arbiter answers an [`Action::Relay`].
    RelayAnswered {
        /// Whose beat it was.
        of: InstanceName,
        /// The arbiter's epoch.
        epoch: Epoch,
        /// Whether it can give full leases.
        well: bool,
        /// Its grant for the other guard, if it gives one.
        grant: Option<Grant>,
    },
    /// The state is on disk.
    Persisted(OpId),
    /// The deadman of this instance answers, and holds no deadline but the one that was handed over with this guard's right.
    DeadmanUp,
    /// The deadman knows the deadline of this [`Action::Arm`].
    Armed(OpId),
    /// The deadman died, or its socket broke.
    DeadmanLost,
    /// There is a connection to the engine that the deadman holds, and this is how the engine looks.
    EngineConnected(Probe),
    /// The connection broke. What was asked over it and not answered is lost: it may be carried out, or not.
    EngineDisconnected,
    /// A command ended. Commands end in the order in which they were asked.
    EngineDone {
        /// Which.
        op: OpId,
        /// How.
        outcome: EngineOutcome,
    },
    /// No process of the engine is left.
    EngineEnded,
    /// The daemon is about to end: give the mastership up, and take none any more.
    Stop,
    /// A tiny write and an fsync by the master's own means finished, or did not within `stall_timeout`.
    WritePath {
        /// Whether it finished.
        finished: bool,
    },
    /// The cluster's settings are others.
    Settings {
        /// All times.
        timing: Box<Timing>,
        /// As in the configuration of the guard.
        failsafe: bool,
    },
}

/// Everything that a guard can ask of its driver, in this order; the order of two actions is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the provider, linearizably; answer with [`Input::ProviderRead`], however long it takes.
    ReadProvider,
    /// Make the state durable, then answer with [`Input::Persisted`]. A later one replaces an earlier one.
    Persist {
        /// To be echoed.
        op: OpId,
        /// What.
        saved: Saved,
    },
    /// Send a beat to the arbiter; drop it if there is no stream. Its `sent_at` is the step's `now`.
    Beat(Box<Beat>),
    /// Ask another member for a promise; its answer comes in as [`Input::Answered`], or never.
    Ask {
        /// Whom.
        to: InstanceName,
        /// What for.
        ask: Box<Ask>,
    },
    /// Answer the last [`Input::Asked`] of this member; drop it if that is gone.
    Answer {
        /// Whom.
        to: InstanceName,
        /// What.
        answer: Box<PeerAnswer>,
    },
    /// Pass another guard's beat on to the active arbiter; its answer comes in as [`Input::RelayAnswered`], or never.
    Relay {
        /// Whose.
        of: InstanceName,
        /// What.
        beat: Box<Beat>,
    },
    /// Ask the engine, after everything asked before, over the same connection; never re-send.
    Engine {
        /// To be echoed.
        op: OpId,
        /// What.
        command: EngineCommand,
        /// After this long without an answer the outcome is unknown and the connection is closed.
        within: Span,
    },
    /// Tell the deadman to kill the engine at `deadline`; answer with [`Input::Armed`] once it knows.
    Arm {
        /// To be echoed.
        op: OpId,
        /// By this node's clock.
        deadline: Time,
    },
    /// Tell the deadman that the engine cannot be written.
    Disarm,
    /// Kill every process of the engine, now.
    KillEngine,
    /// Start the engine, fenced (a supervised one only).
    StartEngine,
    /// Stop guarding: a later run of this guard exists.
    StandDown,
    /// Something to tell people.
    Note(Note),
}

/// Why a guard gave its right up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GaveUp {
    /// Its lease ran out.
    Lapsed,
    /// It was told to (switchover).
    Ordered,
    /// The record names another term.
    Superseded,
    /// The provider was restored to a state from before the appointment, and no right was ever granted for it.
    Forgotten,
    /// The daemon ends.
    Stopping,
    /// The engine ended.
    EngineEnded,
    /// The engine does not finish a tiny write, or does not answer.
    Stalled,
    /// The deadman died.
    DeadmanLost,
    /// A drill ended the engine on purpose.
    Drill,
    /// The engine would not be promoted.
    PromotionFailed,
    /// The engine's data is of another identity than the record's.
    ForeignData,
    /// The engine was found not writable though it was promoted (an operator's hand).
    Demoted,
}

impl GaveUp {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Lapsed => "its lease ran out",
            Self::Ordered => "the arbiter ordered it",
            Self::Superseded => "the record names a higher term",
            Self::Forgotten => "the provider was restored, and knows nothing of it",
            Self::Stopping => "the daemon stops",
            Self::EngineEnded => "the engine ended",
            Self::Stalled => "the engine stalled",
            Self::DeadmanLost => "the deadman died",
            Self::Drill => "a drill ends its engine",
            Self::PromotionFailed => "the engine would not be promoted",
            Self::ForeignData => "the engine holds foreign data",
            Self::Demoted => "the engine was made read-only by another hand",
        }
    }
}

/// What a guard tells people. The shell makes lines and metrics of it; nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The provider was read; only terms above this one can be led.
    Read {
        /// The recorded term.
        floor: Term,
    },
    /// Directed to lead.
    Candidate(Term),
    /// The engine accepts writes.
    Writable(Term),
    /// The right was given up; the fence is under way.
    GivingUp {
        /// The term.
        term: Term,
        /// Why.
        why: GaveUp,
    },
    /// The engine is surely not writable; the term is over for this guard.
    Relinquished {
        /// The term.
        term: Term,
        /// What the engine holds, if it still runs.
        position: Position,
    },
    /// No arbiter extends the right; the other members' promises do.
    OnPromises(Term),
    /// An arbiter's grants do so again.
    OnGrants(Term),
    /// A master was promised that nobody leads here for one lease.
    Promised {
        /// The master.
        to: InstanceName,
        /// Its term.
        term: Term,
    },
    /// A member did not promise.
    PromiseRefused {
        /// Which.
        by: InstanceName,
        /// Why.
        why: PromiseRefusal,
    },
    /// Replication was stopped by a directive.
    Severed {
        /// The directive's version.
        version: Version,
        /// What is held.
        position: Position,
    },
    /// The engine was found writable without the right and is fenced.
    Intruder,
    /// The engine is told to follow.
    Follows {
        /// The master.
        endpoint: Endpoint,
    },
    /// An old master holds more than the new history; the rest will be lost as it follows.
    Beyond {
        /// What it holds.
        own: Position,
        /// Where the new history starts.
        start: Position,
    },
    /// The engine's data is of another identity; it will not follow.
    Foreign,
    /// The engine's processes are killed.
    Killed(GaveUp),
    /// The engine ended.
    EngineEnded {
        /// In how long it is started again, if it is supervised.
        restart_in: Option<Span>,
    },
}
