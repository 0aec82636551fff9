//! The lock: design, *The lock* and *Provider operations*.

use baton_core::time::Span;
use baton_provider::{
    AppointOutcome, Candidate, LockSession, ProviderError, Renewal, StateProvider, WriteOutcome,
};
use contract::{
    Arbiter, Kind, LONG, Plan, Route, SHORT, World, candidate, change, contents, member, name, record,
    renewed, set, within,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn hold_by(client: Arc<dyn StateProvider>, who: &str) -> Box<dyn LockSession> {
    within(client.campaign(&candidate(who), None)).await.expect("the lock")
}

async fn hold(world: &World, who: &str) -> Box<dyn LockSession> {
    hold_by(world.client(), who).await
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
    assert_eq!(first.grant().predecessor_bound, Span::ZERO, "nobody held it before");
    assert!(!first.grant().resumed);
    let client = world.client();
    let second_candidate = candidate("host-b");
    let mut second = Box::pin(client.campaign(&second_candidate, None));
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = &mut second => panic!("two hold the lock"),
            ttl = granted(first.as_mut()) => assert_eq!(ttl, world.lock_ttl()),
        }
    }
    let view = within(client.read()).await.expect("a snapshot").lock;
    assert_eq!(view.holder, Some(candidate("host-a")));
    assert_eq!(view.epoch, first.grant().token.epoch);
}

pub async fn a_closed_connection_frees_the_lock_and_its_bound_is_told(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let mut first = hold(&world, "host-a").await;
    granted(first.as_mut()).await;
    let token = first.grant().token;
    drop(first);
    let started = Instant::now();
    let second = hold(&world, "host-b").await;
    assert!(Span::from_duration(started.elapsed()) < world.lock_ttl(), "it was waited for, not freed");
    let grant = second.grant();
    assert!(grant.token.epoch > token.epoch);
    assert!(grant.predecessor_bound > Span::ZERO && grant.predecessor_bound <= world.lock_ttl());
    assert!(!grant.resumed);
    let late = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(world.client().appoint(token, vec![late])).await.expect("an answer");
    assert_eq!(outcome, AppointOutcome::StaleEpoch(grant.token.epoch));
}

/// Whether by an expiry or by a bound that is told: nobody acts while the first could believe in its lock.
pub async fn a_dropped_session_is_waited_for_in_one_way_or_the_other(kind: Kind) {
    let world = World::new(kind, SHORT).await;
    let mut first = hold(&world, "host-a").await;
    let renewed_at = Instant::now();
    let ttl = granted(first.as_mut()).await;
    assert_eq!(ttl, world.lock_ttl());
    drop(first);
    let second = hold(&world, "host-b").await;
    let waited = Span::from_duration(renewed_at.elapsed()) + second.grant().predecessor_bound;
    assert!(waited >= ttl, "only {waited} after a renewal for {ttl}");
}

pub async fn a_lock_that_is_not_renewed_expires(kind: Kind) {
    let world = World::new(kind, SHORT).await;
    let mut first = hold(&world, "host-a").await;
    let renewed_at = Instant::now();
    let ttl = granted(first.as_mut()).await;
    let second = hold(&world, "host-b").await;
    let waited = Span::from_duration(renewed_at.elapsed());
    assert!(waited >= ttl, "it was taken {waited} after a renewal for {ttl}");
    assert!(second.grant().token.epoch > first.grant().token.epoch);
    let renewal = within(first.renew()).await.expect("an answer");
    assert_eq!(renewal, Renewal::Lost { current: second.grant().token.epoch });
}

pub async fn a_resignation_tells_its_last_grant(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let first = hold(&world, "host-a").await;
    let resigned = Instant::now();
    within(first.resign(Span::from_secs(5))).await.expect("resigned");
    let second = hold(&world, "host-b").await;
    let bound = second.grant().predecessor_bound;
    let covered = Span::from_duration(resigned.elapsed()) + bound;
    assert!(covered >= Span::from_secs(5), "a grant outlives the bound of {bound}");
    // Whole seconds, rounded up, and the answer's own way.
    assert!(bound <= Span::from_secs(7), "{bound}");
    within(second.resign(Span::ZERO)).await.expect("resigned");
    let lock = within(world.client().read()).await.expect("a snapshot").lock;
    assert_eq!(lock.holder, None);
}

pub async fn the_bound_is_the_latest_of_all_earlier_holders(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let first = hold(&world, "host-a").await;
    within(first.resign(Span::from_secs(20))).await.expect("resigned");
    let second = hold(&world, "host-b").await;
    within(second.resign(Span::from_millis(1))).await.expect("resigned");
    let third = hold(&world, "host-c").await;
    // What the second said is over long before what the first did.
    assert!(third.grant().predecessor_bound > Span::from_secs(10), "{}", third.grant().predecessor_bound);
}

