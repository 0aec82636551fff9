//! Clients as processes of their own against real Redis, where the test says who leads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chaos::cli::EngineKind;
use chaos::cluster::process::Process;
use chaos::evidence::clock::Clock;
use chaos::evidence::{Asked, Operation, Outcome, Sighting};
use chaos::workload::engine::{self, Answer};
use tempfile::TempDir;

use crate::stub::{Redis, SET, StubDirectory, eventually};

/// Two Redis of which the first leads at term 1, and all three kinds of client.
struct World {
    redis: [Redis; 2],
    directory: StubDirectory,
    clients: Vec<Process>,
    folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        for client in &self.clients {
            client.kill();
        }
    }
}

impl World {
    async fn start() -> Self {
        let redis = [Redis::start("a").await, Redis::start("b").await];
        redis[1].follow(&redis[0]).await;
        let directory = StubDirectory::start().await;
        directory.say(1, &redis[0]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut world = Self { redis, directory, clients: Vec::new(), folder };
        let clock = Clock::start();
        let instances = world.redis.each_ref().map(|redis| format!("{}={}", redis.instance, redis.endpoint));
        for (kind, number, more) in [
            ("append", "1", ["--coordinators", &world.directory.address, "--sync"].as_slice()),
            ("registers", "2", &["--coordinators", &world.directory.address, "--sync"]),
            ("direct", "5", &["--instances", &instances.join(",")]),
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
            command.args(["client", kind, "--name", kind, "--number", number, "--set", SET]).args(more);
            command.arg("--origin-us").arg(clock.origin_us().to_string());
            command.arg("--out").arg(world.file(kind)).arg("--masters").arg(world.file("masters"));
            let log = world.folder.path().join(format!("{kind}.log"));
            world.clients.push(Process::start(command, &log).expect("the program was built"));
        }
        world.acknowledged_more("a", 30).await;
        world
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.jsonl"))
    }

    fn lines(&self, client: &str) -> Vec<Operation> {
        lines(&self.file(client))
    }

    /// Until every client that follows the directory has so many more acknowledgements of this instance.
    async fn acknowledged_more(&self, instance: &str, count: usize) {
        for (client, op) in [
            ("append", Asked::Append),
            ("append", Asked::Confirm),
            ("registers", Asked::Write),
            ("registers", Asked::Read),
        ] {
            let of = |operation: &Operation| {
                operation.op == op && operation.instance == instance && operation.acknowledged().is_some()
            };
            let seen = || self.lines(client).into_iter().filter(of).count();
            let enough = seen() + count;
            eventually("more acknowledgements", async || {
                // tidy: waits because a client is another process, which writes at its own pace
                tokio::time::sleep(Duration::from_millis(20)).await;
                seen() >= enough
            })
            .await;
        }
    }

    /// Ends all clients and waits until they have written everything down.
    async fn end(&mut self) -> Vec<Operation> {
        for client in &self.clients {
            client.terminate();
        }
        for client in &self.clients {
            eventually("the end of a client", async || client.how_it_ended().is_some()).await;
            assert_eq!(client.how_it_ended().as_deref(), Some("exit code 0"));
        }
        ["append", "registers", "direct"].iter().flat_map(|client| self.lines(client)).collect()
    }
}

/// What was written whole so far.
fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("a line of evidence")).collect()
}

async fn lists(redis: &Redis) -> BTreeMap<String, Vec<u64>> {
    let mut session = engine::connect(EngineKind::Redis, &redis.endpoint, Duration::from_secs(5))
        .await
        .expect("it is there");
    match session.lists().await {
        Answer::Yes(lists) => lists,
        other => panic!("no lists: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_follow_a_change_of_master_and_write_down_what_they_saw() {
    let mut world = World::start().await;
    let [a, b] = &world.redis;
    a.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    b.lead().await;
    a.follow(b).await;
    world.directory.say(2, &world.redis[1]);
    world.acknowledged_more("b", 30).await;
    let all = world.end().await;

    let appended = |operation: &&Operation| operation.op == Asked::Append;
    let sent: BTreeSet<u64> = all.iter().filter(appended).filter_map(|operation| operation.value).collect();
    assert_eq!(sent.len(), all.iter().filter(appended).count(), "no value is used twice");
    let held: BTreeSet<u64> = lists(&world.redis[1]).await.into_values().flatten().collect();
    assert!(held.is_subset(&sent), "every value that is there was written down");
    for confirmed in all.iter().filter(|operation| operation.op == Asked::Confirm) {
        let covered = all.iter().filter(appended).filter(|append| {
            append.session == confirmed.session
                && append.value <= confirmed.value
                && append.acknowledged().is_some()
        });
        assert!(covered.filter_map(|append| append.value).all(|value| held.contains(&value)));
    }
    let read = |operation: &&Operation| operation.op == Asked::Read && operation.read.is_some();
    assert!(all.iter().filter(read).count() > 20, "registers were read back");
    let refused = |operation: &&Operation| {
        operation.op == Asked::DirectWrite && operation.outcome == Outcome::Failed && operation.times > 1
    };
    assert!(all.iter().any(|operation| refused(&operation)), "a replica's refusals are counted together");
    let terms: BTreeSet<(u64, String)> = lines::<Sighting>(&world.file("masters"))
        .into_iter()
        .map(|sighting| (sighting.term, sighting.instance))
        .collect();
    assert_eq!(terms, [(1, "a".to_owned()), (2, "b".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_gone_leaves_unknown_and_failed_lines() {
    let mut world = World::start().await;
    world.redis[0].process.kill();
    eventually("refused connections", async || {
        // tidy: waits because a client is another process, which writes at its own pace
        tokio::time::sleep(Duration::from_millis(20)).await;
        let failed = |client: &str| {
            world.lines(client).iter().any(|operation| {
                operation.error.as_ref().is_some_and(|error| error.starts_with("cannot connect"))
            })
        };
        failed("append") && failed("registers")
    })
    .await;
    let all = world.end().await;
    let unknown: BTreeSet<Asked> = all
        .iter()
        .filter(|operation| operation.outcome == Outcome::Unknown && operation.instance == "a")
        .map(|operation| operation.op)
        .collect();
    assert!(!unknown.contains(&Asked::Confirm), "a confirmation is there or not");
    assert!(all.iter().all(|operation| operation.outcome != Outcome::Unknown || operation.error.is_some()));
    let direct = |operation: &&Operation| operation.client == "direct" && operation.instance == "a";
    assert!(
        all.iter().filter(direct).any(|operation| operation.outcome == Outcome::Failed),
        "the direct client found nobody there"
    );
}
