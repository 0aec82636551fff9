//! Appointments: design, *The record*.

use baton_core::ids::{Endpoint, ReplicaSetName, Term};
use baton_core::record::Record;
use baton_provider::{AppointOutcome, LockSecret, LockToken, RefusalReason, WatchEvent, WriteOutcome};
use contract::{Arbiter, HISTORY, Kind, change, member, name, record, set, within};
use tokio_stream::StreamExt as _;

pub async fn an_appointment_is_read_back(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let wanted = full(arbiter.record("orders-1", 1, 1, "a1"));
    let AppointOutcome::Applied(revision) = arbiter.appoint(vec![wanted.clone()]).await else {
        panic!("not applied")
    };
    let snapshot = within(arbiter.world.client().read()).await.expect("a snapshot");
    assert!(snapshot.revision >= revision, "a later read is older than the answer");
    assert_eq!(snapshot.records.values().collect::<Vec<_>>(), [&wanted]);
}

/// With a value in every field, so that a field that gets lost is noticed.
fn full(mut record: Record) -> Record {
    record.incarnation = Some(baton_core::ids::Incarnation { home: u64::MAX, boot: 1 << 63, run: 7 });
    record.ack_quorum = 2;
    record.data_id = Some(baton_core::ids::DataId("0123456789abcdef \"quoted\" \\ ü".into()));
    record.pinned =
        Some(baton_core::record::Pin { span: baton_core::time::Span::from_secs(60), until_unix_millis: 7 });
    record.forced = true;
    record.reason = "because of \"this\"\nand that, ü".into();
    record.at_unix_millis = 1_763_751_791_123;
    record
}

pub async fn of_two_writers_at_once_one_wins(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let (one, other) = (arbiter.world.client(), arbiter.world.client());
    let mut there: Option<Record> = None;
    for round in 1..=200 {
        let mine = arbiter.record("orders-1", round, round, "a1");
        let theirs = arbiter.record("orders-1", round, round, "a2");
        let (first, second) = within(async {
            tokio::join!(
                one.appoint(arbiter.token, vec![change(mine.clone())]),
                other.appoint(arbiter.token, vec![change(theirs.clone())])
            )
        })
        .await;
        let outcomes = [first.expect("an answer"), second.expect("an answer")];
        let (winner, loser) = match &outcomes {
            [AppointOutcome::Applied(_), loser] => (mine, loser),
            [loser, AppointOutcome::Applied(_)] => (theirs, loser),
            neither => panic!("nobody won round {round}: {neither:?}"),
        };
        let AppointOutcome::Conflict(shown) = loser else { panic!("round {round}: {loser:?}") };
        assert_eq!(
            shown.get(&set("orders-1")),
            Some(&Some(winner.clone())),
            "the loser is shown what is there"
        );
        there = Some(winner);
    }
    assert_eq!(arbiter.current("orders-1").await, there);
}

pub async fn a_stale_epoch_changes_nothing(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let token = LockToken { secret: LockSecret(arbiter.token.secret.0 ^ 1), ..arbiter.token };
    let guess = change(arbiter.record("orders-1", 1, 1, "a1"));
    let outcome = within(arbiter.client.appoint(token, vec![guess])).await.expect("an answer");
    assert_eq!(outcome, AppointOutcome::StaleEpoch(arbiter.token.epoch), "the epoch without its secret");
    let mut token = arbiter.token;
    token.epoch.number += 1;
    let future = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(arbiter.client.appoint(token, vec![future])).await.expect("an answer");
    assert_eq!(outcome, AppointOutcome::StaleEpoch(arbiter.token.epoch));
    let mut token = arbiter.token;
    token.epoch.generation += 1;
    let restored = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(arbiter.client.appoint(token, vec![restored])).await.expect("an answer");
    assert_eq!(outcome, AppointOutcome::StaleEpoch(arbiter.token.epoch));
    assert_eq!(arbiter.current("orders-1").await, None);
}

pub async fn a_wrong_version_changes_nothing_of_the_request(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    let good = arbiter.record("orders-2", 1, 1, "a1");
    let bad = arbiter.record("orders-1", 3, 3, "a2");
    let AppointOutcome::Conflict(sets) = arbiter.appoint(vec![good, bad]).await else {
        panic!("version 2 is not there")
    };
    assert_eq!(sets.keys().map(ReplicaSetName::as_str).collect::<Vec<_>>(), ["orders-1"]);
    assert_eq!(arbiter.current("orders-2").await, None, "half a request was applied");
    // The same request from the right version is applied wholly.
    let both = vec![arbiter.record("orders-2", 1, 1, "a1"), arbiter.record("orders-1", 2, 2, "a2")];
    arbiter.applied(both).await;
    assert_eq!(arbiter.current("orders-1").await.map(|it| it.term), Some(Term(2)));
}

