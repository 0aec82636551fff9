//! The storage on real files: what it keeps over a restart, and what it refuses without changing anything.

use super::*;
use baton_board::{DurableLock, LockSecret, Write};
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Revision, TaskId, Term,
    Version,
};
use baton_core::position::Position;
use baton_core::record::{HistoryEntry, Record};
use baton_core::task::StoredTask;
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
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: None,
        pinned: None,
        forced: false,
        reason: "first".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch: Epoch { generation: 1, number: 1 },
        term_generation: 1,
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
    let mut written = filled(directory.path());
    let (storage, _) = Storage::open(directory.path(), &identity(1), &Settings::default()).expect("ours");
    let task = |id| StoredTask { id: TaskId(id), body: "of a later format".into(), version: Version(id) };
    let puts = [7, 1 << 52, 9].map(|id| Write::Task(Box::new(task(id))));
    storage.commit(&[persist(202, puts.into())]).expect("the disk works");
    storage.commit(&[persist(203, vec![Write::TaskRemoved(TaskId(9))])]).expect("the disk works");
    drop(storage);
    written.tasks = [7, 1 << 52].map(|id| (TaskId(id), task(id))).into();
    written.revision = Revision(203);
    let (_storage, read) =
        Storage::open(directory.path(), &identity(1), &Settings::default()).expect("our own file");
    assert_eq!(read, written);
}

/// A file as each released version left it, with what it holds. A version that changes the format adds its own file here
/// (`UPDATE=1`, see below) and keeps those of all versions before.
const RELEASED: [(&str, u32); 1] = [("0.1.0", 1)];

/// The content of every fixture.
fn fixture() -> Durable {
    let directory = tempfile::tempdir().expect("a directory");
    let mut durable = filled(directory.path());
    // Small enough to be checked in.
    for lines in durable.history.values_mut() {
        lines.drain(..lines.len() - 4);
    }
    durable
}

fn fixture_path(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(format!("stateboard-{version}.redb.sparse"))
}

const SECTOR: usize = 512;

/// A file is mostly zeros: its other sectors, each behind its number, after the length of the file.
fn sparse(bytes: &[u8]) -> Vec<u8> {
    let mut packed = u32::try_from(bytes.len()).expect("small").to_be_bytes().to_vec();
    for (number, sector) in
        bytes.chunks(SECTOR).enumerate().filter(|(_, it)| it.iter().any(|byte| *byte != 0))
    {
        packed.extend(u32::try_from(number).expect("small").to_be_bytes());
        packed.extend(sector);
        packed.extend(vec![0; SECTOR - sector.len()]);
    }
    packed
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let number =
        |bytes: &[u8]| usize::try_from(u32::from_be_bytes(bytes.try_into().expect("four"))).expect("small");
    let length = number(&packed[..4]);
    let mut bytes = vec![0; length.next_multiple_of(SECTOR)];
    for sector in packed[4..].chunks(4 + SECTOR) {
        let place = number(&sector[..4]) * SECTOR;
        bytes[place..place + SECTOR].copy_from_slice(&sector[4..]);
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn the_file_of_every_released_version_is_read() {
    let path = fixture_path(env!("CARGO_PKG_VERSION"));
    // What is there already was released, and stays as it is.
    if std::env::var_os("UPDATE").is_some() && !path.exists() {
        let directory = tempfile::tempdir().expect("a directory");
        create(directory.path(), &fixture()).expect("written");
        let bytes = std::fs::read(directory.path().join(FILE_NAME)).expect("readable");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, sparse(&bytes)).expect("writable");
    }
    for (version, format) in RELEASED {
        let directory = tempfile::tempdir().expect("a directory");
        let packed = std::fs::read(fixture_path(version)).expect("the fixture is checked in");
        std::fs::write(directory.path().join(FILE_NAME), unpacked(&packed)).expect("writable");
        let (storage, durable) = Storage::open(directory.path(), &identity(1), &Settings::default())
            .expect("a version that was released");
        assert_eq!(durable, fixture(), "version {version}");
        storage.commit(&[persist(202, vec![Write::Record(Box::new(record(201)))])]).expect("it goes on");
        assert!((1..=FILE_FORMAT).contains(&format), "version {version}");
    }
    let newest = RELEASED.iter().map(|(_, format)| *format).max();
    assert_eq!(newest, Some(FILE_FORMAT), "the newest format has its file");
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

/// Puts one entry of a good file in the place of what is there.
fn with_entry(directory: &Path, key: &str, value: &[u8]) {
    let database = Database::open(directory.join(FILE_NAME)).expect("a good file");
    let transaction = database.begin_write().expect("a transaction");
    transaction.open_table(STATE).expect("the table").insert(key, value).expect("written");
    transaction.commit().expect("committed");
}

/// What a version that is one further would write where it says of itself which it is.
fn newer_meta() -> Vec<u8> {
    let (_, mut meta) =
        codec::entries(&Durable::genesis(identity(1), Settings::default())).next().expect("meta");
    assert_eq!(meta[..2], [0x08, 1], "the format is its first field");
    meta[1] = u8::try_from(FILE_FORMAT + 1).expect("a small number");
    meta
}

#[test]
fn a_newer_file_or_record_is_refused_unchanged_and_says_what_was_found_and_expected() {
    use prost::Message as _;
    let newer_record = |term| {
        let record = baton_provider::wire::record_to_wire(&record(term));
        baton_proto::v1::Record { format: 7, ..record }.encode_to_vec()
    };
    for (key, value, says) in [
        ("meta", newer_meta(), "the file has format 2, this version reads 1 to 1"),
        // Whatever else a newer version writes: what it is comes before what cannot be understood of it.
        (
            "meta",
            [newer_meta(), vec![0xfa, 0x01, 0]].concat(),
            "the file has format 2, this version reads 1 to 1",
        ),
        (
            "record/orders-1",
            newer_record(200),
            "entry \"record/orders-1\" has format 7, this version reads 1 to 1",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        filled(directory.path());
        with_entry(directory.path(), key, &value);
        let error = refused(directory.path(), &identity(1));
        assert!(matches!(error, OpenError::Newer { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_newer_file_is_told_from_a_damaged_one_by_what_it_says_first() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    with_entry(directory.path(), "a-kind-of-entry-that-is-new", b"?");
    assert!(matches!(refused(directory.path(), &identity(1)), OpenError::Damaged { .. }));
    with_entry(directory.path(), "meta", &newer_meta());
    assert!(matches!(refused(directory.path(), &identity(1)), OpenError::Newer { .. }));
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
