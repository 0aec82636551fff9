//! One host: a guard, its state file, its deadman and its engine. It carries out what the guard asks for, as the contract
//! of the core says a driver does.
//!
//! It must not know the arbiter or the network; what leaves the host is handed back to the caller.

use baton_core::engine::{DataState, EngineCommand, EngineOutcome, Probe};
use baton_core::guard::{Action, Guard, Input, Saved};
use baton_core::ids::{DataId, Endpoint, EngineRun, InstanceName, OpId, Term};
use baton_core::message::{Ask, Beat, PeerAnswer};
use baton_core::position::Position;
use baton_core::time::{Span, Time};

/// An engine with just as much of a database as the protocol looks at.
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
    /// Asked over the guard's connection and not executed.
    pub queue: Vec<(OpId, EngineCommand)>,
    /// Asked over a connection that broke; it may still be read by the engine.
    pub late: Option<EngineCommand>,
    /// The guard has no connection, and is to open one.
    pub reconnect: bool,
}

/// What the deadman's socket carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToDeadman {
    /// Kill at this moment.
    Arm(OpId, Time),
    /// Don't.
    Disarm,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its number.
    pub index: usize,
    /// The coordinator's guard; `None` while the process is dead.
    pub guard: Option<Guard>,
    /// Counts the runs of the guard.
    pub run: u64,
    /// The state file.
    pub disk: Saved,
    /// The coordinator is stopped.
    pub paused: bool,
    /// Everything is stopped, deadman and engine too.
    pub frozen: bool,
    /// The engine.
    pub engine: Engine,
    /// What the deadman holds.
    pub deadline: Option<Time>,
    /// On the way to the deadman.
    pub pipe: Vec<ToDeadman>,
    /// What has happened and was not looked at.
    pub inbox: Vec<Input>,
    /// The guard waits for a read of the provider.
    pub reads: bool,
    /// `DeadmanUp` is owed to the guard.
    pub greets: bool,
}

/// What leaves a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// To the arbiter.
    Beat(Box<Beat>),
    /// To another guard: a promise is asked for.
    Ask(InstanceName, Box<Ask>),
    /// To another guard: its request is answered.
    Answer(InstanceName, Box<PeerAnswer>),
    /// To the arbiter: another guard's beat.
    Relay(InstanceName, Box<Beat>),
}

/// What an engine sees of the others: which are up, and their data.
pub type Peers = Vec<(bool, Option<(DataId, Term)>, Option<usize>)>;

/// How a host of this world behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Manner {
    /// The deadman hears what it is told at any later time.
    pub slow_deadman: bool,
    /// There is no deadman that kills (to see the guard's own fence alone).
    pub no_deadman: bool,
    /// Promotions and fences take a step of their own, in which the connection can break.
    pub slow_engine: bool,
    /// Masters ask for promises.
    pub failsafe: bool,
}

/// Where clients reach the engine of a host.
#[must_use]
pub fn endpoint(index: usize) -> Endpoint {
    Endpoint(format!("a{}", index + 1).into())
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
            queue: Vec::new(),
            late: None,
            reconnect: false,
        }
    }

    fn probe(&self, index: usize, peers: &Peers) -> Probe {
        let caught_up = peers.iter().filter(|(up, _, follows)| *up && *follows == Some(index)).count();
        Probe {
            run: EngineRun(self.run.to_string().into()),
            writable: self.writable,
            follows: self.follows.map(endpoint),
            link_up: self.follows.is_some_and(|master| peers.get(master).is_some_and(|(up, ..)| *up)),
            position: Position::at(self.data.as_ref().map_or(0, |(_, term)| term.0), 0),
            data: self.data.clone().map_or(DataState::Empty, |(id, term)| DataState::Marked { id, term }),
            replicas_caught_up: u32::try_from(caught_up).unwrap_or(u32::MAX),
        }
    }

    /// What an engine that is up does with a command.
    fn execute(&mut self, command: &EngineCommand, peers: &Peers) {
        match command {
            EngineCommand::Probe | EngineCommand::Quorum { .. } => {}
            EngineCommand::Fence => {
                self.writable = false;
                self.follows = None;
            }
            EngineCommand::Promote { term, data_id, .. } => {
                self.writable = true;
                self.follows = None;
                self.promoted = *term;
                self.data = Some((data_id.clone(), *term));
            }
            EngineCommand::Follow { endpoint } => {
                self.writable = false;
                self.follows = host_of(endpoint);
            }
        }
        let master = self.follows.and_then(|master| peers.get(master));
        if let Some((true, Some(data), _)) = master
            && self.data.as_ref().is_none_or(|own| own.1 <= data.1)
        {
            self.data = Some(data.clone());
        }
    }

    /// No process is left.
    pub fn end(&mut self) {
        self.up = false;
        self.writable = false;
        self.follows = None;
        self.promoted = Term(0);
        self.queue.clear();
        self.late = None;
        self.reconnect = false;
    }
}

