//! Backup while it serves, restore, and what of the epochs is true afterwards: the real process and in-process clients.

use crate::board::{Board, PATIENCE, candidate, change, command};
use baton_core::ids::{ClusterName, Epoch, ReplicaSetName, Term};
use baton_core::time::Span;
use baton_provider::stateboard::{RestoreOptions, StateboardOptions, StateboardProvider};
use baton_provider::{
    AppointOutcome, FatalError, LockToken, ProviderError, Renewal, StateProvider, WatchEvent, identity_of,
};
use std::future::Future;
use std::path::Path;
use std::process::Output;
use tokio_stream::StreamExt as _;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came in time")
}

/// Waits for a process that has just been started.
async fn up(client: &StateboardProvider) {
    let answers = async {
        while client.join().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(answers).await;
}

async fn taken(client: &StateboardProvider) -> Vec<u8> {
    let mut bytes = Vec::new();
    let keep = |piece: &[u8], _| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    within(client.backup(keep)).await.expect("a whole backup");
    bytes
}

async fn appoint(
    client: &StateboardProvider,
    token: LockToken,
    set: &str,
    terms: std::ops::RangeInclusive<u64>,
) {
    for term in terms {
        let outcome = within(client.appoint(token, vec![change(set, term, token.epoch)])).await;
        assert!(matches!(outcome, Ok(AppointOutcome::Applied(_))), "{outcome:?}");
    }
}

async fn restore(
    client: &StateboardProvider,
    bytes: &[u8],
    options: RestoreOptions,
) -> Result<baton_provider::stateboard::RestoreDone, ProviderError> {
    let blocks: Vec<Vec<u8>> = bytes.chunks(1_000).map(<[u8]>::to_vec).collect();
    within(client.restore(options, blocks.into_iter())).await
}

const FORCE: RestoreOptions = RestoreOptions { force: true, generation_at_least: 0, arriving: None };
const GENTLY: RestoreOptions = RestoreOptions { force: false, generation_at_least: 0, arriving: None };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_only_the_next_generation_appoints_and_nothing_goes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = Board::start(directory.path());
    let client = board.client();
    let mut session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let old = session.grant().token;
    appoint(&client, old, "orders-1", 1..=3).await;
    let backup = taken(&client).await;
    // These are lost by the restore: the backup is older.
    appoint(&client, old, "orders-1", 4..=6).await;
    appoint(&client, old, "orders-2", 1..=2).await;
    let before = within(client.read()).await.expect("a snapshot");
    let mut events = client.watch(Some(before.revision)).await.expect("a watch");

    let done = restore(&client, &backup, FORCE).await.expect("restored");
    assert_eq!((done.generation, done.records), (2, 1));
    assert!(done.revision > before.revision, "{} is not above {}", done.revision, before.revision);
    assert!(Path::new(&done.kept_as).exists(), "what was there is kept: {:?}", done.kept_as);

    // The holder of the old epoch learns that it is none any more, and can change nothing.
    let renewal = within(session.renew()).await;
    assert!(matches!(renewal, Ok(Renewal::Lost { current }) if current.generation == 2), "{renewal:?}");
    let outcome = within(client.appoint(old, vec![change("orders-1", 4, old.epoch)])).await;
    assert!(
        matches!(outcome, Ok(AppointOutcome::StaleEpoch(current)) if current.generation == 2),
        "{outcome:?}"
    );
    let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let new = session.grant().token;
    assert_eq!(new.epoch, Epoch { generation: 2, number: old.epoch.number + 1 });
    assert!(session.grant().predecessor_bound > Span::ZERO, "the old holder may believe in its lock still");
    appoint(&client, new, "orders-1", 4..=4).await;

    // A watcher from before sees everything anew, at a higher revision.
    let event = within(events.next()).await.expect("an event").expect("no error");
    assert!(matches!(event, WatchEvent::Snapshot(ref now) if now.revision >= done.revision), "{event:?}");
    let status = within(client.describe()).await.expect("a status");
    let restored = status.restored.expect("it says so");
    assert_eq!(restored.backup_revision, 4, "the lock and three appointments");
    let seen = within(StateProvider::status(&client)).await.expect("a status").restored;
    assert_eq!(seen.map(|it| it.backup_revision.0), Some(4), "and the coordinators hear of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_moment_and_what_is_restored_survives_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = Board::start(directory.path());
    let client = board.client();
    let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let token = session.grant().token;
    let set = |number: usize| format!("set-{number}");
    let loads: Vec<_> = (0..8)
        .map(|number| {
            let (client, set) = (board.client(), set(number));
            tokio::spawn(async move { appoint(&client, token, &set, 1..=100).await })
        })
        .collect();
    let mut backups = Vec::new();
    while loads.iter().any(|load| !load.is_finished()) {
        backups.push(taken(&client).await);
    }
    for load in loads {
        within(load).await.expect("no panic");
    }
    for backup in &backups {
        // Each change raised one term and the revision by one: any other sum is no moment that ever was.
        let mut reader = baton_provider::backup::Reader::new(
            identity_of(ClusterName::parse("orders").expect("a name"), ""),
            baton_provider::Limits::default(),
        );
        reader.feed(backup).expect("good");
        let (header, durable) = reader.finish().expect("whole");
        let terms: u64 = durable.records.values().map(|record| record.term.0).sum();
        assert_eq!(header.revision.0, terms + 1, "one for the lock, one for each term");
    }

    let other = tempfile::tempdir().expect("a directory");
    let mut other = Board::start(other.path());
    let client = other.client();
    let backup = taken(&board.client()).await;
    up(&client).await;
    let done = restore(&client, &backup, GENTLY).await.expect("it is empty");
    assert_eq!((done.records, done.kept_as.as_str()), (8, ""));
    other.kill();
    other.start_again();
    up(&client).await;
    let there = within(client.read()).await.expect("it is back");
    let name = ReplicaSetName::parse("set-7").expect("a name");
    assert_eq!(there.records.get(&name).map(|record| record.term), Some(Term(100)));
    assert_eq!(there.lock.epoch.generation, 2);
    let line = within(client.history(&name, 1)).await.expect("an answer").pop().expect("a line");
    assert_eq!(line.record.term, Term(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_bad_or_not_asked_for_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = Board::start(directory.path());
    let client = board.client();
    let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    appoint(&client, session.grant().token, "orders-1", 1..=3).await;
    let backup = taken(&client).await;
    let before = within(client.read()).await.expect("a snapshot");
    let mut newer = backup.clone();
    newer[11] = 9;
    let mut flipped = backup.clone();
    flipped[backup.len() / 2] ^= 1;
    let cut = &backup[..backup.len() - 40];
    for (what, bytes, why) in [
        ("newer", &newer[..], "its format is 9, this version reads up to 1"),
        ("flipped", &flipped[..], "damaged"),
        ("cut off", cut, "cut off after"),
        ("no backup", b"PGDMP and so on", "it is no backup of a stateboard"),
    ] {
        let refused = restore(&client, bytes, FORCE).await;
        assert!(
            matches!(&refused, Err(ProviderError::NotApplied(text)) if text.contains(why)),
            "{what}: {refused:?}"
        );
    }
    let refused = restore(&client, &backup, GENTLY).await;
    let says = "not empty (revision 4, 1 records)";
    assert!(matches!(&refused, Err(ProviderError::NotApplied(text)) if text.contains(says)), "{refused:?}");
    let stranger = StateboardProvider::new(StateboardOptions::new(
        vec![board.listen.clone()],
        identity_of(ClusterName::parse("orders").expect("a name"), "another"),
        PATIENCE,
    ));
    let refused = restore(&stranger.expect("a client"), &backup, FORCE).await;
    assert!(matches!(refused, Err(ProviderError::Fatal(FatalError::ForeignCluster(_)))), "{refused:?}");
    assert_eq!(within(client.read()).await.expect("a snapshot"), before);
}

fn offline(data_dir: &Path, from: &Path, more: &[&str]) -> Output {
    let mut command = command();
    command.args(["restore", "--cluster", "orders", "--http-listen", "off", "--data-dir"]);
    command.arg(data_dir).arg("--from").arg(from).args(more);
    command.output().expect("it ran")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_stateboard_is_restored_by_its_own_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    let client = board.client();
    let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    appoint(&client, session.grant().token, "orders-1", 1..=3).await;
    let from = directory.path().join("orders.batonbak");
    let backup = taken(&client).await;
    std::fs::write(&from, &backup).expect("writable");
    let data_dir = board.data_dir.clone();
    let file = data_dir.join(baton_stateboard::storage::FILE_NAME);

    let output = offline(&data_dir, &from, &["--force"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("another stateboard is running"), "{}", said(&output));
    board.kill();
    let before = std::fs::read(&file).expect("its file");
    let output = offline(&data_dir, &from, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not empty (revision 4, 1 records)"), "{}", said(&output));
    let cut = directory.path().join("cut.batonbak");
    std::fs::write(&cut, &backup[..backup.len() / 2]).expect("writable");
    let output = offline(&data_dir, &cut, &["--force"]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("cut.batonbak") && text.contains("cut off"), "{text}");
    assert_eq!(std::fs::read(&file).expect("its file"), before, "nothing was changed");

    // The case for which it is there: the file is no file of ours any more.
    std::fs::write(&file, b"all is lost").expect("writable");
    let output = offline(&data_dir, &from, &["--force", "--generation-at-least", "5"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("generation 5"), "{}", said(&output));
    let kept = data_dir.join("before-restore-1.redb");
    assert_eq!(std::fs::read(kept).expect("it is kept"), b"all is lost");
    board.start_again();
    up(&client).await;
    let there = within(client.read()).await.expect("it is back");
    assert_eq!((there.lock.epoch.generation, there.records.len()), (5, 1));
}
