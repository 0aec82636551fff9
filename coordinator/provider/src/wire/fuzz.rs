//! Random bytes, and good messages with some bytes changed, through every conversion from the wire: each gives a value or an
//! error, none panics, and a value that was understood means the same after another journey.

use super::*;
use baton_core::ids::{
    CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, TaskId, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{Change, Member, Record, Settings};
use baton_core::task::StoredTask;
use baton_proto::v1;
use prost::Message;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::Arc;

const ROUNDS: usize = 20_000;

fn record() -> Record {
    let name = |text| InstanceName::parse(text).expect("a name");
    Record {
        replicaset: ReplicaSetName::parse("orders-1").expect("a name"),
        term: Term(7),
        version: Version(19),
        master: Some(name("a1")),
        endpoint: Some(Endpoint(Arc::from("10.0.0.1:6379"))),
        incarnation: None,
        start: Position::at(6, 5_120),
        in_sync: [name("a1"), name("a2")].into(),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 1,
        data_id: None,
        pinned: None,
        forced: false,
        reason: "crashed".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch: Epoch { generation: 1, number: 12 },
        term_generation: 1,
        at_unix_millis: 1,
    }
}

fn member() -> Member {
    Member {
        instance: InstanceName::parse("a1").expect("a name"),
        replicaset: ReplicaSetName::parse("orders-1").expect("a name"),
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        endpoint: Endpoint(Arc::from("10.0.0.1:6379")),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 1,
        version: Version(3),
    }
}

fn task() -> StoredTask {
    StoredTask { id: TaskId(7), body: "{}".into(), version: Version(2) }
}

/// Good messages to begin with.
fn samples() -> Vec<Vec<u8>> {
    let change = Change { expected: Some(Version(18)), record: record(), decision: "{}".into() };
    vec![
        record_to_wire(&record()).encode_to_vec(),
        change_to_wire(&change).encode_to_vec(),
        member_to_wire(&member()).encode_to_vec(),
        settings_to_wire(&Settings::default()).encode_to_vec(),
        v1::Update {
            revision: 4,
            items: vec![v1::Item { item: Some(v1::item::Item::Record(record_to_wire(&record()))) }],
        }
        .encode_to_vec(),
        v1::Snapshot {
            revision: 4,
            lock: Some(v1::LockView {
                epoch: Some(v1::Epoch { generation: 1, number: 2 }),
                holder: None,
                bid: Some(v1::Bid {
                    by: "host-b".to_owned(),
                    address: "b:1".to_owned(),
                    hears: 3,
                    number: 2,
                }),
            }),
            records: vec![record_to_wire(&record())],
            members: vec![member_to_wire(&member())],
            settings: Some(settings_to_wire(&Settings::default())),
            tasks: vec![task_to_wire(&task())],
        }
        .encode_to_vec(),
        task_to_wire(&task()).encode_to_vec(),
        Vec::new(),
    ]
}

/// Decodes and converts; where both work, the value survives the way out and back.
fn through<W, T>(bytes: &[u8], convert: impl Fn(W) -> Result<T, Malformed>, back: impl Fn(&T) -> W) -> bool
where
    W: Message + Default,
    T: PartialEq + std::fmt::Debug,
{
    let Ok(value) = W::decode(bytes).map_err(|_| ()).and_then(|message| convert(message).map_err(|_| ()))
    else {
        return false;
    };
    assert_eq!(convert(back(&value)).as_ref(), Ok(&value));
    true
}

/// How many of the conversions understood it.
fn all(bytes: &[u8]) -> usize {
    let answers = [
        through(bytes, record_from_wire, record_to_wire),
        through(bytes, change_from_wire, change_to_wire),
        through(bytes, member_from_wire, member_to_wire),
        through(bytes, settings_from_wire, settings_to_wire),
        through(bytes, history_from_wire, history_to_wire),
        through(bytes, snapshot_from_wire, snapshot_to_wire),
        through(bytes, update_from_wire, update_to_wire),
        through(bytes, candidate_from_wire, candidate_to_wire),
        through(bytes, |lock: v1::LockView| lock_from_wire(Some(lock)), lock_to_wire),
        through(bytes, |token: v1::LockToken| token_from_wire(Some(token)), |token| token_to_wire(*token)),
        through(bytes, |identity: v1::ClusterIdentity| identity_from_wire(Some(identity)), identity_to_wire),
        through(bytes, |epoch: v1::Epoch| epoch_from_wire(Some(epoch)), |epoch| epoch_to_wire(*epoch)),
        through(bytes, appointed_from_wire, appointed_to_wire),
        through(bytes, written_from_wire, written_to_wire),
        through(bytes, settings_outcome_from_wire, settings_outcome_to_wire),
        through(bytes, task_from_wire, task_to_wire),
        through(bytes, task_outcome_from_wire, task_outcome_to_wire),
        through(
            bytes,
            |status: v1::StatusResponse| status_from_wire(status),
            |status| status_to_wire(status, ""),
        ),
    ];
    answers.into_iter().filter(|understood| *understood).count()
}

#[test]
fn nothing_that_is_received_can_panic() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(887_177);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let samples = samples();
    let mut understood = 0;
    for round in 0..ROUNDS {
        let mut bytes = match round % 3 {
            0 => (0..random.random_range(0..120)).map(|_| random.random()).collect(),
            _ => samples[random.random_range(0..samples.len())].clone(),
        };
        for _ in 0..random.random_range(0..5) {
            match random.random_range(0..3) {
                0 if !bytes.is_empty() => {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                }
                1 => bytes.truncate(random.random_range(0..=bytes.len())),
                _ => bytes.insert(random.random_range(0..=bytes.len()), random.random()),
            }
        }
        understood += all(&bytes);
    }
    assert!(
        understood > ROUNDS / 10,
        "almost nothing was understood, so almost nothing was tried: {understood}"
    );
}
