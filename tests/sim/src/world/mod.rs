//! A whole cluster in one value: real guards, real arbiters, the real board, on scripted engines, disks, clocks and a
//! scripted network. One queue in true time; the same commands give the same run, to the microsecond.
//!
//! It must not know what ought to happen: that is the oracle's.

mod arbiter;
mod clock;
mod contenders;
mod engine;
mod net;
mod node;
mod peers;
mod people;
mod process;
mod provider;
mod replication;
mod settings;
mod stream;
mod tasks;
mod watch;

pub use arbiter::ArbiterNode;
pub use clock::{Clock, text as span_text};
pub use engine::{Answer, Engine, Entry};
pub use net::{Body, Host, Packet};
pub use node::{Deadman, Node};
pub use process::Left;
pub use provider::{BOARD, NextWrite, Provider};

use baton_board::RequestId;
use baton_core::arbiter::RelayId;
use baton_core::engine::EngineCommand;
use baton_core::guard::{Input as GuardInput, Saved};
use baton_core::ids::{InstanceName, OpId, ReplicaSetName};
use baton_core::record::Settings;
use baton_core::rules::Rules;
use baton_core::time::{Span, Time};
use baton_core::timing::{BadTiming, Timing};
use baton_oracle::{Event, Moment, Oracle, Property, Seen, Violation};
use net::Net;
use std::collections::BTreeMap;

/// How long a message takes from one host to another, in microseconds.
pub const NET_MICROS: u64 = 1_000;
/// The most lines that one command may make: beyond it a story tells nothing.
const LINES_MAX: usize = 2_000;

/// The most things that may happen in one moment: beyond it a machine goes round and round.
const AT_ONCE_MAX: u32 = 10_000;

/// What a world is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The instances, in the order of their numbers.
    pub instances: Vec<InstanceName>,
    /// The arbiters, in the order in which they campaign.
    pub arbiters: Vec<String>,
    /// The cluster's settings.
    pub settings: Settings,
    /// How many members the first appointment waits for; all of them if not set.
    pub bootstrap_members: Option<u32>,
    /// What each engine holds at first.
    pub data: BTreeMap<InstanceName, Vec<Entry>>,
    /// Configured priorities; 100 where nothing is said.
    pub priorities: BTreeMap<InstanceName, u32>,
    /// Which rules the machines keep.
    pub rules: Rules,
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Due {
    /// A message arrives.
    Packet(Packet),
    /// Something for a guard, of this run.
    Guard(InstanceName, u64, Box<GuardInput>),
    /// The engine's answer, over this connection.
    Answer(InstanceName, u64, u64, Box<GuardInput>),
    /// A guard's state is on disk.
    Disk(InstanceName, u64, OpId, Box<Saved>),
    /// The deadman hears of a deadline.
    Arm(InstanceName, u64, OpId, Time),
    /// The deadman hears that there is none.
    Disarm(InstanceName),
    /// A command reaches the engine over this connection.
    Command(InstanceName, u64, OpId),
    /// It should have been answered.
    CommandTimeout(InstanceName, u64, OpId),
    /// A connection to the engine stands.
    EngineConnected(InstanceName, u64),
    /// A starting guard asks the provider, again if it must.
    ReadProvider(InstanceName, u64),
    /// A guard without a stream tries once more.
    AttachAgain(InstanceName),
    /// A replica looks after its link.
    Replication(InstanceName),
    /// An arbiter whose campaign may have been lost.
    CampaignAgain {
        /// Whose.
        arbiter: String,
        /// Of which process.
        run: u64,
        /// Over which connection.
        session: baton_board::SessionId,
    },
    /// An arbiter that resigned stands in line again.
    Rejoin {
        /// Which.
        arbiter: String,
        /// Of which process.
        run: u64,
    },
    /// A knock has waited long enough.
    KnockUnanswered {
        /// Who knocked.
        host: String,
        /// Which knock.
        number: u64,
    },
    /// A request to the board has waited long enough.
    RequestTimeout {
        /// Whose.
        arbiter: String,
        /// Of which process.
        run: u64,
        /// Which.
        id: RequestId,
    },
}

