//! Writer, prober and checkers where the truth is known because the test made it.

use std::time::Duration;

use chaos::checker::gap::{acknowledged_writes, write_gap};
use chaos::checker::lost::{Lost, lost_writes};
use chaos::checker::stale::{FirstAcknowledgements, Frozen, Stale, note_first, stale_writes};
use chaos::cli::EngineKind;
use chaos::procfs;
use chaos::workload::follow::Follower;
use chaos::workload::history::{Author, History, Moment, Outcome, Recorder, Reign};
use chaos::workload::link;
use chaos::workload::prober::Probers;
use chaos::workload::writer::{Writer, key};

use crate::stub::{Redis, SET, StubDirectory, eventually};

/// Three Redis of which the first leads at term 1, with all clients.
struct World {
    redis: [Redis; 3],
    directory: StubDirectory,
    recorder: Recorder,
    _follower: Follower,
    _writer: Writer,
    _probers: Probers,
}

impl World {
    async fn start() -> Self {
        let redis = [Redis::start("a").await, Redis::start("b").await, Redis::start("c").await];
        redis[1].follow(&redis[0]).await;
        redis[2].follow(&redis[0]).await;
        let directory = StubDirectory::start().await;
        directory.say(1, &redis[0]);
        let recorder = Recorder::new();
        let addresses = [directory.address.clone()];
        let follower = Follower::start(&addresses, SET, &recorder).expect("an address");
        let writer = Writer::start(EngineKind::Redis, follower.watch(), &recorder);
        let instances: Vec<_> =
            redis.iter().map(|redis| (redis.instance.clone(), redis.endpoint.clone())).collect();
        let probers = Probers::start(EngineKind::Redis, &instances, &recorder);
        let world =
            Self { redis, directory, recorder, _follower: follower, _writer: writer, _probers: probers };
        world.confirmed_by_more(50).await;
        world
    }

    /// Until so many further writes were acknowledged.
    async fn written_more(&self, count: usize) {
        let enough = self.recorder.lock().written.len() + count;
        eventually("more writes", async || self.recorder.lock().written.len() >= enough).await;
    }

    /// Until a confirmation covers so many further writes.
    async fn confirmed_by_more(&self, count: u64) {
        let last = || self.recorder.lock().written.last().map_or(0, |write| write.sequence);
        let enough = last() + count;
        let highest = || self.recorder.lock().confirmed.values().max().copied().unwrap_or(0);
        eventually("more confirmations", async || highest() >= enough).await;
    }

    /// Until an instance acknowledged a write of its prober that was sent after `since`.
    async fn prober_accepted(&self, instance: &str, since: Moment) {
        eventually("an accepted write of a prober", async || {
            self.recorder.lock().operations.iter().any(|operation| {
                operation.author == Author::Prober
                    && &*operation.instance == instance
                    && operation.sent > since
                    && operation.acknowledged().is_some()
            })
        })
        .await;
    }

    /// Until the writer was refused by an instance.
    async fn writer_refused(&self, instance: &str) {
        eventually("a refusal", async || {
            self.recorder.lock().operations.iter().any(|operation| {
                operation.author == Author::Writer
                    && &*operation.instance == instance
                    && matches!(operation.outcome, Outcome::Refused(_))
            })
        })
        .await;
    }

    /// What the recorded history says of a term, beyond what the directory said later.
    fn decided(&self, term: u64, master: &Redis, at: Moment) {
        self.recorder.reign(Reign { term, master: master.instance.clone(), known_from: at });
    }

    async fn lost(&self, history: &History, master: usize) -> Lost {
        let keys: Vec<String> = history.written.iter().map(|write| key(write.sequence)).collect();
        let found =
            link::exist(EngineKind::Redis, &self.redis[master].endpoint, &keys, Duration::from_secs(5)).await;
        let found = found.expect("the master answers");
        let place = |sequence| history.written.iter().position(|write| write.sequence == sequence);
        lost_writes(&history.written, &history.confirmed, |sequence| {
            place(sequence).is_some_and(|at| found[at])
        })
    }
}

