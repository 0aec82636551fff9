//! What a person on call needs to see in numbers, as OpenMetrics with the prefix `baton_`. Events are counted by the
//! shells through methods of [`Metrics`]; states are read from the published views at the moment of the scrape, so that
//! a lease that runs out shows although nobody publishes any more.
//!
//! Architecture invariant: nothing reads a metric to decide anything. Labels are names of instances, sets, classes and
//! phases only, so that their number is bounded by what is configured.

use crate::view::{LocalRole, Views};
use baton_core::ids::{InstanceName, ReplicaSetName};
use baton_core::message::Health;
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
use std::sync::atomic::AtomicU64;
use tokio::time::Instant;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Durations of failovers and of the provider's answers: from a fast local write to the longest lease.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    instance: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    instance: String,
    role: &'static str,
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
    phases: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    provider_errors: Family<OutcomeLabels, Counter>,
    provider_seconds: Family<OperationLabels, Histogram, fn() -> Histogram>,
    hosts_attached: Gauge,
    routers_watching: Gauge,
    states: States,
}

/// What is set from the views at each scrape.
struct States {
    term: Family<InstanceLabels, Gauge>,
    role: Family<RoleLabels, Gauge>,
    writable: Family<InstanceLabels, Gauge>,
    engine_up: Family<InstanceLabels, Gauge>,
    lag_bytes: Family<InstanceLabels, Gauge>,
    lease_remaining: Family<InstanceLabels, Seconds>,
    set_term: Family<SetLabels, Gauge>,
    arbiter_active: Gauge,
    epoch_generation: Gauge,
    epoch_number: Gauge,
    lock_valid: Seconds,
    issues: Gauge,
}

fn seconds_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// Registers a metric and gives it back.
fn add<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

fn add_seconds<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("baton");
        let all = &mut registry;
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        all.register("build", "The version of this daemon", Info::new(version));
        let histograms = || Family::new_with_constructor(seconds_histogram as fn() -> Histogram);
        let states = States {
            term: add(
                all,
                "instance_term",
                "The term at which the instance leads, or the highest it has seen",
                Family::default(),
            ),
            role: add(all, "instance_role", "1 for the role that the instance has", Family::default()),
            writable: add(
                all,
                "instance_writable",
                "1 while the instance may and does accept writes",
                Family::default(),
            ),
            engine_up: add(all, "engine_up", "1 while the engine answers", Family::default()),
            lag_bytes: add(
                all,
                "instance_lag_bytes",
                "Bytes behind the master, where known",
                Family::default(),
            ),
            lease_remaining: add_seconds(
                all,
                "lease_remaining",
                "What is left of the instance's right to accept writes",
                Family::default(),
            ),
            set_term: add(
                all,
                "replicaset_term",
                "The recorded term, as far as this coordinator knows",
                Family::default(),
            ),
            arbiter_active: add(all, "arbiter_active", "1 on the coordinator that decides", Gauge::default()),
            epoch_generation: add(
                all,
                "epoch_generation",
                "Raised by each restore of the provider",
                Gauge::default(),
            ),
            epoch_number: add(
                all,
                "epoch_number",
                "Raised by each hand-over of the arbiter's lock",
                Gauge::default(),
            ),
            lock_valid: add_seconds(
                all,
                "lock_valid",
                "How long the arbiter's lock is good without a renewal",
                Seconds::default(),
            ),
            issues: add(
                all,
                "issues",
                "What is wrong now, as far as this coordinator knows",
                Gauge::default(),
            ),
        };
        Self {
            beats: add(all, "beats", "Heartbeats sent", Family::default()),
            grants: add(all, "grants", "Leases that came in time", Family::default()),
            grants_late: add(
                all,
                "grants_late",
                "Leases that came after their own deadline",
                Family::default(),
            ),
            fences: add(all, "fences", "Times that the engine was fenced, by reason", Family::default()),
            deadman_arms: add(
                all,
                "deadman_arms",
                "Times that the deadman was armed or its deadline moved",
                Family::default(),
            ),
            deadman_kills: add(
                all,
                "deadman_kills",
                "Times that the deadman killed the engine",
                Family::default(),
            ),
            engine_starts: add(
                all,
                "engine_starts",
                "Times that a supervised engine was started",
                Family::default(),
            ),
            failovers: add(all, "failovers", "Changes of master, by what caused them", Family::default()),
            refusals: add(
                all,
                "decisions_refused",
                "Decisions to leave a set without a change of master",
                Family::default(),
            ),
            phases: add_seconds(
                all,
                "failover_phase",
                "How long each phase of a failover took",
                histograms(),
            ),
            provider_errors: add(
                all,
                "provider_errors",
                "Operations of the state provider that did not succeed",
                Family::default(),
            ),
            provider_seconds: add_seconds(
                all,
                "provider_operation",
                "How long the state provider took",
                Family::new_with_constructor(seconds_histogram as fn() -> Histogram),
            ),
            hosts_attached: add(
                all,
                "hosts_attached",
                "Hosts whose guards are attached to this arbiter",
                Gauge::default(),
            ),
            routers_watching: add(all, "routers_watching", "Open watches of the directory", Gauge::default()),
            states,
            registry,
        }
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

impl States {
    fn take(&self, views: &Views) {
        let now = (views.clock)();
        for (instance, local) in &views.locals {
            let local = local.borrow().clone();
            let labels = of_instance(instance);
            self.term.get_or_create(&labels).set(signed(local.term.0));
            self.writable.get_or_create(&labels).set(i64::from(local.is_primary(now)));
            self.engine_up.get_or_create(&labels).set(i64::from(local.health == Health::Up));
            let remaining = local.lease_remaining(now).as_duration().as_secs_f64();
            self.lease_remaining.get_or_create(&labels).set(remaining);
            match local.lag_bytes {
                Some(lag) => {
                    self.lag_bytes.get_or_create(&labels).set(signed(lag));
                }
                // An old figure would look like a small lag.
                None => {
                    self.lag_bytes.remove(&labels);
                }
            }
            for role in LocalRole::ALL {
                let labels = RoleLabels { instance: instance.to_string(), role: role.name() };
                self.role.get_or_create(&labels).set(i64::from(role == local.role));
            }
        }
        self.set_term.clear();
        let masters = views.masters.borrow().clone();
        for (set, master) in &masters.masters {
            self.set_term
                .get_or_create(&SetLabels { replicaset: set.to_string() })
                .set(signed(master.term.0));
        }
        self.epoch_generation.set(signed(masters.epoch.generation));
        self.epoch_number.set(signed(masters.epoch.number));
        let status = views.cluster.borrow().clone().status_at(Instant::now());
        self.arbiter_active.set(i64::from(status.arbiter.active_here));
        let valid = status.arbiter.lock_valid_ms.unwrap_or(0);
        self.lock_valid.set(std::time::Duration::from_millis(valid).as_secs_f64());
        let of_sets: usize = status.replicasets.iter().map(|set| set.issues.len()).sum();
        self.issues.set(signed((status.issues.len() + of_sets) as u64));
    }
}