/// The world.
#[derive(Clone, Debug)]
pub struct World {
    /// True time, in microseconds.
    pub now: u64,
    /// The hosts of instances.
    pub nodes: BTreeMap<InstanceName, Node>,
    /// The coordinators that run an arbiter.
    pub arbiters: BTreeMap<String, ArbiterNode>,
    contenders: BTreeMap<String, contenders::ContenderNode>,
    /// The state provider.
    pub provider: Provider,
    /// The one set of the story.
    pub replicaset: ReplicaSetName,
    /// The cluster's settings.
    pub settings: Settings,
    /// Derived from them.
    pub timing: Timing,
    /// Every decision that was told, in order.
    pub decisions: Vec<baton_core::decision::Decision>,
    /// Whether the fence command turns hosts off, or confirms nothing.
    pub fence_works: bool,
    net: Net,
    rules: Rules,
    bootstrap_members: u32,
    queue: BTreeMap<(u64, u64), Due>,
    last_queued: u64,
    last_session: u64,
    last_request: u64,
    last_task: u64,
    last_relay: u64,
    /// Relayed beats that an arbiter is answering: who passed them on, and whose they are.
    relays: BTreeMap<RelayId, (InstanceName, InstanceName)>,
    last_write: u64,
    told: BTreeMap<(String, String), String>,
    /// Which settings each host knows.
    known: BTreeMap<String, settings::Stamp>,
    lines: Vec<String>,
    /// When the lines' clock started: the command's begin.
    since: u64,
    oracle: Oracle,
    violation: Option<Violation>,
}

impl World {
    /// All processes started at once, and nothing done yet.
    ///
    /// # Errors
    /// The settings are not safe together.
    pub fn new(setup: Setup) -> Result<Self, BadTiming> {
        let timing = Timing::new(&setup.settings)?;
        let count = u32::try_from(setup.instances.len()).unwrap_or(u32::MAX);
        let mut world = Self {
            now: 0,
            nodes: BTreeMap::new(),
            arbiters: BTreeMap::new(),
            contenders: BTreeMap::new(),
            provider: Provider::new(setup.settings.clone()),
            replicaset: ReplicaSetName::parse("r").expect("a good name"),
            timing,
            decisions: Vec::new(),
            fence_works: true,
            net: Net::default(),
            rules: setup.rules,
            bootstrap_members: setup.bootstrap_members.unwrap_or(count),
            queue: BTreeMap::new(),
            last_queued: 0,
            last_session: 0,
            last_request: 0,
            last_task: 0,
            last_relay: 0,
            relays: BTreeMap::new(),
            last_write: 0,
            told: BTreeMap::new(),
            known: BTreeMap::new(),
            lines: Vec::new(),
            since: 0,
            oracle: Oracle::default(),
            violation: None,
            settings: setup.settings,
        };
        for (number, name) in (1..).zip(&setup.arbiters) {
            world.arbiters.insert(name.clone(), ArbiterNode::new(name, number * 500_000_000));
        }
        let ack_quorum = world.settings.ack_quorum as usize;
        for (number, instance) in (1..).zip(&setup.instances) {
            let log = setup.data.get(instance).cloned().unwrap_or_default();
            let mut node = Node::new(instance.clone(), number, ack_quorum, log);
            node.priority = setup.priorities.get(instance).copied().unwrap_or(100);
            world.nodes.insert(instance.clone(), node);
        }
        for name in &setup.arbiters {
            world.start_arbiter(name);
        }
        for instance in &setup.instances {
            world.start_guard(instance);
        }
        Ok(world)
    }

