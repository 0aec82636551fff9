//! Members, settings, history and the identity of the cluster: design, *Provider operations*.

use baton_core::ids::{ClusterName, ReplicaSetName, Version};
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_provider::{
    FatalError, ProviderError, RefusalReason, Renewal, SettingsOutcome, WriteOutcome, identity_of,
};
use contract::{HISTORY, Kind, World, candidate, change, member, name, record, within};

const LONG: Span = Span::from_secs(30);

pub async fn members_come_and_go(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let client = world.client();
    let session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let token = session.grant().token;
    let set = ReplicaSetName::parse("orders-1").expect("a name");
    let mut newcomer = member("orders-1", "a1");
    let WriteOutcome::Applied(first) = client.put_member(token, newcomer.clone()).await.expect("an answer")
    else {
        panic!("not applied")
    };
    let again = client.put_member(token, newcomer.clone()).await.expect("an answer");
    assert_eq!(again, WriteOutcome::Applied(first), "nothing changed, so nothing was written");
    newcomer.priority = 7;
    client.put_member(token, newcomer.clone()).await.expect("an answer");
    let members = client.read().await.expect("a snapshot").members;
    newcomer.version = Version(2);
    assert_eq!(members.into_values().collect::<Vec<_>>(), [newcomer]);

    client.put_member(token, member("orders-1", "a9")).await.expect("an answer");
    client
        .appoint(token, vec![change(record("orders-1", 1, 1, "a1", token.epoch))])
        .await
        .expect("an answer");
    for in_use in ["a1", "a2"] {
        match client.remove_member(token, &set, &name(in_use)).await.expect("an answer") {
            WriteOutcome::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::InUse, "{in_use}"),
            other => panic!("{in_use} was removed: {other:?}"),
        }
    }
    for _ in 0..2 {
        let removed = client.remove_member(token, &set, &name("a9")).await.expect("an answer");
        assert!(matches!(removed, WriteOutcome::Applied(_)), "{removed:?}");
    }
    let mut stale = token;
    stale.epoch.number += 1;
    let outcome = client.put_member(stale, member("orders-1", "a3")).await.expect("an answer");
    assert_eq!(outcome, WriteOutcome::StaleEpoch(token.epoch));
    assert_eq!(client.read().await.expect("a snapshot").members.len(), 1);
}

pub async fn settings_are_versioned_and_checked(kind: Kind) {
    let mut world = World::new(kind, LONG).await;
    let client = world.client();
    let before = client.read().await.expect("a snapshot").settings;
    assert_eq!(before.version, Version(0));
    let wanted = Settings { ack_quorum: 1, ..before.clone() };
    let outcome = client.put_settings(Version(0), wanted.clone()).await.expect("an answer");
    assert!(matches!(outcome, SettingsOutcome::Applied(_)), "{outcome:?}");
    let now = Settings { version: Version(1), ..wanted };
    let outcome = client.put_settings(Version(0), before.clone()).await.expect("an answer");
    assert_eq!(outcome, SettingsOutcome::Conflict(Box::new(now.clone())));
    let unsafe_one = Settings { lease_ttl: Span::from_millis(1), ..now.clone() };
    match client.put_settings(Version(1), unsafe_one).await.expect("an answer") {
        SettingsOutcome::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::Timing),
        other => panic!("{other:?}"),
    }
    world.restart().await;
    assert_eq!(within(world.client().read()).await.expect("a snapshot").settings, now);
}

pub async fn the_lock_follows_the_settings(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let client = world.client();
    let mut session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let longer = Settings { lease_ttl: Span::from_secs(60), ..Settings::default() };
    client.put_settings(Version(0), longer).await.expect("an answer");
    let renewal = within(session.renew()).await.expect("an answer");
    assert_eq!(renewal, Renewal::Granted { ttl: Span::from_secs(75) });
}

pub async fn history_is_bounded_and_newest_first(kind: Kind) {
    let mut world = World::new(kind, LONG).await;
    let client = world.client();
    let session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let token = session.grant().token;
    for term in 1..=10 {
        let appointment = change(record("orders-1", term, 2 * term - 1, "a1", token.epoch));
        client.appoint(token, vec![appointment]).await.expect("an answer");
        // A change at the same term is no appointment and leaves no line.
        let pinned = change(record("orders-1", term, 2 * term, "a1", token.epoch));
        client.appoint(token, vec![pinned]).await.expect("an answer");
    }
    world.restart().await;
    let client = world.client();
    let set = ReplicaSetName::parse("orders-1").expect("a name");
    let lines = within(client.history(&set, 100)).await.expect("an answer");
    assert_eq!(lines.len(), HISTORY);
    assert_eq!(lines.iter().map(|line| line.record.term.0).collect::<Vec<_>>(), [10, 9, 8, 7]);
    assert_eq!(lines[0].decision, "{\"term\":10}");
    assert_eq!(client.history(&set, 1).await.expect("an answer").len(), 1);
    let unknown = ReplicaSetName::parse("orders-2").expect("a name");
    assert!(client.history(&unknown, 100).await.expect("an answer").is_empty());
}

pub async fn another_cluster_is_refused(kind: Kind) {
    let world = World::new(kind, LONG).await;
    within(world.client().join()).await.expect("our own cluster");
    let cluster = |name| ClusterName::parse(name).expect("a name");
    let strangers =
        [identity_of(cluster("billing"), "open sesame"), identity_of(cluster("orders"), "open barley")];
    for stranger in strangers {
        let client = world.client_of(stranger);
        let foreign = |result: Result<(), ProviderError>| {
            let error = result.expect_err("a stranger was let in");
            assert!(matches!(error, ProviderError::Fatal(FatalError::ForeignCluster(_))), "{error}");
        };
        foreign(within(client.join()).await);
        foreign(within(client.read()).await.map(|_| ()));
        foreign(within(client.campaign(&candidate("host-x"), None)).await.map(|_| ()));
        foreign(within(client.put_settings(Version(0), Settings::default())).await.map(|_| ()));
    }
    assert_eq!(world.client().read().await.expect("a snapshot").settings.version, Version(0));
}
