//! Whose provider it is: design, *Provider operations*; contracts, `check_identity`.

use baton_core::ids::{ClusterName, Version};
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_provider::{AppointOutcome, FatalError, Identity, ProviderError, StateProvider, identity_of};
use contract::{Arbiter, Kind, LONG, Plan, World, candidate, change, record, set, within};
use tokio_stream::StreamExt as _;

fn of(name: &str, secret: &str) -> Identity {
    identity_of(ClusterName::parse(name).expect("a name"), secret)
}

fn foreign<T: std::fmt::Debug>(result: Result<T, ProviderError>) {
    match result {
        Err(ProviderError::Fatal(FatalError::ForeignCluster(_))) => {}
        other => panic!("a stranger was let in, or not told why: {other:?}"),
    }
}

/// Nothing that a stranger asks for is done, and each refusal says that it is one.
async fn nothing_is_done_for(stranger: &dyn StateProvider, arbiter: &Arbiter) {
    let appointment = || vec![change(record("orders-1", 1, 1, "a1", arbiter.token.epoch))];
    foreign(within(stranger.join()).await);
    foreign(within(stranger.read()).await);
    foreign(within(stranger.status()).await);
    foreign(within(stranger.campaign(&candidate("host-x"), None)).await.map(|session| session.grant()));
    foreign(within(stranger.put_settings(arbiter.world.settings().version, Settings::default())).await);
    // Not even with a token that somebody overheard.
    foreign(within(stranger.appoint(arbiter.token, appointment())).await);
}

pub async fn another_secret_is_refused(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    within(arbiter.client.join()).await.expect("our own cluster");
    let before = within(arbiter.client.read()).await.expect("a snapshot");
    let stranger = arbiter.world.client_of(of("orders", "open barley"));
    nothing_is_done_for(stranger.as_ref(), &arbiter).await;
    assert_eq!(within(arbiter.client.read()).await.expect("a snapshot"), before);
    arbiter.world.restart().await;
    let stranger = arbiter.world.client_of(of("orders", "open barley"));
    nothing_is_done_for(stranger.as_ref(), &arbiter).await;
    within(arbiter.world.client().join()).await.expect("our own cluster");
}

/// The name and the secret are told apart: the remedy is another one.
pub async fn a_wrong_secret_and_a_foreign_cluster_have_their_own_words(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let error = within(world.client_of(of("orders", "open barley")).join()).await.expect_err("a stranger");
    let text = error.to_string();
    assert!(text.contains("secret") && text.contains("orders"), "{text}");
    assert!(!text.contains("barley") && !text.contains("sesame"), "{text}");
}

/// A stateboard belongs to one cluster.
pub async fn another_cluster_is_refused(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    let stranger = arbiter.world.client_of(of("billing", "open sesame"));
    nothing_is_done_for(stranger.as_ref(), &arbiter).await;
    let error = within(stranger.join()).await.expect_err("a stranger").to_string();
    assert!(error.contains("billing") && error.contains("orders"), "{error}");
    arbiter.world.restart().await;
    let stranger = arbiter.world.client_of(of("billing", "open sesame"));
    nothing_is_done_for(stranger.as_ref(), &arbiter).await;
}

/// An etcd has room for several, each below its own name; none sees anything of the other.
pub async fn another_cluster_has_keys_of_its_own(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    // Its name begins like ours.
    for name in ["billing", "orders-eu", "order"] {
        let other = arbiter.world.client_of(of(name, "another secret"));
        within(other.join()).await.expect("a cluster of its own");
        let snapshot = within(other.read()).await.expect("a snapshot");
        assert!(snapshot.records.is_empty() && snapshot.lock.holder.is_none(), "{name}: {snapshot:?}");
        let session = within(other.campaign(&candidate("host-x"), None)).await.expect("a lock of its own");
        let token = session.grant().token;
        let appointment = change(record("orders-1", 9, 1, "a2", token.epoch));
        within(other.appoint(token, vec![appointment])).await.expect("an answer");
        assert_eq!(within(other.read()).await.expect("a snapshot").settings.version, Version(0));
    }
    assert_eq!(arbiter.current("orders-1").await.map(|it| it.term.0), Some(1));
    let lock = within(arbiter.client.read()).await.expect("a snapshot").lock;
    assert_eq!(lock.holder, Some(candidate("host-a")));
}

