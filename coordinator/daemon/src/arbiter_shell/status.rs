//! The cluster as people see it, made from the machine at a pace that never costs it much.

use super::{Parts, issues, moving};
use crate::clock;
use crate::view::ClusterView;
use baton_client::decision::DecisionRecord;
use baton_client::status::{
    ArbiterStatus, ClusterStatus, IssueStatus, MemberStatus, RecordStatus, ReplicaSetStatus, lag_bytes,
};
use baton_core::arbiter::{Arbiter, MemberView, SetView};
use baton_core::ids::ReplicaSetName;
use baton_core::message::{Health, Stand};
use baton_core::record::Settings;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Shortest time between two views.
const PACE: Duration = Duration::from_millis(100);
/// So long after the last one, a view is made that shows nothing new but how long ago each member was heard.
const STALE: Duration = Duration::from_millis(500);
/// A view is made at most so seldom that it costs a twentieth of a core.
const SHARE: u32 = 20;

/// When the next view is made.
pub(super) struct Pace {
    touched: bool,
    aged: bool,
    next: Instant,
    began: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { touched: false, aged: false, next: Instant::now(), began: None }
    }
}

impl Pace {
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    /// Nothing has happened but that members were heard.
    pub(super) fn age(&mut self) {
        self.aged = true;
    }

    fn at(&self) -> Option<Instant> {
        match (self.touched, self.aged) {
            (true, _) => Some(self.next),
            (false, true) => Some(self.next + STALE),
            (false, false) => None,
        }
    }

    /// Waits until a view is due.
    pub(super) async fn due(&self) {
        match self.at() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn take_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.at().is_some_and(|at| now >= at);
        if due {
            self.touched = false;
            self.aged = false;
            self.began = Some(now);
        }
        due
    }

    pub(super) fn published(&mut self) {
        let took = self.began.take().map_or(Duration::ZERO, |began| began.elapsed());
        self.next = Instant::now() + PACE.max(took * SHARE);
    }
}

pub(super) fn cluster_view(
    arbiter: &Arbiter,
    parts: &Parts,
    settings: &Settings,
    decisions: &BTreeMap<ReplicaSetName, DecisionRecord>,
    told: Vec<IssueStatus>,
) -> ClusterView {
    let now = clock::now();
    let active = arbiter.is_active(now);
    let lock = parts.lock.borrow();
    let holder = lock.as_ref().and_then(|lock| lock.holder.as_ref());
    let arbiter_status = ArbiterStatus {
        active_here: active,
        coordinator: if active {
            Some(parts.config.name.to_string())
        } else {
            holder.map(|holder| holder.coordinator.to_string())
        },
        address: if active {
            Some(parts.address.clone())
        } else {
            holder.map(|holder| holder.address.to_string())
        },
        epoch: arbiter.epoch().or(lock.as_ref().map(|lock| lock.epoch)).map(|epoch| epoch.to_string()),
        lock_valid_ms: active.then(|| arbiter.lock_left(now).as_millis()),
    };
    let mut issues: Vec<_> = parts.config.issues.iter().map(|text| issues::of_configuration(text)).collect();
    if arbiter.epoch().is_some() && !active {
        issues.push(issues::store_blind());
    }
    let (heard, listed) = arbiter.hears(now);
    if active && u64::from(heard) * 2 < u64::from(listed) {
        issues.push(issues::hears_too_few(heard, listed));
    }
    issues.extend(moving::issues(&parts.moving.borrow()));
    // What this very host has to say of its configuration comes over its own link too.
    let own = |issue: &IssueStatus| {
        let text =
            issue.text.strip_prefix(parts.config.name.as_str()).and_then(|text| text.strip_prefix(": "));
        text.is_some_and(|text| parts.config.issues.iter().any(|own| own == text))
    };
    let (of_sets, told): (Vec<_>, Vec<_>) =
        told.into_iter().filter(|issue| !own(issue)).partition(|issue| issue.replicaset.is_some());
    issues.extend(told);
    let of_cluster = issues.iter().map(|issue| issue.text.clone()).collect();
    let mut replicasets = Vec::new();
    // One whose lock could not be renewed decides nothing, and still knows best.
    let known = arbiter.set_names().filter(|_| arbiter.epoch().is_some());
    for view in known.filter_map(|name| arbiter.set_view(now, name)) {
        let mut found = issues::of_set(&view, arbiter.timing(), settings);
        let own = of_sets.iter().filter(|issue| issue.replicaset.as_deref() == Some(view.name.as_str()));
        found.extend(own.cloned());
        found.sort_by_key(|issue| issues::urgency(&issue.severity));
        replicasets.push(set_status(&view, decisions.get(&view.name), &found));
        issues.extend(found);
    }
    let status = ClusterStatus {
        cluster: parts.config.identity.cluster.to_string(),
        answered_by: parts.config.name.to_string(),
        arbiter: arbiter_status,
        replicasets,
        issues: of_cluster,
        moving: None,
    };
    ClusterView::new(status, settings.clone()).with_issues(issues)
}

