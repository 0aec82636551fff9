//! The storage on real files: what it keeps over a restart, and what it refuses without changing anything.

use super::*;
use baton_board::{DurableLock, LockSecret, Write};
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Revision, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{HistoryEntry, Record};
use baton_core::time::Span;
use std::sync::Arc;

fn identity(secret: u8) -> Identity {
    Identity { cluster: ClusterName::parse("orders").expect("a name"), secret_hash: [secret; 32] }
}

fn record(term: u64) -> Record {
    let master = InstanceName::parse("a1").expect("a name");
    Record {
        replicaset: ReplicaSetName::parse("orders-1").expect("a name"),
        term: Term(term),
        version: Version(term),
        master: Some(master.clone()),
        endpoint: Some(Endpoint(Arc::from("10.0.0.1:6379"))),
        incarnation: None,
        start: Position::at(term, 9),
        in_sync: [master].into(),
        ack_quorum: 0,
        data_id: None,
        pinned: false,
        reason: "first".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch: Epoch { generation: 1, number: 1 },
        at_unix_millis: 0,
    }
}

fn persist(revision: u64, writes: Vec<Write>) -> Persist {
    Persist { op: baton_core::ids::OpId(0), revision: Revision(revision), writes }
}

fn filled(directory: &Path) -> Durable {
    let (storage, mut durable) =
        Storage::open(directory, &identity(1), &Settings::default()).expect("a new file");
    let candidate = baton_board::Candidate {
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        address: Endpoint(Arc::from("10.0.0.1:4402")),
    };
    durable.lock = DurableLock {
        epoch: Epoch { generation: 1, number: 1 },
        holder: Some((candidate, LockSecret(77))),
        longest_ttl: Span::from_millis(3_750),
    };
    let mut batch = vec![persist(1, vec![Write::Lock(durable.lock.clone())])];
    for term in 1..=200 {
        let line = HistoryEntry { record: record(term), decision: "{\"why\":\"a test\"}".into() };
        let writes = vec![Write::Record(Box::new(record(term))), Write::History(Box::new(line.clone()))];
        batch.push(persist(term + 1, writes));
        durable.history.entry(line.record.replicaset.clone()).or_default().push_back(line);
    }
    storage.commit(&batch).expect("the disk works");
    durable.records.insert(record(200).replicaset, record(200));
    durable.revision = Revision(201);
    durable
}

#[test]
fn everything_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let written = filled(directory.path());
    let (_storage, read) =
        Storage::open(directory.path(), &identity(1), &Settings::default()).expect("our own file");
    assert_eq!(read, written);
}

#[test]
fn a_second_stateboard_is_refused_while_the_first_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = Storage::open(directory.path(), &identity(1), &Settings::default()).expect("a new file");
    let second = Storage::open(directory.path(), &identity(1), &Settings::default());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    drop(first);
    assert!(Storage::open(directory.path(), &identity(1), &Settings::default()).is_ok());
}

#[test]
fn a_first_start_that_was_killed_leaves_nothing_in_the_way() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join(NEW_NAME), b"half made").expect("writable");
    Storage::open(directory.path(), &identity(1), &Settings::default()).expect("a new file");
    assert!(!directory.path().join(NEW_NAME).exists());
}

/// Opens a file that must be refused, and makes sure that not a byte of it changed.
fn refused(directory: &Path, ours: &Identity) -> OpenError {
    let path = directory.join(FILE_NAME);
    let before = std::fs::read(&path).expect("readable");
    let error = Storage::open(directory, ours, &Settings::default()).expect_err("refused");
    assert_eq!(std::fs::read(&path).expect("readable"), before, "the file was changed");
    assert!(error.to_string().contains(FILE_NAME), "{error} does not name the file");
    error
}

#[test]
fn the_file_of_another_cluster_is_refused_and_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    assert!(matches!(refused(directory.path(), &identity(2)), OpenError::Foreign { .. }));
}

#[test]
fn a_damaged_file_is_refused_and_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let path = directory.path().join(FILE_NAME);
    let whole = std::fs::read(&path).expect("readable");
    let mut torn = whole.clone();
    torn.truncate(whole.len() / 3);
    let damaged: [(&str, Vec<u8>); 4] = [
        ("a foreign file", b"SQLite format 3\0 and more of it".to_vec()),
        ("an empty file", Vec::new()),
        ("a file cut off", torn),
        ("a flipped bit in every copy", whole.iter().map(|byte| byte ^ 1).collect()),
    ];
    for (what, bytes) in damaged {
        std::fs::write(&path, bytes).expect("writable");
        let error = refused(directory.path(), &identity(1));
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error}");
    }
}

#[test]
fn a_flipped_bit_in_what_is_committed_is_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let path = directory.path().join(FILE_NAME);
    let whole = std::fs::read(&path).expect("readable");
    let places = whole.windows(13).enumerate().filter(|(_, window)| *window == b"10.0.0.1:6379");
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    let mut all = whole;
    for place in places {
        all[place] ^= 0x20;
    }
    std::fs::write(&path, &all).expect("writable");
    assert!(matches!(refused(directory.path(), &identity(1)), OpenError::Damaged { .. }));
}
