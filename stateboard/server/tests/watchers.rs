//! Watchers: many idle ones are carried, a slow one is ended with a reason and loses nothing by it.

use crate::board::{Board, PATIENCE};
use crate::wire::{Raw, endpoint, http, limit_of, limited, metric, put_settings, raw, watch, within};
use baton_proto::v1;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{StateProvider, WatchEvent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_stream::StreamExt as _;
use v1::stateboard_client::StateboardClient;
use v1::watch_response::Event;

/// A number from the environment, for a run by hand at another size.
fn size(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn revision(event: &Event) -> u64 {
    match event {
        Event::Snapshot(snapshot) => snapshot.revision,
        Event::Update(update) => update.revision,
    }
}

/// Watchers over so many connections, each of which has been sent its beginning.
async fn idle(
    board: &Board,
    watchers: usize,
    connections: usize,
) -> Vec<tonic::Streaming<v1::WatchResponse>> {
    let mut streams = Vec::with_capacity(watchers);
    for connection in 0..connections {
        let mut client = raw(board).await;
        for _ in (connection..watchers).step_by(connections) {
            let mut stream = within(client.watch(watch())).await.expect("there is room").into_inner();
            let first = within(stream.message()).await.expect("a beginning").expect("an event");
            assert!(matches!(first.event, Some(Event::Snapshot(_))), "{first:?}");
            streams.push(stream);
        }
    }
    streams
}

fn resident_kib(board: &Board) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", board.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number")
}

/// 10,000 by hand: `BATON_WATCHERS=10000 BATON_WATCHER_CONNECTIONS=10 cargo test -p baton-stateboard --test main --
/// idle_watchers --nocapture`, and the same with 10,000 connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_watchers_are_carried_and_each_hears_of_a_change() {
    let (watchers, connections) = (size("BATON_WATCHERS", 2_000), size("BATON_WATCHER_CONNECTIONS", 100));
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    board.wait();
    let before = resident_kib(&board);
    let streams = idle(&board, watchers, connections).await;
    let after = resident_kib(&board);
    assert_eq!(metric(&http(&board, "/metrics"), "watchers"), u64::try_from(watchers).expect("small"));
    let mut writer = raw(&board).await;
    let start = std::time::Instant::now();
    put_settings(&mut writer, 0, 1).await;
    let answered = start.elapsed();
    for mut stream in streams {
        let event = within(stream.message()).await.expect("the watch goes on").expect("an event");
        let event = event.event.expect("of this version");
        assert!(matches!(event, Event::Update(_)), "{event:?}");
        assert_eq!(revision(&event), 1);
    }
    let took = start.elapsed();
    println!(
        "{watchers} watchers over {connections} connections: {before} KiB resident before, {after} KiB with them; \
         a change was answered after {answered:?}, and all had heard of it after {took:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_read_is_ended_with_a_reason_and_resumes_without_a_gap() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "watcher_lag = 8");
    // Small windows: what the watcher does not read stays with the stateboard.
    let small = endpoint(&board).initial_stream_window_size(1_024).initial_connection_window_size(65_535);
    let mut slow: Raw = StateboardClient::new(within(small.connect()).await.expect("it listens"));
    let mut stream = within(slow.watch(watch())).await.expect("a watch").into_inner();
    let mut writer = raw(&board).await;
    for version in 0..40 {
        put_settings(&mut writer, version, 100).await;
    }
    let mut seen = Vec::new();
    let ended = loop {
        match within(stream.message()).await {
            Ok(Some(message)) => seen.push(revision(&message.event.expect("of this version"))),
            Ok(None) => panic!("it ended without a reason"),
            Err(status) => break status,
        }
    };
    let (reason, limit, value) = limit_of(&ended);
    assert_eq!((reason.as_str(), limit.as_str(), value.as_str()), ("slow_watcher", "watcher_lag", "8"));
    let last = *seen.last().expect("the beginning at least");
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
    assert!(last < 40, "it was not slow: {seen:?}");
    let resume = v1::WatchRequest { after_revision: Some(last), ..watch() };
    let mut stream = within(writer.watch(resume)).await.expect("a watch").into_inner();
    let first = within(stream.message()).await.expect("goes on").expect("an event").event.expect("known");
    match &first {
        Event::Snapshot(snapshot) => assert_eq!(snapshot.revision, 40),
        Event::Update(update) => assert_eq!(update.revision, last + 1),
    }
    assert!(metric(&http(&board, "/metrics"), "refused_total{limit=\"watcher_lag\"}") >= 1);
}

/// A road whose far end does not read while `stopped`, and then reads slowly.
async fn slow_road(to: SocketAddr, stopped: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let socket = TcpSocket::new_v4().expect("a socket");
            // So small that the kernel does not read in the reader's place.
            socket.set_recv_buffer_size(8_192).expect("before it connects");
            let Ok(far) = socket.connect(to).await else { continue };
            tokio::spawn(carry(near, far, Arc::clone(&stopped)));
        }
    });
    address
}

async fn carry(near: TcpStream, far: TcpStream, stopped: Arc<AtomicBool>) {
    let (mut near_reader, mut near_writer) = near.into_split();
    let (mut far_reader, mut far_writer) = far.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut near_reader, &mut far_writer).await });
    let mut piece = vec![0; 16 * 1024];
    loop {
        if stopped.load(Ordering::Relaxed) {
            // tidy: waits because a reader that does not read is what this is about
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            continue;
        }
        match far_reader.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                if near_writer.write_all(&piece[..read]).await.is_err() {
                    return;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_behind_a_real_socket_is_cut_off_and_its_client_misses_and_repeats_nothing() {
    const CHANGES: u64 = 60;
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "watcher_lag = 4");
    let stopped = Arc::new(AtomicBool::new(false));
    let road = slow_road(board.listen.parse().expect("an address"), Arc::clone(&stopped)).await;
    let client =
        StateboardProvider::new(StateboardOptions { endpoints: vec![road.to_string()], ..board.options() });
    let mut events = client.expect("an address").watch(None).await.expect("it begins by itself");
    let first = within(events.next()).await.expect("an event").expect("no error");
    assert!(matches!(first, WatchEvent::Snapshot(_)));
    stopped.store(true, Ordering::Relaxed);
    let mut writer = raw(&board).await;
    for version in 0..CHANGES {
        // Some 100 KiB each: more together than the kernel keeps for a socket.
        put_settings(&mut writer, version, 3_000).await;
    }
    stopped.store(false, Ordering::Relaxed);
    let mut last = 0;
    let mut jumps = 0;
    while last < CHANGES {
        match within(events.next()).await.expect("an event").expect("no error") {
            WatchEvent::Snapshot(snapshot) => {
                assert!(snapshot.revision.0 > last, "{} after {last}", snapshot.revision);
                assert_eq!(snapshot.settings.version.0, snapshot.revision.0, "a snapshot is of one moment");
                jumps += 1;
                last = snapshot.revision.0;
            }
            WatchEvent::Update(update) => {
                assert_eq!(update.revision.0, last + 1);
                last = update.revision.0;
            }
        }
    }
    assert!(jumps > 0, "it was never cut off");
    let start = std::time::Instant::now();
    while metric(&http(&board, "/metrics"), "watchers") != 1 {
        assert!(start.elapsed() < PATIENCE, "the watch that was cut off is still there");
    }
}
