//! Watches: no change missed, none repeated.

use baton_core::ids::{InstanceName, ReplicaSetName, Revision, TaskId};
use baton_core::record::{Member, Record, Settings};
use baton_core::task::StoredTask;
use baton_provider::{Item, LockToken, LockView, Snapshot, StateProvider, WatchEvent, WatchStream};
use contract::{Arbiter, Dice, Direction, Kind, candidate, change, member, name, record, set, within};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_stream::StreamExt as _;

/// What a watcher knows.
#[derive(Default)]
pub struct Known {
    revision: Option<Revision>,
    records: BTreeMap<ReplicaSetName, Record>,
    members: BTreeMap<(ReplicaSetName, InstanceName), Member>,
    settings: Option<Settings>,
    pub lock: Option<LockView>,
    pub tasks: BTreeMap<TaskId, StoredTask>,
    /// The versions of each record in the order in which they were told.
    versions: BTreeMap<ReplicaSetName, Vec<u64>>,
    pub snapshots: u64,
}

impl Known {
    fn of(snapshot: Snapshot) -> Self {
        let mut known = Self::default();
        known.learn(WatchEvent::Snapshot(Box::new(snapshot)));
        Self { snapshots: 0, versions: BTreeMap::new(), ..known }
    }

    /// Asserts that nothing was missed or repeated.
    pub fn learn(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Snapshot(snapshot) => {
                assert!(self.revision.is_none_or(|known| snapshot.revision >= known), "it went back");
                self.revision = Some(snapshot.revision);
                self.records = snapshot.records;
                self.members = snapshot.members;
                self.settings = Some(snapshot.settings);
                self.lock = Some(snapshot.lock);
                self.tasks = snapshot.tasks;
                self.snapshots += 1;
            }
            WatchEvent::Update(update) => {
                let known = self.revision.expect("a watch from nothing begins with a snapshot");
                assert!(update.revision > known, "{} after {known}: it was repeated", update.revision);
                self.revision = Some(update.revision);
                update.items.into_iter().for_each(|item| self.take(item));
            }
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Record(record) => {
                let before = self.records.get(&record.replicaset).map_or(0, |it| it.version.0);
                assert_eq!(record.version.0, before + 1, "{}: missed or repeated", record.replicaset);
                self.versions.entry(record.replicaset.clone()).or_default().push(record.version.0);
                self.records.insert(record.replicaset.clone(), *record);
            }
            Item::Member(member) => {
                self.members.insert((member.replicaset.clone(), member.instance.clone()), *member);
            }
            Item::MemberRemoved { replicaset, instance } => {
                let removed = self.members.remove(&(replicaset, instance.clone()));
                assert!(removed.is_some(), "{instance} was not there");
            }
            Item::Settings(settings) => self.settings = Some(*settings),
            Item::Lock(lock) => self.lock = Some(lock),
            Item::Task(task) => {
                let before = self.tasks.insert(task.id, *task.clone()).map_or(0, |it| it.version.0);
                assert_eq!(task.version.0, before + 1, "task {}: missed or repeated", task.id);
            }
            Item::TaskRemoved(id) => {
                assert!(self.tasks.remove(&id).is_some(), "task {id} was not there");
            }
        }
    }

    pub async fn one(&mut self, events: &mut WatchStream) {
        let event = within(events.next()).await.expect("a watch does not end").expect("no error");
        self.learn(event);
    }

    fn is(&self, now: &Snapshot) -> bool {
        self.records == now.records
            && self.members == now.members
            && self.settings.as_ref() == Some(&now.settings)
            && self.lock.as_ref() == Some(&now.lock)
            && self.tasks == now.tasks
    }

    /// Until it is what a read shows now. (Its revision may stay behind: an etcd counts other people's changes too.)
    pub async fn follow(&mut self, events: &mut WatchStream, client: &dyn StateProvider) {
        let now = within(client.read()).await.expect("a snapshot");
        while !self.is(&now) {
            assert!(self.revision.is_none_or(|known| known <= now.revision), "{now:?} was passed by");
            self.one(events).await;
        }
    }

    fn told_of(&self, of: &str) -> &[u64] {
        self.versions.get(&set(of)).map_or(&[], Vec::as_slice)
    }
}

async fn write(client: &dyn StateProvider, token: LockToken, terms: std::ops::RangeInclusive<u64>) {
    for term in terms {
        let appointment = change(record("orders-1", term, term, "a1", token.epoch));
        let outcome = within(client.appoint(token, vec![appointment])).await.expect("an answer");
        assert!(matches!(outcome, baton_provider::AppointOutcome::Applied(_)), "{outcome:?}");
    }
}

