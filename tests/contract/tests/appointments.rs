//! Appointments: design, *The record*.

use baton_core::ids::{ReplicaSetName, Term};
use baton_core::record::Record;
use baton_core::time::Span;
use baton_provider::{AppointOutcome, LockSession, LockToken, ProviderError, RefusalReason, StateProvider};
use contract::{Kind, World, candidate, change, name, record, within};
use std::sync::Arc;

struct Arbiter {
    world: World,
    client: Arc<dyn StateProvider>,
    token: LockToken,
    _session: Box<dyn LockSession>,
}

async fn arbiter(kind: Kind) -> Arbiter {
    let world = World::new(kind, Span::from_secs(30)).await;
    let client = world.client();
    let session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    Arbiter { world, client, token: session.grant().token, _session: session }
}

impl Arbiter {
    async fn appoint(&self, records: Vec<Record>) -> AppointOutcome {
        let changes = records.into_iter().map(change).collect();
        within(self.client.appoint(self.token, changes)).await.expect("an answer")
    }

    fn record(&self, set: &str, term: u64, version: u64, master: &str) -> Record {
        record(set, term, version, master, self.token.epoch)
    }

    async fn applied(&self, records: Vec<Record>) {
        let outcome = self.appoint(records).await;
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    }

    async fn refused(&self, records: Vec<Record>, reason: RefusalReason) {
        match self.appoint(records).await {
            AppointOutcome::Refused(refusal) => assert_eq!(refusal.reason, reason, "{refusal}"),
            other => panic!("{reason:?} expected, not {other:?}"),
        }
    }

    async fn current(&self, set: &str) -> Option<Record> {
        let snapshot = within(self.client.read()).await.expect("a snapshot");
        snapshot.records.get(&ReplicaSetName::parse(set).expect("a name")).cloned()
    }
}

pub async fn an_appointment_is_read_back(kind: Kind) {
    let arbiter = arbiter(kind).await;
    let wanted = arbiter.record("orders-1", 1, 1, "a1");
    let AppointOutcome::Applied(revision) = arbiter.appoint(vec![wanted.clone()]).await else {
        panic!("not applied")
    };
    let snapshot = within(arbiter.world.client().read()).await.expect("a snapshot");
    assert!(snapshot.revision >= revision, "a later read is older than the answer");
    assert_eq!(snapshot.records.values().collect::<Vec<_>>(), [&wanted]);
}

pub async fn of_two_writers_at_once_one_wins(kind: Kind) {
    let arbiter = arbiter(kind).await;
    for round in 1..=20 {
        let set = format!("orders-{round}");
        let other = arbiter.world.client();
        let mine = vec![change(arbiter.record(&set, 1, 1, "a1"))];
        let theirs = vec![change(arbiter.record(&set, 1, 1, "a2"))];
        let (mine, theirs) =
            tokio::join!(arbiter.client.appoint(arbiter.token, mine), other.appoint(arbiter.token, theirs));
        let outcomes = [mine.expect("an answer"), theirs.expect("an answer")];
        let applied = outcomes.iter().filter(|it| matches!(it, AppointOutcome::Applied(_))).count();
        assert_eq!(applied, 1, "{outcomes:?}");
        let there = arbiter.current(&set).await;
        let conflict = outcomes.iter().find_map(|outcome| match outcome {
            AppointOutcome::Conflict(sets) => sets.values().next().cloned(),
            _ => None,
        });
        assert_eq!(conflict, Some(there), "the loser is shown what is there");
    }
}

pub async fn a_stale_epoch_changes_nothing(kind: Kind) {
    let arbiter = arbiter(kind).await;
    let token = LockToken { secret: baton_provider::LockSecret(arbiter.token.secret.0 ^ 1), ..arbiter.token };
    let guess = change(arbiter.record("orders-1", 1, 1, "a1"));
    let outcome = within(arbiter.client.appoint(token, vec![guess])).await.expect("an answer");
    assert_eq!(outcome, AppointOutcome::StaleEpoch(arbiter.token.epoch), "the epoch without its secret");
    let mut token = arbiter.token;
    token.epoch.number += 1;
    let future = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(arbiter.client.appoint(token, vec![future])).await.expect("an answer");
    assert_eq!(outcome, AppointOutcome::StaleEpoch(arbiter.token.epoch));
    assert_eq!(arbiter.current("orders-1").await, None);
}

