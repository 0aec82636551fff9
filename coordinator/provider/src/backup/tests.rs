//! A backup comes back as it was, in pieces of any size; whatever is not whole, not ours or not known is refused.

use super::*;
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, InstanceName, ReplicaSetName, TaskId, Term, Version, Zone,
};
use baton_core::position::Position;
use baton_core::record::{Member, Record, Settings};
use baton_core::task::StoredTask;
use std::sync::Arc;

fn identity(secret: u8) -> Identity {
    Identity { cluster: ClusterName::parse("orders").expect("a name"), secret_hash: [secret; 32] }
}

fn record(set: &str, term: u64) -> Record {
    let master = InstanceName::parse("a1").expect("a name");
    Record {
        replicaset: ReplicaSetName::parse(set).expect("a name"),
        term: Term(term),
        version: Version(term),
        master: Some(master.clone()),
        endpoint: None,
        incarnation: None,
        start: Position::at(term, 9),
        in_sync: [master].into(),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: None,
        pinned: None,
        forced: false,
        reason: "a test".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch: Epoch { generation: 1, number: 4 },
        term_generation: 1,
        at_unix_millis: 0,
    }
}

/// A board with something of every kind.
fn filled() -> Durable {
    let mut durable = Durable::genesis(identity(1), Settings::default());
    durable.settings.version = Version(3);
    durable.revision = Revision(77);
    durable.lock.epoch.number = 4;
    durable.lock.longest_ttl = Span::from_millis(3_750);
    for set in ["orders-1", "orders-2"] {
        let name = ReplicaSetName::parse(set).expect("a name");
        durable.records.insert(name.clone(), record(set, 12));
        let lines = (9..=12).map(|term| HistoryEntry { record: record(set, term), decision: "{}".into() });
        durable.history.insert(name.clone(), lines.collect());
        let member = Member {
            instance: InstanceName::parse("a1").expect("a name"),
            replicaset: name.clone(),
            coordinator: CoordinatorName::parse("host-a").expect("a name"),
            endpoint: Endpoint(Arc::from("10.0.0.1:6379")),
            zone: None::<Zone>,
            priority: 100,
            electable: true,
            bootstrap_members: 1,
            version: Version(1),
        };
        durable.members.insert((name, member.instance.clone()), member);
    }
    for id in [1, 7] {
        let task = StoredTask { id: TaskId(id), body: "{\"format\":9}".into(), version: Version(id) };
        durable.tasks.insert(task.id, task);
    }
    durable
}

fn read(bytes: &[u8], piece: usize) -> Result<(Header, Durable), BackupError> {
    let mut reader = Reader::new(identity(1), Limits::default());
    for bytes in bytes.chunks(piece) {
        reader.feed(bytes)?;
    }
    reader.finish()
}

#[test]
fn a_backup_comes_back_as_it_was_in_pieces_of_any_size() {
    let durable = filled();
    let bytes = encode(&durable, 5, "0.1.0");
    for piece in [1, 7, 64, bytes.len()] {
        let (header, found) = read(&bytes, piece).expect("our own");
        assert_eq!(found, durable);
        assert_eq!((header.items, header.at_unix_millis), (15, 5));
    }
}

#[test]
fn a_backup_that_is_cut_off_anywhere_is_refused() {
    let bytes = encode(&filled(), 5, "0.1.0");
    for length in 0..bytes.len() {
        let refused = read(&bytes[..length], 97).expect_err("cut off");
        assert!(matches!(refused, BackupError::Truncated { .. }), "{length}: {refused}");
    }
}

#[test]
fn a_backup_with_any_byte_changed_is_refused() {
    let bytes = encode(&filled(), 5, "0.1.0");
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x41;
        assert!(read(&damaged, 4_096).is_err(), "byte {place} of {}", bytes.len());
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(read(&longer, 4_096), Err(BackupError::Surplus));
}

#[test]
fn a_newer_a_foreign_and_no_backup_at_all_are_told_apart() {
    let mut newer = encode(&filled(), 5, "0.1.0");
    newer[11] = 2;
    assert_eq!(read(&newer, 4_096), Err(BackupError::Newer { found: 2 }));
    assert_eq!(read(b"SQLite format 3", 4_096), Err(BackupError::NoBackup));
    let foreign = Durable { identity: identity(2), ..filled() };
    assert!(matches!(read(&encode(&foreign, 5, "0.1.0"), 4_096), Err(BackupError::Foreign(_))));
}

/// What a backup would be that says what it should not, with a good checksum.
fn made_up(header: Header, items: Vec<Item>) -> Vec<u8> {
    let (mut writer, mut bytes) = Writer::begin(&header);
    for item in items {
        bytes.extend(writer.item(item));
    }
    bytes.extend(writer.finish());
    bytes
}

#[test]
fn what_no_stateboard_writes_is_refused_although_its_checksum_is_good() {
    let (header, durable) = read(&encode(&filled(), 5, "0.1.0"), 4_096).expect("our own");
    let settings = Item::Settings(wire::settings_to_wire(&durable.settings));
    let one = |items: u64| Header { items, ..header.clone() };
    let two = Item::Record(wire::record_to_wire(&record("orders-1", 1)));
    let newer = Item::Record(v1::Record { format: 9, ..wire::record_to_wire(&record("orders-1", 1)) });
    let stray = Item::History(wire::history_to_wire(&HistoryEntry {
        record: record("orders-9", 1),
        decision: "{}".into(),
    }));
    let far = Header { revision: Revision(u64::MAX), ..one(1) };
    for (what, bytes) in [
        ("twice", made_up(one(3), vec![settings.clone(), two.clone(), two])),
        ("a record of a newer format", made_up(one(2), vec![settings.clone(), newer])),
        ("history without a record", made_up(one(2), vec![settings.clone(), stray])),
        ("fewer items than announced", made_up(one(2), vec![settings.clone()])),
        ("no settings", made_up(one(0), vec![])),
        ("a number without room above", made_up(far, vec![settings])),
    ] {
        assert!(read(&bytes, 4_096).is_err(), "{what}");
    }
}

#[test]
fn more_than_the_limits_is_refused() {
    let mut reader = Reader::new(identity(1), Limits { records: 1, ..Limits::default() });
    let refused = reader.feed(&encode(&filled(), 5, "0.1.0")).expect_err("two records");
    assert_eq!(refused, BackupError::Limit { what: "records", found: 2, limit: 1 });
}

#[test]
fn a_backup_holds_no_secret_of_a_lock() {
    let mut durable = filled();
    let candidate = baton_board::Candidate {
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        address: Endpoint(Arc::from("10.0.0.1:4402")),
    };
    let secret = 0x1234_5678_9abc_def0_1122_3344_5566_7788_u128;
    durable.lock.holder = Some((candidate, baton_board::LockSecret(secret)));
    let bytes = encode(&durable, 5, "0.1.0");
    assert!(!bytes.windows(16).any(|window| window == secret.to_be_bytes()));
}
