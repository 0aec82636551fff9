//! All hosts of one process, and what can be done to them.

use crate::engine::Engines;
use crate::host;
use crate::instance::{Counts, Inboxes, Member, Order, Pace, Parts};
use crate::plan::{Plan, Seat};
use crate::reads;
use anyhow::Context as _;
use baton_coordinator::config::Config;
use baton_coordinator::guard_shell::beat_phase;
use baton_coordinator::link::host::{Guarded, HostLink};
use baton_coordinator::link::peers::Peers;
use baton_coordinator::live::{self, Live};
use baton_coordinator::view::MastersView;
use baton_coordinator::{clock, contender, provider};
use baton_core::guard::{Config as GuardConfig, Guard, Saved};
use baton_core::ids::{CoordinatorName, Endpoint, Incarnation, InstanceName, ReplicaSetName, Zone};
use baton_core::message::{Beat, Hello};
use baton_core::rules::Rules;
use baton_provider::switching::{MovingView, SwitchingProvider};
use baton_provider::{LockView, StateProvider};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Most messages that wait for a member, as in the daemon.
const INBOX_MAX: usize = 256;
/// Most beats of one host that wait for its link, as in the daemon.
const BEATS_MAX: usize = 4_096;
/// Between two looks at a provider that is not there yet.
const AGAIN: Duration = Duration::from_millis(50);

/// What a fleet is made from.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// What is attached to: cluster and provider. Its name and instances are not used.
    pub cluster: Config,
    /// Who stands where.
    pub plan: Plan,
    /// How fast what is acted is.
    pub pace: Pace,
    /// Which rules the guards keep: all, unless a test wants to see one missed.
    pub rules: Rules,
    /// Whether an engine has a deadman. It has one, unless a test wants to see it missed.
    pub deadman: bool,
}

impl FleetConfig {
    /// A fleet as it should be.
    #[must_use]
    pub fn new(cluster: Config, plan: Plan, pace: Pace) -> Self {
        Self { cluster, plan, pace, rules: Rules::default(), deadman: true }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Heartbeats that guards sent.
    pub beats: u64,
    /// Promotions that engines carried out.
    pub promotions: u64,
    /// Times that two engines of one set could be written: the first promise broken.
    pub two_writable: u64,
    /// Times that a master asked for a promise, since no grant came in time.
    pub promises_asked: u64,
    /// Engines that a deadman killed, since its guard was late.
    pub killed: u64,
}

/// The hosts of this process. They end when it is dropped.
pub struct Fleet {
    orders: BTreeMap<String, mpsc::Sender<Order>>,
    frozen: BTreeMap<String, watch::Sender<bool>>,
    counts: Arc<Counts>,
    _stop: DropGuard,
    _board: Option<DropGuard>,
}

/// The engines of all sets, of whatever fleets.
#[derive(Clone, Debug, Default)]
pub struct Sets(Arc<Mutex<BTreeMap<String, Arc<Engines>>>>);

impl Sets {
    /// The instances of a set whose engines accept writes now.
    #[must_use]
    pub fn writable(&self, replicaset: &str) -> Vec<String> {
        self.of(replicaset).writable()
    }

    fn of(&self, replicaset: &str) -> Arc<Engines> {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sets.entry(replicaset.to_owned()).or_default())
    }
}

/// What the members of a fleet share.
struct Common {
    config: FleetConfig,
    provider: Arc<dyn StateProvider>,
    lock: watch::Receiver<Option<LockView>>,
    /// A host of this fleet takes the settings as they were when it was added.
    live: watch::Receiver<Arc<Live>>,
    moving: watch::Receiver<MovingView>,
    reads: mpsc::Sender<reads::Ask>,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

impl Fleet {
    /// Starts all hosts, once the provider answers.
    ///
    /// # Errors
    /// The provider's configuration, or a timing that is not safe.
    pub async fn start(config: FleetConfig) -> anyhow::Result<Self> {
        let board_stop = CancellationToken::new();
        let guard = board_stop.clone().drop_guard();
        let opened = provider::open(&config.cluster, board_stop).await?;
        let fleet = Self::on(opened, config, &Sets::default(), |_| true).await?;
        // An embedded stateboard ends with the fleet.
        Ok(Self { _board: Some(guard), ..fleet })
    }

