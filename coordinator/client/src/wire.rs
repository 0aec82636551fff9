//! The status to its protobuf and back: total on the way out, checked on the way in.

use crate::decision::{BadDecision, DecisionRecord};
use crate::drill::LastDrill;
use crate::status::{
    ArbiterStatus, ClusterStatus, IssueStatus, MemberStatus, MovingHost, MovingStatus, RECORD_FORMAT,
    RecordStatus, ReplicaSetStatus, rfc3339,
};
use baton_core::ids::{BadName, Epoch, Incarnation};
use baton_core::position::{BadPosition, Position};
use baton_core::record::Record;
use baton_core::stragglers::StragglerTexts;
use baton_core::timing::{FailureClass, Timing};
use baton_proto::v1;

/// What cannot be put on the wire or taken from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStatus {
    /// An epoch.
    #[error(transparent)]
    Epoch(#[from] BadName),
    /// A position.
    #[error(transparent)]
    Position(#[from] BadPosition),
    /// A decision record.
    #[error(transparent)]
    Decision(#[from] BadDecision),
    /// A part that must be there.
    #[error("the {0} is missing")]
    Missing(&'static str),
}

fn empty_if_none(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn none_if_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A core epoch on the wire.
#[must_use]
pub fn epoch_to_wire(epoch: Epoch) -> v1::Epoch {
    v1::Epoch { generation: epoch.generation, number: epoch.number }
}

/// An epoch from the wire; absent is the lowest.
#[must_use]
pub fn epoch_from_wire(epoch: Option<v1::Epoch>) -> Epoch {
    epoch.map_or(Epoch::default(), |epoch| Epoch { generation: epoch.generation, number: epoch.number })
}

fn position_to_wire(position: Position) -> Option<v1::Position> {
    match position {
        Position::Unknown => None,
        Position::At { term, offset } => Some(v1::Position { term: term.0, offset }),
    }
}

fn position_from_wire(position: Option<v1::Position>) -> String {
    position.map_or(Position::Unknown, |at| Position::at(at.term, at.offset)).to_string()
}

/// A record of the core on the wire.
#[must_use]
pub fn record_to_wire(record: &Record) -> v1::Record {
    let stragglers = StragglerTexts::from(&record.stragglers);
    v1::Record {
        format: RECORD_FORMAT,
        replicaset: record.replicaset.to_string(),
        term: record.term.0,
        version: record.version.0,
        master: record.master.as_ref().map(ToString::to_string).unwrap_or_default(),
        endpoint: record.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        incarnation: record.incarnation.map(|run| v1::Incarnation {
            home: run.home,
            boot: run.boot,
            run: run.run,
        }),
        start: position_to_wire(record.start),
        in_sync: record.in_sync.iter().map(ToString::to_string).collect(),
        ack_quorum: record.ack_quorum,
        data_id: record.data_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        pinned: record.pinned.is_some(),
        pinned_us: record.pinned.map_or(0, |pin| pin.span.0),
        pinned_until: record.pinned.map_or(0, |pin| pin.until_unix_millis),
        forced: record.forced,
        reason: record.reason.clone(),
        decided_by: record.decided_by.to_string(),
        epoch: Some(epoch_to_wire(record.epoch)),
        at_unix_millis: record.at_unix_millis,
        term_generation: record.term_generation,
        stragglers: stragglers.first.into_iter().collect(),
        also: stragglers
            .also
            .into_iter()
            .map(|(member, masters)| v1::Straggler { member, masters })
            .collect(),
        failovers: record.failovers.clone(),
        over_budget: record.over_budget,
    }
}

/// A record from the wire, for people: nothing in it is checked, since nothing is decided from it.
#[must_use]
pub fn record_from_wire(record: &v1::Record) -> RecordStatus {
    RecordStatus {
        format: record.format,
        replicaset: record.replicaset.clone(),
        term: record.term,
        version: record.version,
        master: none_if_empty(&record.master),
        endpoint: none_if_empty(&record.endpoint),
        start: position_from_wire(record.start),
        in_sync: record.in_sync.clone(),
        ack_quorum: record.ack_quorum,
        data_id: none_if_empty(&record.data_id),
        pinned: record.pinned,
        pinned_until: Some(record.pinned_until).filter(|until| *until > 0).map(rfc3339),
        forced: record.forced,
        reason: record.reason.clone(),
        decided_by: record.decided_by.clone(),
        epoch: epoch_from_wire(record.epoch).to_string(),
        at: rfc3339(record.at_unix_millis),
    }
}

/// An issue for the wire.
#[must_use]
pub fn issue_to_wire(issue: &IssueStatus) -> v1::IssueItem {
    v1::IssueItem {
        replicaset: issue.replicaset.clone().unwrap_or_default(),
        text: issue.text.clone(),
        code: issue.code.clone(),
        severity: issue.severity.clone(),
        instance: issue.instance.clone().unwrap_or_default(),
        suggestion: issue.suggestion.clone(),
        command: issue.command.clone(),
    }
}

/// An issue from the wire, for people.
#[must_use]
pub fn issue_from_wire(issue: v1::IssueItem) -> IssueStatus {
    IssueStatus {
        replicaset: none_if_empty(&issue.replicaset),
        instance: none_if_empty(&issue.instance),
        text: issue.text,
        code: issue.code,
        severity: issue.severity,
        suggestion: issue.suggestion,
        command: issue.command,
    }
}

fn shown_record_to_wire(record: &RecordStatus) -> Result<v1::Record, BadStatus> {
    let millis = |text: &str| {
        let at = humantime::parse_rfc3339(text).ok();
        let since = at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        since.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
    };
    Ok(v1::Record {
        format: record.format,
        replicaset: record.replicaset.clone(),
        term: record.term,
        version: record.version,
        master: empty_if_none(record.master.as_ref()),
        endpoint: empty_if_none(record.endpoint.as_ref()),
        incarnation: None,
        start: position_to_wire(record.start.parse()?),
        in_sync: record.in_sync.clone(),
        ack_quorum: record.ack_quorum,
        data_id: empty_if_none(record.data_id.as_ref()),
        pinned: record.pinned,
        pinned_us: 0,
        pinned_until: record.pinned_until.as_deref().map_or(0, millis),
        forced: record.forced,
        reason: record.reason.clone(),
        decided_by: record.decided_by.clone(),
        epoch: Some(epoch_to_wire(record.epoch.parse()?)),
        at_unix_millis: millis(&record.at),
        term_generation: 0,
        failovers: Vec::new(),
        over_budget: false,
        stragglers: Default::default(),
        also: Vec::new(),
    })
}

/// A status on the wire.
///
/// # Errors
/// [`BadStatus`] if a text in it is not what its field is documented to be.
pub fn status_to_wire(status: &ClusterStatus) -> Result<v1::ClusterStatus, BadStatus> {
    let arbiter = &status.arbiter;
    let epoch = arbiter.epoch.as_deref().map(str::parse::<Epoch>).transpose()?;
    Ok(v1::ClusterStatus {
        cluster: status.cluster.clone(),
        answered_by: status.answered_by.clone(),
        arbiter: Some(v1::ArbiterStatus {
            active_here: arbiter.active_here,
            coordinator: empty_if_none(arbiter.coordinator.as_ref()),
            address: empty_if_none(arbiter.address.as_ref()),
            epoch: epoch.map(epoch_to_wire),
            lock_valid_us: arbiter.lock_valid_ms.map(|millis| millis.saturating_mul(1_000)),
        }),
        replicasets: status.replicasets.iter().map(set_to_wire).collect::<Result<_, _>>()?,
        issues: status.issues.clone(),
        moving: status.moving.as_ref().map(moving_to_wire),
    })
}

fn moving_to_wire(moving: &MovingStatus) -> v1::MovingStatus {
    let host = |host: &MovingHost| v1::MovingHost {
        coordinator: host.coordinator.clone(),
        problem: empty_if_none(host.problem.as_ref()),
    };
    v1::MovingStatus {
        id: moving.id.clone(),
        phase: moving.phase.clone(),
        to: moving.to.clone(),
        hosts: moving.hosts.iter().map(host).collect(),
    }
}

fn moving_from_wire(moving: &v1::MovingStatus) -> MovingStatus {
    let host = |host: &v1::MovingHost| MovingHost {
        coordinator: host.coordinator.clone(),
        problem: none_if_empty(&host.problem),
    };
    MovingStatus {
        id: moving.id.clone(),
        phase: moving.phase.clone(),
        to: moving.to.clone(),
        hosts: moving.hosts.iter().map(host).collect(),
    }
}

fn set_to_wire(set: &ReplicaSetStatus) -> Result<v1::ReplicaSetStatus, BadStatus> {
    Ok(v1::ReplicaSetStatus {
        replicaset: set.replicaset.clone(),
        state: set.state.clone(),
        record: set.record.as_ref().map(shown_record_to_wire).transpose()?,
        members: set.members.iter().map(member_to_wire).collect::<Result<_, _>>()?,
        phase: set.phase.clone(),
        hold: set.hold.clone().unwrap_or_default(),
        issues: set.issues.clone(),
        last_decision: set.last_decision.as_ref().map(DecisionRecord::to_json).unwrap_or_default(),
        last_drill: set.last_drill.as_ref().map(LastDrill::to_wire),
    })
}

fn member_to_wire(member: &MemberStatus) -> Result<v1::MemberStatus, BadStatus> {
    Ok(v1::MemberStatus {
        instance: member.instance.clone(),
        role: member.role.clone(),
        health: member.health.clone(),
        position: position_to_wire(member.position.parse()?),
        lag_bytes: member.lag_bytes,
        in_sync: member.in_sync,
        incarnation: member.incarnation.as_deref().and_then(incarnation_to_wire),
        beat_age_us: member.beat_age_ms.map(|millis| millis.saturating_mul(1_000)),
        coordinator: empty_if_none(member.coordinator.as_ref()),
        endpoint: member.endpoint.clone(),
        zone: empty_if_none(member.zone.as_ref()),
        priority: member.priority,
        electable: member.electable,
    })
}

/// The text of [`Incarnation`]'s display.
fn incarnation_to_wire(text: &str) -> Option<v1::Incarnation> {
    let mut parts = text.split('-');
    let home = u64::from_str_radix(parts.next()?, 16).ok()?;
    let boot = u64::from_str_radix(parts.next()?, 16).ok()?;
    let run = parts.next()?.parse().ok()?;
    Some(v1::Incarnation { home, boot, run })
}

/// A status from the wire.
///
/// # Errors
/// [`BadStatus::Missing`] where a part is absent that every version sends, [`BadStatus::Decision`] for a damaged one.
pub fn status_from_wire(status: &v1::ClusterStatus) -> Result<ClusterStatus, BadStatus> {
    let arbiter = status.arbiter.as_ref().ok_or(BadStatus::Missing("arbiter"))?;
    Ok(ClusterStatus {
        cluster: status.cluster.clone(),
        answered_by: status.answered_by.clone(),
        arbiter: ArbiterStatus {
            active_here: arbiter.active_here,
            coordinator: none_if_empty(&arbiter.coordinator),
            address: none_if_empty(&arbiter.address),
            epoch: arbiter.epoch.map(|epoch| epoch_from_wire(Some(epoch)).to_string()),
            lock_valid_ms: arbiter.lock_valid_us.map(|micros| micros / 1_000),
        },
        replicasets: status.replicasets.iter().map(set_from_wire).collect::<Result<_, _>>()?,
        issues: status.issues.clone(),
        moving: status.moving.as_ref().map(moving_from_wire),
    })
}

fn set_from_wire(set: &v1::ReplicaSetStatus) -> Result<ReplicaSetStatus, BadStatus> {
    let last_decision = match set.last_decision.as_str() {
        "" => None,
        text => Some(DecisionRecord::from_json(text)?),
    };
    let record = set.record.as_ref().map(record_from_wire);
    Ok(ReplicaSetStatus {
        replicaset: set.replicaset.clone(),
        term: record.as_ref().map_or(0, |record| record.term),
        master: record.as_ref().and_then(|record| record.master.clone()),
        endpoint: record.as_ref().and_then(|record| record.endpoint.clone()),
        state: set.state.clone(),
        record,
        members: set.members.iter().map(member_from_wire).collect(),
        phase: set.phase.clone(),
        hold: none_if_empty(&set.hold),
        issues: set.issues.clone(),
        last_decision,
        last_drill: set.last_drill.as_ref().map(LastDrill::from_wire),
    })
}

fn member_from_wire(member: &v1::MemberStatus) -> MemberStatus {
    MemberStatus {
        instance: member.instance.clone(),
        role: member.role.clone(),
        health: member.health.clone(),
        position: position_from_wire(member.position),
        lag_bytes: member.lag_bytes,
        in_sync: member.in_sync,
        incarnation: member
            .incarnation
            .map(|run| Incarnation { home: run.home, boot: run.boot, run: run.run }.to_string()),
        beat_age_ms: member.beat_age_us.map(|micros| micros / 1_000),
        coordinator: none_if_empty(&member.coordinator),
        endpoint: member.endpoint.clone(),
        zone: none_if_empty(&member.zone),
        priority: member.priority,
        electable: member.electable,
    }
}

/// Every failure class with its parts.
#[must_use]
pub fn timing_to_wire(timing: &Timing, clock_drift_ppm: u32) -> v1::TimingResponse {
    let class = |class: FailureClass| v1::ClassTiming {
        class: class.name().to_owned(),
        parts: timing
            .worst_case(class)
            .into_iter()
            .map(|part| v1::TimingPart { what: part.what.to_owned(), span_us: part.span.0 })
            .collect(),
        worst_us: timing.worst_outage(class).0,
    };
    v1::TimingResponse {
        lease_ttl_us: timing.lease_ttl.0,
        stall_timeout_us: timing.stall_timeout.0,
        clock_drift_ppm,
        classes: FailureClass::ALL.into_iter().map(class).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::DrillOutage;

    fn moving() -> MovingStatus {
        let host = |name: &str, problem: Option<&str>| MovingHost {
            coordinator: name.into(),
            problem: problem.map(str::to_owned),
        };
        MovingStatus {
            id: "00000000000000a7".into(),
            phase: "announced".into(),
            to: "etcd http://10.0.0.7:2379".into(),
            hosts: vec![host("host-a", None), host("host-b", Some("it is away"))],
        }
    }

    fn drill() -> LastDrill {
        LastDrill {
            task: 7,
            fault: "kill_engine".into(),
            state: "failed".into(),
            at: "2026-11-21T19:03:11.123Z".into(),
            outage: Some(DrillOutage { term: 7, took_us: 5, budget_us: 6 }),
            why: "a1 is away".into(),
        }
    }

    fn full() -> ClusterStatus {
        let record = RecordStatus {
            format: 1,
            replicaset: "orders-1".into(),
            term: 7,
            version: 19,
            master: Some("a2".into()),
            endpoint: Some("10.0.0.2:6379".into()),
            start: "6:5120".into(),
            in_sync: vec!["a1".into(), "a2".into()],
            ack_quorum: 1,
            data_id: Some("d1".into()),
            pinned: true,
            pinned_until: Some("2026-11-21T20:03:11.123Z".into()),
            forced: true,
            reason: "crashed".into(),
            decided_by: "host-b".into(),
            epoch: "1.12".into(),
            at: "2026-11-21T19:03:11.123Z".into(),
        };
        let member = MemberStatus {
            instance: "a2".into(),
            role: "master".into(),
            health: "up".into(),
            position: "7:5200".into(),
            lag_bytes: Some(0),
            in_sync: true,
            incarnation: Some("1f-a0-3".into()),
            beat_age_ms: Some(120),
            coordinator: Some("host-b".into()),
            endpoint: "10.0.0.2:6379".into(),
            zone: Some("dc1".into()),
            priority: 100,
            electable: true,
        };
        let unheard =
            MemberStatus { instance: "a1".into(), position: "unknown".into(), ..MemberStatus::default() };
        ClusterStatus {
            moving: Some(moving()),
            cluster: "orders".into(),
            answered_by: "host-b".into(),
            arbiter: ArbiterStatus {
                active_here: true,
                coordinator: Some("host-b".into()),
                address: Some("10.0.0.2:4402".into()),
                epoch: Some("1.12".into()),
                lock_valid_ms: Some(3_000),
            },
            replicasets: vec![ReplicaSetStatus {
                replicaset: "orders-1".into(),
                term: 7,
                master: record.master.clone(),
                endpoint: record.endpoint.clone(),
                state: "active".into(),
                record: Some(record),
                members: vec![unheard, member],
                phase: "steady".into(),
                hold: Some("paused".into()),
                issues: vec!["a1 was never heard".into()],
                last_decision: Some(DecisionRecord { rule: "the engine ended".into(), ..Default::default() }),
                last_drill: Some(drill()),
            }],
            issues: vec!["one".into()],
        }
    }

    #[test]
    fn a_status_comes_back_as_it_went() {
        let status = full();
        let wire = status_to_wire(&status).expect("every text is what it should be");
        assert_eq!(status_from_wire(&wire), Ok(status));
    }

    #[test]
    fn what_is_not_as_documented_is_named() {
        let mut status = full();
        status.replicasets[0].members[1].position = "far".into();
        let error = status_to_wire(&status).expect_err("far is no position");
        assert_eq!(error.to_string(), "\"far\" is no position: it is written TERM:OFFSET, or \"unknown\"");
        assert_eq!(status_from_wire(&v1::ClusterStatus::default()), Err(BadStatus::Missing("arbiter")));
    }
}
