//! What only a real process shows: SIGKILL under load, signals, exit codes, the HTTP port.

use crate::board::{Board, PATIENCE, candidate, change, command};
use baton_core::ids::ReplicaSetName;
use baton_provider::{AppointOutcome, LockToken, ProviderError, Renewal, StateProvider};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read as _, Write as _};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came in time")
}

/// Appoints terms 1, 2, … of one set until the stateboard dies. Returns the last term that was answered.
async fn load(client: impl StateProvider, token: LockToken, set: String, first: u64) -> u64 {
    for term in first.. {
        match client.appoint(token, vec![change(&set, term, token.epoch)]).await {
            Ok(AppointOutcome::Applied(_)) => {}
            Ok(other) => panic!("{set} at {term}: {other:?}"),
            Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_)) => return term - 1,
            Err(error) => panic!("{set} at {term}: {error}"),
        }
    }
    unreachable!("the terms do not end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigkill_under_load_every_answered_appointment_is_there_and_the_holder_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    let client = board.client();
    let mut session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let token = session.grant().token;
    let mut known: BTreeMap<String, u64> = (0..8).map(|set| (format!("set-{set}"), 0)).collect();
    for _ in 0..3 {
        let loads: Vec<_> = known
            .iter()
            .map(|(set, term)| {
                (set.clone(), tokio::spawn(load(board.client(), token, set.clone(), term + 1)))
            })
            .collect();
        // Into the middle of it: when one of the sets has come some way.
        let goal = known["set-0"] + 20;
        let set = ReplicaSetName::parse("set-0").expect("a name");
        let far = async {
            loop {
                let snapshot = client.read().await.expect("it runs");
                if snapshot.records.get(&set).is_some_and(|record| record.term.0 >= goal) {
                    return;
                }
            }
        };
        within(far).await;
        board.kill();
        let mut answered = BTreeMap::new();
        for (set, load) in loads {
            answered.insert(set, within(load).await.expect("no panic"));
        }
        board.start_again();
        // The lock is ours still, without anything done about it.
        let renewal = within(session.renew()).await.expect("resumed");
        assert!(matches!(renewal, Renewal::Granted { .. }), "{renewal:?}");
        let snapshot = within(client.read()).await.expect("it is back");
        for (set, term) in &mut known {
            let there = snapshot.records.values().find(|record| record.replicaset.as_str() == set);
            let there = there.map_or(0, |record| record.term.0);
            let answered = answered[set];
            assert!(there == answered || there == answered + 1, "{set}: {there}, answered was {answered}");
            *term = there;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_stateboard_is_not_reached_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    let client = board.client();
    let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    board.kill();
    let request = vec![change("orders-1", 1, session.grant().token.epoch)];
    // The first may fail on the connection that was; the next cannot even be sent.
    let mut answer = client.appoint(session.grant().token, request.clone()).await;
    if matches!(answer, Err(ProviderError::Unknown(_))) {
        answer = client.appoint(session.grant().token, request).await;
    }
    assert!(matches!(answer, Err(ProviderError::NotApplied(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_it_well_although_somebody_holds_the_lock() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    let client = board.client();
    let _session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let _events = client.watch(None).await.expect("a watch");
    let status = tokio::task::spawn_blocking(move || board.terminate()).await.expect("no panic");
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = Board::start(directory.path());
    let client = board.client();
    let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let token = session.grant().token;
    client.appoint(token, vec![change("orders-1", 1, token.epoch)]).await.expect("an answer");
    let http = board.http.clone();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(&http).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    };
    for path in ["/healthz", "/readyz"] {
        assert!(get(path).starts_with("HTTP/1.1 200"), "{path}");
    }
    let metrics = get("/metrics");
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    // The epoch and the appointment.
    assert!(metrics.contains("baton_stateboard_revision 2\n"), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
}

#[test]
fn a_damaged_file_is_refused_named_and_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    board.wait();
    board.kill();
    let file = board.data_dir.join(baton_stateboard::storage::FILE_NAME);
    let damaged: Vec<u8> = std::fs::read(&file).expect("its file").iter().map(|byte| byte ^ 0x55).collect();
    std::fs::write(&file, &damaged).expect("writable");
    let output = board.command().output().expect("it ran");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains(&file.display().to_string()) && text.contains("restore it from a backup"),
        "{text}"
    );
    assert_eq!(std::fs::read(&file).expect("still there"), damaged);
}

#[test]
fn a_bad_configuration_is_told_wholly_and_nothing_starts() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("stateboard.toml");
    std::fs::write(&file, "[cluster]\nname = \"a b\"\n[stateboard]\nlisen = \"127.0.0.1:1\"\n")
        .expect("writable");
    let run =
        |arguments: &[&str]| command().args(arguments).arg("--config").arg(&file).output().expect("it ran");
    for arguments in [&["check-config"][..], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("stateboard.toml:2: cluster.name"), "{text}");
        assert!(text.contains("stateboard.toml:4: stateboard.lisen: unknown key; did you mean"), "{text}");
    }
    std::fs::write(&file, "[cluster]\nname = \"orders\"\n").expect("writable");
    assert!(run(&["check-config"]).status.success());
}

#[test]
fn help_completions_and_the_manual_page_are_printed() {
    for arguments in [&["--help"][..], &["completions", "bash"], &["man"]] {
        let output = command().args(arguments).output().expect("it ran");
        assert!(output.status.success(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("completions"), "{arguments:?}");
    }
}