    /// Those of the plan's hosts that `here` names, once `opened` answers. Their engines replicate from those of other fleets
    /// with the same `sets`.
    ///
    /// # Errors
    /// A timing that is not safe.
    pub async fn on(
        opened: SwitchingProvider,
        config: FleetConfig,
        sets: &Sets,
        here: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let moving = opened.view();
        let provider: Arc<dyn StateProvider> = Arc::new(opened);
        let snapshot = loop {
            match provider.read().await {
                Ok(snapshot) => break snapshot,
                // tidy: waits because the provider may start at the same time
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        let seats: Vec<_> = config.plan.seats().into_iter().filter(|seat| here(&seat.host)).collect();
        let (reads, asks) = mpsc::channel(seats.len().max(1));
        tokio::spawn(reads::answer(Arc::clone(&provider), asks));
        let live = Live::new(snapshot.lock.epoch.generation, snapshot.settings);
        let followed = live::follow(Arc::clone(&provider), live.context("the settings in the provider")?);
        let common = Common {
            provider,
            lock: followed.lock,
            live: followed.live,
            moving,
            reads,
            counts: Arc::default(),
            stop,
            config,
        };
        let mut hosts: BTreeMap<String, Vec<Seat>> = BTreeMap::new();
        for seat in seats {
            hosts.entry(seat.host.clone()).or_default().push(seat);
        }
        let (mut orders, mut frozen) = (BTreeMap::new(), BTreeMap::new());
        for (name, seats) in hosts {
            let (still, stands_still) = watch::channel(false);
            common.start_host(&name, &seats, sets, &stands_still, &mut orders)?;
            frozen.insert(name, still);
        }
        Ok(Self { orders, frozen, counts: common.counts, _stop: guard, _board: None })
    }

    /// Ends engines, by their instances' names, as if their processes had crashed. Names of other fleets are skipped.
    pub fn end_engines<'a>(&self, instances: impl IntoIterator<Item = &'a str>) {
        for instance in instances {
            if let Some(orders) = self.orders.get(instance) {
                // A member whose queue is full of ends has one to carry out already.
                let _ = orders.try_send(Order::EndEngine);
            }
        }
    }

    /// Stops hosts, or lets them go on; what they do in between is nothing. Names of other fleets are skipped.
    pub fn freeze<'a>(&self, hosts: impl IntoIterator<Item = &'a str>, frozen: bool) {
        for host in hosts {
            if let Some(still) = self.frozen.get(host) {
                still.send_if_modified(|known| std::mem::replace(known, frozen) != frozen);
            }
        }
    }

    /// What was counted.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let counts = &self.counts;
        Seen {
            beats: counts.beats.load(Ordering::Relaxed),
            promotions: counts.promotions.load(Ordering::Relaxed),
            two_writable: counts.two_writable.load(Ordering::Relaxed),
            promises_asked: counts.promises_asked.load(Ordering::Relaxed),
            killed: counts.killed.load(Ordering::Relaxed),
        }
    }
}

