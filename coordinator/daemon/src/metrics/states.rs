//! The states among the metrics: set from the published views at each scrape.

use super::{InstanceLabels, SetLabels, of_instance, signed};
use crate::view::{LocalRole, Views};
use baton_core::message::Health;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use tokio::time::Instant;

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    instance: String,
    role: &'static str,
}

/// What is set from the views at each scrape.
#[derive(Default)]
pub(super) struct States {
    term: Family<InstanceLabels, Gauge>,
    role: Family<RoleLabels, Gauge>,
    writable: Family<InstanceLabels, Gauge>,
    on_promises: Family<InstanceLabels, Gauge>,
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

impl States {
    pub(super) fn register(&self, all: &mut Registry) {
        all.register(
            "instance_term",
            "The term at which it leads, or the highest it has seen",
            self.term.clone(),
        );
        all.register("instance_role", "1 for the role that the instance has", self.role.clone());
        all.register("instance_writable", "1 while it may and does accept writes", self.writable.clone());
        all.register(
            "instance_on_promises",
            "1 while no arbiter extends its lease, and the promises of the other members do",
            self.on_promises.clone(),
        );
        all.register("engine_up", "1 while the engine answers", self.engine_up.clone());
        all.register("instance_lag_bytes", "Bytes behind the master, where known", self.lag_bytes.clone());
        all.register("replicaset_term", "The recorded term, as far as known here", self.set_term.clone());
        all.register("arbiter_active", "1 on the coordinator that decides", self.arbiter_active.clone());
        all.register(
            "epoch_generation",
            "Raised by each restore of the provider",
            self.epoch_generation.clone(),
        );
        all.register(
            "epoch_number",
            "Raised by each hand-over of the arbiter's lock",
            self.epoch_number.clone(),
        );
        all.register("issues", "What is wrong now, as far as known here", self.issues.clone());
        let (seconds, lease) = (Unit::Seconds, self.lease_remaining.clone());
        all.register_with_unit(
            "lease_remaining",
            "What is left of the right to accept writes",
            seconds.clone(),
            lease,
        );
        let lock = self.lock_valid.clone();
        all.register_with_unit(
            "lock_valid",
            "How long the arbiter's lock is good without a renewal",
            seconds,
            lock,
        );
    }

    /// Sets everything from what is published now.
    pub(super) fn take(&self, views: &Views) {
        let now = (views.clock)();
        for (instance, local) in &views.locals {
            let local = local.borrow().clone();
            let labels = of_instance(instance);
            self.term.get_or_create(&labels).set(signed(local.term.0));
            self.writable.get_or_create(&labels).set(i64::from(local.is_primary(now)));
            self.on_promises.get_or_create(&labels).set(i64::from(local.on_promises));
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
