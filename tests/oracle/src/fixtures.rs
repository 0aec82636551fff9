//! Hand-made observations for the properties' own tests.

use crate::event::{Event, Moment, Seen, WriteId};
use baton_core::engine::DataState;
use baton_core::ids::{
    CoordinatorName, DataId, Epoch, Incarnation, InstanceName, ReplicaSetName, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::Record;
use std::collections::BTreeSet;

pub(crate) fn set() -> ReplicaSetName {
    ReplicaSetName::parse("r").expect("a name")
}

pub(crate) fn instance(name: &str) -> InstanceName {
    InstanceName::parse(name).expect("a name")
}

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch { generation: 1, number }
}

pub(crate) fn run(run: u64) -> Incarnation {
    Incarnation { home: 1, boot: 1, run }
}

pub(crate) fn record(term: u64, master: &str, number: u64) -> Record {
    Record {
        replicaset: set(),
        term: Term(term),
        version: Version(term),
        master: Some(instance(master)),
        endpoint: None,
        incarnation: Some(run(term)),
        start: Position::at(0, 0),
        in_sync: BTreeSet::from([instance(master)]),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: Some(DataId("d".into())),
        pinned: None,
        forced: false,
        reason: "test".to_owned(),
        decided_by: CoordinatorName::parse("c").expect("a name"),
        epoch: epoch(number),
        term_generation: 1,
        at_unix_millis: 0,
    }
}

pub(crate) fn recorded(at: u64, term: u64, master: &str, number: u64) -> Event {
    let record = Box::new(record(term, master, number));
    Event { at: Moment(at), seen: Seen::Recorded { record, current: epoch(number) } }
}

pub(crate) fn writable(at: u64, name: &str, term: u64, holds: &[u64]) -> Event {
    let found = DataState::Marked { id: DataId("d".into()), term: Term(term.saturating_sub(1)) };
    let holds = holds.iter().copied().map(WriteId).collect();
    let seen = Seen::Writable { replicaset: set(), instance: instance(name), term: Term(term), found, holds };
    Event { at: Moment(at), seen }
}

pub(crate) fn not_writable(at: u64, name: &str) -> Event {
    Event { at: Moment(at), seen: Seen::NotWritable { replicaset: set(), instance: instance(name) } }
}

pub(crate) fn acknowledged(at: u64, write: u64, by: &str) -> Event {
    acknowledged_at(at, write, by, Position::Unknown)
}

pub(crate) fn acknowledged_at(moment: u64, write: u64, by: &str, at: Position) -> Event {
    let seen = Seen::Acknowledged { replicaset: set(), write: WriteId(write), by: instance(by), at };
    Event { at: Moment(moment), seen }
}