impl Common {
    fn start_host(
        &self,
        name: &str,
        seats: &[Seat],
        sets: &Sets,
        frozen: &watch::Receiver<bool>,
        orders: &mut BTreeMap<String, mpsc::Sender<Order>>,
    ) -> anyhow::Result<()> {
        let name = CoordinatorName::parse(name)?;
        // They follow the lock, and take part in no other way.
        let config = Arc::new(Config { name, arbiter_enabled: false, ..self.config.cluster.clone() });
        let (beats, beat_queue) = mpsc::channel(BEATS_MAX);
        let mut guards = BTreeMap::new();
        for seat in seats {
            let engines = sets.of(&seat.replicaset);
            let (instance, order) = (InstanceName::parse(&seat.instance)?, mpsc::channel(1));
            let guarded =
                self.start_member(&config.name, seat, &engines, beats.clone(), (order.1, frozen.clone()))?;
            orders.insert(seat.instance.clone(), order.0);
            guards.insert(instance, guarded);
        }
        // Nobody serves there.
        let address = format!("{}.invalid:1", config.name);
        let peers = Arc::new(Peers::new(Arc::clone(&config), self.live.clone()));
        self.start_contender(&config, &address, &peers, guards.len());
        let link = HostLink {
            peers,
            config,
            live: self.live.clone(),
            guards,
            beats: beat_queue,
            address,
            lock: self.lock.clone(),
            moving: self.moving.clone(),
            masters: watch::Sender::new(Arc::new(MastersView::default())),
            notes: baton_coordinator::notes::Notes::default(),
            told: None,
        };
        tokio::spawn(host::link(link, frozen.clone(), self.stop.clone()));
        Ok(())
    }

    /// It knocks where somebody bids for a lock whose holder does not hear this host.
    fn start_contender(&self, config: &Arc<Config>, address: &str, peers: &Arc<Peers>, guards: usize) {
        let parts = contender::Parts {
            config: Arc::clone(config),
            address: address.to_owned(),
            guards: u32::try_from(guards).unwrap_or(u32::MAX),
            live: self.live.clone(),
            provider: Arc::clone(&self.provider),
            lock: self.lock.clone(),
            peers: Arc::clone(peers),
            knocks: mpsc::channel(1).1,
        };
        contender::start(parts, self.stop.clone());
    }

    fn start_member(
        &self,
        coordinator: &CoordinatorName,
        seat: &Seat,
        engines: &Arc<Engines>,
        beats: mpsc::Sender<Beat>,
        (orders, frozen): (mpsc::Receiver<Order>, watch::Receiver<bool>),
    ) -> anyhow::Result<Guarded> {
        let hello = hello(coordinator, seat)?;
        engines.add(&hello.instance, &hello.endpoint);
        let live = Arc::clone(&self.live.borrow());
        let guard = GuardConfig {
            instance: hello.instance.clone(),
            replicaset: hello.replicaset.clone(),
            incarnation: hello.incarnation,
            supervised: true,
            failsafe: live.settings.failsafe,
            timing: live.timing.clone(),
            rules: self.config.rules,
        };
        // A new member of a host that never promised anything.
        let mut guard = Guard::new(clock::now(), guard, Saved::default(), true);
        guard.beat_at(beat_phase(coordinator, &live.timing));
        let parts = Parts {
            guard,
            replicaset: hello.replicaset.clone(),
            endpoint: hello.endpoint.clone(),
            engines: Arc::clone(engines),
            beats,
            reads: self.reads.clone(),
            counts: Arc::clone(&self.counts),
            pace: self.config.pace,
            armed: self.config.deadman,
        };
        let (inbox, link) = mpsc::channel(INBOX_MAX);
        let member = Member::new(parts).run(Inboxes { link, orders, frozen });
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(member).await });
        Ok(Guarded { hello, inbox })
    }
}

fn hello(coordinator: &CoordinatorName, seat: &Seat) -> anyhow::Result<Hello> {
    // Any number that no other member has.
    let home =
        seat.instance.bytes().fold(7, |home: u64, byte| home.wrapping_mul(131).wrapping_add(byte.into()));
    Ok(Hello {
        instance: InstanceName::parse(&seat.instance)?,
        replicaset: ReplicaSetName::parse(&seat.replicaset)?,
        incarnation: Incarnation { home, boot: 1, run: 1 },
        coordinator: coordinator.clone(),
        endpoint: Endpoint(format!("{}.invalid:6379", seat.instance).into()),
        zone: Some(Zone::parse(&seat.zone)?),
        priority: 100,
        electable: true,
        // All of them, so that the first masters are those of the first zone.
        bootstrap_members: 3,
        supervised: true,
    })
}
