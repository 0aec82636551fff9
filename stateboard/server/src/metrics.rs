//! What the stateboard counts. Values only: who asks for them is the business of `http.rs`.

use baton_core::ids::Revision;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// A request by its name and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    outcome: &'static str,
}

/// A limit by the name of its setting.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: String,
}

/// The counters of one stateboard.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    commits: Counter,
    writes: Counter,
    commit_seconds: Histogram,
    revision: Gauge,
    records: Gauge,
    members: Gauge,
    connections: Gauge,
    watchers: Gauge,
    sessions: Gauge,
    waiting: Gauge,
    requests: Family<RequestLabels, Counter>,
    refused: Family<LimitLabels, Counter>,
    accepts_failed: Counter,
    handshakes_failed: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("baton_stateboard");
        let commits = counter(&mut registry, "commits", "Commits made durable, each with one sync");
        let writes = counter(&mut registry, "writes", "Changes made durable, many in one commit");
        let commit_seconds = Histogram::new(exponential_buckets(0.000_1, 2.0, 16));
        registry.register(
            "commit_seconds",
            "How long a commit took, the sync included",
            commit_seconds.clone(),
        );
        let revision = gauge(&mut registry, "revision", "The revision that was published last");
        let records = gauge(&mut registry, "records", "Records kept, tombstones included");
        let members = gauge(&mut registry, "members", "Members kept");
        let connections = gauge(&mut registry, "connections", "Connections now");
        let watchers = gauge(&mut registry, "watchers", "Watches now");
        let sessions = gauge(&mut registry, "sessions", "Candidates connected now, the holder included");
        let waiting = gauge(&mut registry, "waiting", "Candidates in line behind the holder");
        let requests = Family::default();
        registry.register("requests", "Requests by name and by how they ended", requests.clone());
        let refused = Family::default();
        registry.register("refused", "What was refused or ended for a limit, by its name", refused.clone());
        let accepts_failed =
            counter(&mut registry, "accepts_failed", "Connections that could not be accepted");
        let handshakes_failed = counter(&mut registry, "handshakes_failed", "TLS handshakes that failed");
        Self {
            registry,
            commits,
            writes,
            commit_seconds,
            revision,
            records,
            members,
            connections,
            watchers,
            sessions,
            waiting,
            requests,
            refused,
            accepts_failed,
            handshakes_failed,
        }
    }

    pub(crate) fn committed(&self, writes: usize, took: Duration) {
        self.commits.inc();
        self.writes.inc_by(u64::try_from(writes).unwrap_or(u64::MAX));
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn revision(&self, revision: Revision) {
        self.revision.set(i64::try_from(revision.0).unwrap_or(i64::MAX));
    }

    /// What the board keeps, and who stands in line.
    pub(crate) fn kept(&self, records: u64, members: u64, waiting: u64) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.records.set(number(records));
        self.members.set(number(members));
        self.waiting.set(number(waiting));
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    pub(crate) fn watching(&self) {
        self.watchers.inc();
    }

    pub(crate) fn watched(&self) {
        self.watchers.dec();
    }

    pub(crate) fn sessions(&self, count: usize) {
        self.sessions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn request(&self, method: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&RequestLabels { method, outcome }).inc();
    }

    pub(crate) fn refused(&self, limit: &str) {
        self.refused.get_or_create(&LimitLabels { limit: limit.to_owned() }).inc();
    }

    pub(crate) fn accept_failed(&self) {
        self.accepts_failed.inc();
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// In the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}
