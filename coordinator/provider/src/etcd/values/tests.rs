//! Each document both ways, and what is refused of one that is damaged or of another format.

use super::*;
use baton_board::{Candidate, LockSecret};
use baton_core::ids::{
    ClusterName, CoordinatorName, DataId, Endpoint, Epoch, Incarnation, InstanceName, ReplicaSetName, Term,
    Version,
};
use baton_core::position::Position;
use baton_core::record::{HistoryEntry, Member, Record, Settings};
use baton_core::time::Span;
use std::sync::Arc;

fn record() -> Record {
    let name = |text| InstanceName::parse(text).expect("a name");
    Record {
        replicaset: ReplicaSetName::parse("orders-1").expect("a name"),
        term: Term(7),
        version: Version(19),
        master: Some(name("a2")),
        endpoint: Some(Endpoint(Arc::from("10.0.0.2:6379"))),
        incarnation: Some(Incarnation { home: 0xabc, boot: 0x12, run: 3 }),
        start: Position::at(7, 5120),
        in_sync: ["a1", "a2", "a3"].map(name).into(),
        stragglers: [("a4", "a1"), ("a4", "a3"), ("a5", "a1")]
            .map(|(member, master)| (name(member), name(master)))
            .into_iter()
            .collect(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 1,
        data_id: Some(DataId(Arc::from("d1"))),
        pinned: None,
        forced: false,
        reason: "crashed".into(),
        decided_by: CoordinatorName::parse("host-b").expect("a name"),
        epoch: Epoch { generation: 1, number: 12 },
        term_generation: 1,
        at_unix_millis: 1_795_287_791_123,
    }
}

fn again<D: Document>(document: &D) -> D::Value {
    let value = write(document);
    assert!(!value.contains(&b'\n'), "one line");
    read::<D>("/k", &value).expect("our own value")
}

#[test]
fn a_record_is_the_json_of_the_contract() {
    // Where nobody is a straggler, the record says nothing of them.
    let quiet = Record { stragglers: Default::default(), ..record() };
    let text = String::from_utf8(write(&RecordDoc::from(&quiet))).expect("text");
    assert_eq!(
        text,
        "{\"format\":1,\"replicaset\":\"orders-1\",\"term\":7,\"version\":19,\"master\":\"a2\",\
         \"endpoint\":\"10.0.0.2:6379\",\"start\":\"7:5120\",\"in_sync\":[\"a1\",\"a2\",\"a3\"],\"ack_quorum\":1,\
         \"data_id\":\"d1\",\"pinned\":false,\"reason\":\"crashed\",\"decided_by\":\"host-b\",\"epoch\":\"1.12\",\
         \"at\":\"2026-11-21T19:03:11.123Z\",\"incarnation\":\"abc-12-3\",\"term_generation\":1}"
    );
    let full = String::from_utf8(write(&RecordDoc::from(&record()))).expect("text");
    let stragglers = r#","stragglers":{"a4":"a1","a5":"a1"},"stragglers_also":{"a4":["a3"]}}"#;
    assert_eq!(
        full,
        format!("{}{stragglers}", text.trim_end_matches('}')),
        "an older build reads the first of each"
    );
}

#[test]
fn every_document_is_read_back() {
    assert_eq!(again(&RecordDoc::from(&record())), record());
    let tombstone = Record {
        master: None,
        endpoint: None,
        incarnation: None,
        start: Position::Unknown,
        in_sync: [].into(),
        data_id: None,
        ..record()
    };
    assert_eq!(again(&RecordDoc::from(&tombstone)), tombstone);
    for decision in
        ["", "{\"term\":10}", "{ \"b\":1, \"a\":2 }", "{broken", "some words", "\"quoted\"", "{\n}"]
    {
        let entry = HistoryEntry { record: record(), decision: decision.to_owned() };
        assert_eq!(again(&HistoryDoc::from(&entry)), entry);
    }
    let identity = crate::identity_of(ClusterName::parse("orders").expect("a name"), "open sesame");
    assert_eq!(again(&IdentityDoc::from(&identity)), identity);
    for above in [0, 7] {
        let epoch = EpochValue { generation: 3, above };
        assert_eq!(again(&EpochDoc::new(epoch)), epoch);
    }
    let holder = Candidate {
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        address: Endpoint(Arc::from("host-a:4402")),
    };
    let lock = again(&LockDoc::new(2, &holder, LockSecret(5)));
    assert_eq!((lock.generation, &lock.holder), (2, &holder));
    assert_eq!(lock.secret_hash, hash_of(LockSecret(5)));
    assert_eq!(again(&ReleasedDoc::new(record().epoch, 5)), Span::from_secs(5));
    let member = Member {
        instance: InstanceName::parse("a1").expect("a name"),
        replicaset: record().replicaset,
        coordinator: holder.coordinator,
        endpoint: Endpoint(Arc::from("10.0.0.1:6379")),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 3,
        version: Version(2),
    };
    assert_eq!(again(&MemberDoc::from(&member)), member);
    let settings = crate::wire::settings_with_every_value();
    assert_eq!(again(&SettingsDoc::from(&settings)), settings);
    let older = br#"{"format":1,"version":2,"lease_ttl":"9s","stall_timeout":null,"max_lag_bytes":null,"ack_quorum":1,
        "clock_drift_ppm":5000,"overrides":{"orders-1":{"max_lag_bytes":null,"ack_quorum":2}}}"#;
    let older = read::<SettingsDoc>("/k", older).expect("what an older build wrote");
    assert_eq!((older.longest_lease, older.ack_quorum), (Span::from_secs(9), 1));
    assert_eq!(older.suppress_threshold, Settings::default().suppress_threshold);
}

#[test]
fn what_cannot_be_understood_is_named_and_never_guessed() {
    let good = String::from_utf8(write(&RecordDoc::from(&record()))).expect("text");
    for (from, to, why) in [
        ("\"format\":1", "\"format\":2", "format is 2"),
        ("\"format\":1,", "", "missing field `format`"),
        ("\"term\":7", "\"term\":-7", "invalid value"),
        ("\"a1\",\"a2\"", "\"a2\",\"a2\"", "twice"),
        ("7:5120", "7", "no position"),
        ("1.12", "12", "epoch"),
        ("abc-12-3", "abc", "no incarnation"),
        ("2026-11-21T19", "yesterday", "no time"),
        ("\"version\":19,", "", "missing field `version`"),
        ("}", "", "EOF"),
    ] {
        let damaged = good.replacen(from, to, 1);
        assert_ne!(damaged, good);
        let error = read::<RecordDoc>("/baton/orders/x", damaged.as_bytes()).expect_err(to).to_string();
        assert!(error.contains("/baton/orders/x") && error.contains(why), "{error}");
    }
    let newer = good.replacen("\"term\"", "\"colour\":\"blue\",\"term\"", 1);
    assert_eq!(read::<RecordDoc>("/k", newer.as_bytes()), Ok(record()), "fields are only added");
}

#[test]
fn no_value_makes_a_reader_panic() {
    let good = write(&SettingsDoc::from(&Settings::default()));
    for length in 0..good.len() {
        assert!(read::<SettingsDoc>("/k", &good[..length]).is_err());
    }
    for index in 0..good.len() {
        for byte in [0, b'"', b'9', b'}', 0xff] {
            let mut bent = good.clone();
            bent[index] = byte;
            let _ = read::<SettingsDoc>("/k", &bent);
        }
    }
    assert!(read::<SettingsDoc>("/k", &good).is_ok());
}
