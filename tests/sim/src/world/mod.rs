//! A whole cluster in one value: real guards, real arbiters, the real board, on scripted engines, disks, clocks and a
//! scripted network. One queue in true time; the same commands give the same run, to the microsecond.
//!
//! It must not know what ought to happen: that is the oracle's.

mod agenda;
mod arbiter;
mod clients;
mod clock;
mod connection;
mod contenders;
mod decided;
mod due;
mod duties;
mod engine;
mod moving;
mod net;
mod node;
mod peers;
mod people;
mod process;
mod provider;
mod queue;
mod replication;
mod settings;
mod stream;
mod table;
mod tasks;
mod watch;
mod weather;

pub use arbiter::ArbiterNode;
pub use clients::{ClientStep, Clients};
pub use clock::{Clock, text as span_text};
pub use due::Due;
pub use engine::{Answer, Engine, Entry};
pub use net::{Body, Host, Packet};
pub use node::{Deadman, Node};
pub use process::Left;
pub use provider::{BOARD, NextWrite, Provider};
pub use table::Table;
pub use weather::Weather;

use agenda::Agenda;
use baton_core::arbiter::{RelayId, SessionId};
use baton_core::engine::EngineCommand;
use baton_core::ids::{
    CoordinatorName, Epoch, Incarnation, InstanceName, ReplicaSetName, Stamp, Term, Version,
};
use baton_core::record::Settings;
use baton_core::rules::Rules;
use baton_core::time::Span;
use baton_core::timing::{BadTiming, Timing};
use baton_oracle::{Event, Moment, Oracle, Property, Seen, Violation};
use net::Net;
use queue::Queue;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// How long a message takes from one host to another, in microseconds.
pub const NET_MICROS: u64 = 1_000;
/// The most lines that one command may make: beyond it a story tells nothing.
const LINES_MAX: usize = 200_000;

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
    /// How the network and the disks behave; steady if not set.
    pub weather: Option<Weather>,
    /// Engines have on disk whatever they confirm.
    pub durable: bool,
    /// Nobody reads what is told: nothing is written down, which is a good part of the work.
    pub silent: bool,
}

/// The world.
#[derive(Clone, Debug)]
pub struct World {
    /// True time, in microseconds.
    pub now: u64,
    /// The hosts of instances.
    pub nodes: Table<InstanceName, Node>,
    /// The coordinators that run an arbiter.
    pub arbiters: Table<String, ArbiterNode>,
    contenders: Table<String, contenders::ContenderNode>,
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
    /// What single machines owe is looked at too, not only the invariants; where a seed says what happens, from the begin on.
    pub duties: bool,
    /// The new term that was asked for last: in which epoch, at which version.
    asked: Option<(Epoch, Version)>,
    /// The latest order to sever that was given while there was evidence against the master.
    severed_by_right: Option<Stamp>,
    /// Whom a person has ever expelled: an order to sever it may be on its way for long after.
    expelled: BTreeSet<InstanceName>,
    net: Net,
    rules: Rules,
    bootstrap_members: u32,
    queue: Queue<Due>,
    agenda: Agenda,
    /// Whoever looks only at what was in hand looks at all the rest too, and must find nothing there.
    pub(crate) doubts: bool,
    links: contenders::Links,
    last_session: u64,
    last_request: u64,
    last_task: u64,
    last_relay: u64,
    /// Relayed beats that an arbiter is answering: who passed them on, and whose they are.
    relays: BTreeMap<RelayId, (InstanceName, InstanceName)>,
    last_write: u64,
    clients: Option<Clients>,
    /// All faults have ended.
    pub(crate) ended: bool,
    /// How often in a row a person forced a failover and nobody was appointed.
    pub(crate) forced_in_vain: u32,
    last_term: Option<Term>,
    /// How often the term rose.
    pub(crate) term_changes: u32,
    /// The streams that arbiters believe to be open.
    streams: BTreeMap<SessionId, String>,
    /// By each arbiter in each epoch: against which term it accepted evidence 1 last, and from which run.
    accepted: BTreeMap<(String, Option<Epoch>), (Term, Incarnation)>,
    told: BTreeMap<(String, String), String>,
    /// Which settings each host knows.
    known: BTreeMap<String, settings::Stamp>,
    lines: Vec<String>,
    silent: bool,
    pub(crate) weather: Option<Weather>,
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
        let timing = setup.rules.timed(Timing::new(&setup.settings)?);
        let count = u32::try_from(setup.instances.len()).unwrap_or(u32::MAX);
        let mut world = Self {
            now: 0,
            nodes: Table::new(),
            arbiters: Table::new(),
            contenders: Table::new(),
            provider: Provider::new(setup.settings.clone(), setup.rules),
            replicaset: ReplicaSetName::parse("r").expect("a good name"),
            timing,
            decisions: Vec::new(),
            fence_works: true,
            duties: setup.weather.is_some(),
            asked: None,
            severed_by_right: None,
            expelled: BTreeSet::new(),
            net: Net::default(),
            rules: setup.rules,
            bootstrap_members: setup.bootstrap_members.unwrap_or(count),
            queue: Queue::new(),
            agenda: Agenda::default(),
            doubts: false,
            links: contenders::Links::default(),
            last_session: 0,
            last_request: 0,
            last_task: 0,
            last_relay: 0,
            relays: BTreeMap::new(),
            last_write: 0,
            clients: None,
            ended: false,
            forced_in_vain: 0,
            last_term: None,
            term_changes: 0,
            streams: BTreeMap::new(),
            accepted: BTreeMap::new(),
            told: BTreeMap::new(),
            known: BTreeMap::new(),
            lines: Vec::new(),
            silent: setup.silent,
            weather: setup.weather,
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
            if setup.durable {
                node.engine.make_durable();
            }
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

    /// Whom guards find: the holder of the provider's lock.
    fn known_arbiter(&self) -> Option<&CoordinatorName> {
        let holder = self.provider.durable.lock.holder.as_ref()?;
        Some(&holder.0.coordinator)
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
            if self.weather.is_some() {
                self.after(self.timing.lease_ttl.0, Due::StreamBroken(instance, session));
            }
        }
    }

    fn send(&mut self, from: &str, to: &str, body: Body) {
        let (from, to) = (self.net.host(from), self.net.host(to));
        let packet = Box::new(Packet { from, to, body });
        let Some(packet) = self.net.pass(packet) else { return };
        let Some(weather) = &mut self.weather else {
            return self.after(NET_MICROS, Due::Packet(packet));
        };
        let [first, second] = weather.delays(self.now, &packet);
        if let Some(micros) = second {
            self.after(micros, Due::Packet(packet.clone()));
        }
        if let Some(micros) = first {
            self.after(micros, Due::Packet(packet));
        }
    }

    /// How long a disk takes for one synced write of a host.
    fn disk_micros(&mut self, ordinary: u64) -> u64 {
        self.weather.as_mut().map_or(ordinary, Weather::disk_micros)
    }

    fn after(&mut self, micros: u64, due: Due) {
        self.queue.put(self.now + micros, due);
    }

    /// Tells a line, if the story can still bear one.
    pub fn say(&mut self, who: &str, text: impl Display) {
        if !self.silent && self.lines.len() < LINES_MAX {
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
        self.connect_again();
    }

    /// Undoes one cut in each of these directions.
    pub fn mend(&mut self, pairs: Vec<(String, String)>) {
        for (from, to) in &pairs {
            self.net.mend(from, to);
        }
        self.connect_again();
    }

    /// Connections that stand again say what was lost over those before.
    fn connect_again(&mut self) {
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
            self.after(0, Due::Packet(Box::new(packet)));
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