pub async fn a_watch_misses_and_repeats_nothing(kind: Kind) {
    let Arbiter { world, client, token, session: _session } = Arbiter::new(kind).await;
    write(client.as_ref(), token, 1..=5).await;
    let mut events = within(client.watch(None)).await.expect("a watch");
    let mut known = Known::default();
    known.one(&mut events).await;
    assert_eq!(known.snapshots, 1);
    write(world.client().as_ref(), token, 6..=200).await;
    known.follow(&mut events, client.as_ref()).await;
    assert_eq!(known.told_of("orders-1"), (6..=200).collect::<Vec<_>>());
    assert_eq!(known.snapshots, 1);
}

pub async fn a_watch_tells_of_everything_that_is_kept(kind: Kind) {
    let Arbiter { world, client, token, session } = Arbiter::new(kind).await;
    let mut events = within(client.watch(None)).await.expect("a watch");
    let mut known = Known::default();
    known.one(&mut events).await;
    within(client.put_member(token, member("orders-1", "a8"))).await.expect("an answer");
    within(client.put_member(token, member("orders-1", "a9"))).await.expect("an answer");
    known.follow(&mut events, client.as_ref()).await;
    within(client.remove_member(token, &set("orders-1"), &name("a9"))).await.expect("an answer");
    let settings = Settings { ack_quorum: 1, ..world.settings().clone() };
    within(client.put_settings(settings.version, settings)).await.expect("an answer");
    known.follow(&mut events, client.as_ref()).await;
    let first = known.lock.clone().expect("it was told");
    within(session.resign(baton_core::time::Span::ZERO)).await.expect("resigned");
    known.follow(&mut events, client.as_ref()).await;
    assert_eq!(known.lock.as_ref().and_then(|lock| lock.holder.clone()), None);
    let _second = within(client.campaign(&candidate("host-b"), None)).await.expect("the lock");
    known.follow(&mut events, client.as_ref()).await;
    let second = known.lock.clone().expect("it was told");
    assert_eq!(second.holder, Some(candidate("host-b")));
    assert!(second.epoch > first.epoch);
    assert_eq!(known.snapshots, 1, "each change was to be told by itself");
}

pub async fn a_watch_resumes_from_its_revision(kind: Kind) {
    let Arbiter { world: _world, client, token, session: _session } = Arbiter::new(kind).await;
    write(client.as_ref(), token, 1..=5).await;
    let before = within(client.read()).await.expect("a snapshot");
    write(client.as_ref(), token, 6..=9).await;
    let mut events = within(client.watch(Some(before.revision))).await.expect("a watch");
    let mut known = Known::of(before);
    known.follow(&mut events, client.as_ref()).await;
    assert_eq!((known.told_of("orders-1"), known.snapshots), (&[6, 7, 8, 9][..], 0));
}

/// A revision that was never reached belongs to another life of the provider: everything is told anew.
pub async fn a_watch_from_a_future_revision_begins_anew(kind: Kind) {
    let Arbiter { world: _world, client, token, session: _session } = Arbiter::new(kind).await;
    write(client.as_ref(), token, 1..=3).await;
    let now = within(client.read()).await.expect("a snapshot");
    let mut events = within(client.watch(Some(Revision(1_000_000_000)))).await.expect("a watch");
    let event = within(events.next()).await.expect("an event").expect("no error");
    assert!(matches!(&event, WatchEvent::Snapshot(snapshot) if snapshot.records == now.records), "{event:?}");
}

pub async fn a_watch_goes_on_across_restarts(kind: Kind) {
    let Arbiter { mut world, client, token, mut session } = Arbiter::alone(kind).await;
    let mut events = within(client.watch(None)).await.expect("a watch");
    let mut known = Known::default();
    let mut term = 0;
    for _ in 0..3 {
        write(client.as_ref(), token, term + 1..=term + 10).await;
        world.restart().await;
        within(session.renew()).await.expect("resumed");
        write(world.client().as_ref(), token, term + 11..=term + 20).await;
        term += 20;
        known.follow(&mut events, world.client().as_ref()).await;
    }
}

