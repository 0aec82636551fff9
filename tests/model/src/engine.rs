//! An engine with just as much of a database as the protocol looks at: a mark for each term, and in worlds with clients a
//! small log that replicas copy, commits that wait for them, and a tail that a crash may take away.
//!
//! It must not know guards, deadmen, or why anybody follows anybody.

use baton_core::engine::{DataState, EngineCommand, Probe};
use baton_core::ids::{DataId, Endpoint, EngineRun, OpId, Term};
use baton_core::position::Position;
use baton_oracle::WriteId;
use std::collections::{BTreeMap, BTreeSet};

/// One entry of an engine's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Written by a promotion.
    Mark(Term),
    /// Written by a client.
    Write(WriteId),
}

/// What an engine did that an oracle looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Did {
    /// It was promoted for a term, with these writes in its data.
    Promoted(Term, BTreeSet<WriteId>),
    /// It told a client that its write is committed.
    Acknowledged(WriteId),
}

/// An engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engine {
    /// Some process of it runs.
    pub up: bool,
    /// Counts its runs.
    pub run: u64,
    /// It accepts writes.
    pub writable: bool,
    /// The term of its last promotion in this run.
    pub promoted: Term,
    /// Whom it replicates from, by index.
    pub follows: Option<usize>,
    /// Its data's mark.
    pub data: Option<(DataId, Term)>,
    /// Its data, in worlds with clients.
    pub log: Vec<Entry>,
    /// For how many replicas a commit waits.
    pub ack_quorum: u32,
    /// Who replicates from it, and how much of its log each has confirmed.
    pub attached: BTreeMap<usize, usize>,
    /// Writes whose clients wait, each with the length of the log that holds it.
    pub waiting: Vec<(WriteId, usize)>,
    /// Asked over the guard's connection and not executed.
    pub queue: Vec<(OpId, EngineCommand)>,
    /// Asked over a connection that broke; it may still be read by the engine.
    pub late: Option<EngineCommand>,
    /// The guard has no connection, and is to open one.
    pub reconnect: bool,
    /// What nobody has looked at yet.
    pub did: Vec<Did>,
}

/// What an engine sees of the others: which are up, their data, whom they follow.
pub type Peers = Vec<(bool, Option<(DataId, Term)>, Option<usize>)>;

/// Where clients reach the engine of a host.
#[must_use]
pub fn endpoint(index: usize) -> Endpoint {
    Endpoint(crate::state::instance(index).as_str().into())
}

fn host_of(endpoint: &Endpoint) -> Option<usize> {
    endpoint.0.strip_prefix('a').and_then(|number| number.parse::<usize>().ok()).map(|number| number - 1)
}

impl Engine {
    /// An engine that was started, fenced.
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            up: true,
            run: 1,
            writable: false,
            promoted: Term(0),
            follows: None,
            data: None,
            log: Vec::new(),
            ack_quorum: 0,
            attached: BTreeMap::new(),
            waiting: Vec::new(),
            queue: Vec::new(),
            late: None,
            reconnect: false,
            did: Vec::new(),
        }
    }

    /// One look at it. Without a log a replica that is up has everything at once.
    #[must_use]
    pub fn probe(&self, index: usize, peers: &Peers, logs: bool) -> Probe {
        let at_once = || peers.iter().filter(|(up, _, follows)| *up && *follows == Some(index)).count();
        let confirmed = || self.attached.values().filter(|length| **length >= self.log.len()).count();
        let caught_up = if logs { confirmed() } else { at_once() };
        Probe {
            run: EngineRun(self.run.to_string().into()),
            writable: self.writable,
            follows: self.follows.map(endpoint),
            link_up: self.follows.is_some_and(|master| peers.get(master).is_some_and(|(up, ..)| *up)),
            position: Position::at(self.data.as_ref().map_or(0, |(_, term)| term.0), self.log.len() as u64),
            data: self.data.clone().map_or(DataState::Empty, |(id, term)| DataState::Marked { id, term }),
            replicas_caught_up: u32::try_from(caught_up).unwrap_or(u32::MAX),
        }
    }

    /// What an engine that is up does with a command.
    pub fn execute(&mut self, command: &EngineCommand, peers: &Peers, logs: bool) {
        match command {
            EngineCommand::Probe => {}
            EngineCommand::Quorum { ack_quorum, .. } => {
                self.ack_quorum = *ack_quorum;
                self.settle();
            }
            EngineCommand::Fence => {
                self.writable = false;
                self.follows = None;
            }
            EngineCommand::Promote { term, data_id, ack_quorum } => {
                self.writable = true;
                self.follows = None;
                self.promoted = *term;
                self.ack_quorum = *ack_quorum;
                self.data = Some((data_id.clone(), *term));
                if logs {
                    self.did.push(Did::Promoted(*term, self.writes()));
                    self.log.push(Entry::Mark(*term));
                }
            }
            EngineCommand::Follow { endpoint } => {
                self.writable = false;
                // Whoever waited here for replicas is sent away: what it wrote may be thrown away now.
                self.waiting.clear();
                self.follows = host_of(endpoint);
            }
        }
        let master = self.follows.and_then(|master| peers.get(master)).filter(|_| !logs);
        if let Some((true, Some(data), _)) = master
            && self.data.as_ref().is_none_or(|own| own.1 <= data.1)
        {
            self.data = Some(data.clone());
        }
    }

    /// A client writes.
    pub fn write(&mut self, write: WriteId) {
        self.log.push(Entry::Write(write));
        self.waiting.push((write, self.log.len()));
        self.settle();
    }

    /// A replica has confirmed so much of this run's log.
    pub fn confirmed(&mut self, replica: usize, length: usize) {
        let known = self.attached.entry(replica).or_default();
        *known = (*known).max(length);
        self.settle();
    }

    /// Whose writes wait for nothing more are told so.
    fn settle(&mut self) {
        let Self { attached, waiting, ack_quorum, .. } = self;
        let holders = |length: usize| attached.values().filter(|confirmed| **confirmed >= length).count();
        let is_done = |at: &(WriteId, usize)| holders(at.1) >= *ack_quorum as usize;
        self.did.extend(waiting.iter().filter(|at| is_done(at)).map(|(write, _)| Did::Acknowledged(*write)));
        waiting.retain(|at| !is_done(at));
    }

    /// The clients' writes that it holds.
    #[must_use]
    pub fn writes(&self) -> BTreeSet<WriteId> {
        let entries = self.log.iter();
        entries
            .filter_map(|entry| if let Entry::Write(write) = entry { Some(*write) } else { None })
            .collect()
    }

    /// No process is left. `forgets`: what no promotion has put a mark behind is lost with it.
    pub fn end(&mut self, forgets: bool) {
        self.up = false;
        self.writable = false;
        self.follows = None;
        self.promoted = Term(0);
        self.attached.clear();
        self.waiting.clear();
        self.queue.clear();
        self.late = None;
        self.reconnect = false;
        if forgets {
            let marked = self.log.iter().rposition(|entry| matches!(entry, Entry::Mark(_)));
            self.log.truncate(marked.map_or(0, |at| at + 1));
        }
    }
}
