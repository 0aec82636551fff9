//! Records, members and history on the wire and in storage.

use super::{Malformed, RECORD_FORMAT, required};
use baton_core::ids::{
    CoordinatorName, DataId, Endpoint, Epoch, Incarnation, InstanceName, ReplicaSetName, Term, Version, Zone,
};
use baton_core::position::Position;
use baton_core::record::{Change, FAILOVERS_KEPT, HistoryEntry, Member, Pin, Record};
use baton_core::stragglers::StragglerTexts;
use baton_core::time::Span;
use baton_proto::v1;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Out.
#[must_use]
pub fn epoch_to_wire(epoch: Epoch) -> v1::Epoch {
    v1::Epoch { generation: epoch.generation, number: epoch.number }
}

/// In.
///
/// # Errors
/// [`Malformed`] where it is missing.
pub fn epoch_from_wire(epoch: Option<v1::Epoch>) -> Result<Epoch, Malformed> {
    let epoch = required(epoch, "epoch")?;
    Ok(Epoch { generation: epoch.generation, number: epoch.number })
}

/// Out.
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
        start: match record.start {
            Position::Unknown => None,
            Position::At { term, offset } => Some(v1::Position { term: term.0, offset }),
        },
        in_sync: record.in_sync.iter().map(ToString::to_string).collect(),
        stragglers: stragglers.first.into_iter().collect(),
        also: stragglers
            .also
            .into_iter()
            .map(|(member, masters)| v1::Straggler { member, masters })
            .collect(),
        failovers: record.failovers.clone(),
        over_budget: record.over_budget,
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
    }
}

