//! How a stateboard goes and what it tells about itself meanwhile: SIGTERM under load, health, reflection, metrics, and the
//! flags that it shares with Cartridge's.

use crate::board::{Board, PATIENCE, candidate, change, command};
use crate::wire::{endpoint, http, identity, metric, put_settings, raw, watch, within};
use baton_core::ids::ReplicaSetName;
use baton_proto::v1;
use baton_provider::{AppointOutcome, LockToken, ProviderError, Renewal, StateProvider, WatchEvent, wire};
use prost::Message as _;
use std::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ListServiceResponse, ServerReflectionRequest};

fn reason(status: &Status) -> String {
    v1::StateboardError::decode(status.details()).expect("ours").reason
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_every_stream_with_its_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    board.wait();
    let mut client = raw(&board).await;
    let mut events = within(client.watch(watch())).await.expect("a watch").into_inner();
    assert!(within(events.message()).await.expect("a beginning").is_some());
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    let campaign = v1::Campaign {
        identity: identity(),
        candidate: Some(wire::candidate_to_wire(&candidate())),
        resume: None,
        resume_only: false,
    };
    let first = v1::campaign_request::Message::Campaign(campaign);
    sender.send(v1::CampaignRequest { message: Some(first) }).await.expect("room");
    let mut lock =
        within(client.campaign(ReceiverStream::new(requests))).await.expect("a stream").into_inner();
    assert!(within(lock.message()).await.expect("the lock").is_some());
    let stopped = tokio::task::spawn_blocking(move || board.terminate());
    // The hand-over of the lock is an update; then comes the reason.
    let ended = loop {
        match within(events.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the watch ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "stopping"));
    let ended = within(lock.message()).await.expect_err("the reason");
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "stopping"));
    drop(sender);
    assert!(within(stopped).await.expect("no panic").success());
}