fn set_status(view: &SetView, decision: Option<&DecisionRecord>, issues: &[IssueStatus]) -> ReplicaSetStatus {
    let record = view.record.as_ref();
    let master = record.and_then(|record| record.master.as_ref());
    let position = view
        .members
        .iter()
        .find(|member| Some(&member.listed.instance) == master)
        .and_then(|member| member.beat.as_ref())
        .map(|beat| beat.engine.position)
        .unwrap_or_default();
    ReplicaSetStatus {
        replicaset: view.name.to_string(),
        term: record.map_or(0, |record| record.term.0),
        master: master.map(ToString::to_string),
        endpoint: record.and_then(|record| record.endpoint.as_ref()).map(ToString::to_string),
        state: view.state.name().to_owned(),
        record: record.map(RecordStatus::from),
        members: view
            .members
            .iter()
            .map(|member| {
                let is_master = Some(&member.listed.instance) == master;
                member_status(member, is_master, position)
            })
            .collect(),
        phase: view.phase.clone(),
        hold: view.hold.map(|hold| hold.name().to_owned()),
        issues: issues.iter().map(|issue| issue.text.clone()).collect(),
        last_decision: decision.cloned(),
        last_drill: None,
    }
}

fn member_status(
    member: &MemberView,
    is_master: bool,
    master: baton_core::position::Position,
) -> MemberStatus {
    let beat = member.beat.as_ref();
    let position = beat.map(|beat| beat.engine.position).unwrap_or_default();
    let role = match beat.map(|beat| (beat.stand, beat.engine.follows.is_some())) {
        None => "unknown",
        Some((Stand::Starting, _)) => "starting",
        Some((Stand::Candidate(_), _)) => "candidate",
        Some((Stand::Leading { writable: false, .. }, _)) => "candidate",
        Some((Stand::Leading { writable: true, .. }, _)) => "master",
        Some((Stand::Standby, true)) => "replica",
        Some((Stand::Standby, false)) => "fenced",
    };
    let health = match beat.map(|beat| beat.engine.health) {
        None => "unknown",
        Some(Health::Up) => "up",
        Some(Health::Down) => "down",
        Some(Health::Stalled) => "stalled",
    };
    MemberStatus {
        instance: member.listed.instance.to_string(),
        role: role.to_owned(),
        health: health.to_owned(),
        position: position.to_string(),
        lag_bytes: if is_master { None } else { lag_bytes(&master, &position) },
        in_sync: member.in_sync,
        incarnation: beat.map(|beat| beat.incarnation.to_string()),
        beat_age_ms: member.beat_age.map(baton_core::time::Span::as_millis),
        coordinator: member.attached_by.as_ref().map(ToString::to_string),
        endpoint: member.listed.endpoint.to_string(),
        zone: member.listed.zone.as_ref().map(ToString::to_string),
        priority: member.priority,
        electable: member.electable,
    }
}