/// For a change of the secret: hosts with the old one and with the new one work side by side, also after a restart.
pub async fn where_the_check_is_off_an_old_and_a_new_secret_work_side_by_side(kind: Kind) {
    let plan = Plan { check_identity: false, ..Plan::default() };
    let mut arbiter = Arbiter::of(World::planned(kind, plan).await).await;
    let mut term = 0;
    for restart in [false, true] {
        if restart {
            arbiter.world.restart().await;
        }
        let changed = arbiter.world.client_of(of("orders", "open barley"));
        within(changed.join()).await.expect("nobody is refused");
        for client in [arbiter.world.client(), changed] {
            term += 1;
            let appointment = change(arbiter.record("orders-1", term, term, "a1"));
            let outcome = within(client.appoint(arbiter.token, vec![appointment])).await.expect("an answer");
            assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
            let there = within(client.read()).await.expect("a snapshot").records;
            assert_eq!(there.get(&set("orders-1")).map(|it| it.term.0), Some(term));
        }
    }
    // The lock is one for all of them.
    let changed = arbiter.world.client_of(of("orders", "open barley"));
    within(arbiter.session.resign(Span::ZERO)).await.expect("resigned");
    let second = within(changed.campaign(&candidate("host-b"), None)).await.expect("the lock");
    assert!(second.grant().token.epoch > arbiter.token.epoch);
}

/// Two clusters on one stateboard by decision and not by mistake: they see each other's records.
pub async fn where_the_check_is_off_another_cluster_is_let_in(kind: Kind) {
    let plan = Plan { check_identity: false, ..Plan::default() };
    let mut arbiter = Arbiter::of(World::planned(kind, plan).await).await;
    for term in 1..=2 {
        arbiter.applied(vec![arbiter.record("orders-1", term, term, "a1")]).await;
        let other = arbiter.world.client_of(of("billing", "another secret"));
        within(other.join()).await.expect("nobody is refused");
        let there = within(other.read()).await.expect("a snapshot").records;
        assert_eq!(there.get(&set("orders-1")).map(|it| it.term.0), Some(term));
        arbiter.world.restart().await;
        arbiter = Arbiter { client: arbiter.world.client(), ..arbiter };
    }
}

pub async fn a_wrong_password_is_told_and_opens_nothing(kind: Kind) {
    const PASSWORD: &str = "xyzzy plugh";
    let plan = Plan { password: Some(PASSWORD), ..Plan::default() };
    let arbiter = Arbiter::of(World::planned(kind, plan).await).await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    for wrong in [None, Some("another"), Some("xyzzy plug")] {
        let stranger = arbiter.world.client_with(wrong);
        let appointment = vec![change(arbiter.record("orders-1", 2, 2, "a1"))];
        unauthenticated(within(stranger.join()).await);
        unauthenticated(within(stranger.read()).await);
        unauthenticated(within(stranger.appoint(arbiter.token, appointment)).await);
        unauthenticated(within(stranger.put_settings(Version(0), Settings::default())).await);
        unauthenticated(
            within(stranger.campaign(&candidate("host-x"), None)).await.map(|session| session.grant()),
        );
        let watch = match within(stranger.watch(None)).await {
            Ok(mut events) => within(events.next()).await.expect("an error is told before the end").map(drop),
            Err(error) => Err(error),
        };
        unauthenticated(watch);
    }
    assert_eq!(arbiter.current("orders-1").await.map(|it| it.term.0), Some(1));
    within(arbiter.world.client_with(Some(PASSWORD)).read()).await.expect("the right one opens");
}

fn unauthenticated<T: std::fmt::Debug>(result: Result<T, ProviderError>) {
    match result {
        Err(ProviderError::Fatal(FatalError::Unauthenticated(text))) => {
            assert!(!text.contains("xyzzy"), "{text}");
        }
        other => panic!("somebody without the password was let in, or not told why: {other:?}"),
    }
}
