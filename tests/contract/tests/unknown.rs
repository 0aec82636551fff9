//! Calls whose connection ends, or whose provider dies, somewhere between request and answer. Each ends truthfully (answered,
//! surely not applied, or unknown), and a conditional write settles what is unknown.

use baton_core::ids::Version;
use baton_core::record::{Change, Member, Settings};
use baton_core::time::Span;
use baton_provider::memory::Faults;
use baton_provider::{AppointOutcome, ProviderError, Renewal, SettingsOutcome, WatchEvent, WriteOutcome};
use contract::{
    Arbiter, Kind, LONG, MIDDLE, Route, Trap, World, candidate, change, contents, member, name, record,
    renewed, set, within,
};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt as _;

/// Everywhere on the way of a request and its answer.
const EVERYWHERE: [Trap; 4] = [Trap::RequestLost, Trap::RequestLeft, Trap::AnswerLost, Trap::AnswerHeld];

/// Each trap for the first message of a call and for those after it: an etcd is read before it is written, and an answer may
/// come in parts.
pub fn everywhere() -> impl Iterator<Item = (usize, Trap)> {
    (0..4).flat_map(|skip| EVERYWHERE.map(|trap| (skip, trap)))
}

/// What the caller is told of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Applied,
    NotApplied,
    Unknown,
}

pub fn told<T: std::fmt::Debug>(answer: &Result<T, ProviderError>) -> Told {
    match answer {
        Ok(_) => Told::Applied,
        Err(ProviderError::NotApplied(_)) => Told::NotApplied,
        Err(ProviderError::Unknown(_)) => Told::Unknown,
        Err(ProviderError::Fatal(error)) => panic!("a broken road is nothing for a person: {error}"),
    }
}

/// Makes one call over a road with this trap, and mends the road. One for the first message must spring.
pub async fn over<T>(route: &Route, (skip, trap): (usize, Trap), call: impl Future<Output = T>) -> T {
    connected(route).await;
    let sprung = route.set_after(skip, trap);
    let answer = within(call).await;
    route.unset();
    let sprung = within(sprung).await;
    assert!(skip > 0 || sprung.is_ok(), "{trap:?} caught nothing");
    route.cut();
    route.open();
    answer
}

/// Until the client has a connection again: one that is there is what usually breaks, and the first call over a broken one may
/// be the one that notices.
async fn connected(route: &Route) {
    let client = route.client();
    within(async { while client.status().await.is_err() {} }).await;
}

fn lease_of(kind: Kind) -> Span {
    // Where a lost lock is waited for, its lease is to be short.
    if matches!(kind, Kind::Etcd1 | Kind::Etcd3) { MIDDLE } else { LONG }
}

pub async fn an_unknown_appointment_is_settled_by_the_same_write(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let route = arbiter.world.route().await;
    let mut unknown = 0;
    for (round, trap) in everywhere().enumerate() {
        let of = format!("orders-{round}");
        let wanted = arbiter.record(&of, 1, 1, "a1");
        let request = vec![change(wanted.clone())];
        let client = route.client();
        let answer = over(&route, trap, client.appoint(arbiter.token, request.clone())).await;
        let told = told(&answer);
        unknown += usize::from(told == Told::Unknown);
        if let Ok(answer) = &answer {
            assert!(matches!(answer, AppointOutcome::Applied(_)), "{trap:?}: {answer:?}");
        }
        // Either ours lands now, or it is shown to have landed before: after this, nothing is unknown.
        let again = within(arbiter.client.appoint(arbiter.token, request)).await.expect("an answer");
        match (told, again) {
            (Told::NotApplied | Told::Unknown, AppointOutcome::Applied(_)) => {}
            (Told::Applied | Told::Unknown, AppointOutcome::Conflict(sets)) => {
                assert_eq!(sets.into_values().collect::<Vec<_>>(), [Some(wanted.clone())], "{trap:?}");
            }
            other => panic!("{trap:?}: {other:?}"),
        }
        assert_eq!(arbiter.current(&of).await, Some(wanted));
    }
    assert!(unknown > 0, "no outcome was unknown, so nothing was tested");
}

