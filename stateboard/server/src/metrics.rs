//! What the stateboard counts. Values only: who asks for them is the business of `http.rs`.

use baton_core::ids::Revision;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// The counters of one stateboard.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    commits: Counter,
    writes: Counter,
    commit_seconds: Histogram,
    revision: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("baton_stateboard");
        let commits = Counter::default();
        registry.register("commits", "Commits made durable, each with one sync", commits.clone());
        let writes = Counter::default();
        registry.register("writes", "Changes made durable, many in one commit", writes.clone());
        let commit_seconds = Histogram::new(exponential_buckets(0.000_1, 2.0, 16));
        registry.register(
            "commit_seconds",
            "How long a commit took, the sync included",
            commit_seconds.clone(),
        );
        let revision = Gauge::default();
        registry.register("revision", "The revision that was published last", revision.clone());
        Self { registry, commits, writes, commit_seconds, revision }
    }

    pub(crate) fn committed(&self, writes: usize, took: Duration) {
        self.commits.inc();
        self.writes.inc_by(u64::try_from(writes).unwrap_or(u64::MAX));
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn revision(&self, revision: Revision) {
        self.revision.set(i64::try_from(revision.0).unwrap_or(i64::MAX));
    }

    /// In the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}
