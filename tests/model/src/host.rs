//! One host: a guard, its state file, its deadman and its engine. It carries out what the guard asks for, as the contract
//! of the core says a driver does.
//!
//! It must not know the arbiter or the network; what leaves the host is handed back to the caller.

use crate::engine::{Engine, Peers};
use baton_core::engine::{EngineCommand, EngineOutcome};
use baton_core::guard::{Action, Guard, HandOver, Input, Saved};
use baton_core::ids::{InstanceName, OpId};
use baton_core::message::{Ask, Beat, PeerAnswer};
use baton_core::time::{Span, Time};

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
    /// Counts the boots of the machine.
    pub boot: u64,
    /// On which boot its state file was written.
    pub guard_boot: u64,
    /// What a guard whose sidecar was restarted on purpose has left; a copy stays there for ever.
    pub handed: Option<Box<HandOver>>,
    /// How many of those were taken.
    pub taken: u64,
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
    /// What it has seen, for what a world has to show.
    pub past: Past,
}

/// What happened to a host at some time. It tells states apart that are equal otherwise, so only what a world shows is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    /// Its right rested on promises.
    pub on_promises: bool,
    /// It passed another's beat on and a grant back.
    pub passed_on: bool,
    /// Its right was pinned.
    pub pinned: bool,
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
    /// Clients write, and replicas copy a log.
    pub logs: bool,
    /// An engine that crashes loses the writes of its last term.
    pub forgets: bool,
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
            Action::KillEngine => self.kill_engine(manner),
            Action::StartEngine => {
                self.engine.up = true;
                self.engine.run += 1;
                self.connect(manner, peers);
            }
            Action::StandDown | Action::Note(_) => {}
        }
    }

    /// Opens the guard's connection to a running engine.
    pub fn connect(&mut self, manner: Manner, peers: &Peers) {
        self.engine.reconnect = false;
        let probe = self.engine.probe(self.index, peers, manner.logs);
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
            self.execute_next(manner, peers);
        }
    }

    /// The engine executes the next command of the guard's connection and answers.
    pub fn execute_next(&mut self, manner: Manner, peers: &Peers) {
        if self.engine.queue.is_empty() {
            return;
        }
        let (op, command) = self.engine.queue.remove(0);
        self.engine.execute(&command, peers, manner.logs);
        let outcome = EngineOutcome::Done(self.engine.probe(self.index, peers, manner.logs));
        self.inbox.push(Input::EngineDone { op, outcome });
    }

    /// The engine reads what an older connection carried.
    pub fn execute_late(&mut self, manner: Manner, peers: &Peers) {
        if let Some(command) = self.engine.late.take() {
            self.engine.execute(&command, peers, manner.logs);
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
    pub fn kill_engine(&mut self, manner: Manner) {
        if self.engine.up {
            self.engine.end(manner.forgets);
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
        self.deadline.iter_mut().for_each(|time| *time = time.folded(by));
        for message in &mut self.pipe {
            if let ToDeadman::Arm(_, deadline) = message {
                *deadline = deadline.folded(by);
            }
        }
        if let Some(promised) = &mut self.disk.promised {
            promised.until = promised.until.folded(by);
        }
        if let Some(handed) = &mut self.handed {
            handed.rebase(by);
        }
    }

    /// The machine was turned off, or has lost its power: nothing is left but its disk.
    pub fn turn_off(&mut self, manner: Manner) {
        self.kill_engine(manner);
        self.guard = None;
        self.boot += 1;
        self.deadline = None;
        self.pipe.clear();
        self.inbox.clear();
        (self.paused, self.frozen, self.reads, self.greets) = (false, false, false, false);
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