/// Whoever burns the version first makes a write harmless that is still under way.
pub async fn a_late_appointment_finds_its_version_burnt(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let route = arbiter.world.route().await;
    let mut late = 0;
    // A provider may ask something of its own at the same moment, and another request than the write is held then.
    for attempt in 0..24 {
        if late > 0 && attempt >= 4 {
            break;
        }
        let skip = attempt % 4;
        let of = format!("orders-{attempt}");
        connected(&route).await;
        let _sprung = route.set_after(skip, Trap::RequestHeld);
        let request = vec![change(arbiter.record(&of, 1, 1, "a1"))];
        let answer = within(route.client().appoint(arbiter.token, request)).await;
        route.unset();
        let told = told(&answer);
        if told != Told::Applied {
            late += usize::from(told == Told::Unknown);
            let burnt = arbiter.record(&of, 2, 1, "a2");
            arbiter.applied(vec![burnt.clone()]).await;
            // Now it arrives, unless its connection was given up.
            route.open();
            connected(&route).await;
            for _ in 0..5 {
                assert_eq!(arbiter.current(&of).await.as_ref(), Some(&burnt));
            }
        }
        route.open();
    }
    assert!(late > 0, "no write was under way for so long");
}

pub async fn an_unknown_change_of_a_member_is_settled_by_the_same_write(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let route = arbiter.world.route().await;
    let (client, token) = (arbiter.client.clone(), arbiter.token);
    let there = || async {
        let members = within(client.read()).await.expect("a snapshot").members;
        members.get(&(set("orders-1"), name("a9"))).cloned()
    };
    for trap in everywhere() {
        let wanted = Member { version: Version(1), ..member("orders-1", "a9") };
        let answer = over(&route, trap, route.client().put_member(token, wanted.clone())).await;
        let told_put = told(&answer);
        let seen = there().await;
        assert!(told_put != Told::Applied || seen.as_ref() == Some(&wanted), "{trap:?}: {seen:?}");
        assert!(told_put != Told::NotApplied || seen.is_none(), "{trap:?}: {seen:?}");
        let again = within(client.put_member(token, wanted.clone())).await.expect("an answer");
        assert!(matches!(again, WriteOutcome::Applied(_)), "{again:?}");
        // Twice is once: the version says so.
        assert_eq!(there().await, Some(wanted), "{trap:?}");

        let answer =
            over(&route, trap, route.client().remove_member(token, &set("orders-1"), &name("a9"))).await;
        let told_removed = told(&answer);
        let seen = there().await;
        assert!(told_removed != Told::Applied || seen.is_none(), "{trap:?}: {seen:?}");
        assert!(told_removed != Told::NotApplied || seen.is_some(), "{trap:?}");
        let again =
            within(client.remove_member(token, &set("orders-1"), &name("a9"))).await.expect("an answer");
        assert!(matches!(again, WriteOutcome::Applied(_)), "{again:?}");
        assert_eq!(there().await, None, "{trap:?}");
    }
}

pub async fn an_unknown_change_of_the_settings_is_settled_by_the_same_write(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let (route, client) = (world.route().await, world.client());
    for (round, trap) in (1..).zip(everywhere()) {
        let before = within(client.read()).await.expect("a snapshot").settings;
        let wanted = Settings { max_lag_bytes: Some(round), ..before.clone() };
        let answer = over(&route, trap, route.client().put_settings(before.version, wanted.clone())).await;
        let told = told(&answer);
        let again = within(client.put_settings(before.version, wanted.clone())).await.expect("an answer");
        let now = Settings { version: before.version.next(), ..wanted };
        match (told, again) {
            (Told::NotApplied | Told::Unknown, SettingsOutcome::Applied(_)) => {}
            (Told::Applied | Told::Unknown, SettingsOutcome::Conflict(shown)) => {
                assert_eq!(*shown, now, "{trap:?}")
            }
            other => panic!("{trap:?}: {other:?}"),
        }
        assert_eq!(within(client.read()).await.expect("a snapshot").settings, now);
    }
}

