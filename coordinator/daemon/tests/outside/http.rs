//! What load balancers, scripts and scrapers get, with its exact text where a contract names it.

use crate::support::{Fake, get, lead, request};
use baton_client::status::ArbiterStatus;
use baton_coordinator::view::LocalRole;
use baton_core::ids::Term;
use baton_core::message::Health;
use baton_core::position::Position;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn primary_is_200_only_while_the_lease_lives() {
    let mut fake = Fake::new("host-a", &["a1"]);
    let http = fake.http().await;
    fake.publish_local("a1", lead(1_500_000));
    let (code, body) = get(http, "/instances/a1/primary").await;
    assert_eq!(code, 200);
    assert_eq!(
        body,
        r#"{"instance":"a1","replicaset":"orders-1","role":"master","term":7,"writable":true,"on_promises":false,"lease_remaining_ms":500,"health":"up","position":"7:100","lag_bytes":null}"#
    );
    // Nobody publishes: only the clock goes on.
    fake.now.store(1_500_000, Ordering::SeqCst);
    let (code, body) = get(http, "/instances/a1/primary").await;
    assert_eq!(code, 503);
    assert!(
        body.contains(r#""writable":false"#) && body.contains(r#""reason":"its lease has run out""#),
        "{body}"
    );
    assert_eq!(get(http, "/instances/a1/read-write").await.0, 503);
    assert_eq!(get(http, "/instances/a1/read-only").await.0, 503, "what it holds may be old already");
    assert_eq!(get(http, "/instances/a1/health").await.0, 200);
}

#[tokio::test]
async fn a_replica_is_one_within_its_lag() {
    let mut fake = Fake::new("host-a", &["a1", "b1"]);
    let http = fake.http().await;
    fake.publish_local("b1", |view| {
        view.role = LocalRole::Replica;
        view.health = Health::Up;
        view.term = Term(7);
        view.position = Position::at(7, 90);
    });
    for (path, code) in [
        ("/instances/b1/replica", 200),
        ("/instances/b1/replica?lag=10MB", 503),
        ("/instances/b1/primary", 503),
        ("/instances/b1/read-only", 200),
        ("/instances/b1/readiness", 200),
        ("/instances/b1/liveness", 200),
        ("/instances/b1/replica?lag=much", 400),
        ("/instances/a1/replica", 503),
        ("/instances/a1/health", 503),
        ("/instances/zz/health", 404),
        ("/instances/b1/nonsense", 404),
        ("/primary", 404),
    ] {
        assert_eq!(get(http, path).await.0, code, "{path}");
    }
    fake.publish_local("b1", |view| view.lag_bytes = Some(10_000_001));
    let (code, body) = get(http, "/instances/b1/replica?lag=10MB").await;
    assert_eq!(code, 503);
    assert!(body.contains(r#""reason":"it is 10000001 bytes behind, more than 10000000""#), "{body}");
    fake.publish_local("b1", |view| view.lag_bytes = Some(10_000_000));
    assert_eq!(get(http, "/instances/b1/replica?lag=10MB").await.0, 200);
    for method in ["HEAD", "OPTIONS"] {
        assert_eq!(request(http, method, "/instances/b1/replica").await.0, 200, "{method}");
    }
    assert_eq!(request(http, "POST", "/instances/b1/replica").await.0, 405);
}

#[tokio::test]
async fn one_instance_needs_no_prefix_and_has_a_port_of_its_own() {
    let mut one = Fake::new("host-a", &["a1"]);
    let http = one.http().await;
    one.publish_local("a1", lead(2_000_000));
    assert_eq!(get(http, "/primary").await.0, 200);

    let mut two = Fake::new("host-a", &["a1", "b1"]);
    let health = two.health_http("a1").await;
    two.publish_local("a1", lead(2_000_000));
    assert_eq!(get(health, "/primary").await.0, 200);
    assert_eq!(get(health, "/v1/masters").await.0, 404, "a health port tells nothing else");
}

#[tokio::test]
async fn a_guard_that_ended_is_nothing_at_all() {
    let mut fake = Fake::new("host-a", &["a1"]);
    let http = fake.http().await;
    fake.publish_local("a1", lead(2_000_000));
    fake.publishers.locals.clear();
    for check in ["primary", "liveness", "health"] {
        let (code, body) = get(http, &format!("/{check}")).await;
        assert_eq!(code, 503, "{check}");
        assert!(body.contains("its guard has ended"), "{body}");
    }
}

#[tokio::test]
async fn masters_have_the_shape_of_the_contract() {
    let mut fake = Fake::new("host-a", &[]);
    let http = fake.http().await;
    assert_eq!(get(http, "/healthz").await.0, 200);
    assert_eq!(get(http, "/readyz").await.0, 503);
    assert_eq!(get(http, "/v1/masters").await.0, 503);
    fake.publish_masters(42, &[("orders-1", 7, "a2")]);
    let (code, body) = get(http, "/v1/masters").await;
    assert_eq!(code, 200);
    assert_eq!(
        body,
        r#"{"revision":42,"masters":[{"replicaset":"orders-1","term":7,"master":"a2","endpoint":"a2:6379","state":"active"}]}"#
    );
    assert_eq!(get(http, "/readyz").await.0, 200);
}

#[tokio::test]
async fn a_replica_set_is_whole_on_the_arbiter_and_says_where_to_ask_elsewhere() {
    let mut fake = Fake::new("host-a", &[]);
    let http = fake.http().await;
    fake.publish_masters(42, &[("orders-1", 7, "a2")]);
    fake.publish_status(|status| {
        status.arbiter = ArbiterStatus {
            coordinator: Some("host-b".into()),
            address: Some("10.0.0.2:4402".into()),
            ..ArbiterStatus::default()
        };
    });
    let (code, body) = get(http, "/v1/replicasets/orders-1").await;
    assert_eq!(code, 200);
    assert!(body.contains(r#""term":7"#) && body.contains(r#""master":"a2""#), "{body}");
    assert!(body.contains(r#""address":"10.0.0.2:4402""#), "{body}");

    fake.make_active();
    let (code, body) = get(http, "/v1/replicasets/orders-1").await;
    assert_eq!(code, 200);
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["members"].as_array().map(Vec::len), Some(2));
    assert_eq!(body["issues"][0], "a3 was never heard");
    assert_eq!(get(http, "/v1/replicasets/none").await.0, 404);
}

#[tokio::test]
async fn events_are_a_snapshot_and_then_changes() {
    let mut fake = Fake::new("host-a", &[]);
    let http = fake.http().await;
    fake.publish_masters(1, &[("orders-1", 7, "a2"), ("orders-2", 1, "b1")]);
    let mut events = Events::open(http, None).await;
    let first = events.until("\n\n").await;
    assert!(first.contains("event: snapshot\n") && first.contains("id: 1.12:1\n"), "{first}");
    assert!(first.contains(r#""master":"a2""#) && first.contains(r#""master":"b1""#), "{first}");
    fake.publish_masters(2, &[("orders-1", 8, "a1"), ("orders-2", 1, "b1")]);
    let second = events.until("\n\n").await;
    assert!(second.contains("event: change\n") && second.contains("id: 1.12:2\n"), "{second}");
    assert!(second.contains(r#""term":8,"master":"a1""#) && !second.contains("orders-2"), "{second}");

    // A browser that comes back with the last id gets only what is new.
    let mut resumed = Events::open(http, Some("1.12:2")).await;
    fake.publish_masters(3, &[("orders-1", 8, "a1"), ("orders-2", 2, "b2")]);
    let third = resumed.until("\n\n").await;
    assert!(third.contains("event: change\n") && !third.contains("orders-1"), "{third}");
}

struct Events {
    stream: TcpStream,
    seen: String,
}

impl Events {
    async fn open(address: SocketAddr, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let text = format!("GET /v1/watch HTTP/1.1\r\nhost: baton\r\n{last}\r\n");
        stream.write_all(text.as_bytes()).await.expect("it takes requests");
        let mut events = Self { stream, seen: String::new() };
        let head = events.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// Everything up to the next `end`, whatever chunks it comes in.
    async fn until(&mut self, end: &str) -> String {
        let deadline = Duration::from_secs(10);
        tokio::time::timeout(deadline, async {
            loop {
                if let Some(at) = self.seen.find(end) {
                    let rest = self.seen.split_off(at + end.len());
                    return std::mem::replace(&mut self.seen, rest);
                }
                let mut part = [0; 4096];
                let count = self.stream.read(&mut part).await.expect("the stream is open");
                assert!(count > 0, "the stream ended");
                self.seen.push_str(&String::from_utf8_lossy(&part[..count]));
            }
        })
        .await
        .expect("the event comes")
    }
}

#[tokio::test]
async fn metrics_show_the_lease_as_it_is_at_the_scrape() {
    let mut fake = Fake::new("host-a", &["a1"]);
    let http = fake.http().await;
    fake.make_active();
    fake.publish_masters(42, &[("orders-1", 7, "a1")]);
    fake.publish_local("a1", lead(1_500_000));
    let name = crate::support::instance("a1");
    fake.metrics.beat_sent(&name);
    fake.metrics.fenced(&name, "lapsed");
    let phases = [("sever", baton_core::time::Span::from_millis(2))];
    let class = baton_core::timing::FailureClass::Crashed;
    fake.metrics.failed_over(&crate::support::set("orders-1"), class, &phases);
    let (code, text) = get(http, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "baton_lease_remaining_seconds{instance=\"a1\"} 0.5\n",
        "baton_instance_writable{instance=\"a1\"} 1\n",
        "baton_instance_role{instance=\"a1\",role=\"master\"} 1\n",
        "baton_instance_role{instance=\"a1\",role=\"replica\"} 0\n",
        "baton_instance_term{instance=\"a1\"} 7\n",
        "baton_replicaset_term{replicaset=\"orders-1\"} 7\n",
        "baton_beats_total{instance=\"a1\"} 1\n",
        "baton_fences_total{instance=\"a1\",reason=\"lapsed\"} 1\n",
        "baton_failovers_total{replicaset=\"orders-1\",class=\"crashed\"} 1\n",
        "baton_failover_phase_seconds_count{class=\"crashed\",phase=\"sever\"} 1\n",
        "baton_arbiter_active 1\n",
        "baton_epoch_number 12\n",
        "baton_issues 1\n",
        "# EOF\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    fake.now.store(2_000_000, Ordering::SeqCst);
    let (_, text) = get(http, "/metrics").await;
    assert!(text.contains("baton_lease_remaining_seconds{instance=\"a1\"} 0.0\n"), "{text}");
    assert!(text.contains("baton_instance_writable{instance=\"a1\"} 0\n"), "{text}");
}
