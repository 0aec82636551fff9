//! What operators asked for, as every provider keeps it: docs/protocol.md, P160.

use crate::unknown::{Told, everywhere, over, told};
use crate::watch::Known;
use baton_core::ids::{TaskId, Version};
use baton_core::task::{StoredTask, TASK_ID_END};
use baton_provider::{ProviderError, RefusalReason, StateProvider, TaskOutcome, WriteOutcome};
use contract::{Arbiter, Kind, candidate, within};
use std::collections::BTreeMap;

/// With a body that is of no version that exists.
fn task(id: u64, word: &str) -> StoredTask {
    let body = format!("{{\"format\":9,\"word\":\"{word}\"}}");
    StoredTask { id: TaskId(id), body, version: Version(0) }
}

/// As it is kept.
fn kept(version: u64, task: StoredTask) -> StoredTask {
    StoredTask { version: Version(version), ..task }
}

async fn tasks(client: &dyn StateProvider) -> BTreeMap<TaskId, StoredTask> {
    within(client.read()).await.expect("a snapshot").tasks
}

async fn put(arbiter: &Arbiter, expected: Option<u64>, task: StoredTask) -> TaskOutcome {
    let expected = expected.map(Version);
    within(arbiter.client.put_task(arbiter.token, expected, task)).await.expect("an answer")
}

pub async fn tasks_are_versioned_and_kept_as_they_are(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    let outcome = put(&arbiter, None, task(7, "planned")).await;
    assert!(matches!(outcome, TaskOutcome::Applied(_)), "{outcome:?}");
    // Text that is no object is kept as well, and the largest number there is.
    let plain = StoredTask { body: "not\nJSON \"at\" all".into(), ..task(TASK_ID_END - 1, "") };
    let outcome = put(&arbiter, None, plain.clone()).await;
    assert!(matches!(outcome, TaskOutcome::Applied(_)), "{outcome:?}");
    for expected in [None, Some(0), Some(2)] {
        let outcome = put(&arbiter, expected, task(7, "late")).await;
        let shown = Some(Box::new(kept(1, task(7, "planned"))));
        assert_eq!(outcome, TaskOutcome::Conflict(shown), "{expected:?}");
    }
    let outcome = put(&arbiter, Some(1), task(8, "nowhere")).await;
    assert_eq!(outcome, TaskOutcome::Conflict(None));
    let outcome = put(&arbiter, Some(1), task(7, "running")).await;
    assert!(matches!(outcome, TaskOutcome::Applied(_)), "{outcome:?}");
    arbiter.world.restart().await;
    let client = arbiter.world.client();
    let wanted = [kept(2, task(7, "running")), kept(1, plain)];
    assert_eq!(tasks(client.as_ref()).await.into_values().collect::<Vec<_>>(), wanted);
}

pub async fn tasks_are_removed_by_the_holder_of_the_lock_only(kind: Kind) {
    let Arbiter { world, client, token, session } = Arbiter::new(kind).await;
    let put = within(client.put_task(token, None, task(7, "planned"))).await.expect("an answer");
    assert!(matches!(put, TaskOutcome::Applied(_)), "{put:?}");
    within(session.resign(baton_core::time::Span::ZERO)).await.expect("resigned");
    let second = within(world.client().campaign(&candidate("host-b"), None)).await.expect("the lock");
    let epoch = second.grant().token.epoch;
    let late = within(client.put_task(token, Some(Version(1)), task(7, "late"))).await.expect("an answer");
    assert_eq!(late, TaskOutcome::StaleEpoch(epoch));
    let removed = within(client.remove_task(token, TaskId(7))).await.expect("an answer");
    assert_eq!(removed, WriteOutcome::StaleEpoch(epoch));
    assert_eq!(tasks(client.as_ref()).await.len(), 1, "it was left as it is");
    for _ in 0..2 {
        // The second time there is nothing to remove.
        let removed = within(client.remove_task(second.grant().token, TaskId(7))).await.expect("an answer");
        assert!(matches!(removed, WriteOutcome::Applied(_)), "{removed:?}");
    }
    assert!(tasks(client.as_ref()).await.is_empty());
}