pub async fn a_watch_goes_on_across_cuts(kind: Kind) {
    let Arbiter { world, client, token, session: _session } = Arbiter::new(kind).await;
    let route = world.route().await;
    let mut events = within(route.client().watch(None)).await.expect("a watch");
    let mut known = Known::default();
    known.one(&mut events).await;
    let mut dice = Dice::new();
    for round in 0..12 {
        write(client.as_ref(), token, 10 * round + 1..=10 * round + dice.below(9) + 1).await;
        match dice.below(4) {
            0 => route.cut(),
            1 => route.close(),
            2 => route.hold(Direction::Answers),
            _ => route.silence(),
        }
        let next = known_version(client.as_ref()).await + 1;
        write(client.as_ref(), token, next..=10 * round + 10).await;
        // What is held is lost with its connection; what is closed is refused until now.
        route.cut();
        route.open();
        known.follow(&mut events, client.as_ref()).await;
    }
    assert_eq!(known.told_of("orders-1"), (1..=120).collect::<Vec<_>>());
    assert_eq!(known.snapshots, 1, "all of it was still kept, so nothing had to be told anew");
}

async fn known_version(client: &dyn StateProvider) -> u64 {
    let snapshot = within(client.read()).await.expect("a snapshot");
    snapshot.records.get(&set("orders-1")).map_or(0, |record| record.version.0)
}

pub async fn a_watch_goes_on_after_a_freeze(kind: Kind) {
    let Arbiter { world, client, token, session: _session } = Arbiter::alone(kind).await;
    let mut events = within(client.watch(None)).await.expect("a watch");
    let mut known = Known::default();
    known.one(&mut events).await;
    for round in 0..2 {
        write(client.as_ref(), token, 10 * round + 1..=10 * round + 10).await;
        (0..world.nodes()).for_each(|node| world.freeze(node));
        // Long enough that clients give their connections up.
        let silent = tokio::time::timeout(Duration::from_millis(3_500), async {
            loop {
                known.one(&mut events).await;
            }
        });
        assert!(silent.await.is_err());
        (0..world.nodes()).for_each(|node| world.thaw(node));
        world.well().await;
        known.follow(&mut events, client.as_ref()).await;
    }
    assert_eq!(known.told_of("orders-1"), (1..=20).collect::<Vec<_>>());
    assert_eq!(known.snapshots, 1);
}

/// More happens, while the watcher is away, than the provider keeps.
pub async fn a_watch_that_was_away_for_too_long_begins_anew(kind: Kind) {
    let Arbiter { world, client, token, session: _session } = Arbiter::alone(kind).await;
    let route = world.route().await;
    write(client.as_ref(), token, 1..=3).await;
    let mut events = within(route.client().watch(None)).await.expect("a watch");
    let mut known = Known::default();
    known.one(&mut events).await;
    route.close();
    let old = known.revision;
    if matches!(kind, Kind::Etcd1 | Kind::Etcd3) {
        write(client.as_ref(), token, 4..=20).await;
        world.compact().await;
    } else {
        write(client.as_ref(), token, 4..=1_100).await;
    }
    route.open();
    known.follow(&mut events, client.as_ref()).await;
    assert_eq!(known.snapshots, 2);
    let last = known_version(client.as_ref()).await;
    write(client.as_ref(), token, last + 1..=last + 5).await;
    known.follow(&mut events, client.as_ref()).await;
    assert_eq!(known.told_of("orders-1").len(), 5);
    // The same for one that asks for it by name.
    let mut events = within(client.watch(old)).await.expect("a watch");
    let event = within(events.next()).await.expect("an event").expect("no error");
    assert!(matches!(event, WatchEvent::Snapshot(_)), "{event:?}");
}

/// It takes nothing for a while, and others do not wait for it.
pub async fn a_slow_watcher_catches_up_and_holds_nobody_up(kind: Kind) {
    let Arbiter { world, client, token, session: _session } = Arbiter::alone(kind).await;
    let (slow, quick) = (world.client(), world.client());
    let mut slow_events = within(slow.watch(None)).await.expect("a watch");
    let mut quick_events = within(quick.watch(None)).await.expect("a watch");
    let (mut slow_known, mut quick_known) = (Known::default(), Known::default());
    slow_known.one(&mut slow_events).await;
    write(client.as_ref(), token, 1..=600).await;
    quick_known.follow(&mut quick_events, client.as_ref()).await;
    slow_known.follow(&mut slow_events, client.as_ref()).await;
    assert_eq!(slow_known.records, quick_known.records);
}

pub async fn many_watchers_see_the_same(kind: Kind) {
    let Arbiter { world, client, token, session: _session } = Arbiter::new(kind).await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push((within(world.client().watch(None)).await.expect("a watch"), Known::default()));
    }
    write(client.as_ref(), token, 1..=20).await;
    for (events, known) in &mut watchers {
        known.follow(events, client.as_ref()).await;
    }
}
