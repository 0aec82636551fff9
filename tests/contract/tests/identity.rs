//! Whose provider it is: design, *Provider operations*; contracts, `check_identity`.

use baton_core::ids::{ClusterName, Version};
use baton_core::record::Settings;
use baton_provider::{FatalError, Identity, ProviderError, StateProvider, identity_of};
use contract::{Arbiter, Kind, LONG, World, candidate, change, record, within};

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
