//! The whole of a world at one instant, and how equal states are folded.

use crate::host::{Engine, Host, Peers};
use crate::provider::{Provider, Request};
use crate::world::{Faults, World};
use baton_core::arbiter::{self, Arbiter};
use baton_core::guard::{self, Guard, Saved};
use baton_core::ids::{ClusterName, CoordinatorName, Incarnation, InstanceName, OpId, ReplicaSetName};
use baton_core::message::{Ask, Beat, Hello, PeerAnswer, ToGuard};
use baton_core::record::Settings;
use baton_core::rules::Rule;
use baton_core::time::{Span, Time};

/// What a host's stream brings to an arbiter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToArbiter {
    /// The stream opened.
    Attach(Box<Hello>),
    /// A report.
    Beat(Box<Beat>),
    /// The stream closed.
    Detach,
}

/// A message that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Letter {
    /// To the guard of this host.
    Guard(usize, ToGuard),
    /// To this arbiter, over the stream of this host.
    Arbiter(usize, usize, Box<Beat>),
    /// From one guard to another.
    Peer(Mail),
}

/// What a guard says to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mail {
    /// Whose host.
    pub from: usize,
    /// To whose.
    pub to: usize,
    /// What.
    pub what: ToPeer,
}

/// See [`Mail`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToPeer {
    /// A promise is asked for.
    Ask(Box<Ask>),
    /// A request is answered.
    Answer(Box<PeerAnswer>),
}

/// One arbiter and its driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// The machine.
    pub machine: Arbiter,
    /// Its process is stopped.
    pub paused: bool,
    /// It does not reach the provider.
    pub cut_off: bool,
    /// When it asks for its lock next.
    pub renew_at: Time,
    /// It waits for a read of everything.
    pub loads: bool,
    /// Writes without an answer.
    pub writes: Vec<(OpId, Request)>,
}

/// A stream between a host and an arbiter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    /// The arbiter that the host is attached to.
    pub session: Option<usize>,
    /// Whom it does not reach.
    pub cut: Vec<bool>,
    /// On the way to the guard.
    pub down: Vec<ToGuard>,
    /// On the way to an arbiter, with its number.
    pub up: Vec<(usize, ToArbiter)>,
    /// It reaches no other guard.
    pub alone: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The clocks.
    pub clocks: Vec<Time>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Each host's stream.
    pub links: Vec<Link>,
    /// The arbiters.
    pub seats: Vec<Seat>,
    /// The provider.
    pub provider: Provider,
    /// Held back, in the order in which they were sent.
    pub letters: Vec<Letter>,
    /// On the way from guard to guard, in order.
    pub mail: Vec<Mail>,
    /// Writes that may still land.
    pub late_writes: Vec<Request>,
    /// What may still go wrong.
    pub left: Faults,
}

/// The one replica set of every world.
#[must_use]
pub fn set_name() -> ReplicaSetName {
    ReplicaSetName::parse("s").expect("a letter is a name")
}

/// The name of an instance.
#[must_use]
pub fn instance(index: usize) -> InstanceName {
    InstanceName::parse(&format!("a{}", index + 1)).expect("a letter and a number are a name")
}

fn coordinator(index: usize) -> CoordinatorName {
    CoordinatorName::parse(&format!("c{}", index + 1)).expect("a letter and a number are a name")
}

/// The run of a host's guard.
#[must_use]
pub fn incarnation(host: usize, run: u64) -> Incarnation {
    Incarnation { home: host as u64 + 1, boot: 1, run }
}

/// The name of the cluster, for people.
#[must_use]
pub fn cluster() -> ClusterName {
    ClusterName::parse("model").expect("letters are a name")
}

/// A guard as a world starts it.
#[must_use]
pub fn new_guard(world: &World, now: Time, host: usize, run: u64, saved: Saved) -> Guard {
    let config = guard::Config {
        instance: instance(host),
        replicaset: set_name(),
        incarnation: incarnation(host, run),
        supervised: true,
        failsafe: world.manner.failsafe,
        timing: world.timing.clone(),
        rules: world.rules(),
    };
    Guard::new(now, config, saved, true)
}

/// What a host says when it attaches.
#[must_use]
pub fn hello(world: &World, host: &Host) -> Hello {
    Hello {
        instance: instance(host.index),
        replicaset: set_name(),
        incarnation: incarnation(host.index, host.run),
        coordinator: coordinator(host.index),
        endpoint: crate::host::endpoint(host.index),
        zone: None,
        priority: 10 - u32::try_from(host.index).unwrap_or(0),
        electable: true,
        bootstrap_members: u32::try_from(world.host_clocks.len()).unwrap_or(1),
        supervised: true,
    }
}