impl Host {
    /// Whether clients' writes are accepted at this instant.
    #[must_use]
    pub fn accepts_writes(&self) -> bool {
        self.engine.up && self.engine.writable && !self.frozen
    }

    /// Whether the coordinator can take a step.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.guard.is_some() && !self.paused && !self.frozen
    }

    /// Steps the guard, carries out what it asks for, and hands back what leaves the host.
    pub fn step(&mut self, now: Time, input: Input, manner: Manner, peers: &Peers) -> Vec<Sent> {
        self.inbox.push(input);
        self.settle(now, manner, peers)
    }

    /// Lets the guard look at everything that has happened.
    pub fn settle(&mut self, now: Time, manner: Manner, peers: &Peers) -> Vec<Sent> {
        let mut sent = Vec::new();
        while self.runs() && !self.inbox.is_empty() {
            let input = self.inbox.remove(0);
            let Some(guard) = self.guard.as_mut() else { break };
            guard.step(now, input);
            let mut actions = Vec::new();
            while let Some(action) = guard.pop_action() {
                actions.push(action);
            }
            for action in actions {
                self.carry_out(action, manner, peers, &mut sent);
            }
        }
        sent
    }

    fn carry_out(&mut self, action: Action, manner: Manner, peers: &Peers, sent: &mut Vec<Sent>) {
        match action {
            Action::ReadProvider => self.reads = true,
            Action::Persist { op, saved } => {
                self.disk = saved;
                self.inbox.push(Input::Persisted(op));
            }
            Action::Beat(beat) => sent.push(Sent::Beat(beat)),
            Action::Ask { to, ask } => sent.push(Sent::Ask(to, ask)),
            Action::Answer { to, answer } => sent.push(Sent::Answer(to, answer)),
            Action::Relay { of, beat } => sent.push(Sent::Relay(of, beat)),
            Action::Engine { op, command, .. } => self.ask_engine(op, command, manner, peers),
            Action::Arm { op, deadline } => self.tell_deadman(ToDeadman::Arm(op, deadline), manner),
            Action::Disarm => self.tell_deadman(ToDeadman::Disarm, manner),
            Action::KillEngine => self.kill_engine(),
            Action::StartEngine => {
                self.engine.up = true;
                self.engine.run += 1;
                self.connect(peers);
            }
            Action::StandDown | Action::Note(_) => {}
        }
    }

    /// Opens the guard's connection to a running engine.
    pub fn connect(&mut self, peers: &Peers) {
        self.engine.reconnect = false;
        let probe = self.engine.probe(self.index, peers);
        self.inbox.push(Input::EngineConnected(probe));
    }

    fn ask_engine(&mut self, op: OpId, command: EngineCommand, manner: Manner, peers: &Peers) {
        if !self.engine.up {
            let outcome = EngineOutcome::Unknown("the engine ended".to_owned());
            self.inbox.push(Input::EngineDone { op, outcome });
            return;
        }
        if self.engine.reconnect {
            // Asked before the guard was told that its connection is gone: it goes nowhere.
            return;
        }
        let slow =
            manner.slow_engine && matches!(command, EngineCommand::Promote { .. } | EngineCommand::Fence);
        self.engine.queue.push((op, command));
        if !slow && self.engine.queue.len() == 1 {
            self.execute_next(peers);
        }
    }

    /// The engine executes the next command of the guard's connection and answers.
    pub fn execute_next(&mut self, peers: &Peers) {
        if self.engine.queue.is_empty() {
            return;
        }
        let (op, command) = self.engine.queue.remove(0);
        self.engine.execute(&command, peers);
        let outcome = EngineOutcome::Done(self.engine.probe(self.index, peers));
        self.inbox.push(Input::EngineDone { op, outcome });
    }

    /// The engine reads what an older connection carried.
    pub fn execute_late(&mut self, peers: &Peers) {
        if let Some(command) = self.engine.late.take() {
            self.engine.execute(&command, peers);
        }
    }

    /// The connection to the engine breaks with commands unanswered. One of them may yet be executed.
    pub fn break_connection(&mut self) {
        for (op, command) in std::mem::take(&mut self.engine.queue) {
            if matches!(command, EngineCommand::Promote { .. }) {
                self.engine.late = Some(command);
            }
            let outcome = EngineOutcome::Unknown("the connection broke".to_owned());
            self.inbox.push(Input::EngineDone { op, outcome });
        }
        self.inbox.push(Input::EngineDisconnected);
        self.engine.reconnect = true;
    }

    /// Every process of the engine is killed, or has crashed.
    pub fn kill_engine(&mut self) {
        if self.engine.up {
            self.engine.end();
            self.deadline = None;
            self.pipe.clear();
            if self.guard.is_some() {
                self.inbox.push(Input::EngineEnded);
            }
        }
    }

    fn tell_deadman(&mut self, message: ToDeadman, manner: Manner) {
        self.pipe.push(message);
        // A pipe of two: what is older has been read by then.
        let most = if manner.slow_deadman { 2 } else { 0 };
        while self.pipe.len() > most {
            self.deadman_hears();
        }
    }

    /// The deadman reads the next thing that it was told.
    pub fn deadman_hears(&mut self) {
        if self.pipe.is_empty() {
            return;
        }
        match self.pipe.remove(0) {
            ToDeadman::Arm(op, deadline) => {
                self.deadline = Some(deadline);
                self.inbox.push(Input::Armed(op));
            }
            ToDeadman::Disarm => self.deadline = None,
        }
    }

    /// The lowest operation that is still unanswered, so that numbers can be folded.
    fn lowest_op(&self) -> Option<OpId> {
        let queue = self.engine.queue.iter().map(|(op, _)| *op);
        let pipe = self.pipe.iter().filter_map(|message| match message {
            ToDeadman::Arm(op, _) => Some(*op),
            ToDeadman::Disarm => None,
        });
        let inbox = self.inbox.iter().filter_map(|input| match input {
            Input::Persisted(op) | Input::Armed(op) | Input::EngineDone { op, .. } => Some(*op),
            _ => None,
        });
        queue.chain(pipe).chain(inbox).min()
    }

    /// Moves every time back, and every operation's number down, so that equal states fold.
    pub fn rebase(&mut self, by: Span) {
        let lowest = self.lowest_op();
        if let Some(guard) = &mut self.guard {
            guard.rebase(by);
            let down = lowest.map_or(guard.last_op(), |lowest| OpId(lowest.0 - 1));
            guard.rebase_ops(down);
            self.rebase_ops(down);
        }
        self.deadline.iter_mut().for_each(|time| *time = time.back(by));
        for message in &mut self.pipe {
            if let ToDeadman::Arm(_, deadline) = message {
                *deadline = deadline.back(by);
            }
        }
    }

    fn rebase_ops(&mut self, down: OpId) {
        let shift = |op: &mut OpId| op.0 = op.0.saturating_sub(down.0);
        self.engine.queue.iter_mut().for_each(|(op, _)| shift(op));
        for message in &mut self.pipe {
            if let ToDeadman::Arm(op, _) = message {
                shift(op);
            }
        }
        for input in &mut self.inbox {
            if let Input::Persisted(op) | Input::Armed(op) | Input::EngineDone { op, .. } = input {
                shift(op);
            }
        }
    }
}
