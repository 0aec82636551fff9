//! What the guard knows of an engine and may ask of it, as values. No engine's own words appear here.

use crate::ids::{DataId, Endpoint, EngineRun, Term};
use crate::position::Position;

/// What the engine's data says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum DataState {
    /// Nothing is in it. Never chosen where another member has data, never followed by one that has.
    #[default]
    Empty,
    /// Data that Baton has never marked: as found on the first start.
    Unmarked,
    /// Marked by a master that Baton appointed.
    Marked {
        /// The identity of the data.
        id: DataId,
        /// The highest term whose beginning the data holds.
        term: Term,
    },
}

/// One look at an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// The run that answered.
    pub run: EngineRun,
    /// Whether it would accept a client's write.
    pub writable: bool,
    /// Whom it replicates from; `None` if from nobody (a fenced engine follows nowhere).
    pub follows: Option<Endpoint>,
    /// Whether that link is up and the initial copy is done.
    pub link_up: bool,
    /// How far its data reaches.
    pub position: Position,
    /// What its data says of itself.
    pub data: DataState,
    /// How many attached replicas have acknowledged everything up to `position`.
    pub replicas_caught_up: u32,
}

/// What the guard asks of the engine, in order, over the one connection to the engine that the deadman holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineCommand {
    /// Look; changes nothing.
    Probe,
    /// Stop accepting writes and stop replicating, keeping attached replicas. Answers with a [`Probe`] made afterwards
    /// on the same connection, so that the position in it is final.
    Fence,
    /// Accept writes, and put the mark `(id, term)` into the data as the first of them. Never re-sent.
    Promote {
        /// The term of the appointment.
        term: Term,
        /// The identity to mark the data with.
        data_id: DataId,
        /// For how many replicas a commit waits, from the first one on.
        ack_quorum: u32,
    },
    /// Of a master: let every commit from now on wait for so many replicas, and look how many hold everything. Asked for
    /// again in the same round, it is enough that they hold what there was at the first time.
    Quorum {
        /// How many; 0: none.
        ack_quorum: u32,
        /// Another one for every purpose.
        round: u64,
    },
    /// Replicate from `endpoint`; not writable afterwards.
    Follow {
        /// The master.
        endpoint: Endpoint,
    },
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineOutcome {
    /// Done; how the engine looks after it, on the same connection.
    Done(Probe),
    /// The engine answered that it would not. Nothing changed.
    Refused(String),
    /// No answer (time-out, broken connection): it may have happened or may yet happen.
    Unknown(String),
}
