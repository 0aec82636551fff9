//! One host of an instance: the real guard, its disk, its deadman, its engine and the connection between them.
//!
//! It must not know what the guard decides.

use super::agenda::Deadline;
use super::clock::Clock;
use super::connection::ENGINE_MICROS;
use super::duties::outdated;
use super::engine::{Engine, Entry};
use super::net::Body;
use super::process::Left;
use super::{Due, World};
use crate::show;
use baton_core::arbiter::SessionId;
use baton_core::engine::{EngineCommand, EngineOutcome};
use baton_core::guard::{Action, Guard, Input, Saved};
use baton_core::ids::{Endpoint, Epoch, Incarnation, InstanceName, OpId, Term, Zone};
use baton_core::message::{Hello, ToGuard};
use baton_core::time::Time;
use std::collections::{BTreeMap, VecDeque};

/// How long the disk takes.
const DISK_MICROS: u64 = 500;
/// How long the deadman takes.
pub(super) const DEADMAN_MICROS: u64 = 100;

/// The tiny process that ends the engine when its one deadline passes.
#[derive(Clone, Debug, Default)]
pub struct Deadman {
    /// It lives.
    pub up: bool,
    /// By this node's clock.
    pub deadline: Option<Time>,
    /// It does not hear (starved); what it was told waits.
    pub deaf: bool,
    pub(super) unheard: Vec<Due>,
}

/// What the world remembers of a host for its observations.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    pub(super) writable: Option<Term>,
    pub(super) leads: Option<(Incarnation, Term)>,
    pub(super) intruder_since: Option<u64>,
    pub(super) heard_epoch: Epoch,
    /// Since when it has heard nothing of an arbiter, by its clock.
    pub(super) silent_since: Option<Time>,
    /// Until when it had promised before its present step.
    pub(super) promised: Option<Time>,
    /// The severance that it reported last.
    pub(super) told_severed: Option<baton_core::ids::Stamp>,
    /// The latest severance that was on its disk.
    pub(super) severed: Option<baton_core::ids::Stamp>,
    /// The term that it relinquished last, and what it held then.
    pub(super) relinquished: Option<(Term, baton_core::position::Position)>,
}

/// One instance's host.
#[derive(Clone, Debug)]
pub struct Node {
    /// The instance.
    pub name: InstanceName,
    endpoint: Endpoint,
    /// The machine; `None` while its process is gone.
    pub guard: Option<Guard>,
    /// Counts the guard's processes.
    pub run: u64,
    /// Counts the guard's runs: a process that goes on from a hand-over belongs to the run before.
    pub counted: u64,
    /// Counts the hand-overs that were taken.
    pub taken: u64,
    /// A hand-over that lies there.
    pub left: Option<Left>,
    /// A copy of one that somebody made.
    pub copy: Option<Left>,
    /// Drawn when the state directory was made; another one on another host.
    pub home: u64,
    /// Counts the boots.
    pub boot: u64,
    /// The state file was written on this boot.
    pub same_boot: bool,
    /// What is on disk.
    pub disk: Saved,
    /// Nothing becomes durable.
    pub disk_stuck: bool,
    pub(super) unsaved: Vec<Due>,
    /// Its clock.
    pub clock: Clock,
    /// Its deadman.
    pub deadman: Deadman,
    /// Its engine.
    pub engine: Engine,
    /// The connection to the engine; counts up.
    pub connection: u64,
    pub(super) outstanding: VecDeque<(OpId, EngineCommand)>,
    /// The engine hears nothing; commands wait in its socket.
    pub engine_deaf: bool,
    /// It will not, from the moment on at which it is asked to be promoted.
    pub hangs_in_promotion: bool,
    /// Over which connection something was asked that will not be answered: the guard waits for that, and sees nothing.
    pub(super) swallowed: Option<u64>,
    pub(super) unheard: Vec<EngineCommand>,
    /// Who asked for promises, as it said who it is.
    pub(super) askers: BTreeMap<InstanceName, Hello>,
    pub(super) stream: Option<(String, SessionId)>,
    pub(super) welcome: bool,
    /// Everything of the host is stopped, to be continued.
    pub frozen: bool,
    /// The guard alone is stopped.
    pub guard_frozen: bool,
    pub(super) backlog: Vec<Due>,
    /// A look at the replication link is due.
    pub(super) looks: bool,
    /// A look at the stream is due.
    pub(super) attaches: bool,
    /// Configured.
    pub priority: u32,
    /// Configured.
    pub electable: bool,
    /// Configured.
    pub zone: Option<Zone>,
    /// The engine is the deadman's child and restarted by the guard.
    pub supervised: bool,
    pub(super) remembered: Remembered,
    pub(super) not_before: u64,
}

