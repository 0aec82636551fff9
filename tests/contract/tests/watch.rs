//! Watches: no change missed, none repeated.

use baton_core::ids::{ReplicaSetName, Revision};
use baton_core::record::Record;
use baton_core::time::Span;
use baton_provider::{Item, LockToken, StateProvider, WatchEvent, WatchStream};
use contract::{Kind, World, candidate, change, record, within};
use std::collections::BTreeMap;
use tokio_stream::StreamExt as _;

const LONG: Span = Span::from_secs(30);

/// What a watcher knows.
#[derive(Default)]
struct Known {
    revision: Option<Revision>,
    records: BTreeMap<ReplicaSetName, Record>,
    updates: u64,
    snapshots: u64,
}

impl Known {
    fn learn(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Snapshot(snapshot) => {
                assert!(self.revision.is_none_or(|known| snapshot.revision >= known), "it went back");
                self.revision = Some(snapshot.revision);
                self.records = snapshot.records;
                self.snapshots += 1;
            }
            WatchEvent::Update(update) => {
                let known = self.revision.expect("a watch from nothing begins with a snapshot");
                assert_eq!(update.revision, Revision(known.0 + 1), "missed or repeated");
                self.revision = Some(update.revision);
                self.updates += 1;
                for item in update.items {
                    if let Item::Record(record) = item {
                        self.records.insert(record.replicaset.clone(), *record);
                    }
                }
            }
        }
    }

    async fn follow_to(&mut self, events: &mut WatchStream, revision: Revision) {
        while self.revision.is_none_or(|known| known < revision) {
            let event = within(events.next()).await.expect("a watch does not end").expect("no error");
            self.learn(event);
        }
    }
}

async fn write(client: &dyn StateProvider, token: LockToken, terms: std::ops::RangeInclusive<u64>) {
    for term in terms {
        let appointment = change(record("orders-1", term, term, "a1", token.epoch));
        within(client.appoint(token, vec![appointment])).await.expect("an answer");
    }
}

pub async fn a_watch_misses_and_repeats_nothing(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let client = world.client();
    let session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let token = session.grant().token;
    write(client.as_ref(), token, 1..=5).await;
    let mut events = client.watch(None).await.expect("a watch");
    let mut known = Known::default();
    let first = within(events.next()).await.expect("a watch does not end").expect("no error");
    known.learn(first);
    assert_eq!(known.snapshots, 1);
    write(world.client().as_ref(), token, 6..=200).await;
    let last = client.read().await.expect("a snapshot").revision;
    known.follow_to(&mut events, last).await;
    let now = client.read().await.expect("a snapshot");
    assert_eq!(known.records, now.records);
    assert_eq!((known.updates, known.snapshots), (195, 1));
}

pub async fn a_watch_resumes_from_its_revision(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let client = world.client();
    let session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let token = session.grant().token;
    write(client.as_ref(), token, 1..=5).await;
    let before = client.read().await.expect("a snapshot");
    write(client.as_ref(), token, 6..=9).await;
    let mut known = Known { revision: Some(before.revision), records: before.records, ..Known::default() };
    let mut events = client.watch(Some(before.revision)).await.expect("a watch");
    let now = client.read().await.expect("a snapshot");
    known.follow_to(&mut events, now.revision).await;
    assert_eq!((known.updates, known.snapshots), (4, 0));
    assert_eq!(known.records, now.records);
    // A revision that was never reached belongs to another life of the provider: everything is told anew.
    let mut events = client.watch(Some(Revision(1_000_000))).await.expect("a watch");
    let event = within(events.next()).await.expect("an event").expect("no error");
    assert!(matches!(event, WatchEvent::Snapshot(snapshot) if snapshot.revision == now.revision));
}

pub async fn a_watch_goes_on_across_a_restart(kind: Kind) {
    let mut world = World::new(kind, LONG).await;
    let client = world.client();
    let mut session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let token = session.grant().token;
    let mut events = client.watch(None).await.expect("a watch");
    let mut known = Known::default();
    let mut term = 0;
    for _ in 0..3 {
        write(client.as_ref(), token, term + 1..=term + 10).await;
        world.restart().await;
        within(session.renew()).await.expect("resumed");
        write(world.client().as_ref(), token, term + 11..=term + 20).await;
        term += 20;
        let now = within(world.client().read()).await.expect("a snapshot");
        known.follow_to(&mut events, now.revision).await;
        assert_eq!(known.records, now.records);
    }
}
