//! The whole of a world at one instant, and how equal states are folded.

use crate::engine::{Engine, Peers};
use crate::faults::Faults;
use crate::host::{Host, Past};
use crate::provider::{Holder, Provider, Request};
use crate::shared::Shared;
use crate::watch::Watch;
use crate::world::World;
use baton_core::arbiter::{self, Arbiter};
use baton_core::guard::{self, Guard, Saved};
use baton_core::ids::{ClusterName, CoordinatorName, Incarnation, InstanceName, OpId, ReplicaSetName, Term};
use baton_core::message::{Ask, Beat, Hello, PeerAnswer, ToGuard};
use baton_core::time::{Span, Time};
use std::sync::LazyLock;

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
    /// A replica has so much of its master's log, of this run.
    Confirm {
        /// Whose log.
        master: usize,
        /// Of which run.
        run: u64,
        /// The replica.
        replica: usize,
        /// How much.
        length: usize,
    },
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
    /// Counts its runs.
    pub run: u64,
    /// Its process is stopped.
    pub paused: bool,
    /// Its process is gone.
    pub dead: bool,
    /// It does not reach the provider.
    pub cut_off: bool,
    /// When it asks for its lock next.
    pub renew_at: Time,
    /// It waits for a read of everything.
    pub loads: bool,
    /// Writes without an answer.
    pub writes: Vec<(OpId, Request)>,
    /// The fence command runs against the holder of this term, on this host.
    pub fence: Option<(Term, usize)>,
}

impl Seat {
    /// Whether it can take a step.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.paused && !self.dead
    }
}

/// What is lost between a host and an arbiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cut {
    /// What the host says.
    pub up: bool,
    /// What the arbiter says.
    pub down: bool,
}

/// A stream between a host and an arbiter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    /// The arbiter that the host is attached to.
    pub session: Option<usize>,
    /// What is lost between it and each arbiter.
    pub cut: Vec<Cut>,
    /// On the way to the guard.
    pub down: Vec<ToGuard>,
    /// On the way to an arbiter, with its number.
    pub up: Vec<(usize, ToArbiter)>,
    /// It reaches no other guard.
    pub alone: bool,
    /// Its engine gets nothing from its master's.
    pub replica_cut: bool,
}