/// No more than a record ever tells of.
pub(crate) fn newest(mut failovers: Vec<u64>) -> Vec<u64> {
    let surplus = failovers.len().saturating_sub(FAILOVERS_KEPT);
    failovers.drain(..surplus);
    failovers
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn record_from_wire(record: v1::Record) -> Result<Record, Malformed> {
    if record.format == 0 || record.format > RECORD_FORMAT {
        return Err(Malformed::Format { what: "record", found: record.format, highest: RECORD_FORMAT });
    }
    let epoch = epoch_from_wire(record.epoch)?;
    let mut in_sync = BTreeSet::new();
    for name in &record.in_sync {
        if !in_sync.insert(InstanceName::parse(name)?) {
            return Err(Malformed::Twice(format!("in-sync member {name}")));
        }
    }
    let also = record.also.into_iter().map(|it| (it.member, it.masters));
    let stragglers =
        StragglerTexts { first: record.stragglers.into_iter().collect(), also: also.collect() }.try_into()?;
    Ok(Record {
        replicaset: ReplicaSetName::parse(&record.replicaset)?,
        term: Term(record.term),
        version: Version(record.version),
        master: non_empty(record.master).map(|name| InstanceName::parse(&name)).transpose()?,
        endpoint: non_empty(record.endpoint).map(endpoint),
        incarnation: record.incarnation.map(|run| Incarnation {
            home: run.home,
            boot: run.boot,
            run: run.run,
        }),
        start: record.start.map_or(Position::Unknown, |it| Position::at(it.term, it.offset)),
        in_sync,
        stragglers,
        failovers: newest(record.failovers),
        over_budget: record.over_budget,
        ack_quorum: record.ack_quorum,
        data_id: non_empty(record.data_id).map(|id| DataId(Arc::from(id))),
        pinned: record.pinned.then(|| pin_from_wire(record.pinned_us, record.pinned_until)),
        forced: record.forced,
        reason: record.reason,
        decided_by: CoordinatorName::parse(&record.decided_by)?,
        epoch,
        term_generation: if record.term_generation == 0 { epoch.generation } else { record.term_generation },
        at_unix_millis: record.at_unix_millis,
    })
}

/// Out.
#[must_use]
pub fn change_to_wire(change: &Change) -> v1::Change {
    v1::Change {
        expected_version: change.expected.map(|version| version.0),
        record: Some(record_to_wire(&change.record)),
        decision: change.decision.clone(),
    }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn change_from_wire(change: v1::Change) -> Result<Change, Malformed> {
    Ok(Change {
        expected: change.expected_version.map(Version),
        record: record_from_wire(required(change.record, "record")?)?,
        decision: change.decision,
    })
}

/// Out.
#[must_use]
pub fn member_to_wire(member: &Member) -> v1::Member {
    v1::Member {
        instance: member.instance.to_string(),
        replicaset: member.replicaset.to_string(),
        coordinator: member.coordinator.to_string(),
        endpoint: member.endpoint.to_string(),
        zone: member.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        priority: member.priority,
        electable: member.electable,
        bootstrap_members: member.bootstrap_members,
        version: member.version.0,
    }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn member_from_wire(member: v1::Member) -> Result<Member, Malformed> {
    Ok(Member {
        instance: InstanceName::parse(&member.instance)?,
        replicaset: ReplicaSetName::parse(&member.replicaset)?,
        coordinator: CoordinatorName::parse(&member.coordinator)?,
        endpoint: endpoint(member.endpoint),
        zone: non_empty(member.zone).map(|zone| Zone::parse(&zone)).transpose()?,
        priority: member.priority,
        electable: member.electable,
        bootstrap_members: member.bootstrap_members,
        version: Version(member.version),
    })
}

/// Out.
#[must_use]
pub fn history_to_wire(entry: &HistoryEntry) -> v1::HistoryEntry {
    v1::HistoryEntry { record: Some(record_to_wire(&entry.record)), decision: entry.decision.clone() }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn history_from_wire(entry: v1::HistoryEntry) -> Result<HistoryEntry, Malformed> {
    Ok(HistoryEntry {
        record: record_from_wire(required(entry.record, "record")?)?,
        decision: entry.decision,
    })
}

/// One that an older build wrote down without a length has no end.
fn pin_from_wire(span_us: u64, until_unix_millis: u64) -> Pin {
    let span = if span_us == 0 { Pin::FOR_GOOD } else { Span(span_us) };
    Pin { span, until_unix_millis }
}

fn endpoint(text: String) -> Endpoint {
    Endpoint(Arc::from(text))
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let name = |text| InstanceName::parse(text).expect("a name");
        Record {
            replicaset: ReplicaSetName::parse("orders-1").expect("a name"),
            term: Term(7),
            version: Version(19),
            master: Some(name("a2")),
            endpoint: Some(Endpoint(Arc::from("10.0.0.2:6379"))),
            incarnation: Some(Incarnation { home: 1, boot: 2, run: 3 }),
            start: Position::at(7, 5_120),
            in_sync: [name("a1"), name("a2")].into(),
            stragglers: [("a4", "a1"), ("a4", "a2"), ("a5", "a2")]
                .map(|(member, master)| (name(member), name(master)))
                .into_iter()
                .collect(),
            failovers: vec![1_764_000_000_000, 1_764_000_001_000],
            over_budget: true,
            ack_quorum: 1,
            data_id: Some(DataId(Arc::from("d-1"))),
            pinned: Some(Pin { span: Span::from_secs(3_600), until_unix_millis: 1_795_287_791_124 }),
            forced: true,
            reason: "crashed".into(),
            decided_by: CoordinatorName::parse("host-b").expect("a name"),
            epoch: Epoch { generation: 1, number: 12 },
            term_generation: 1,
            at_unix_millis: 1_795_287_791_123,
        }
    }

    #[test]
    fn a_record_goes_both_ways() {
        let full = record();
        assert_eq!(record_from_wire(record_to_wire(&full)), Ok(full.clone()));
        let tombstone = Record {
            master: None,
            endpoint: None,
            incarnation: None,
            start: Position::Unknown,
            in_sync: BTreeSet::new(),
            data_id: None,
            ..full
        };
        assert_eq!(record_from_wire(record_to_wire(&tombstone)), Ok(tombstone.clone()));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let good = record_to_wire(&record());
        let newer = v1::Record { format: 2, ..good.clone() };
        assert!(matches!(record_from_wire(newer), Err(Malformed::Format { found: 2, .. })));
        let nameless = v1::Record { replicaset: String::new(), ..good.clone() };
        assert!(matches!(record_from_wire(nameless), Err(Malformed::Name(_))));
        let twice = v1::Record { in_sync: vec!["a2".into(), "a2".into()], ..good.clone() };
        assert!(matches!(record_from_wire(twice), Err(Malformed::Twice(_))));
        let epochless = v1::Record { epoch: None, ..good };
        assert_eq!(record_from_wire(epochless), Err(Malformed::Missing("epoch")));
    }
}
