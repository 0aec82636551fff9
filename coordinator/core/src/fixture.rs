//! What the tests of both machines start from: a record and a beat of a set `r` whose master is `a1`, in which nothing happens.
//! A test sets what it is about.

use crate::engine::DataState;
use crate::ids::{
    CoordinatorName, DataId, Endpoint, EngineRun, Epoch, Incarnation, InstanceName, ReplicaSetName, Term,
    Version,
};
use crate::message::{Beat, EngineView, Health, Stand};
use crate::position::Position;
use crate::record::Record;
use crate::time::{Span, Time};
use std::collections::BTreeSet;

pub(crate) fn name(text: &str) -> InstanceName {
    InstanceName::parse(text).expect("a good name")
}

pub(crate) fn replicaset() -> ReplicaSetName {
    ReplicaSetName::parse("r").expect("a good name")
}

pub(crate) fn coordinator() -> CoordinatorName {
    CoordinatorName::parse("host-a").expect("a good name")
}

pub(crate) fn data() -> DataId {
    DataId("d".into())
}

/// Of its master alone.
pub(crate) fn record(master: &str, term: Term) -> Record {
    Record {
        replicaset: replicaset(),
        term,
        version: Version(4),
        master: Some(name(master)),
        endpoint: Some(Endpoint(format!("{master}:1").into())),
        incarnation: None,
        start: Position::at(0, 0),
        in_sync: BTreeSet::from([name(master)]),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: Some(data()),
        pinned: None,
        forced: false,
        reason: "crashed".to_owned(),
        decided_by: coordinator(),
        epoch: Epoch { generation: 1, number: 1 },
        term_generation: 1,
        at_unix_millis: 0,
    }
}

/// Of a sound member that leads nothing and follows nobody.
pub(crate) fn beat(instance: &str, incarnation: Incarnation, highest_term: Term) -> Beat {
    Beat {
        instance: name(instance),
        incarnation,
        sent_at: Time(5),
        highest_term,
        known_master: None,
        needs: BTreeSet::new(),
        stand: Stand::Standby,
        relinquished: None,
        severed: None,
        honoured: None,
        unpinned: None,
        pinned: Span::ZERO,
        ack_quorum: None,
        greeted: None,
        hold: Span::ZERO,
        engine: EngineView {
            health: Health::Up,
            run: Some(EngineRun("run".into())),
            position: Position::at(1, 9),
            data: DataState::Marked { id: data(), term: Term(1) },
            follows: None,
            found_writable: false,
            may_write: false,
            replicas_caught_up: 0,
            whole: true,
        },
    }
}
