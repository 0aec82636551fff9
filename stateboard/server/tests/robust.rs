//! Whatever comes in at the port: noise, silence, half a handshake, endless headers, random messages. The stateboard goes
//! on serving a client that behaves. Random, from a seed that is printed.

use crate::board::{Board, PATIENCE, candidate, change};
use crate::protected::Authority;
use crate::wire::{endpoint, http, identity, limited, metric, within};
use baton_proto::v1;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::tls::TlsFiles;
use baton_provider::{AppointOutcome, LockSession, StateProvider};
use http_body::Frame;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service as _};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const METHODS: [&str; 14] = [
    "Join",
    "Campaign",
    "Appoint",
    "Read",
    "Watch",
    "PutMember",
    "RemoveMember",
    "PutSettings",
    "PutTask",
    "PutBid",
    "RemoveTask",
    "History",
    "Backup",
    "Status",
];

fn seeded() -> StdRng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(887_177);
    println!("SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn noise(random: &mut StdRng, at_most: usize) -> Vec<u8> {
    (0..random.random_range(0..=at_most)).map(|_| random.random()).collect()
}

/// A client that behaves, and holds the lock all the while.
struct Good {
    client: StateboardProvider,
    session: Box<dyn LockSession>,
    term: u64,
}

impl Good {
    async fn new(board: &Board) -> Self {
        let client = board.client();
        let session = within(client.campaign(&candidate(), None)).await.expect("the lock");
        Self { client, session, term: 0 }
    }

    /// Is served as if nothing was.
    async fn is_served(&mut self) {
        self.term += 1;
        let token = self.session.grant().token;
        let outcome = within(self.client.appoint(token, vec![change("good", self.term, token.epoch)])).await;
        assert!(matches!(outcome, Ok(AppointOutcome::Applied(_))), "{outcome:?}");
        let renewal = within(self.session.renew()).await;
        assert!(matches!(renewal, Ok(baton_provider::Renewal::Granted { .. })), "{renewal:?}");
    }
}