pub async fn the_bound_of_a_closed_connection_outlives_a_resignation(kind: Kind) {
    let world = World::new(kind, LONG).await;
    drop(hold(&world, "host-a").await);
    let second = hold(&world, "host-b").await;
    within(second.resign(Span::from_millis(1))).await.expect("resigned");
    let third = hold(&world, "host-c").await;
    assert!(third.grant().predecessor_bound > Span::from_secs(10), "{}", third.grant().predecessor_bound);
}

pub async fn epochs_rise_with_every_hand_over(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let mut last = None;
    for round in 0..20 {
        let session = hold(&world, &format!("host-{round}")).await;
        let epoch = session.grant().token.epoch;
        assert!(last.is_none_or(|last| epoch > last), "{epoch} after {last:?}");
        last = Some(epoch);
        within(session.resign(Span::ZERO)).await.expect("resigned");
    }
}

pub async fn a_lost_holder_writes_nothing(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let client = world.client();
    let first = hold(&world, "host-a").await;
    let lost = first.grant().token;
    within(client.put_member(lost, member("orders-1", "a9"))).await.expect("an answer");
    within(first.resign(Span::ZERO)).await.expect("resigned");
    let second = hold(&world, "host-b").await;
    let epoch = second.grant().token.epoch;
    let before = contents(within(client.read()).await.expect("a snapshot"));
    let appointed = client.appoint(lost, vec![change(record("orders-1", 1, 1, "a1", lost.epoch))]);
    assert_eq!(within(appointed).await.expect("an answer"), AppointOutcome::StaleEpoch(epoch));
    let put = client.put_member(lost, member("orders-1", "a1"));
    assert_eq!(within(put).await.expect("an answer"), WriteOutcome::StaleEpoch(epoch));
    let removed = within(client.remove_member(lost, &set("orders-1"), &name("a9"))).await;
    assert_eq!(removed.expect("an answer"), WriteOutcome::StaleEpoch(epoch));
    assert_eq!(contents(within(client.read()).await.expect("a snapshot")), before);
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
    within(again.resign(Span::ZERO)).await.expect("resigned");
    let second = hold(&world, "host-b").await;
    within(second.resign(Span::ZERO)).await.expect("resigned");
    let third = within(client.campaign(&candidate("host-a"), Some(token))).await.expect("the lock");
    assert!(!third.grant().resumed, "the epoch was taken by another in between");
    assert!(third.grant().token.epoch > token.epoch);
}

pub async fn a_guessed_secret_resumes_nothing(kind: Kind) {
    let world = World::new(kind, SHORT).await;
    let mut first = hold(&world, "host-a").await;
    let mut guess = first.grant().token;
    guess.secret.0 ^= 1;
    granted(first.as_mut()).await;
    let client = world.client();
    let thief = within(client.campaign(&candidate("host-a"), Some(guess))).await.expect("the lock in turn");
    assert!(!thief.grant().resumed, "a secret was guessed");
    assert!(thief.grant().token.epoch > guess.epoch);
}

pub async fn a_holder_resumes_after_a_restart(kind: Kind) {
    let mut world = World::alone(kind, LONG).await;
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
            ttl = granted(first.as_mut()) => assert_eq!(ttl, world.lock_ttl()),
        }
    }
    let appointment = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(client.appoint(token, vec![appointment])).await.expect("an answer");
    assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
}

pub async fn a_restart_keeps_the_lock_for_its_holder(kind: Kind) {
    let mut world = World::alone(kind, SHORT).await;
    let mut first = hold(&world, "host-a").await;
    let renewed_at = Instant::now();
    let ttl = granted(first.as_mut()).await;
    let epoch = first.grant().token.epoch;
    // The holder is gone with its secret; the provider cannot know that, nor, perhaps, when it renewed last.
    drop(first);
    world.restart().await;
    let second = hold(&world, "host-b").await;
    let waited = Span::from_duration(renewed_at.elapsed()) + second.grant().predecessor_bound;
    assert!(waited >= ttl, "only {waited} after a renewal for {ttl}");
    assert!(second.grant().token.epoch > epoch);
}

