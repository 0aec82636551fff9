//! Each limit of the port: what is beyond it is refused by name and value, what is within it goes on.

use crate::board::{PATIENCE, candidate, change};
use crate::wire::{Raw, assert_limit, http, identity, limited, metric, raw, status, watch, within};
use baton_proto::v1;
use baton_provider::{AppointOutcome, RefusalReason, StateProvider, wire};
use std::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use v1::campaign_request::Message;

/// A campaign whose stream stays open for as long as the sender lives.
async fn campaign(
    client: &mut Raw,
    candidate: v1::Candidate,
) -> (
    tokio::sync::mpsc::Sender<v1::CampaignRequest>,
    Result<tonic::Streaming<v1::CampaignResponse>, tonic::Status>,
) {
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    let campaign =
        v1::Campaign { identity: identity(), candidate: Some(candidate), resume: None, resume_only: false };
    sender.send(v1::CampaignRequest { message: Some(Message::Campaign(campaign)) }).await.expect("room");
    let response = within(client.campaign(ReceiverStream::new(requests))).await;
    (sender, response.map(tonic::Response::into_inner))
}

fn someone() -> v1::Candidate {
    wire::candidate_to_wire(&candidate())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_watch_or_one_stream_too_many_is_refused_and_the_others_go_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "streams_per_connection = 3\nwatchers = 4");
    let mut first = raw(&board).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(within(first.watch(watch())).await.expect("there is room"));
    }
    let refused = within(first.status(status())).await.expect_err("the fourth stream");
    assert_limit(&refused, "streams_per_connection", 3);
    let mut second = raw(&board).await;
    held.push(within(second.watch(watch())).await.expect("a fourth watch"));
    let refused = within(second.watch(watch())).await.expect_err("the fifth watch");
    assert_limit(&refused, "watchers", 4);
    assert!(within(second.status(status())).await.is_ok(), "a refusal costs nothing else");
    let text = http(&board, "/metrics");
    assert_eq!(metric(&text, "watchers"), 4, "{text}");
    assert_eq!(metric(&text, "refused_total{limit=\"watchers\"}"), 1, "{text}");
    // A watch that ends makes room.
    drop(held);
    let start = Instant::now();
    while within(second.watch(watch())).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "the places did not come back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_told_so_and_closed() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "connections = 2");
    // The look whether the port is open was a connection, too.
    let start = Instant::now();
    while metric(&http(&board, "/metrics"), "connections") > 0 {
        assert!(start.elapsed() < PATIENCE, "the first connection did not end");
    }
    let (mut first, mut second) = (raw(&board).await, raw(&board).await);
    let held = within(first.watch(watch())).await.expect("there is room");
    assert!(within(second.status(status())).await.is_ok());
    let mut third = raw(&board).await;
    let refused = within(third.status(status())).await.expect_err("the third connection");
    assert_limit(&refused, "connections", 2);
    // It is closed soon, and the others are not.
    while metric(&http(&board, "/metrics"), "connections") > 2 {
        assert!(start.elapsed() < PATIENCE, "the third connection stays");
    }
    assert!(within(second.status(status())).await.is_ok());
    drop((held, first));
    let start = Instant::now();
    while within(third.status(status())).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "the place did not come back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_names_have_their_length() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "message_bytes = 4_096\nname_bytes = 8\ntext_bytes = 64");
    let client = board.client();
    let session = client.campaign(&candidate(), None).await.expect("the lock");
    let token = session.grant().token;
    let appoint = |set: &str, decision: usize| {
        let mut change = wire::change_to_wire(&change("set-1", 1, token.epoch));
        change.decision = "x".repeat(decision);
        if let Some(record) = &mut change.record {
            record.replicaset = set.to_owned();
        }
        v1::AppointRequest {
            identity: identity(),
            token: Some(wire::token_to_wire(token)),
            changes: vec![change],
        }
    };
    let mut raw = raw(&board).await;
    let refused = within(raw.appoint(appoint("set-1", 5_000))).await.expect_err("a long message");
    assert_limit(&refused, "message_bytes", 4_096);
    for name in ["set-10000", &"x".repeat(64)] {
        let refused = within(raw.appoint(appoint(name, 10))).await.expect_err("a long name");
        assert_limit(&refused, "name_bytes", 8);
    }
    assert!(within(raw.appoint(appoint("set-1", 10))).await.is_ok());
    let (_sender, refused) =
        campaign(&mut raw, v1::Candidate { address: "x".repeat(5_000), ..someone() }).await;
    assert_limit(&refused.expect_err("a long first message"), "message_bytes", 4_096);
    let (_sender, refused) = campaign(&mut raw, v1::Candidate { address: "x".repeat(65), ..someone() }).await;
    assert_limit(&refused.expect_err("a long address"), "text_bytes", 64);
    let (_sender, refused) =
        campaign(&mut raw, v1::Candidate { coordinator: "x".repeat(9), ..someone() }).await;
    assert_limit(&refused.expect_err("a long name"), "name_bytes", 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_for_the_lock_and_the_queue_of_requests_have_their_length() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "candidates = 2\nrequests = 16");
    let mut client = raw(&board).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let (sender, stream) = campaign(&mut client, someone()).await;
        held.push((sender, stream.expect("the holder and two in line")));
    }
    // Each candidate keeps a place for its own end, so that the end is never refused. Those who are refused a place in the
    // line have one too, until they go.
    for _ in 3..15 {
        let (sender, stream) = campaign(&mut client, someone()).await;
        let mut stream = stream.expect("a stream");
        let refused = within(stream.message()).await.expect_err("the line is full");
        assert_limit(&refused, "candidates", 2);
        held.push((sender, stream));
    }
    let (_sender, refused) = campaign(&mut client, someone()).await;
    assert_limit(&refused.expect_err("one place is left, and a candidate needs two"), "requests", 16);
    assert!(within(client.status(status())).await.is_ok(), "one place is enough for a request");
    drop(held);
    let start = Instant::now();
    loop {
        let (_sender, stream) = campaign(&mut client, someone()).await;
        if stream.is_ok() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "the places did not come back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_board_keeps_has_its_limits() {
    let directory = tempfile::tempdir().expect("a directory");
    let limits = "records = 2\nhistory_per_set = 3\nchanges_per_request = 1\ndecision_bytes = 256";
    let board = limited(directory.path(), limits);
    let client = board.client();
    let session = client.campaign(&candidate(), None).await.expect("the lock");
    let token = session.grant().token;
    for term in 1..=6 {
        let outcome = client.appoint(token, vec![change("set-1", term, token.epoch)]).await;
        assert!(matches!(outcome, Ok(AppointOutcome::Applied(_))), "{outcome:?}");
    }
    let set = baton_core::ids::ReplicaSetName::parse("set-1").expect("a name");
    let history = client.history(&set, 100).await.expect("an answer");
    let terms: Vec<u64> = history.iter().map(|entry| entry.record.term.0).collect();
    assert_eq!(terms, [6, 5, 4], "the newest are kept");
    let one = |set: &str| change(set, 1, token.epoch);
    let mut long = change("set-2", 2, token.epoch);
    long.decision = "x".repeat(257);
    assert!(matches!(
        client.appoint(token, vec![one("set-2")]).await.expect("an answer"),
        AppointOutcome::Applied(_)
    ));
    for (changes, value) in
        [(vec![one("set-3"), one("set-4")], "1"), (vec![long], "256"), (vec![one("set-3")], "2")]
    {
        match client.appoint(token, changes).await.expect("an answer") {
            AppointOutcome::Refused(refusal) => {
                assert_eq!(refusal.reason, RefusalReason::Limit);
                assert!(refusal.detail.contains(value), "{refusal} should name {value}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_requests_is_closed_and_one_that_watches_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "idle_timeout = \"1s\"");
    let mut watching = raw(&board).await;
    let mut events = within(watching.watch(watch())).await.expect("a watch").into_inner();
    assert!(within(events.message()).await.expect("a snapshot").is_some());
    let mut idle = raw(&board).await;
    assert!(within(idle.status(status())).await.is_ok());
    let start = Instant::now();
    while metric(&http(&board, "/metrics"), "connections") > 1 {
        assert!(start.elapsed() < PATIENCE, "the idle connection stays");
    }
    // The watch outlived it, and whoever was idle connects again by itself.
    let next = tokio::time::timeout(std::time::Duration::from_millis(1), events.message()).await;
    assert!(next.is_err(), "the watch ended: {next:?}");
    let again = within(idle.status(status())).await;
    assert!(again.is_ok() || within(idle.status(status())).await.is_ok(), "{again:?}");
}
