//! One end of a move, as every provider keeps it: design, *The lock*; docs/protocol.md, *Moving house*.

use baton_core::ids::{TaskId, Version};
use baton_core::record::{Move, MovePhase, Settings};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use baton_provider::{
    AppointOutcome, ProviderError, Renewal, SettingsOutcome, StateProvider, TaskOutcome, WriteOutcome,
};
use contract::{Arbiter, Kind, candidate, change, member, record, within};
use std::time::Duration;

fn step(phase: MovePhase) -> Move {
    Move { id: 7, phase, other: "elsewhere".to_owned(), lock: Span::from_secs(1) }
}

async fn settings(client: &dyn StateProvider) -> Settings {
    within(client.read()).await.expect("a snapshot").settings
}

/// One step from the version that is there.
async fn go(client: &dyn StateProvider, phase: MovePhase) -> Version {
    let expected = settings(client).await.version;
    let outcome = within(client.put_move(expected, Some(step(phase)))).await.expect("an answer");
    assert!(matches!(outcome, SettingsOutcome::Applied(_)), "{phase:?}: {outcome:?}");
    expected.next()
}

/// Nothing that the arbiter asks for is done.
async fn nothing_changes(arbiter: &Arbiter, when: MovePhase) {
    let (token, client) = (arbiter.token, &arbiter.client);
    let appointment = change(record("orders-2", 1, 1, "a1", token.epoch));
    let appointed = within(client.appoint(token, vec![appointment])).await;
    let refused = !matches!(appointed, Ok(AppointOutcome::Applied(_)) | Err(ProviderError::Unknown(_)));
    assert!(refused, "{when:?}: {appointed:?}");
    let put = within(client.put_member(token, member("orders-2", "a1"))).await;
    assert!(
        !matches!(put, Ok(WriteOutcome::Applied(_)) | Err(ProviderError::Unknown(_))),
        "{when:?}: {put:?}"
    );
    let task = StoredTask { id: TaskId(7), body: "{}".to_owned(), version: Version(0) };
    let kept = within(client.put_task(token, None, task)).await;
    assert!(
        !matches!(kept, Ok(TaskOutcome::Applied(_)) | Err(ProviderError::Unknown(_))),
        "{when:?}: {kept:?}"
    );
    let known = settings(client.as_ref()).await;
    let changed = within(client.put_settings(known.version, known.clone())).await;
    assert!(
        !matches!(changed, Ok(SettingsOutcome::Applied(_)) | Err(ProviderError::Unknown(_))),
        "{when:?}: {changed:?}"
    );
    assert_eq!(settings(client.as_ref()).await, known, "{when:?}");
    assert_eq!(arbiter.current("orders-2").await, None, "{when:?}");
}

pub async fn a_frozen_end_keeps_its_holder_and_changes_nothing(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    go(arbiter.client.as_ref(), MovePhase::Announced).await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    go(arbiter.client.as_ref(), MovePhase::Frozen).await;
    nothing_changes(&arbiter, MovePhase::Frozen).await;
    let renewal = within(arbiter.session.renew()).await.expect("an answer");
    assert!(matches!(renewal, Renewal::Granted { .. }), "{renewal:?}");

    // Nobody gets an epoch that the copy would not know, and whoever thaws lets everything go on.
    let waiting = candidate("host-b");
    let client = arbiter.world.client();
    let mut second = Box::pin(client.campaign(&waiting, None));
    within(arbiter.session.resign(Span::ZERO)).await.expect("it resigns");
    let early = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
    assert!(early.is_err(), "the lock changed hands while the state was frozen");
    let other = arbiter.world.client();
    let expected = settings(other.as_ref()).await.version;
    let thawed = within(other.put_move(expected, None)).await.expect("an answer");
    assert!(matches!(thawed, SettingsOutcome::Applied(_)), "{thawed:?}");
    let late = within(other.put_move(expected, Some(step(MovePhase::Moved)))).await.expect("an answer");
    assert!(matches!(late, SettingsOutcome::Conflict(_)), "a thawed state is not committed: {late:?}");
    within(second).await.expect("the lock");
}

pub async fn an_end_that_was_left_renews_no_lock_and_gives_none(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    for phase in [MovePhase::Announced, MovePhase::Frozen, MovePhase::Moved] {
        go(arbiter.client.as_ref(), phase).await;
    }
    // Its holder may know no other end: it must not believe in its lock for longer than the other end waits.
    let renewal = within(arbiter.session.renew()).await;
    assert!(!matches!(renewal, Ok(Renewal::Granted { .. })), "{renewal:?}");
    nothing_changes(&arbiter, MovePhase::Moved).await;
    drop(arbiter.session);
    let client = arbiter.world.client();
    let candidate = candidate("host-b");
    let given = tokio::time::timeout(Duration::from_secs(3), client.campaign(&candidate, None)).await;
    assert!(!matches!(given, Ok(Ok(_))), "somebody was given the lock");
    let expected = settings(client.as_ref()).await.version;
    let back = within(client.put_move(expected, None)).await.expect("an answer");
    assert!(matches!(back, SettingsOutcome::Refused(_)), "what was left is not opened by a step: {back:?}");
}