pub async fn all_conflicts_are_shown_and_nothing_else(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let there = vec![arbiter.record("orders-1", 4, 1, "a1"), arbiter.record("orders-2", 7, 1, "a3")];
    arbiter.applied(there.clone()).await;
    // One that is there although nothing was expected, one with another version, one that is not there, one that fits.
    let request = vec![
        arbiter.record("orders-1", 5, 1, "a2"),
        arbiter.record("orders-2", 8, 3, "a2"),
        arbiter.record("orders-3", 2, 2, "a2"),
        arbiter.record("orders-4", 1, 1, "a2"),
    ];
    let AppointOutcome::Conflict(shown) = arbiter.appoint(request).await else { panic!("it was applied") };
    let wanted = [
        (set("orders-1"), there.first().cloned()),
        (set("orders-2"), there.get(1).cloned()),
        (set("orders-3"), None),
    ];
    assert_eq!(shown, wanted.into());
    let records = within(arbiter.client.read()).await.expect("a snapshot").records;
    assert_eq!(records.into_values().collect::<Vec<_>>(), there);
}

pub async fn many_sets_are_appointed_at_once_or_not_at_all(kind: Kind) {
    // As many as every provider takes at once: an etcd's transaction has room for no more.
    const SETS: usize = 30;
    let arbiter = Arbiter::new(kind).await;
    let request = |term| -> Vec<Record> {
        (0..SETS).map(|index| arbiter.record(&format!("orders-{index}"), term, term, "a1")).collect()
    };
    let mut watch = within(arbiter.world.client().watch(None)).await.expect("a watch");
    let first = within(watch.next()).await.expect("it goes on").expect("no error");
    assert!(matches!(first, WatchEvent::Snapshot(_)), "{first:?}");
    arbiter.applied(request(1)).await;
    let mut torn = request(2);
    if let Some(last) = torn.last_mut() {
        last.version.0 += 1;
    }
    let outcome = arbiter.appoint(torn).await;
    assert!(matches!(outcome, AppointOutcome::Conflict(_)), "{outcome:?}");
    arbiter.applied(request(2)).await;
    // A watcher sees each request as one change.
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 2 * SETS {
        match within(tokio_stream::StreamExt::next(&mut watch)).await.expect("it goes on").expect("no error")
        {
            WatchEvent::Update(update) => sizes.push(update.items.len()),
            WatchEvent::Snapshot(snapshot) => panic!("told anew: {snapshot:?}"),
        }
    }
    assert_eq!(sizes, [SETS, SETS]);
}

pub async fn what_is_no_step_of_the_protocol_is_refused(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    arbiter.refused(Vec::new(), RefusalReason::Empty).await;
    arbiter.refused(vec![arbiter.record("orders-1", 0, 1, "a1")], RefusalReason::TermFell).await;
    arbiter.applied(vec![arbiter.record("orders-1", 5, 1, "a1")]).await;
    let next = |term, master| arbiter.record("orders-1", term, 2, master);
    arbiter.refused(vec![next(5, "a2")], RefusalReason::TermReused).await;
    arbiter.refused(vec![next(4, "a2")], RefusalReason::TermFell).await;
    arbiter.refused(vec![next(6, "a4")], RefusalReason::MasterNotInSync).await;
    let mut grown = next(6, "a2");
    grown.in_sync.insert(name("a4"));
    arbiter.refused(vec![grown], RefusalReason::InSyncGrew).await;
    let mut other_run = next(5, "a1");
    other_run.incarnation = Some(baton_core::ids::Incarnation { home: 1, boot: 1, run: 1 });
    arbiter.refused(vec![other_run], RefusalReason::TermReused).await;
    let mut skipped = change(next(6, "a2"));
    skipped.record.version.0 += 1;
    let outcome = within(arbiter.client.appoint(arbiter.token, vec![skipped])).await.expect("an answer");
    assert!(
        matches!(&outcome, AppointOutcome::Refused(it) if it.reason == RefusalReason::Version),
        "{outcome:?}"
    );
    arbiter.refused(vec![next(6, "a2"), next(6, "a3")], RefusalReason::Duplicate).await;
    arbiter.refused(vec![next(6, "a2"), next(6, "a2")], RefusalReason::Duplicate).await;
    let mut foreign = next(6, "a2");
    foreign.epoch.number += 7;
    arbiter.refused(vec![foreign], RefusalReason::WrongEpoch).await;
    assert_eq!(arbiter.current("orders-1").await.map(|it| it.version.0), Some(1), "a refusal changed it");
}