/// Waits until the other side has closed; what it says before is of no interest.
async fn closed(stream: &mut TcpStream) {
    let mut rest = [0; 4_096];
    while let Ok(1..) = within(stream.read(&mut rest)).await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_and_silence_are_closed_and_others_are_served() {
    let mut random = seeded();
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "handshake_timeout = \"1s\"");
    let mut good = Good::new(&board).await;
    let connect = async || TcpStream::connect(&board.listen).await.expect("it listens");
    let mut silent = Vec::new();
    for round in 0..60 {
        let mut stream = connect().await;
        let mut bytes = match round % 3 {
            // Noise from the first byte; noise behind the preface; frames that say nonsense.
            0 => Vec::new(),
            1 => PREFACE.to_vec(),
            _ => [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat(),
        };
        for _ in 0..4 {
            let payload = noise(&mut random, 200);
            if round % 3 == 2 {
                let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
                bytes.extend(&length[1..]);
                bytes.extend([
                    random.random_range(0..12),
                    random.random(),
                    0,
                    0,
                    0,
                    random.random_range(0..8),
                ]);
            }
            bytes.extend(payload);
        }
        // It may be closed before all is said.
        let _ = stream.write_all(&bytes).await;
        drop(stream);
        silent.push(connect().await);
        if round % 20 == 0 {
            good.is_served().await;
        }
    }
    for stream in &mut silent {
        closed(stream).await;
    }
    // One that speaks a letter at a time has no more time than one that is silent.
    let mut slow = connect().await;
    let start = Instant::now();
    for byte in PREFACE {
        if slow.write_all(&[*byte]).await.is_err() || start.elapsed() > PATIENCE {
            break;
        }
        // tidy: waits because a client that speaks slowly is what this is about
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    closed(&mut slow).await;
    good.is_served().await;
    // Those who come and go.
    for _ in 0..2_000 {
        drop(connect().await);
    }
    good.is_served().await;
}

/// A request's body that says its bytes and then, where it has no end, nothing more.
struct Said {
    bytes: Option<Bytes>,
    endless: bool,
}

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        match this.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if this.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

fn request(method: &str, bytes: Vec<u8>, endless: bool) -> ::http::Request<Body> {
    ::http::Request::post(format!("http://board/baton.v1.Stateboard/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Said { bytes: Some(bytes.into()), endless }))
        .expect("a request")
}

/// A message with the length that gRPC puts before it.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// A good request of some kind, to be damaged.
fn valid(random: &mut StdRng) -> Vec<u8> {
    let token = v1::LockToken { epoch: Some(v1::Epoch { generation: 1, number: 1 }), secret: vec![7; 16] };
    let record = baton_provider::wire::change_to_wire(&change(
        "good",
        1,
        baton_core::ids::Epoch { generation: 1, number: 1 },
    ));
    match random.random_range(0..3) {
        0 => v1::AppointRequest { identity: identity(), token: Some(token), changes: vec![record] }
            .encode_to_vec(),
        1 => v1::WatchRequest { identity: identity(), after_revision: Some(random.random()) }.encode_to_vec(),
        _ => v1::PutSettingsRequest {
            identity: identity(),
            expected_version: u64::MAX,
            settings: Some(v1::Settings { lease_ttl_us: Some(random.random()), ..v1::Settings::default() }),
        }
        .encode_to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_messages_are_answered_or_refused_and_change_nothing() {
    let mut random = seeded();
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    board.wait();
    let mut good = Good::new(&board).await;
    good.is_served().await;
    let before = within(good.client.read()).await.expect("a snapshot");
    let mut channel = within(endpoint(&board).connect()).await.expect("it listens");
    for round in 0..1_500 {
        let method = METHODS[random.random_range(0..METHODS.len())];
        let mut message = if random.random_bool(0.5) { noise(&mut random, 300) } else { valid(&mut random) };
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..=message.len());
            if let Some(byte) = message.get_mut(at) {
                *byte = random.random();
            }
        }
        let bytes = match random.random_range(0..10) {
            // A length that is not that of the message; no length at all.
            0 => [&[0], &random.random::<u32>().to_be_bytes()[..], &message].concat(),
            1 => message,
            _ => framed(&message),
        };
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("the connection stays");
        let response = within(channel.call(request(method, bytes, false))).await;
        assert!(response.is_ok(), "round {round}, {method}: {response:?}");
    }
    let after = within(good.client.read()).await.expect("a snapshot");
    assert_eq!(before.records, after.records);
    assert_eq!(before.settings, after.settings);
    good.is_served().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_end_and_headers_without_measure_are_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let board = limited(directory.path(), "request_timeout = \"1s\"\nheader_bytes = 2_000");
    let mut good = Good::new(&board).await;
    let mut channel = within(endpoint(&board).connect()).await.expect("it listens");
    // Half a message, and then nothing.
    let mut answers = Vec::new();
    for method in ["Appoint", "Read", "Watch", "PutSettings"] {
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("ready");
        answers.push(channel.call(request(method, vec![0, 0, 0, 1, 0, 7], true)));
    }
    for answer in answers {
        let response = within(answer).await.expect("an answer");
        let status = Status::from_header_map(response.headers()).expect("an error");
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
        let detail = v1::StateboardError::decode(status.details()).expect("ours");
        assert_eq!(detail.reason, "late");
    }
    // The same of a campaign, whose stream has no end by nature: it has to say who it is.
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("ready");
    let response = within(channel.call(request("Campaign", vec![0, 0, 0, 1, 0, 7], true))).await;
    let status = Status::from_header_map(response.expect("an answer").headers()).expect("an error");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    // Headers beyond all measure end that request only, or that connection.
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("ready");
    let mut long = request("Read", framed(&[]), false);
    long.headers_mut().insert("x-long", "x".repeat(10_000).parse().expect("letters"));
    let answer = within(channel.call(long)).await;
    let is_refused = match &answer {
        Ok(response) => {
            !response.status().is_success() || Status::from_header_map(response.headers()).is_some()
        }
        Err(_) => true,
    };
    assert!(is_refused, "{answer:?}");
    good.is_served().await;
    let text = http(&board, "/metrics");
    assert!(metric(&text, "requests_total{method=\"Appoint\",outcome=\"deadline_exceeded\"}") >= 1, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_never_finished_keep_nobody_out() {
    let mut random = seeded();
    let directory = tempfile::tempdir().expect("a directory");
    let ours = Authority::new(directory.path(), "ours");
    let (cert_file, key_file) = ours.issue("server", "127.0.0.1", |_| ());
    let text = |path: &std::path::Path| path.to_str().expect("our own name").to_owned();
    let limits = directory.path().join("limits.toml");
    std::fs::write(&limits, "[limits]\nhandshake_timeout = \"1s\"\nconnections = 40\n").expect("writable");
    let mut board = Board::start_with(
        directory.path(),
        &[
            "--config",
            &text(&limits),
            "--tls-cert-file",
            &text(&cert_file),
            "--tls-key-file",
            &text(&key_file),
        ],
    );
    board.wait();
    let files = TlsFiles { ca_file: Some(ours.ca_file.clone()), ..TlsFiles::default() };
    let options = || StateboardOptions { tls: Some(files.clone()), ..board.options() };
    let good = StateboardProvider::new(options()).expect("good options");
    within(good.join()).await.expect("a good client");
    // As many as there are places: silent, or with noise where the handshake should be.
    let mut strangers = Vec::new();
    for round in 0..38 {
        let mut stream = TcpStream::connect(&board.listen).await.expect("it listens");
        if round % 2 == 0 {
            let _ = stream.write_all(&noise(&mut random, 100)).await;
        }
        strangers.push(stream);
    }
    within(good.join()).await.expect("who is in stays in");
    for stream in &mut strangers {
        closed(stream).await;
    }
    let late = StateboardProvider::new(options()).expect("good options");
    within(late.join()).await.expect("there is room again");
    assert!(metric(&http(&board, "/metrics"), "handshakes_failed_total") >= 38);
}
