//! The lock: design, *The lock* and *Provider operations*.

use baton_core::time::Span;
use baton_provider::{AppointOutcome, LockSession, Renewal};
use contract::{Kind, World, candidate, change, record, within};
use std::time::Instant;

/// Long enough that nothing of a test expires by itself.
const LONG: Span = Span::from_secs(30);
const LONG_LOCK: Span = Span::from_millis(37_500);
/// Short enough to wait for.
const SHORT: Span = Span::from_millis(300);
const SHORT_LOCK: Span = Span::from_millis(375);

async fn hold(world: &World, who: &str) -> Box<dyn LockSession> {
    within(world.client().campaign(&candidate(who), None)).await.expect("the lock")
}

async fn granted(session: &mut dyn LockSession) -> Span {
    match within(session.renew()).await.expect("an answer") {
        Renewal::Granted { ttl } => ttl,
        Renewal::Lost { current } => panic!("the lock is lost to {current}"),
    }
}

pub async fn one_candidate_holds_the_lock(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let mut first = hold(&world, "host-a").await;
    assert_eq!(first.grant().token.epoch.number, 1);
    assert_eq!(first.grant().predecessor_bound, Span::ZERO, "nobody held it before");
    let client = world.client();
    let second_candidate = candidate("host-b");
    let mut second = Box::pin(client.campaign(&second_candidate, None));
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = &mut second => panic!("two hold the lock"),
            ttl = granted(first.as_mut()) => assert_eq!(ttl, LONG_LOCK),
        }
    }
    let view = client.read().await.expect("a snapshot").lock;
    assert_eq!(view.holder, Some(candidate("host-a")));
    assert_eq!(view.epoch, first.grant().token.epoch);
}

pub async fn a_closed_connection_frees_the_lock_and_its_bound_is_told(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let mut first = hold(&world, "host-a").await;
    granted(first.as_mut()).await;
    let token = first.grant().token;
    drop(first);
    // Within the patience of the test, which is less than the lock's ttl.
    let second = hold(&world, "host-b").await;
    let grant = second.grant();
    assert_eq!(grant.token.epoch.number, 2);
    assert!(grant.predecessor_bound > Span::ZERO && grant.predecessor_bound <= LONG_LOCK);
    assert!(!grant.resumed);
    let late = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(world.client().appoint(token, vec![late])).await.expect("an answer");
    assert_eq!(outcome, AppointOutcome::StaleEpoch(grant.token.epoch));
}

pub async fn a_lock_that_is_not_renewed_expires(kind: Kind) {
    let world = World::new(kind, SHORT).await;
    let started = Instant::now();
    let mut first = hold(&world, "host-a").await;
    let second = hold(&world, "host-b").await;
    assert!(
        Span::from_duration(started.elapsed()) >= SHORT_LOCK,
        "it was taken while the first could believe in it"
    );
    assert_eq!(second.grant().token.epoch.number, 2);
    let renewal = within(first.renew()).await.expect("an answer");
    assert_eq!(renewal, Renewal::Lost { current: second.grant().token.epoch });
}

pub async fn a_resignation_tells_its_last_grant(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let first = hold(&world, "host-a").await;
    within(first.resign(Span::from_secs(5))).await.expect("resigned");
    let second = hold(&world, "host-b").await;
    let bound = second.grant().predecessor_bound;
    assert!(bound > Span::ZERO && bound <= Span::from_secs(5), "{bound}");
    within(second.resign(Span::ZERO)).await.expect("resigned");
    let lock = world.client().read().await.expect("a snapshot").lock;
    assert_eq!(lock.holder, None);
}

pub async fn the_bound_is_the_latest_of_all_earlier_holders(kind: Kind) {
    let world = World::new(kind, LONG).await;
    drop(hold(&world, "host-a").await);
    let second = hold(&world, "host-b").await;
    within(second.resign(Span::from_millis(1))).await.expect("resigned");
    let third = hold(&world, "host-c").await;
    assert_eq!(third.grant().token.epoch.number, 3);
    // What the second said is over long before what the first could believe.
    assert!(third.grant().predecessor_bound > Span::from_secs(10), "{}", third.grant().predecessor_bound);
}

pub async fn a_freed_epoch_is_resumed_until_somebody_takes_it(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let first = hold(&world, "host-a").await;
    let token = first.grant().token;
    drop(first);
    let client = world.client();
    let again = within(client.campaign(&candidate("host-a"), Some(token))).await.expect("the lock");
    assert!(again.grant().resumed);
    assert_eq!(again.grant().token, token);
    drop(again);
    let second = hold(&world, "host-b").await;
    within(second.resign(Span::ZERO)).await.expect("resigned");
    let third = within(client.campaign(&candidate("host-a"), Some(token))).await.expect("the lock");
    assert!(!third.grant().resumed, "the epoch was taken by another in between");
    assert_eq!(third.grant().token.epoch.number, 3);
}

pub async fn a_holder_resumes_after_a_restart(kind: Kind) {
    let mut world = World::new(kind, LONG).await;
    let mut first = hold(&world, "host-a").await;
    let token = first.grant().token;
    world.restart().await;
    let client = world.client();
    let second_candidate = candidate("host-b");
    let mut second = Box::pin(client.campaign(&second_candidate, None));
    for _ in 0..5 {
        tokio::select! {
            biased;
            _ = &mut second => panic!("the lock was given away"),
            ttl = granted(first.as_mut()) => assert_eq!(ttl, LONG_LOCK),
        }
    }
    let appointment = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(client.appoint(token, vec![appointment])).await.expect("an answer");
    assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
}

pub async fn a_restart_keeps_the_lock_for_its_holder(kind: Kind) {
    let mut world = World::new(kind, SHORT).await;
    let first = hold(&world, "host-a").await;
    let restarted = Instant::now();
    // The holder is gone with its secret; the board cannot know that, nor when it renewed last.
    drop(first);
    world.restart().await;
    let second = hold(&world, "host-b").await;
    let waited = Span::from_duration(restarted.elapsed()) + second.grant().predecessor_bound;
    assert!(waited >= SHORT_LOCK, "only {waited} after the restart");
    assert_eq!(second.grant().token.epoch.number, 2);
}