/// Appoints until the stateboard is gone. Returns the last term that was answered.
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
async fn what_was_answered_before_a_stop_is_there_after_it_and_clients_go_on_by_themselves() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    let client = board.client();
    let mut session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let mut events = within(client.watch(None)).await.expect("a watch");
    let token = session.grant().token;
    let sets: Vec<String> = (0..4).map(|set| format!("set-{set}")).collect();
    let loads: Vec<_> =
        sets.iter().map(|set| tokio::spawn(load(board.client(), token, set.clone(), 1))).collect();
    let goal = ReplicaSetName::parse("set-0").expect("a name");
    let start = Instant::now();
    while within(client.read()).await.expect("it runs").records.get(&goal).is_none_or(|it| it.term.0 < 20) {
        assert!(start.elapsed() < PATIENCE, "the load does not get on");
    }
    let mut board = tokio::task::spawn_blocking(move || {
        assert!(board.terminate().success());
        board
    })
    .await
    .expect("no panic");
    let mut answered = Vec::new();
    for load in loads {
        answered.push(within(load).await.expect("no panic"));
    }
    board.start_again();
    assert!(matches!(within(session.renew()).await, Ok(Renewal::Granted { .. })), "the epoch is lost");
    let snapshot = within(client.read()).await.expect("it is back");
    for (set, answered) in sets.iter().zip(answered) {
        let there = snapshot.records.values().find(|record| record.replicaset.as_str() == set);
        let there = there.map_or(0, |record| record.term.0);
        assert!(there == answered || there == answered + 1, "{set}: {there}, answered was {answered}");
    }
    // The watch goes on to where the board is, in order.
    let mut last = 0;
    while last < snapshot.revision.0 {
        match within(events.next()).await.expect("an event").expect("no error") {
            WatchEvent::Snapshot(snapshot) => {
                assert!(snapshot.revision.0 >= last, "{} after {last}", snapshot.revision);
                last = snapshot.revision.0;
            }
            WatchEvent::Update(update) => {
                assert_eq!(update.revision.0, last + 1);
                last = update.revision.0;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_are_answered_without_a_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, "open sesame\n").expect("writable");
    let mut board =
        Board::start_with(directory.path(), &["--password-file", file.to_str().expect("our own name")]);
    board.wait();
    let channel = within(endpoint(&board).connect()).await.expect("it listens");
    let check = tonic_health::pb::HealthCheckRequest { service: "baton.v1.Stateboard".to_owned() };
    let health =
        within(HealthClient::new(channel.clone()).check(check)).await.expect("an answer").into_inner();
    assert_eq!(health.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = within(client.server_reflection_info(tokio_stream::once(list))).await.expect("an answer");
    let answer = within(answers.into_inner().message()).await.expect("an answer").expect("one");
    let Some(MessageResponse::ListServicesResponse(ListServiceResponse { service })) =
        answer.message_response
    else {
        panic!("{answer:?}")
    };
    assert!(service.iter().any(|service| service.name == "baton.v1.Stateboard"), "{service:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_tell_what_happens() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = Board::start(directory.path());
    let client = board.client();
    let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let token = session.grant().token;
    for term in [1, 2] {
        client.appoint(token, vec![change("orders-1", term, token.epoch)]).await.expect("an answer");
    }
    client.appoint(token, vec![change("orders-1", 2, token.epoch)]).await.expect("an answer");
    let _events = within(client.watch(None)).await.expect("a watch").next().await;
    let mut strange = raw(&board).await;
    put_settings(&mut strange, 0, 1).await;
    let refused = within(strange.status(v1::StatusRequest { identity: None })).await;
    assert_eq!(refused.expect_err("no identity").code(), Code::InvalidArgument);
    let text = http(&board, "/metrics");
    for (name, value) in [
        ("revision", 4),
        ("records", 1),
        ("members", 0),
        ("sessions", 1),
        ("waiting", 0),
        // The client's two (the lock has one of its own), and ours.
        ("connections", 3),
        ("commits_total", 4),
        ("writes_total", 4),
        ("commit_seconds_count", 4),
        ("requests_total{method=\"Appoint\",outcome=\"applied\"}", 2),
        ("requests_total{method=\"Appoint\",outcome=\"conflict\"}", 1),
        ("requests_total{method=\"PutSettings\",outcome=\"applied\"}", 1),
        ("requests_total{method=\"Status\",outcome=\"invalid_argument\"}", 1),
    ] {
        assert_eq!(metric(&text, name), value, "{name} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flags_of_cartridges_stateboard_are_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let started = Board::start(directory.path());
    // As a Cartridge unit has them: listen, workdir, lock delay.
    let workdir = directory.path().join("work");
    let (listen, http) = (started.listen.clone(), started.http.clone());
    drop(started);
    let port = listen.rsplit_once(':').map_or("", |(_, port)| port);
    let mut process = command()
        .args(["--cluster", "orders", "--listen", &format!("localhost:{port}"), "--http-listen", &http])
        .arg("--workdir")
        .arg(&workdir)
        .args(["--lock-delay", "10"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program is built");
    let options = baton_provider::stateboard::StateboardOptions::new(
        vec![listen],
        baton_provider::identity_of(baton_core::ids::ClusterName::parse("orders").expect("a name"), ""),
        PATIENCE,
    );
    let client = baton_provider::stateboard::StateboardProvider::new(options).expect("good options");
    let session = within(client.campaign(&candidate(), None)).await;
    let settings = within(client.read()).await;
    process.kill().expect("it is ours");
    process.wait().expect("it is ours");
    // The lock lives as long as was asked for, because the lease is 4/5 of it.
    assert_eq!(session.expect("the lock").grant().ttl, baton_core::time::Span::from_secs(10));
    assert_eq!(settings.expect("a snapshot").settings.lease_ttl, baton_core::time::Span::from_secs(8));
    assert!(workdir.join(baton_stateboard::storage::FILE_NAME).exists());
    // What would not be safe, or would be two answers to one question, starts nothing.
    let seed = directory.path().join("seed.toml");
    std::fs::write(&seed, "lease_ttl = \"3s\"\n").expect("writable");
    for (arguments, said) in [
        (vec!["--lock-delay", "0"], "stateboard.lock_delay = \"0\": must be a whole number from 1 to 750"),
        (vec!["--lock-delay", "10", "--seed-settings", seed.to_str().expect("our own name")], "must be 8s"),
    ] {
        let output = command().args(["--cluster", "orders"]).args(&arguments).output().expect("it ran");
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(said), "{text}");
    }
}