pub async fn every_candidate_in_line_gets_its_turn(kind: Kind) {
    const LINE: usize = 8;
    let world = World::new(kind, LONG).await;
    let first = hold(&world, "host-a").await;
    let turns: Vec<_> = (0..LINE)
        .map(|index| {
            let client = world.client();
            tokio::spawn(async move {
                let session = hold_by(client, &format!("host-{index}")).await;
                let epoch = session.grant().token.epoch;
                within(session.resign(Span::ZERO)).await.expect("resigned");
                epoch
            })
        })
        .collect();
    within(first.resign(Span::ZERO)).await.expect("resigned");
    let mut epochs = BTreeSet::new();
    for turn in turns {
        epochs.insert(within(turn).await.expect("no panic"));
    }
    assert_eq!(epochs.len(), LINE, "an epoch was given twice: {epochs:?}");
}

pub async fn a_candidate_that_leaves_the_line_gets_nothing(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let first = hold(&world, "host-a").await;
    let (client, leaver) = (world.client(), candidate("host-b"));
    let campaign = client.campaign(&leaver, None);
    let waited = tokio::time::timeout(Duration::from_millis(300), campaign).await;
    assert!(waited.is_err(), "two hold the lock");
    drop(waited);
    // It leaves as its connection ends, which may be heard a moment later.
    let observer = world.client();
    let left = async { while within(observer.status()).await.expect("an answer").waiting > 0 {} };
    within(left).await;
    within(first.resign(Span::ZERO)).await.expect("resigned");
    let started = Instant::now();
    let third = hold(&world, "host-c").await;
    assert!(started.elapsed() < Duration::from_secs(10), "the lock went to somebody who had left");
    assert_eq!(third.grant().predecessor_bound, Span::ZERO, "somebody held it in between");
}

pub async fn a_candidate_that_cannot_be_taken_is_told(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let long =
        Candidate { address: baton_core::ids::Endpoint("x".repeat(10_000).into()), ..candidate("host-a") };
    let answer = within(world.client().campaign(&long, None)).await.map(|session| session.grant());
    assert!(matches!(answer, Err(ProviderError::NotApplied(_))), "{answer:?}");
    hold(&world, "host-b").await;
}

pub async fn a_full_line_takes_nobody_more(kind: Kind) {
    let world = World::planned(kind, Plan { candidates: 2, ..Plan::default() }).await;
    let first = hold(&world, "host-a").await;
    let waiting: Vec<_> = ["host-b", "host-c"]
        .map(|who| {
            let client = world.client();
            tokio::spawn(async move { hold_by(client, who).await })
        })
        .into();
    let observer = world.client();
    within(async { while within(observer.status()).await.expect("an answer").waiting < 2 {} }).await;
    let answer = within(world.client().campaign(&candidate("host-d"), None)).await.map(|it| it.grant());
    assert!(matches!(answer, Err(ProviderError::NotApplied(_))), "{answer:?}");
    within(first.resign(Span::ZERO)).await.expect("resigned");
    for session in waiting {
        let session = within(session).await.expect("no panic");
        within(session.resign(Span::ZERO)).await.expect("resigned");
    }
    hold(&world, "host-d").await;
}

pub async fn a_cut_connection_costs_its_holder_nothing(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let route = world.route().await;
    let mut session = hold_by(route.client(), "host-a").await;
    let client = world.client();
    for term in 1..=5 {
        route.cut();
        let token = session.grant().token;
        assert_eq!(granted(session.as_mut()).await, world.lock_ttl());
        let appointment = change(record("orders-1", term, term, "a1", token.epoch));
        let outcome = within(client.appoint(token, vec![appointment])).await.expect("an answer");
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    }
}

/// The holder hears nothing and is not heard, on a connection that looks whole.
pub async fn a_holder_that_is_not_heard_loses_the_lock_and_learns_it(kind: Kind) {
    let world = World::new(kind, SHORT).await;
    let route = world.route().await;
    let mut first = hold_by(route.client(), "host-a").await;
    let renewed_at = Instant::now();
    let ttl = granted(first.as_mut()).await;
    route.silence();
    let second = {
        let renewal = first.renew();
        tokio::pin!(renewal);
        let second = hold(&world, "host-b");
        tokio::pin!(second);
        let mut pending = true;
        loop {
            tokio::select! {
                biased;
                answer = &mut renewal, if pending => {
                    assert!(!matches!(answer, Ok(Renewal::Granted { .. })), "{answer:?} over a dead road");
                    pending = false;
                }
                second = &mut second => break second,
            }
        }
    };
    let waited = Span::from_duration(renewed_at.elapsed()) + second.grant().predecessor_bound;
    assert!(waited >= ttl, "only {waited} after a renewal for {ttl}");
    route.open();
    assert_eq!(renewed(first.as_mut()).await, Renewal::Lost { current: second.grant().token.epoch });
}