pub async fn what_is_too_large_is_refused(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    arbiter.applied(vec![arbiter.record("orders-1", 5, 1, "a1")]).await;
    let next = || arbiter.record("orders-1", 6, 2, "a2");
    let long = "x".repeat(10_000);
    let too_large = [
        Record { reason: long.clone(), ..next() },
        Record { endpoint: Some(Endpoint(long.clone().into())), ..next() },
        Record { data_id: Some(baton_core::ids::DataId(long.into())), ..next() },
    ];
    for record in too_large {
        arbiter.refused(vec![record], RefusalReason::Limit).await;
    }
    let mut crowd = arbiter.record("orders-2", 1, 1, "a1");
    crowd.in_sync.extend((0..1_000).map(|index| name(&format!("b{index}"))));
    arbiter.refused(vec![crowd], RefusalReason::Limit).await;
    let mut wordy = change(next());
    wordy.decision = "x".repeat(100_000);
    let outcome = within(arbiter.client.appoint(arbiter.token, vec![wordy])).await.expect("an answer");
    assert!(
        matches!(&outcome, AppointOutcome::Refused(it) if it.reason == RefusalReason::Limit),
        "{outcome:?}"
    );
    let many = (0..600).map(|index| arbiter.record(&format!("other-{index}"), 1, 1, "a1")).collect();
    arbiter.refused(many, RefusalReason::Limit).await;
    let records = within(arbiter.client.read()).await.expect("a snapshot").records;
    assert_eq!(records.into_values().map(|it| it.version.0).collect::<Vec<_>>(), [1], "a refusal changed it");
}

pub async fn a_deleted_set_keeps_its_term(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    arbiter.applied(vec![arbiter.record("orders-1", 5, 1, "a1")]).await;
    let mut tombstone = arbiter.record("orders-1", 6, 2, "a1");
    tombstone.master = None;
    arbiter.refused(vec![tombstone.clone()], RefusalReason::BadTombstone).await;
    tombstone.in_sync.clear();
    arbiter.refused(vec![tombstone.clone()], RefusalReason::BadTombstone).await;
    tombstone.endpoint = None;
    arbiter.applied(vec![tombstone]).await;
    arbiter.refused(vec![arbiter.record("orders-1", 6, 3, "a1")], RefusalReason::TermReused).await;
    arbiter.refused(vec![arbiter.record("orders-1", 5, 3, "a1")], RefusalReason::TermFell).await;
    arbiter.applied(vec![arbiter.record("orders-1", 7, 3, "a1")]).await;
}

/// Expelled: its members go, its history stays within its bound, and nothing but the tombstone is left of it.
pub async fn an_expelled_set_leaves_its_tombstone_only(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let (client, token) = (&arbiter.client, arbiter.token);
    for instance in ["a1", "a2", "a3"] {
        for of in ["orders-1", "orders-11"] {
            let put = within(client.put_member(token, member(of, instance))).await.expect("an answer");
            assert!(matches!(put, WriteOutcome::Applied(_)), "{put:?}");
        }
    }
    arbiter
        .applied(vec![arbiter.record("orders-1", 1, 1, "a1"), arbiter.record("orders-11", 1, 1, "a1")])
        .await;
    let mut tombstone = arbiter.record("orders-1", 2, 2, "a1");
    (tombstone.master, tombstone.endpoint) = (None, None);
    tombstone.in_sync.clear();
    arbiter.applied(vec![tombstone.clone()]).await;
    for instance in ["a1", "a2", "a3"] {
        let gone = within(client.remove_member(token, &set("orders-1"), &name(instance))).await;
        assert!(matches!(gone, Ok(WriteOutcome::Applied(_))), "{gone:?}");
    }
    let snapshot = within(arbiter.world.client().read()).await.expect("a snapshot");
    assert_eq!(snapshot.records.get(&set("orders-1")), Some(&tombstone));
    assert!(snapshot.records.contains_key(&set("orders-11")));
    assert!(snapshot.members.keys().all(|(of, _)| *of == set("orders-11")), "{:?}", snapshot.members);
    assert_eq!(snapshot.members.len(), 3, "a set whose name begins alike lost members");
    let lines = within(client.history(&set("orders-1"), 100)).await.expect("an answer");
    assert!(!lines.is_empty() && lines.len() <= HISTORY);
}

pub async fn appointments_survive_a_restart(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    for term in 1..=10 {
        arbiter.applied(vec![arbiter.record("orders-1", term, term, "a1")]).await;
    }
    let before = within(arbiter.client.read()).await.expect("a snapshot");
    arbiter.world.restart().await;
    let after = within(arbiter.world.client().read()).await.expect("a snapshot");
    assert_eq!(after, before);
}

/// By whatever node it is answered: what was answered before it began is in it.
pub async fn a_read_sees_every_answered_write(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let readers: Vec<_> = match arbiter.world.nodes() {
        0 => vec![arbiter.world.client()],
        nodes => (0..nodes).map(|node| arbiter.world.client_of_node(node)).collect(),
    };
    for term in 1..=60 {
        let AppointOutcome::Applied(revision) =
            arbiter.appoint(vec![arbiter.record("orders-1", term, term, "a1")]).await
        else {
            panic!("not applied")
        };
        for reader in &readers {
            let snapshot = within(reader.read()).await.expect("a snapshot");
            assert!(snapshot.revision >= revision, "{} is older than {revision}", snapshot.revision);
            let there = snapshot.records.get(&set("orders-1")).map(|it| it.term.0);
            assert_eq!(there, Some(term));
        }
    }
}