impl Link {
    /// Whether a stream to this arbiter can be opened.
    #[must_use]
    pub fn may_attach(&self, state: &State, arbiter: usize) -> bool {
        !self.cut[arbiter].up && !self.cut[arbiter].down && !state.seats[arbiter].dead
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The clocks.
    pub clocks: Vec<Time>,
    /// The hosts.
    pub hosts: Vec<Shared<Host>>,
    /// Each host's stream.
    pub links: Vec<Shared<Link>>,
    /// The arbiters.
    pub seats: Vec<Shared<Seat>>,
    /// The provider.
    pub provider: Shared<Provider>,
    /// What clients were promised.
    pub watch: Shared<Watch>,
    /// Counts the clients' writes.
    pub last_write: u64,
    /// For how many replicas commits are to wait, as people set it last.
    pub ack_quorum: u32,
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
    static NAME: LazyLock<ReplicaSetName> =
        LazyLock::new(|| ReplicaSetName::parse("s").expect("a letter is a name"));
    NAME.clone()
}

/// Most instances of a world.
const INSTANCES_MOST: usize = 9;

/// The name of an instance.
#[must_use]
pub fn instance(index: usize) -> InstanceName {
    // Made once: every state is asked for it, and a name that is made takes memory.
    static NAMES: LazyLock<Vec<InstanceName>> = LazyLock::new(|| {
        let named = |index| InstanceName::parse(&format!("a{}", index + 1));
        (0..INSTANCES_MOST).map(|index| named(index).expect("a letter and a number are a name")).collect()
    });
    NAMES[index].clone()
}

fn coordinator(index: usize) -> CoordinatorName {
    CoordinatorName::parse(&format!("c{}", index + 1)).expect("a letter and a number are a name")
}

/// The run of a host's guard.
#[must_use]
pub fn incarnation(host: usize, boot: u64, run: u64) -> Incarnation {
    Incarnation { home: host as u64 + 1, boot, run }
}

/// The name of the cluster, for people.
#[must_use]
pub fn cluster() -> ClusterName {
    ClusterName::parse("model").expect("letters are a name")
}

/// What the guard of a host is made from.
#[must_use]
pub fn guard_config(world: &World, host: usize, boot: u64, run: u64) -> guard::Config {
    guard::Config {
        instance: instance(host),
        replicaset: set_name(),
        incarnation: incarnation(host, boot, run),
        supervised: true,
        failsafe: world.manner.failsafe,
        timing: world.timing.clone(),
        rules: world.rules(),
    }
}

/// What a host says when it attaches.
#[must_use]
pub fn hello(world: &World, host: &Host) -> Hello {
    Hello {
        instance: instance(host.index),
        replicaset: set_name(),
        incarnation: incarnation(host.index, host.boot, host.run),
        coordinator: coordinator(host.index),
        endpoint: crate::engine::endpoint(host.index),
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
        let clocks = world.host_clocks.iter().chain(&world.arbiter_clocks).chain([&world.provider_clock]);
        let link = Link { cut: vec![Cut::default(); world.arbiter_clocks.len()], ..Link::default() };
        let seats = (0..world.arbiter_clocks.len()).map(|index| Shared::new(new_seat(world, now, index, 1)));
        Self {
            clocks: vec![now; clocks.max().map_or(0, |most| most + 1)],
            links: vec![Shared::new(link); world.host_clocks.len()],
            hosts: (0..world.host_clocks.len())
                .map(|index| Shared::new(first_host(world, now, index)))
                .collect(),
            seats: seats.collect(),
            provider: Shared::new(Provider::new(world.rules(), world.timeless)),
            watch: Shared::new(Watch::default()),
            last_write: 0,
            ack_quorum: world.ack_quorum,
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

    /// Whose data this host's engine would take now, where it lacks any of it or has not confirmed it.
    #[must_use]
    pub fn takes_data(&self, replica: usize) -> bool {
        let (host, link) = (&self.hosts[replica], &self.links[replica]);
        let Some(master) = host.engine.follows.filter(|_| host.engine.up && !host.frozen) else {
            return false;
        };
        let there = &self.hosts[master];
        // An engine that has just started serves nobody its data: it is a replica of nowhere.
        let serves = there.engine.up && (there.engine.promoted > Term(0) || there.engine.follows.is_some());
        let alone = link.replica_cut || link.alone || self.links[master].alone;
        let open = serves && !there.frozen && !alone;
        let confirmed = there.engine.attached.get(&replica).copied();
        let confirming = self.letters.iter().any(
            |letter| matches!(letter, Letter::Confirm { replica: of, run, .. } if *of == replica && *run == there.engine.run),
        );
        let behind = host.engine.log != there.engine.log || host.engine.data != there.engine.data;
        open && (behind || (confirmed != Some(there.engine.log.len()) && !confirming))
    }

    /// The arbiter of a seat as the provider knows it.
    #[must_use]
    pub fn holder(&self, arbiter: usize) -> Holder {
        Holder { arbiter, run: self.seats[arbiter].run }
    }

    /// Folds what differs only by when it happened: the slowest clock is set to the horizon, and what is further back
    /// than that from it is only "long ago". Where clocks mean nothing each is folded by itself. What is as it was in
    /// `before`, and is not moved, was folded then.
    pub fn fold(&mut self, world: &World, before: Option<&Self>) {
        let horizon = Time(world.horizon().0);
        let slowest = self.clocks.iter().min().copied().unwrap_or_default();
        let by: Vec<Span> = self
            .clocks
            .iter()
            .map(|clock| if world.timeless { clock.since(horizon) } else { slowest.since(horizon) })
            .collect();
        for (clock, by) in self.clocks.iter_mut().zip(&by) {
            *clock = clock.back(*by);
        }
        let of_host = |host: usize| by[world.host_clocks[host]];
        for (index, host) in self.hosts.iter_mut().enumerate() {
            if of_host(index) > Span::ZERO || before.is_none_or(|before| !host.is(&before.hosts[index])) {
                host.rebase(of_host(index));
            }
        }
        for (index, seat) in self.seats.iter_mut().enumerate() {
            let by = by[world.arbiter_clocks[index]];
            if by > Span::ZERO || before.is_none_or(|before| !seat.is(&before.seats[index])) {
                rebase_seat(seat, by);
            }
        }
        let by_provider = by[world.provider_clock];
        if by_provider > Span::ZERO {
            self.provider.rebase(by_provider);
        }
        for (index, link) in self.links.iter_mut().enumerate() {
            if of_host(index) > Span::ZERO && !(link.down.is_empty() && link.up.is_empty()) {
                link.rebase(of_host(index));
            }
        }
        for letter in &mut self.letters {
            match letter {
                Letter::Guard(host, message) => rebase_to_guard(message, of_host(*host)),
                Letter::Arbiter(host, _, beat) => beat.sent_at = beat.sent_at.folded(of_host(*host)),
                Letter::Peer(mail) => mail.rebase(of_host(mail.clock_of())),
                Letter::Confirm { .. } => {}
            }
        }
        for mail in &mut self.mail {
            mail.rebase(of_host(mail.clock_of()));
        }
    }
}

fn first_host(world: &World, now: Time, index: usize) -> Host {
    Host {
        index,
        guard: Some(Guard::new(now, guard_config(world, index, 1, 1), Saved::default(), true)),
        run: 1,
        boot: 1,
        guard_boot: 1,
        handed: None,
        taken: 0,
        disk: Saved::default(),
        paused: false,
        frozen: false,
        engine: Engine { reconnect: true, ..Engine::fresh() },
        deadline: None,
        pipe: Vec::new(),
        inbox: Vec::new(),
        reads: false,
        greets: true,
        past: Past::default(),
    }
}

/// An arbiter's process that was just started.
#[must_use]
pub fn new_seat(world: &World, now: Time, index: usize, run: u64) -> Seat {
    let config = arbiter::Config { coordinator: coordinator(10 + index), seed: 1, rules: world.rules() };
    let machine = Arbiter::with_timing(config, world.settings(), world.timing.clone()).without_calls();
    Seat {
        machine,
        run,
        paused: false,
        dead: false,
        cut_off: false,
        renew_at: now,
        loads: false,
        writes: Vec::new(),
        fence: None,
    }
}

impl Link {
    fn rebase(&mut self, by: Span) {
        self.down.iter_mut().for_each(|message| rebase_to_guard(message, by));
        for (_, message) in &mut self.up {
            if let ToArbiter::Beat(beat) = message {
                beat.sent_at = beat.sent_at.folded(by);
            }
        }
    }
}

impl Mail {
    /// Whose clock its time is of: an answer echoes the time of whoever asked.
    fn clock_of(&self) -> usize {
        match self.what {
            ToPeer::Ask(_) => self.from,
            ToPeer::Answer(_) => self.to,
        }
    }

    fn rebase(&mut self, by: Span) {
        let time = match &mut self.what {
            ToPeer::Ask(ask) => &mut ask.beat.sent_at,
            ToPeer::Answer(answer) => match &mut **answer {
                PeerAnswer::Promise(promise) => &mut promise.asked_at,
                PeerAnswer::Relayed(grant) => &mut grant.beat,
                PeerAnswer::Refused(_) => return,
            },
        };
        *time = time.folded(by);
    }
}

fn rebase_seat(seat: &mut Seat, by: Span) {
    seat.machine.rebase(by);
    seat.machine.forget_stories();
    seat.renew_at = seat.renew_at.folded(by);
    let lowest = seat.writes.iter().map(|(op, _)| *op).min();
    let down = lowest.map_or(seat.machine.last_op(), |lowest| OpId(lowest.0 - 1));
    seat.machine.rebase_ops(down);
    seat.writes.iter_mut().for_each(|(op, _)| op.0 -= down.0);
}

fn rebase_to_guard(message: &mut ToGuard, by: Span) {
    if let ToGuard::Grant(grant) = message {
        grant.beat = grant.beat.folded(by);
    }
}
