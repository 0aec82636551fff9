//! What a person on call needs to see in numbers, as OpenMetrics with the prefix `baton_`. Events are counted by the
//! shells through methods of [`Metrics`]; states are read from the published views at the moment of the scrape, so that
//! a lease that runs out shows although nobody publishes any more.
//!
//! Architecture invariant: nothing reads a metric to decide anything. Labels are names of instances, sets, classes and
//! phases only, so that their number is bounded by what is configured.

mod states;

use crate::view::Views;
use baton_core::ids::{InstanceName, ReplicaSetName};
use baton_core::time::Span;
use baton_core::timing::FailureClass;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use states::States;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Durations of failovers and of the provider's answers: from a fast local write to the longest lease.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    instance: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SetLabels {
    replicaset: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailoverLabels {
    replicaset: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    class: &'static str,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    instance: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    operation: &'static str,
    outcome: &'static str,
}

/// How an operation of the provider ended otherwise than done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderFailure {
    /// It was surely not applied.
    NotApplied,
    /// A condition did not hold.
    Conflict,
    /// No answer came: it may have been applied.
    Unknown,
}

impl ProviderFailure {
    fn label(self) -> &'static str {
        match self {
            Self::NotApplied => "not_applied",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
        }
    }
}

/// All metrics of a daemon; shared by `Arc`, every method is cheap and never blocks.
pub struct Metrics {
    registry: Registry,
    beats: Family<InstanceLabels, Counter>,
    grants: Family<InstanceLabels, Counter>,
    grants_late: Family<InstanceLabels, Counter>,
    fences: Family<ReasonLabels, Counter>,
    deadman_arms: Family<InstanceLabels, Counter>,
    deadman_kills: Family<InstanceLabels, Counter>,
    engine_starts: Family<InstanceLabels, Counter>,
    failovers: Family<FailoverLabels, Counter>,
    refusals: Family<SetLabels, Counter>,
    phases: Durations<PhaseLabels>,
    provider_errors: Family<OutcomeLabels, Counter>,
    provider_seconds: Durations<OperationLabels>,
    hosts_attached: Gauge,
    routers_watching: Gauge,
    states: States,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations<L: Clone + std::hash::Hash + Eq>() -> Durations<L> {
    Family::new_with_constructor(|| Histogram::new(SECONDS))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("baton"),
            beats: Family::default(),
            grants: Family::default(),
            grants_late: Family::default(),
            fences: Family::default(),
            deadman_arms: Family::default(),
            deadman_kills: Family::default(),
            engine_starts: Family::default(),
            failovers: Family::default(),
            refusals: Family::default(),
            phases: durations(),
            provider_errors: Family::default(),
            provider_seconds: durations(),
            hosts_attached: Gauge::default(),
            routers_watching: Gauge::default(),
            states: States::default(),
        };
        metrics.register();
        metrics.states.register(&mut metrics.registry);
        metrics
    }
}

fn of_instance(instance: &InstanceName) -> InstanceLabels {
    InstanceLabels { instance: instance.to_string() }
}