    /// Lets time pass.
    pub fn advance(&mut self, span: Span) {
        let until = self.now + span.0;
        let mut at_once = 0;
        while let Some(at) = self.next_moment().filter(|at| *at <= until) {
            if self.violation.is_some() {
                return;
            }
            at_once = if at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < AT_ONCE_MAX, "time stands still: {}", self.stuck());
            self.now = self.now.max(at);
            self.happen();
        }
        self.now = until;
        self.watch();
    }

    /// Lets time pass until nothing has been told for two leases, twenty leases at most.
    pub fn stabilize(&mut self) {
        for _ in 0..10 {
            let told = self.lines.len();
            self.advance(self.timing.lease_ttl * 2);
            if self.lines.len() == told || self.violation.is_some() {
                return;
            }
        }
        self.say("world", "does not come to rest");
    }

    /// What was told since the last time, and how it broke a property, if it did.
    pub fn take_lines(&mut self) -> (Vec<String>, Option<Violation>) {
        self.since = self.now;
        (std::mem::take(&mut self.lines), self.violation.clone())
    }

    /// The first property that was broken.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn next_moment(&self) -> Option<u64> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let nodes = self.nodes.values().filter_map(|node| node.deadline(self.now));
        let arbiters = self.arbiters.values().filter_map(|node| node.deadline(self.now));
        let board = self.provider.deadline();
        let contenders = self.contender_deadline().map(|(at, _)| at);
        nodes.chain(arbiters).chain(queued).chain(board).chain(contenders).min()
    }

    /// What is due now, for the message of a world that does not move on.
    fn stuck(&self) -> String {
        let nodes: Vec<_> = self.nodes.values().map(|node| (&node.name, node.deadline(self.now))).collect();
        let arbiters: Vec<_> =
            self.arbiters.values().map(|node| (&node.name, node.deadline(self.now))).collect();
        format!("at {}: next {:?}, {nodes:?}, {arbiters:?}", self.now, self.queue.values().next())
    }

    /// Whatever is due at this moment, messages first: one thing.
    fn happen(&mut self) {
        self.happen_one();
        self.watch_links();
    }

    fn happen_one(&mut self) {
        let now = self.now;
        if self.queue.keys().next().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, due)) = self.queue.pop_first() {
                self.fall_due(due);
            }
            return;
        }
        if let Some(instance) = self
            .nodes
            .values()
            .find(|node| node.deadline(now).is_some_and(|at| at <= now))
            .map(|it| it.name.clone())
        {
            self.node_tick(&instance);
        } else if let Some(name) = self
            .arbiters
            .values()
            .find(|it| it.deadline(now).is_some_and(|at| at <= now))
            .map(|it| it.name.clone())
        {
            self.arbiter_tick(&name);
        } else if let Some((_, host)) = self.contender_deadline().filter(|(at, _)| *at <= now) {
            self.contender_tick(&host);
        } else if self.provider.deadline().is_some_and(|at| at <= now) {
            self.board_step(baton_board::Input::Tick);
        }
    }

    fn fall_due(&mut self, due: Due) {
        let Some(due) = self.unless_frozen(due) else { return };
        match due {
            Due::Packet(packet) => self.deliver(packet),
            Due::Guard(instance, run, input) => self.guard_hears(&instance, run, *input),
            Due::Answer(instance, run, connection, input) => {
                self.engine_answer(&instance, run, connection, *input);
            }
            Due::Disk(instance, run, op, saved) => self.saved(&instance, run, op, *saved),
            Due::Arm(instance, run, op, deadline) => self.armed(&instance, run, op, deadline),
            Due::Disarm(instance) => {
                if let Some(node) = self.nodes.get_mut(&instance) {
                    node.deadman.deadline = None;
                }
            }
            Due::Command(instance, connection, op) => self.engine_command(&instance, connection, op),
            Due::CommandTimeout(instance, connection, op) => self.engine_timeout(&instance, connection, op),
            Due::EngineConnected(instance, connection) => self.engine_connected(&instance, connection),
            Due::ReadProvider(instance, run) => self.read_provider(&instance, run),
            Due::AttachAgain(instance) => self.attach_again(&instance),
            Due::Replication(instance) => self.replication(&instance),
            Due::CampaignAgain { arbiter, run, session } => self.campaign_again(&arbiter, run, session),
            Due::Rejoin { arbiter, run } => self.rejoin(&arbiter, run),
            Due::KnockUnanswered { host, number } => self.knock_ended(&host, number, false),
            Due::RequestTimeout { arbiter, run, id } => {
                if self.arbiters.get(&arbiter).is_some_and(|node| node.run == run) {
                    self.request_timed_out(&arbiter, id);
                }
            }
        }
    }

    /// What happens on a frozen host waits until it is thawed.
    fn unless_frozen(&mut self, due: Due) -> Option<Due> {
        let host = match &due {
            Due::Packet(packet) => packet.to.clone(),
            Due::Guard(instance, ..)
            | Due::Answer(instance, ..)
            | Due::Disk(instance, ..)
            | Due::Arm(instance, ..)
            | Due::Disarm(instance)
            | Due::Command(instance, ..)
            | Due::CommandTimeout(instance, ..)
            | Due::EngineConnected(instance, _)
            | Due::ReadProvider(instance, _)
            | Due::AttachAgain(instance)
            | Due::Replication(instance) => instance.to_string(),
            Due::KnockUnanswered { host, .. } => host.clone(),
            Due::CampaignAgain { arbiter, .. }
            | Due::Rejoin { arbiter, .. }
            | Due::RequestTimeout { arbiter, .. } => arbiter.clone(),
        };
        let frozen = self.nodes.values_mut().find(|node| node.frozen && node.name.as_str() == host);
        if let Some(node) = frozen {
            node.backlog.push(due);
            return None;
        }
        match self.arbiters.get_mut(&host).filter(|node| node.frozen) {
            Some(node) => {
                node.backlog.push(due);
                None
            }
            None => Some(due),
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, body } = packet;
        if to == BOARD {
            match body {
                Body::ToBoard(input) => self.board_hears(&from, *input),
                Body::Read(run) => self.board_reads(&from, run),
                _ => {}
            }
            return;
        }
        let body = match body {
            Body::Lock(view) => return self.host_sees_lock(&to, &view),
            Body::Knock(number, guards) => return self.knocked(&to, &from, number, guards),
            Body::KnockHeard(number) => return self.knock_ended(&to, number, true),
            body => body,
        };
        if self.arbiters.contains_key(&to) {
            self.arbiter_hears(&to, &from, body);
            return;
        }
        let Ok(instance) = InstanceName::parse(&to) else { return };
        match body {
            Body::Data(run, log) => self.replica_receives(&instance, &from, &run, log),
            Body::Confirm(run, replica, length) => self.master_confirmed(&instance, &run, &replica, length),
            Body::Settings(generation, settings) => self.node_learns(&instance, generation, &settings),
            Body::Ask(..) => self.node_is_asked(&instance, body),
            Body::Promised(answer) => {
                if let Ok(from) = InstanceName::parse(&from) {
                    self.tell_guard(&instance, GuardInput::Answered { from, answer });
                }
            }
            Body::Relayed { of, epoch, well, grant } => {
                self.tell_guard(&instance, GuardInput::RelayAnswered { of, epoch, well, grant });
            }
            body => self.node_hears(&instance, body),
        }
    }

    fn arbiter_hears(&mut self, name: &str, from: &str, body: Body) {
        use baton_core::arbiter::Input;
        match body {
            Body::Hello(session, hello) => {
                if self.arbiters.get(name).is_none_or(|node| node.machine.is_none()) {
                    self.send(name, from, Body::Bye(session));
                    return;
                }
                self.send(name, from, Body::Welcome(session));
                self.arbiter_step(name, Input::Attached { session, guards: vec![*hello] });
            }
            Body::Bye(session) => self.arbiter_step(name, Input::Detached { session }),
            Body::Beat(session, beat) => self.arbiter_step(name, Input::Beat { session, beat }),
            Body::Relay(hello, beat) => self.arbiter_is_relayed(name, from, hello, beat),
            Body::FromBoard(session, message) => self.arbiter_hears_board(name, session, message),
            Body::Answer(id, reply) => self.arbiter_hears_answer(name, id, *reply),
            Body::Settings(generation, settings) => self.arbiter_learns(name, generation, *settings),
            _ => {}
        }
    }

    /// Whom guards find: the holder of the provider's lock.
    fn known_arbiter(&self) -> Option<String> {
        let holder = self.provider.durable.lock.holder.as_ref()?;
        Some(holder.0.coordinator.to_string())
    }

    fn attach_all(&mut self) {
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        for instance in names {
            self.attach(&instance);
        }
    }

    /// An arbiter's process is gone: its streams close.
    fn arbiter_gone(&mut self, name: &str) {
        let streams: Vec<_> = self
            .nodes
            .values()
            .filter_map(|node| {
                node.stream.clone().filter(|(arbiter, _)| arbiter == name).map(|it| (node.name.clone(), it.1))
            })
            .collect();
        for (instance, session) in streams {
            self.send(name, instance.as_str(), Body::Bye(session));
        }
    }

    fn send(&mut self, from: &str, to: &str, body: Body) {
        let packet = Packet { from: from.to_owned(), to: to.to_owned(), body };
        if let Some(packet) = self.net.pass(packet) {
            self.after(NET_MICROS, Due::Packet(packet));
        }
    }

    fn after(&mut self, micros: u64, due: Due) {
        self.last_queued += 1;
        self.queue.insert((self.now + micros, self.last_queued), due);
    }

    /// Tells a line, if the story can still bear one.
    pub fn say(&mut self, who: &str, text: &str) {
        if self.lines.len() < LINES_MAX {
            let after = clock::text(self.now - self.since);
            self.lines.push(format!("+{after} {who}: {text}"));
        }
    }

    fn observe(&mut self, seen: Seen) {
        if self.violation.is_none() {
            self.violation = self.oracle.observe(&Event { at: Moment(self.now), seen }).err();
        }
    }

    fn check(&mut self, result: Result<(), Violation>) {
        if self.violation.is_none() {
            self.violation = result.err();
        }
    }

    /// Lets what was kept in this direction through, in order.
    pub fn release(&mut self, from: &str, to: &str) -> usize {
        let packets = self.net.release(from, to);
        self.deliver_all(packets)
    }

    /// The network is whole again.
    pub fn heal(&mut self) {
        let packets = self.net.heal();
        self.deliver_all(packets);
        for node in self.nodes.values_mut() {
            node.engine.sent.clear();
        }
        self.spread_settings();
        self.spread_lock();
        self.attach_all();
    }

    fn deliver_all(&mut self, packets: Vec<Packet>) -> usize {
        let count = packets.len();
        for packet in packets {
            self.after(0, Due::Packet(packet));
        }
        count
    }

    /// Looks at every host at once, as after anything that happens.
    pub fn look(&mut self) {
        self.watch();
    }

    /// The network's links.
    pub fn net(&mut self) -> &mut Net {
        &mut self.net
    }
}

/// A command as the guard gave it.
pub type Command = EngineCommand;