/// For less than what its clients take for an end, with somebody in line.
pub async fn a_provider_that_was_frozen_for_a_moment_takes_no_lock_away(kind: Kind) {
    let world = World::alone(kind, LONG).await;
    let mut session = hold(&world, "host-a").await;
    let (client, second_candidate) = (world.client(), candidate("host-b"));
    let mut second = Box::pin(client.campaign(&second_candidate, None));
    for _ in 0..3 {
        (0..world.nodes()).for_each(|node| world.freeze(node));
        let frozen = tokio::time::timeout(Duration::from_millis(400), session.renew()).await;
        assert!(!matches!(frozen, Ok(Ok(_))), "{frozen:?} from a frozen provider");
        (0..world.nodes()).for_each(|node| world.thaw(node));
        tokio::select! {
            biased;
            _ = &mut second => panic!("the lock was given away"),
            renewal = renewed(session.as_mut()) => {
                assert_eq!(renewal, Renewal::Granted { ttl: world.lock_ttl() });
            }
        }
    }
}

/// For so long that its clients give their connections up; nobody else wants the lock.
pub async fn a_provider_that_was_frozen_takes_no_lock_away(kind: Kind) {
    let world = World::alone(kind, LONG).await;
    let mut session = hold(&world, "host-a").await;
    let token = session.grant().token;
    for term in 1..=2 {
        (0..world.nodes()).for_each(|node| world.freeze(node));
        let frozen = tokio::time::timeout(Duration::from_millis(3_000), session.renew()).await;
        assert!(!matches!(frozen, Ok(Ok(_))), "{frozen:?} from a frozen provider");
        (0..world.nodes()).for_each(|node| world.thaw(node));
        world.well().await;
        assert_eq!(renewed(session.as_mut()).await, Renewal::Granted { ttl: world.lock_ttl() });
        let appointment = change(record("orders-1", term, term, "a1", token.epoch));
        let outcome = within(world.client().appoint(token, vec![appointment])).await.expect("an answer");
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    }
}

/// Who has the lock afterwards is open. That both believe in it is not.
pub async fn a_provider_that_was_frozen_for_longer_than_the_lock_has_one_holder(kind: Kind) {
    let world = World::alone(kind, SHORT).await;
    let mut first = hold(&world, "host-a").await;
    granted(first.as_mut()).await;
    let client = world.client();
    let second = tokio::spawn(async move { hold_by(client, "host-b").await });
    (0..world.nodes()).for_each(|node| world.freeze(node));
    let longer = world.lock_ttl() + Span::from_secs(1);
    tokio::time::sleep(longer.as_duration()).await; // tidy: waits because the lock has to run out meanwhile
    (0..world.nodes()).for_each(|node| world.thaw(node));
    let sent = Instant::now();
    if let Renewal::Granted { ttl } = renewed(first.as_mut()).await {
        // It is believed from before the call that was answered; the second must not come before that is over.
        let second = within(second).await.expect("no panic");
        let waited = Span::from_duration(sent.elapsed()) + second.grant().predecessor_bound;
        assert!(waited >= ttl, "{waited} after a renewal for {ttl}");
    } else {
        let second = within(second).await.expect("no panic");
        assert!(second.grant().token.epoch > first.grant().token.epoch);
    }
    assert!(matches!(renewed(first.as_mut()).await, Renewal::Lost { .. }));
}

/// Another's lock is never touched by somebody whose resignation comes late.
pub async fn a_late_resignation_frees_nobody_elses_lock(kind: Kind) {
    let world = World::new(kind, SHORT).await;
    let route: Route = world.route().await;
    let first = hold_by(route.client(), "host-a").await;
    route.hold(contract::Direction::Requests);
    let resignation = tokio::spawn(first.resign(Span::ZERO));
    let mut second = hold(&world, "host-b").await;
    granted(second.as_mut()).await;
    route.open();
    let resigned = within(async {
        tokio::pin!(resignation);
        loop {
            tokio::select! {
                biased;
                resigned = &mut resignation => return resigned,
                ttl = granted(second.as_mut()) => assert_eq!(ttl, world.lock_ttl()),
            }
        }
    });
    // Whatever it is told: it was late.
    let _ = resigned.await.expect("no panic");
    assert_eq!(granted(second.as_mut()).await, world.lock_ttl());
    let view = within(world.client().read()).await.expect("a snapshot").lock;
    assert_eq!(view.holder, Some(candidate("host-b")));
}

/// Keeps the suite honest about its own arbiter: its lock lives as long as its session.
pub async fn a_session_keeps_the_lock_of_its_token(kind: Kind) {
    let mut arbiter = Arbiter::new(kind).await;
    granted(arbiter.session.as_mut()).await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    let view = within(arbiter.client.status()).await.expect("an answer").lock;
    assert_eq!((view.epoch, view.holder), (arbiter.token.epoch, Some(candidate("host-a"))));
}