impl State {
    /// A world at its first instant: everything was just started, nothing was ever said.
    #[must_use]
    pub fn first(world: &World) -> Self {
        let now = Time(world.horizon().0);
        let hosts = (0..world.host_clocks.len()).map(|index| Host {
            index,
            guard: Some(new_guard(world, now, index, 1, Saved::default())),
            run: 1,
            disk: Saved::default(),
            paused: false,
            frozen: false,
            engine: Engine { reconnect: true, ..Engine::fresh() },
            deadline: None,
            pipe: Vec::new(),
            inbox: Vec::new(),
            reads: false,
            greets: true,
        });
        let arbiters = world.arbiter_clocks.len();
        let seats = (0..arbiters).map(|index| Seat {
            machine: new_arbiter(world, index),
            paused: false,
            cut_off: false,
            renew_at: now,
            loads: false,
            writes: Vec::new(),
        });
        let clocks = world.host_clocks.iter().chain(&world.arbiter_clocks).chain([&world.provider_clock]);
        Self {
            clocks: vec![now; clocks.max().map_or(0, |most| most + 1)],
            links: vec![Link { cut: vec![false; arbiters], ..Link::default() }; world.host_clocks.len()],
            hosts: hosts.collect(),
            seats: seats.collect(),
            provider: Provider::new(world.broken == Some(Rule::WriteUnderEpoch)),
            letters: Vec::new(),
            mail: Vec::new(),
            late_writes: Vec::new(),
            left: Faults::default(),
        }
    }

    /// What engines see of each other.
    #[must_use]
    pub fn peers(&self) -> Peers {
        let engines = self.hosts.iter().map(|host| &host.engine);
        engines.map(|engine| (engine.up, engine.data.clone(), engine.follows)).collect()
    }

    /// Folds what differs only by when it happened: the slowest clock is set to the horizon, and what is further back
    /// than that from it is only "long ago".
    pub fn fold(&mut self, world: &World) {
        let slowest = self.clocks.iter().min().copied().unwrap_or_default();
        let by = slowest.since(Time(world.horizon().0));
        self.clocks.iter_mut().for_each(|time| *time = time.back(by));
        self.hosts.iter_mut().for_each(|host| host.rebase(by));
        self.provider.rebase(by);
        for seat in &mut self.seats {
            rebase_seat(seat, by);
        }
        for link in &mut self.links {
            link.down.iter_mut().for_each(|message| rebase_to_guard(message, by));
            for (_, message) in &mut link.up {
                if let ToArbiter::Beat(beat) = message {
                    beat.sent_at = beat.sent_at.back(by);
                }
            }
        }
        for letter in &mut self.letters {
            match letter {
                Letter::Guard(_, message) => rebase_to_guard(message, by),
                Letter::Arbiter(_, _, beat) => beat.sent_at = beat.sent_at.back(by),
                Letter::Peer(mail) => mail.rebase(by),
            }
        }
        self.mail.iter_mut().for_each(|mail| mail.rebase(by));
    }
}

impl Mail {
    fn rebase(&mut self, by: Span) {
        let time = match &mut self.what {
            ToPeer::Ask(ask) => &mut ask.beat.sent_at,
            ToPeer::Answer(answer) => match &mut **answer {
                PeerAnswer::Promise(promise) => &mut promise.asked_at,
                PeerAnswer::Relayed(grant) => &mut grant.beat,
                PeerAnswer::Refused(_) => return,
            },
        };
        *time = time.back(by);
    }
}

fn new_arbiter(world: &World, index: usize) -> Arbiter {
    let config = arbiter::Config { coordinator: coordinator(10 + index), seed: 1, rules: world.rules() };
    Arbiter::with_timing(config, Settings::default(), world.timing.clone()).without_calls()
}

fn rebase_seat(seat: &mut Seat, by: Span) {
    seat.machine.rebase(by);
    seat.machine.forget_stories();
    seat.renew_at = seat.renew_at.back(by);
    let lowest = seat.writes.iter().map(|(op, _)| *op).min();
    let down = lowest.map_or(seat.machine.last_op(), |lowest| OpId(lowest.0 - 1));
    seat.machine.rebase_ops(down);
    seat.writes.iter_mut().for_each(|(op, _)| op.0 -= down.0);
}

fn rebase_to_guard(message: &mut ToGuard, by: Span) {
    if let ToGuard::Grant(grant) = message {
        grant.beat = grant.beat.back(by);
    }
}