/// A lock whose grant was lost on the way is nobody's; the candidate gets one that is its own, whatever it takes.
pub async fn a_campaign_ends_with_a_lock_that_is_ours(kind: Kind) {
    for trap in EVERYWHERE {
        let world = World::new(kind, lease_of(kind)).await;
        let (route, client) = (world.route().await, world.client());
        connected(&route).await;
        let sprung = route.set(trap);
        let candidate = candidate("host-a");
        let road_client = route.client();
        let campaign = road_client.campaign(&candidate, None);
        tokio::pin!(campaign);
        let early = tokio::select! {
            biased;
            early = &mut campaign => Some(early),
            sprung = within(sprung) => {
                sprung.expect("the trap was not taken back");
                None
            }
        };
        route.unset();
        route.cut();
        route.open();
        let session = match early {
            Some(early) => early,
            None => within(campaign).await,
        };
        let mut session = session.expect("the lock");
        let renewal = within(session.renew()).await.expect("an answer");
        assert_eq!(renewal, Renewal::Granted { ttl: world.lock_ttl() }, "{trap:?}");
        let token = session.grant().token;
        let appointment = change(record("orders-1", 1, 1, "a1", token.epoch));
        let outcome = within(client.appoint(token, vec![appointment])).await.expect("an answer");
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{trap:?}: {outcome:?}");
        let lock = within(client.read()).await.expect("a snapshot").lock;
        assert_eq!((lock.epoch, lock.holder), (token.epoch, Some(candidate.clone())), "{trap:?}");
    }
}

pub async fn a_renewal_without_an_answer_is_asked_again(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let (route, client) = (world.route().await, world.client());
    let mut session = within(route.client().campaign(&candidate("host-a"), None)).await.expect("the lock");
    let token = session.grant().token;
    for (term, trap) in (1..).zip(EVERYWHERE) {
        let sprung = route.set(trap);
        // As an arbiter does: a time-out of its own, and then the next.
        let first = tokio::time::timeout(Duration::from_secs(3), session.renew()).await;
        route.unset();
        within(sprung).await.unwrap_or_else(|_| panic!("{trap:?} caught nothing"));
        if let Ok(first) = first {
            assert!(!matches!(first, Ok(Renewal::Lost { .. })), "{trap:?}: {first:?}");
        }
        route.cut();
        route.open();
        assert_eq!(renewed(session.as_mut()).await, Renewal::Granted { ttl: world.lock_ttl() }, "{trap:?}");
        let appointment = change(record("orders-1", term, term, "a1", token.epoch));
        let outcome = within(client.appoint(token, vec![appointment])).await.expect("an answer");
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{trap:?}: {outcome:?}");
    }
}

/// Whether or not it was heard: its last grant is waited for.
pub async fn a_resignation_without_an_answer_is_covered_all_the_same(kind: Kind) {
    for trap in EVERYWHERE {
        let world = World::new(kind, lease_of(kind)).await;
        let route = world.route().await;
        let session = within(route.client().campaign(&candidate("host-a"), None)).await.expect("the lock");
        let last_grant = Span::from_millis(1_000);
        let sprung = route.set(trap);
        let resigned = Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(8), session.resign(last_grant)).await;
        route.unset();
        within(sprung).await.unwrap_or_else(|_| panic!("{trap:?} caught nothing"));
        if let Ok(answer) = &answer {
            told(answer);
        }
        route.cut();
        route.open();
        let second = within(world.client().campaign(&candidate("host-b"), None)).await;
        let second = second.unwrap_or_else(|error| panic!("{trap:?}: {error}"));
        let waited = Span::from_duration(resigned.elapsed()) + second.grant().predecessor_bound;
        assert!(waited >= last_grant, "{trap:?}, {answer:?}: only {waited}");
    }
}

pub async fn a_read_without_an_answer_is_no_answer(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let route = arbiter.world.route().await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    let wanted = contents(within(arbiter.client.read()).await.expect("a snapshot"));
    for trap in everywhere() {
        let answer = over(&route, trap, route.client().read()).await;
        told(&answer);
        if let Ok(snapshot) = answer {
            // It may have been asked again elsewhere: reading changes nothing.
            assert_eq!(contents(snapshot), wanted, "{trap:?}");
        }
        connected(&route).await;
        let again = within(route.client().read()).await.expect("the road is mended");
        assert_eq!(contents(again), wanted, "{trap:?}");
    }
}