impl Node {
    pub(super) fn new(name: InstanceName, number: u64, ack_quorum: usize, log: Vec<Entry>) -> Self {
        let engine = Engine::new(name.clone(), log, ack_quorum);
        Self {
            endpoint: Endpoint(format!("{name}:1").into()),
            name,
            guard: None,
            run: 0,
            counted: 0,
            taken: 0,
            left: None,
            copy: None,
            home: number,
            boot: 1,
            same_boot: true,
            disk: Saved::default(),
            disk_stuck: false,
            unsaved: Vec::new(),
            // No two hosts' clocks show the same.
            clock: Clock::new(number * 1_000_000_000),
            deadman: Deadman::default(),
            engine,
            connection: 0,
            outstanding: VecDeque::new(),
            engine_deaf: false,
            hangs_in_promotion: false,
            swallowed: None,
            unheard: Vec::new(),
            askers: BTreeMap::new(),
            stream: None,
            welcome: false,
            frozen: false,
            guard_frozen: false,
            backlog: Vec::new(),
            looks: false,
            attaches: false,
            priority: 100,
            electable: true,
            zone: None,
            supervised: true,
            remembered: Remembered::default(),
            not_before: 0,
        }
    }

    /// Where clients reach the engine.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The run of the guard.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation { home: self.home, boot: self.boot, run: self.counted }
    }

    /// When something is to be done without anything coming in.
    pub(super) fn deadline(&self, now: u64) -> Deadline {
        if self.frozen {
            return Deadline::NEVER;
        }
        let guard = self.guard.as_ref().filter(|_| !self.guard_frozen).and_then(Guard::next_deadline);
        let guard = Deadline::of(&self.clock, now, guard).not_before(self.not_before);
        guard.or(Deadline::of(&self.clock, now, self.deadman.deadline))
    }

    pub(super) fn guard_is_stopped(&self) -> bool {
        self.frozen || self.guard_frozen
    }
}

