//! All of the provider is killed while an answer is on its way, and started again: each call ends truthfully, and what is
//! unknown is settled by the same call.

use baton_core::ids::Version;
use baton_core::record::{Member, Settings};
use baton_core::time::Span;
use baton_provider::{
    AppointOutcome, ProviderError, SettingsOutcome, StateProvider, WatchEvent, WriteOutcome,
};
use contract::{
    Arbiter, Kind, MIDDLE, Route, Trap, World, candidate, change, contents, member, name, record, set, within,
};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt as _;

/// The first answer of a call, and the one after it: an etcd is read before it is written.
const ANSWERS: [usize; 2] = [0, 1];

/// Runs a call and kills the provider when the answer after the next `skip` is on its way.
async fn killed_during<T: Send + 'static>(
    world: &mut World,
    route: &Route,
    skip: usize,
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let sprung = route.set_after(skip, Trap::AnswerHeld);
    let call = tokio::spawn(call);
    // Where there are not so many, it is answered, and the provider dies after it.
    let _ = tokio::time::timeout(Duration::from_secs(1), sprung).await;
    world.restart().await;
    route.unset();
    route.cut();
    route.open();
    within(call).await.expect("no panic")
}

/// Asks until there is an answer: a connection that the kill broke may be noticed by the first who uses it.
async fn answered<T, F: Future<Output = Result<T, ProviderError>>>(call: impl Fn() -> F) -> T {
    let asked = async {
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(ProviderError::Fatal(error)) => panic!("a death is nothing for a person: {error}"),
                Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_)) => {}
            }
        }
    };
    within(asked).await
}

/// What the caller may conclude from the end of its call.
fn may_be<T: std::fmt::Debug>(answer: &Result<T, ProviderError>, is_there: bool) -> bool {
    match answer {
        Ok(_) => is_there,
        Err(ProviderError::NotApplied(_)) => !is_there,
        Err(ProviderError::Unknown(_)) => true,
        Err(ProviderError::Fatal(_)) => false,
    }
}

async fn member_of(client: &dyn StateProvider, instance: &str) -> Option<Member> {
    let snapshot = answered(|| client.read()).await;
    snapshot.members.get(&(set("orders-1"), name(instance))).cloned()
}

pub async fn members_and_settings_are_there_as_it_was_answered(kind: Kind) {
    let Arbiter { mut world, client, token, session: _session } = Arbiter::alone(kind).await;
    let route = world.route().await;
    for skip in ANSWERS {
        let caller = route.client();
        let wanted = Member { version: Version(1), ..member("orders-1", "a9") };
        let sent = wanted.clone();
        let call = async move { caller.put_member(token, sent).await };
        let put = killed_during(&mut world, &route, skip, call).await;
        let there = member_of(client.as_ref(), "a9").await;
        assert!(may_be(&put, there.is_some()), "{put:?}: {there:?}");
        let again = answered(|| client.put_member(token, wanted.clone())).await;
        assert!(matches!(again, WriteOutcome::Applied(_)), "{again:?}");
        assert_eq!(member_of(client.as_ref(), "a9").await, Some(wanted), "twice is once");

        let caller = route.client();
        let call = async move { caller.remove_member(token, &set("orders-1"), &name("a9")).await };
        let removed = killed_during(&mut world, &route, skip, call).await;
        let there = member_of(client.as_ref(), "a9").await;
        assert!(may_be(&removed, there.is_none()), "{removed:?}: {there:?}");
        let (of, instance) = (set("orders-1"), name("a9"));
        let again = answered(|| client.remove_member(token, &of, &instance)).await;
        assert!(matches!(again, WriteOutcome::Applied(_)), "{again:?}");
        assert_eq!(member_of(client.as_ref(), "a9").await, None);

        let before = answered(|| client.read()).await.settings;
        let wanted = Settings { ack_quorum: before.ack_quorum + 1, ..before.clone() };
        let (caller, sent, expected) = (route.client(), wanted.clone(), before.version);
        let call = async move { caller.put_settings(expected, sent).await };
        let put = killed_during(&mut world, &route, skip, call).await;
        let now = Settings { version: before.version.next(), ..wanted.clone() };
        match answered(|| client.put_settings(before.version, wanted.clone())).await {
            SettingsOutcome::Applied(_) => assert!(may_be(&put, false), "{put:?}"),
            SettingsOutcome::Conflict(shown) => {
                assert!(may_be(&put, true), "{put:?}");
                assert_eq!(*shown, now);
            }
            SettingsOutcome::Refused(refusal) => panic!("{refusal}"),
        }
        assert_eq!(answered(|| client.read()).await.settings, now);
    }
}

pub async fn reads_and_watches_tell_what_is_there(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    let route = arbiter.world.route().await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    let wanted = contents(within(arbiter.client.read()).await.expect("a snapshot"));
    let caller = route.client();
    let read = killed_during(&mut arbiter.world, &route, 0, async move { caller.read().await }).await;
    assert!(!matches!(read, Err(ProviderError::Fatal(_))), "{read:?}");
    if let Ok(snapshot) = read {
        assert_eq!(contents(snapshot), wanted);
    }
    let caller = route.client();
    let watch = killed_during(&mut arbiter.world, &route, 0, async move { caller.watch(None).await }).await;
    let mut events = watch.expect("a watch");
    let first = within(events.next()).await.expect("it goes on").expect("no error");
    let WatchEvent::Snapshot(snapshot) = first else { panic!("{first:?}") };
    assert_eq!(contents(*snapshot), wanted);
    let request = vec![change(arbiter.record("orders-1", 2, 2, "a1"))];
    let (client, token) = (arbiter.client.clone(), arbiter.token);
    answered(|| client.appoint(token, request.clone())).await;
    let mut term = 1;
    while term < 2 {
        term = match within(events.next()).await.expect("it goes on").expect("no error") {
            WatchEvent::Update(update) => update.items.len() as u64 + 1,
            WatchEvent::Snapshot(snapshot) => {
                snapshot.records.get(&set("orders-1")).map_or(0, |record| record.term.0)
            }
        };
    }
    assert_eq!(term, 2);
}

/// A lock whose grant died with the provider is nobody's; the candidate ends with one that is its own.
pub async fn a_campaign_ends_with_a_lock_that_is_ours_and_a_resignation_is_covered(kind: Kind) {
    for skip in ANSWERS {
        let mut world = World::alone(kind, MIDDLE).await;
        let route = world.route().await;
        let caller = route.client();
        let call = async move { caller.campaign(&candidate("host-a"), None).await };
        let session = killed_during(&mut world, &route, skip, call).await.expect("the lock");
        let token = session.grant().token;
        let observer = world.client();
        let request = vec![change(record("orders-1", 1, 1, "a1", token.epoch))];
        let outcome = answered(|| observer.appoint(token, request.clone())).await;
        let lock = answered(|| observer.read()).await.lock;
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?} under {lock:?}");
        assert_eq!((lock.epoch, lock.holder), (token.epoch, Some(candidate("host-a"))));

        // No grant outlives the granter's lock, so what it tells of is shorter.
        let last_grant = Span::from_millis(300);
        let resigned = Instant::now();
        let call =
            async move { tokio::time::timeout(Duration::from_secs(5), session.resign(last_grant)).await };
        let answer = killed_during(&mut world, &route, skip, call).await;
        let second = within(world.client().campaign(&candidate("host-b"), None)).await.expect("the lock");
        let waited = Span::from_duration(resigned.elapsed()) + second.grant().predecessor_bound;
        assert!(waited >= last_grant, "{answer:?}: only {waited}");
        assert!(second.grant().token.epoch > token.epoch);
    }
}