pub async fn a_wrong_version_changes_nothing_of_the_request(kind: Kind) {
    let arbiter = arbiter(kind).await;
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

pub async fn what_is_no_step_of_the_protocol_is_refused(kind: Kind) {
    let arbiter = arbiter(kind).await;
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
    let mut skipped = change(next(6, "a2"));
    skipped.record.version.0 += 1;
    let outcome = within(arbiter.client.appoint(arbiter.token, vec![skipped])).await.expect("an answer");
    assert!(
        matches!(&outcome, AppointOutcome::Refused(it) if it.reason == RefusalReason::Version),
        "{outcome:?}"
    );
    arbiter.refused(vec![next(6, "a2"), next(6, "a3")], RefusalReason::Duplicate).await;
    let mut foreign = next(6, "a2");
    foreign.epoch.number += 7;
    arbiter.refused(vec![foreign], RefusalReason::WrongEpoch).await;
    let mut long = next(6, "a2");
    long.reason = "x".repeat(10_000);
    arbiter.refused(vec![long], RefusalReason::Limit).await;
    assert_eq!(arbiter.current("orders-1").await.map(|it| it.version.0), Some(1), "a refusal changed it");
}

pub async fn a_deleted_set_keeps_its_term(kind: Kind) {
    let arbiter = arbiter(kind).await;
    arbiter.applied(vec![arbiter.record("orders-1", 5, 1, "a1")]).await;
    let mut tombstone = arbiter.record("orders-1", 6, 2, "a1");
    tombstone.master = None;
    arbiter.refused(vec![tombstone.clone()], RefusalReason::BadTombstone).await;
    tombstone.in_sync.clear();
    tombstone.endpoint = None;
    arbiter.applied(vec![tombstone]).await;
    arbiter.refused(vec![arbiter.record("orders-1", 6, 3, "a1")], RefusalReason::TermReused).await;
    arbiter.applied(vec![arbiter.record("orders-1", 7, 3, "a1")]).await;
}

pub async fn an_unknown_outcome_is_settled_by_the_same_write(kind: Kind) {
    let arbiter = arbiter(kind).await;
    let mut settled = 0;
    for round in 0..20_u64 {
        let set = format!("orders-{round}");
        let wanted = arbiter.record(&set, 1, 1, "a1");
        let request = vec![change(wanted.clone())];
        let answer = arbiter.world.deaf_client().appoint(arbiter.token, request.clone()).await;
        arbiter.world.hear_again();
        match answer {
            Err(ProviderError::Unknown(_)) => settled += 1,
            Ok(AppointOutcome::Applied(_)) => continue,
            other => panic!("neither unknown nor applied: {other:?}"),
        }
        // Either ours lands now, or it is shown to have landed before: after this, nothing is unknown.
        match within(arbiter.client.appoint(arbiter.token, request)).await.expect("an answer") {
            AppointOutcome::Applied(_) => {}
            AppointOutcome::Conflict(sets) => {
                assert_eq!(sets.into_values().collect::<Vec<_>>(), [Some(wanted.clone())]);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(arbiter.current(&set).await, Some(wanted));
    }
    assert!(settled > 0, "no outcome was unknown, so nothing was tested");
}

pub async fn appointments_survive_a_restart(kind: Kind) {
    let mut arbiter = arbiter(kind).await;
    for term in 1..=10 {
        arbiter.applied(vec![arbiter.record("orders-1", term, term, "a1")]).await;
    }
    let before = within(arbiter.client.read()).await.expect("a snapshot");
    arbiter.world.restart().await;
    let after = within(arbiter.world.client().read()).await.expect("a snapshot");
    assert_eq!(after, before);
}