fn stale(history: &History, frozen: &[Frozen]) -> Stale {
    let mut first = FirstAcknowledgements::new();
    note_first(&mut first, &history.operations, &history.reigns);
    stale_writes(&history.operations, &history.reigns, &first, frozen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_change_of_master_is_found_clean() {
    let world = World::start().await;
    let [a, b, c] = &world.redis;
    let change = world.recorder.now();
    world.decided(2, b, change);
    // Fenced, drained, promoted, in this order: nothing can be lost and nobody accepts beside the new master.
    a.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    // The writer asks one thing at a time: once it is refused, all that was acknowledged is on record.
    world.writer_refused("a").await;
    eventually("the drain", async || {
        let history = world.recorder.lock().clone();
        world.lost(&history, 1).await == Lost::default()
    })
    .await;
    b.lead().await;
    world.directory.say(2, b);
    a.follow(b).await;
    c.follow(b).await;
    world.written_more(100).await;
    world.confirmed_by_more(50).await;
    let end = world.recorder.now();
    let history = world.recorder.take_attempt();
    assert_eq!(stale(&history, &[]), Stale::default());
    assert_eq!(world.lost(&history, 1).await.confirmed, [].into());
    assert!(acknowledged_writes(&history.operations) >= 100);
    let gap = write_gap(&history.operations, change, end).expect("there were writes before");
    assert!(gap.to > change && gap.length <= end.since(change));
    let probed = |name: &str| history.operations.iter().any(|operation| &*operation.instance == name);
    assert!(probed("a") && probed("b") && probed("c"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_not_fenced_is_caught_and_what_it_took_alone_is_lost() {
    let world = World::start().await;
    let [a, b, c] = &world.redis;
    // The new master is cut off before it leads, so nothing that the old one takes reaches it.
    world.decided(2, b, world.recorder.now());
    b.lead().await;
    c.follow(b).await;
    world.written_more(50).await;
    world.directory.say(2, b);
    let since = world.recorder.now();
    world.confirmed_by_more(50).await;
    world.prober_accepted(&a.instance, since).await;
    let history = world.recorder.take_attempt();
    let found = stale(&history, &[]);
    assert!(!found.stale.is_empty() && found.woken.is_empty());
    assert!(found.stale.iter().all(|index| &*history.operations[*index].instance == "a"));
    let lost = world.lost(&history, 1).await;
    assert!(!lost.unconfirmed.is_empty(), "a took writes alone after b was cut off");
    assert!(world.lost(&history, 0).await.confirmed.len() > 40, "a has none of b's confirmed writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_master_that_answers_its_queue_is_found_woken() {
    let world = World::start().await;
    let [a, b, c] = &world.redis;
    let from = world.recorder.now();
    a.process.freeze();
    eventually("the stop", async || procfs::view(a.process.pid()).is_some_and(|seen| seen.stopped())).await;
    world.decided(2, b, world.recorder.now());
    b.lead().await;
    c.follow(b).await;
    world.directory.say(2, b);
    world.confirmed_by_more(50).await;
    let until = world.recorder.now();
    a.process.thaw();
    world.prober_accepted(&a.instance, from).await;
    let asleep = [Frozen { instance: a.instance.clone(), from, until }];
    eventually("an answer to the queue", async || {
        let history = world.recorder.lock().clone();
        !stale(&history, &asleep).woken.is_empty()
    })
    .await;
    let history = world.recorder.take_attempt();
    let found = stale(&history, &asleep);
    let all = stale(&history, &[]);
    assert_eq!(found.woken.len() + found.stale.len(), all.stale.len(), "the freeze only tells them apart");
    assert!(all.stale.iter().all(|index| &*history.operations[*index].instance == "a"));
}