impl World {
    /// Something for the guard; it waits while the guard is stopped.
    pub(super) fn guard_hears(&mut self, instance: &InstanceName, run: u64, input: Input) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if node.run != run {
            return;
        }
        if node.guard_is_stopped() {
            node.backlog.push(Due::Guard(instance.clone(), run, Box::new(input)));
            return;
        }
        self.guard_step(instance, input);
    }

    /// Something for the guard's present run.
    pub fn tell_guard(&mut self, instance: &InstanceName, input: Input) {
        let run = self.nodes.get(instance).map_or(0, |node| node.run);
        self.guard_hears(instance, run, input);
    }

    pub(super) fn guard_step(&mut self, instance: &InstanceName, input: Input) {
        let now = self.now;
        self.note_contact(instance, &input);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let local = node.clock.read(now);
        let Some(guard) = &mut node.guard else { return };
        // Only a message of an epoch that is over must have no effect, so only then is the effect looked for.
        let highest = node.remembered.heard_epoch;
        let said = match &input {
            Input::FromArbiter(ToGuard::Grant(grant)) => Some((grant.incarnation, grant.epoch)),
            Input::FromArbiter(ToGuard::Directive(order)) => Some((order.incarnation, order.epoch)),
            Input::FromArbiter(ToGuard::Greeting(greeting)) => Some((greeting.incarnation, greeting.epoch)),
            _ => None,
        };
        if let Input::ProviderRead { epoch, .. } = &input {
            node.remembered.heard_epoch = node.remembered.heard_epoch.max(*epoch);
        }
        let over = said.is_some_and(|(_, epoch)| epoch < highest);
        let behind = outdated(guard, &input);
        let ticked = (over || behind.is_some()).then(|| {
            let mut twin = guard.clone();
            twin.step(local, Input::Tick);
            twin
        });
        let (promised, severed) = (node.remembered.promised, guard.severed_by());
        // What is waited out after a boot is no promise of this run.
        let reads = matches!(input, Input::ProviderRead { .. });
        guard.step(local, input);
        let changed = ticked.is_some_and(|ticked| *guard != ticked);
        if let Some(behind) = behind.filter(|_| changed && !over) {
            self.watch_version(instance, behind);
        }
        if let Some((to, epoch)) = said {
            self.watch_heeding(instance, to, epoch, changed);
        }
        if !reads {
            self.watch_silence(instance, promised);
        }
        if let Some(severed) = severed {
            self.watch_lifted(instance, severed);
        }
        self.drain_guard(instance);
        self.watch_right(instance);
        self.watch_promises();
        self.watch_needs();
        self.watch();
    }

    pub(super) fn node_tick(&mut self, instance: &InstanceName) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let local = node.clock.read(now);
        if node.deadman.deadline.is_some_and(|deadline| local >= deadline) {
            self.kill_by_deadman(instance);
        }
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let due = node.guard.as_ref().and_then(Guard::next_deadline).is_some_and(|at| local >= at);
        if due && !node.guard_is_stopped() && now >= node.not_before {
            self.guard_step(instance, Input::Tick);
            let Some(node) = self.nodes.get_mut(instance) else { return };
            let overdue = node.guard.as_ref().and_then(Guard::next_deadline).is_some_and(|at| local >= at);
            node.not_before = if overdue { now + 1_000 } else { 0 };
        }
    }

    /// The deadman's deadline has passed.
    pub fn kill_by_deadman(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.deadman.deadline = None;
        if node.engine.running {
            self.say(instance.as_str(), "deadman kills the engine: its deadline has passed");
            self.end_engine(instance);
        }
    }

    /// What came in while the host, or its guard, was stopped comes in now.
    pub fn resume_backlog(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.guard_frozen = false;
        for due in std::mem::take(&mut node.backlog) {
            self.after(0, due);
        }
        self.attach_later(instance, 50_000);
    }

    /// The deadman hears again.
    pub fn deadman_hears(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.deadman.deaf = false;
        for due in std::mem::take(&mut node.deadman.unheard) {
            self.after(0, due);
        }
    }

    /// The deadman's process ends; the guard sees its socket break.
    pub fn kill_deadman(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.deadman = Deadman::default();
        let run = node.run;
        self.guard_hears(instance, run, Input::DeadmanLost);
        let supervised = self.nodes.get(instance).is_some_and(|node| node.supervised);
        if supervised {
            self.end_engine(instance);
        }
    }

    /// The disk works again; what waited for it is durable now.
    pub fn free_disk(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.disk_stuck = false;
        for due in std::mem::take(&mut node.unsaved) {
            self.after(DISK_MICROS, due);
        }
    }

    pub(super) fn drain_guard(&mut self, instance: &InstanceName) {
        loop {
            let Some(guard) = self.nodes.get_mut(instance).and_then(|node| node.guard.as_mut()) else {
                return;
            };
            let Some(action) = guard.pop_action() else { return };
            self.guard_acts(instance, action);
        }
    }

    fn guard_acts(&mut self, instance: &InstanceName, action: Action) {
        self.watch_action(instance, &action);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let (run, connection) = (node.run, node.connection);
        match action {
            Action::ReadProvider => self.after(0, Due::ReadProvider(instance.clone(), run)),
            Action::Persist { op, saved } => {
                let due = Due::Disk(instance.clone(), run, op, Box::new(saved));
                if node.disk_stuck {
                    node.unsaved.push(due);
                } else {
                    let micros = self.disk_micros(DISK_MICROS);
                    self.after(micros, due);
                }
            }
            Action::Beat(beat) => {
                if let Some((arbiter, session)) = node.stream.clone() {
                    self.send(instance.as_str(), &arbiter, Body::Beat(session, beat));
                }
            }
            Action::Engine { op, command, within } => {
                node.outstanding.push_back((op, command.clone()));
                if command != EngineCommand::Probe {
                    self.say(
                        instance.as_str(),
                        format_args!("engine is asked to {}", show::command(&command)),
                    );
                }
                if self.nodes.get(instance).is_some_and(|node| !node.engine.running) {
                    let outcome = EngineOutcome::Unknown("nobody is there".to_owned());
                    let answer = Box::new(Input::EngineDone { op, outcome });
                    self.after(ENGINE_MICROS, Due::Answer(instance.clone(), run, connection, answer));
                    return;
                }
                self.after(ENGINE_MICROS, Due::Command(instance.clone(), connection, op));
                self.after(within.0, Due::CommandTimeout(instance.clone(), connection, op));
            }
            Action::Arm { op, deadline } => {
                self.tell_deadman(instance, Due::Arm(instance.clone(), run, op, deadline));
            }
            Action::Disarm => self.tell_deadman(instance, Due::Disarm(instance.clone())),
            Action::KillEngine => {
                self.say(instance.as_str(), "engine is killed");
                self.end_engine(instance);
            }
            Action::StartEngine => self.start_engine(instance),
            Action::StandDown => {
                self.say(instance.as_str(), "stands down");
                self.close_stream(instance);
            }
            Action::Ask { .. } | Action::Answer { .. } | Action::Relay { .. } => {
                self.guard_speaks(instance, action);
            }
            Action::Note(note) => {
                if let Some(text) = Some(&note).filter(|_| !self.silent).and_then(show::note) {
                    self.say(instance.as_str(), &text);
                }
            }
        }
    }

    fn tell_deadman(&mut self, instance: &InstanceName, due: Due) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if node.deadman.deaf {
            node.deadman.unheard.push(due);
        } else {
            self.after(DEADMAN_MICROS, due);
        }
    }

    pub(super) fn armed(&mut self, instance: &InstanceName, run: u64, op: OpId, deadline: Time) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if node.deadman.up && node.run == run {
            node.deadman.deadline = Some(deadline);
            self.after(DEADMAN_MICROS, Due::Guard(instance.clone(), run, Box::new(Input::Armed(op))));
        }
    }

    pub(super) fn saved(&mut self, instance: &InstanceName, run: u64, op: OpId, saved: Saved) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if node.run == run && node.guard.is_some() {
            node.remembered.severed = node.remembered.severed.max(saved.severed);
            node.disk = saved;
            node.same_boot = true;
            self.guard_hears(instance, run, Input::Persisted(op));
        }
    }
}