pub async fn a_watch_whose_beginning_is_lost_begins_again(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let route = arbiter.world.route().await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    for (term, trap) in (2..).zip(EVERYWHERE) {
        connected(&route).await;
        let sprung = route.set(trap);
        let client = route.client();
        let watch = tokio::spawn(async move { client.watch(None).await });
        within(sprung).await.expect("the trap was not taken back");
        route.cut();
        route.open();
        let mut events = within(watch).await.expect("no panic").expect("a watch");
        let first = within(events.next()).await.expect("a watch does not end").expect("no error");
        let WatchEvent::Snapshot(snapshot) = first else { panic!("{trap:?}: {first:?}") };
        assert_eq!(snapshot.records.get(&set("orders-1")).map(|it| it.term.0), Some(term - 1), "{trap:?}");
        arbiter.applied(vec![arbiter.record("orders-1", term, term, "a1")]).await;
        let next = within(events.next()).await.expect("a watch does not end").expect("no error");
        assert!(matches!(next, WatchEvent::Update(_)), "{trap:?}: {next:?}");
    }
}

/// An answer is on its way when all of the provider dies.
pub async fn what_a_provider_answered_when_it_was_killed_is_there(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    let route = arbiter.world.route().await;
    let mut there_and_unknown = 0;
    for (term, skip) in (1..).zip([0, 1, 2, 0, 1, 2]) {
        let request = vec![change(arbiter.record("orders-1", term, term, "a1"))];
        let (client, token, sent) = (route.client(), arbiter.token, request.clone());
        connected(&route).await;
        let sprung = route.set_after(skip, Trap::AnswerHeld);
        let appointing = tokio::spawn(async move { client.appoint(token, sent).await });
        // Without as many parts it is answered, and dies after it.
        let _ = tokio::time::timeout(Duration::from_secs(1), sprung).await;
        arbiter.world.restart().await;
        route.unset();
        route.cut();
        route.open();
        let answer = within(appointing).await.expect("no panic");
        let told = told(&answer);
        let again = settled(&arbiter, &request).await;
        match (told, again) {
            (Told::NotApplied | Told::Unknown, AppointOutcome::Applied(_)) => {}
            (Told::Applied | Told::Unknown, AppointOutcome::Conflict(shown)) => {
                let shown = shown.into_values().next().flatten().map(|it| it.term.0);
                assert_eq!(shown, Some(term));
                there_and_unknown += usize::from(told == Told::Unknown);
            }
            other => panic!("term {term}: {other:?}"),
        }
    }
    assert!(there_and_unknown > 0, "no answer was on its way when the provider died");
}

/// The answer to a request that may be repeated as it is.
async fn settled(arbiter: &Arbiter, request: &[Change]) -> AppointOutcome {
    let asked = async {
        loop {
            match arbiter.client.appoint(arbiter.token, request.to_vec()).await {
                Ok(outcome) => return outcome,
                // A connection that the kill broke may be noticed by the first who uses it.
                Err(error) => told_error(&error),
            }
        }
    };
    within(asked).await
}

pub fn told_error(error: &ProviderError) {
    assert!(!matches!(error, ProviderError::Fatal(_)), "a broken road is nothing for a person: {error}");
}

/// The same in memory, by its switches.
pub async fn what_the_switches_lose_is_settled_alike(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let faults = [
        (Faults { drop_answers: true, ..Faults::default() }, Told::Unknown),
        (Faults { refuse: true, ..Faults::default() }, Told::NotApplied),
    ];
    for (round, (faults, wanted)) in (0..).zip(faults) {
        let of = format!("orders-{round}");
        let request = vec![change(arbiter.record(&of, 1, 1, "a1"))];
        arbiter.world.set_faults(faults);
        let answer = within(arbiter.client.appoint(arbiter.token, request.clone())).await;
        arbiter.world.set_faults(Faults::default());
        assert_eq!(told(&answer), wanted);
        let again = within(arbiter.client.appoint(arbiter.token, request)).await.expect("an answer");
        assert_eq!(matches!(again, AppointOutcome::Conflict(_)), wanted == Told::Unknown, "{again:?}");
    }
}