pub async fn too_many_tasks_and_too_long_ones_are_refused(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let refused = |outcome: &TaskOutcome| matches!(outcome, TaskOutcome::Refused(refusal) if refusal.reason == RefusalReason::Limit);
    let long = StoredTask { body: "x".repeat(16 * 1024 + 1), ..task(1, "") };
    let outcome = put(&arbiter, None, long).await;
    assert!(refused(&outcome), "{outcome:?}");
    for id in [0, TASK_ID_END] {
        let asked = arbiter.client.put_task(arbiter.token, None, task(id, "nobody's"));
        match within(asked).await {
            // Not even a message of ours, where there are messages.
            Err(ProviderError::Fatal(_)) => {}
            Ok(outcome) => assert!(refused(&outcome), "{outcome:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    for id in 1..=1_000 {
        let outcome = put(&arbiter, None, task(id, "kept")).await;
        assert!(matches!(outcome, TaskOutcome::Applied(_)), "{id}: {outcome:?}");
    }
    let outcome = put(&arbiter, None, task(1_001, "too many")).await;
    assert!(refused(&outcome), "{outcome:?}");
    // One that is there may still change, and one that goes makes room.
    let outcome = put(&arbiter, Some(1), task(7, "changed")).await;
    assert!(matches!(outcome, TaskOutcome::Applied(_)), "{outcome:?}");
    within(arbiter.client.remove_task(arbiter.token, TaskId(8))).await.expect("an answer");
    let outcome = put(&arbiter, None, task(1_001, "fits")).await;
    assert!(matches!(outcome, TaskOutcome::Applied(_)), "{outcome:?}");
    assert_eq!(tasks(arbiter.client.as_ref()).await.len(), 1_000);
}

pub async fn a_watch_tells_of_tasks(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let mut events = within(arbiter.client.watch(None)).await.expect("a watch");
    let mut known = Known::default();
    known.one(&mut events).await;
    for (expected, word) in [(None, "planned"), (Some(1), "running")] {
        put(&arbiter, expected, task(7, word)).await;
        known.follow(&mut events, arbiter.client.as_ref()).await;
    }
    assert_eq!(known.tasks.get(&TaskId(7)), Some(&kept(2, task(7, "running"))));
    within(arbiter.client.remove_task(arbiter.token, TaskId(7))).await.expect("an answer");
    known.follow(&mut events, arbiter.client.as_ref()).await;
    assert!(known.tasks.is_empty());
    // Whoever begins now is told of what is there.
    put(&arbiter, None, task(9, "planned")).await;
    let mut events = within(arbiter.client.watch(None)).await.expect("a watch");
    let mut fresh = Known::default();
    fresh.one(&mut events).await;
    assert_eq!(fresh.tasks.len(), 1);
}

pub async fn an_unknown_change_of_a_task_is_settled_by_the_same_write(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let route = arbiter.world.route().await;
    let token = arbiter.token;
    for (id, trap) in (1..).zip(everywhere()) {
        let wanted = task(id, "running");
        let answer = over(&route, trap, route.client().put_task(token, None, wanted.clone())).await;
        let told = told(&answer);
        let now = kept(1, wanted.clone());
        match (told, put(&arbiter, None, wanted).await) {
            (Told::NotApplied | Told::Unknown, TaskOutcome::Applied(_)) => {}
            (Told::Applied | Told::Unknown, TaskOutcome::Conflict(shown)) => {
                assert_eq!(shown.as_deref(), Some(&now), "{trap:?}");
            }
            other => panic!("{trap:?}: {other:?}"),
        }
        assert_eq!(tasks(arbiter.client.as_ref()).await.get(&TaskId(id)), Some(&now), "{trap:?}");
    }
}
