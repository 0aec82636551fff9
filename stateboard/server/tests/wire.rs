//! A client that says exactly what a test wants, and reads the details of errors.

use crate::board::{Board, PATIENCE};
use baton_core::ids::ClusterName;
use baton_proto::v1;
use baton_provider::{identity_of, wire};
use std::future::Future;
use std::path::Path;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use v1::stateboard_client::StateboardClient;

pub type Raw = StateboardClient<Channel>;

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came in time")
}

/// A stateboard with `[limits]` as given.
pub fn limited(directory: &Path, limits: &str) -> Board {
    let file = directory.join("limits.toml");
    std::fs::write(&file, format!("[limits]\n{limits}\n")).expect("writable");
    let mut board = Board::start_with(directory, &["--config", file.to_str().expect("our own name")]);
    board.wait();
    board
}

pub fn endpoint(board: &Board) -> Endpoint {
    Endpoint::from_shared(format!("http://{}", board.listen)).expect("an address")
}

/// A connection of its own.
pub async fn raw(board: &Board) -> Raw {
    StateboardClient::new(within(endpoint(board).connect()).await.expect("it listens"))
}

pub fn identity() -> Option<v1::ClusterIdentity> {
    let identity = identity_of(ClusterName::parse("orders").expect("a name"), "");
    Some(wire::identity_to_wire(&identity))
}

pub fn watch() -> v1::WatchRequest {
    v1::WatchRequest { identity: identity(), after_revision: None }
}

pub fn status() -> v1::StatusRequest {
    v1::StatusRequest { identity: identity() }
}

/// Reason, limit and value of an error, and that its code is the one for limits.
pub fn limit_of(status: &Status) -> (String, String, String) {
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
    let detail: v1::StateboardError = prost::Message::decode(status.details()).expect("ours");
    assert!(!detail.what_to_do.is_empty(), "{detail:?}");
    let fact = |name: &str| detail.facts.get(name).cloned().unwrap_or_default();
    assert!(detail.message.contains(&fact("limit")) && detail.message.contains(&fact("value")), "{detail:?}");
    (detail.reason, fact("limit"), fact("value"))
}

pub fn assert_limit(status: &Status, name: &str, value: u64) {
    assert_eq!(limit_of(status), ("limit".to_owned(), name.to_owned(), value.to_string()));
}

/// Replaces the settings, so that watchers have something to see: `sets` of them have values of their own.
pub async fn put_settings(client: &mut Raw, expected: u64, sets: usize) {
    let overrides = (0..sets)
        .map(|set| {
            (
                format!("replica-set-number-{set}"),
                v1::SetSettings { max_lag_bytes: Some(7), ..v1::SetSettings::default() },
            )
        })
        .collect();
    let settings = v1::Settings { overrides, ..v1::Settings::default() };
    let request =
        v1::PutSettingsRequest { identity: identity(), expected_version: expected, settings: Some(settings) };
    let response = within(client.put_settings(request)).await.expect("an answer").into_inner();
    assert!(
        matches!(response.outcome, Some(v1::put_settings_response::Outcome::Applied(_))),
        "{:?}",
        response.outcome
    );
}

/// What the HTTP port says.
pub fn http(board: &Board, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(&board.http).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

/// The value of a metric, with its labels as they stand in the text.
pub fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("baton_stateboard_")?.strip_prefix(name));
    let value = line.and_then(|rest| rest.trim().parse::<f64>().ok());
    value.map_or(0, |value| value as u64)
}