/// Counts as OpenMetrics wants gauges; beyond `i64` nobody counts.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Metrics {
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register(
            "build",
            "The version of this daemon",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        all.register("beats", "Heartbeats sent", self.beats.clone());
        all.register("grants", "Leases that came in time", self.grants.clone());
        all.register("grants_late", "Leases that came after their own deadline", self.grants_late.clone());
        all.register("fences", "Times that the engine was fenced, by reason", self.fences.clone());
        all.register(
            "deadman_arms",
            "Times that the deadman was armed or its deadline moved",
            self.deadman_arms.clone(),
        );
        all.register("deadman_kills", "Times that the deadman killed the engine", self.deadman_kills.clone());
        all.register(
            "engine_starts",
            "Times that a supervised engine was started",
            self.engine_starts.clone(),
        );
        all.register("failovers", "Changes of master, by what caused them", self.failovers.clone());
        all.register("decisions_refused", "Decisions to leave a set as it is", self.refusals.clone());
        all.register(
            "provider_errors",
            "Operations of the provider that did not succeed",
            self.provider_errors.clone(),
        );
        all.register(
            "hosts_attached",
            "Hosts whose guards are attached to this arbiter",
            self.hosts_attached.clone(),
        );
        all.register("routers_watching", "Open watches of the directory", self.routers_watching.clone());
        let seconds = Unit::Seconds;
        let phases = self.phases.clone();
        all.register_with_unit(
            "failover_phase",
            "How long each phase of a failover took",
            seconds.clone(),
            phases,
        );
        let provider = self.provider_seconds.clone();
        all.register_with_unit("provider_operation", "How long the state provider took", seconds, provider);
    }

    /// A heartbeat was sent for this instance.
    pub fn beat_sent(&self, instance: &InstanceName) {
        self.beats.get_or_create(&of_instance(instance)).inc();
    }

    /// A grant came in time.
    pub fn grant_received(&self, instance: &InstanceName) {
        self.grants.get_or_create(&of_instance(instance)).inc();
    }

    /// A grant came after its own deadline, and was nothing.
    pub fn grant_late(&self, instance: &InstanceName) {
        self.grants_late.get_or_create(&of_instance(instance)).inc();
    }

    /// The engine was fenced; `reason` is one of a few fixed words (`lapsed`, `relinquish`, `stalled`, `found_writable`, …).
    pub fn fenced(&self, instance: &InstanceName, reason: &'static str) {
        self.fences.get_or_create(&ReasonLabels { instance: instance.to_string(), reason }).inc();
    }

    /// The deadman was armed, or its deadline moved.
    pub fn deadman_armed(&self, instance: &InstanceName) {
        self.deadman_arms.get_or_create(&of_instance(instance)).inc();
    }

    /// The deadman killed the engine.
    pub fn deadman_killed(&self, instance: &InstanceName) {
        self.deadman_kills.get_or_create(&of_instance(instance)).inc();
    }

    /// A supervised engine was started.
    pub fn engine_started(&self, instance: &InstanceName) {
        self.engine_starts.get_or_create(&of_instance(instance)).inc();
    }

    /// A set got a master at a new term; each phase with how long it took.
    pub fn failed_over(&self, set: &ReplicaSetName, class: FailureClass, phases: &[(&'static str, Span)]) {
        let labels = FailoverLabels { replicaset: set.to_string(), class: class.name() };
        self.failovers.get_or_create(&labels).inc();
        for &(phase, took) in phases {
            let labels = PhaseLabels { class: class.name(), phase };
            self.phases.get_or_create(&labels).observe(took.as_duration().as_secs_f64());
        }
    }

    /// It was decided that a set stays as it is, though its master is in doubt.
    pub fn decision_refused(&self, set: &ReplicaSetName) {
        self.refusals.get_or_create(&SetLabels { replicaset: set.to_string() }).inc();
    }

    /// An operation of the provider ended; `operation` is the name of the trait's method.
    pub fn provider_call(&self, operation: &'static str, took: Span, failure: Option<ProviderFailure>) {
        let seconds = took.as_duration().as_secs_f64();
        self.provider_seconds.get_or_create(&OperationLabels { operation }).observe(seconds);
        if let Some(failure) = failure {
            let labels = OutcomeLabels { operation, outcome: failure.label() };
            self.provider_errors.get_or_create(&labels).inc();
        }
    }

    /// How many hosts are attached to this arbiter now.
    pub fn hosts_attached(&self, count: usize) {
        self.hosts_attached.set(signed(count as u64));
    }

    pub(crate) fn router_came(&self) {
        self.routers_watching.inc();
    }

    pub(crate) fn router_left(&self) {
        self.routers_watching.dec();
    }

    /// Everything as OpenMetrics text.
    #[must_use]
    pub fn render(&self, views: &Views) -> String {
        self.states.take(views);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes everything");
        text
    }
}
