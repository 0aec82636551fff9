//! Members, settings and history: design, *Provider operations*.

use baton_core::ids::{Endpoint, Version};
use baton_core::record::{Member, SetSettings, Settings};
use baton_core::time::Span;
use baton_provider::{RefusalReason, Renewal, SettingsOutcome, StateProvider, WriteOutcome};
use contract::{Arbiter, HISTORY, Kind, LONG, World, change, member, name, record, set, within};

pub async fn members_come_and_go(kind: Kind) {
    let Arbiter { world, client, token, session: _session } = Arbiter::new(kind).await;
    let mut newcomer = member("orders-1", "a1");
    newcomer.zone = Some(baton_core::ids::Zone::parse("dc1").expect("a name"));
    let put = |member: Member| async { within(client.put_member(token, member)).await.expect("an answer") };
    let members = || async {
        let members = within(client.read()).await.expect("a snapshot").members;
        members.into_values().collect::<Vec<_>>()
    };
    for _ in 0..2 {
        // The second time nothing changes, so nothing is written.
        let outcome = put(newcomer.clone()).await;
        assert!(matches!(outcome, WriteOutcome::Applied(_)), "{outcome:?}");
        assert_eq!(members().await, [Member { version: Version(1), ..newcomer.clone() }]);
    }
    newcomer.priority = 7;
    put(newcomer.clone()).await;
    assert_eq!(members().await, [Member { version: Version(2), ..newcomer }]);

    put(member("orders-1", "a9")).await;
    let appointment = change(record("orders-1", 1, 1, "a1", token.epoch));
    within(client.appoint(token, vec![appointment])).await.expect("an answer");
    let remove = |instance: &'static str| {
        let client = world.client();
        async move {
            within(client.remove_member(token, &set("orders-1"), &name(instance))).await.expect("an answer")
        }
    };
    for in_use in ["a1", "a2"] {
        match remove(in_use).await {
            WriteOutcome::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::InUse, "{in_use}"),
            other => panic!("{in_use} was removed: {other:?}"),
        }
    }
    for _ in 0..2 {
        let removed = remove("a9").await;
        assert!(matches!(removed, WriteOutcome::Applied(_)), "{removed:?}");
    }
    assert_eq!(members().await.len(), 1);
    // One that left and comes back counts its versions from the start.
    put(member("orders-1", "a9")).await;
    let versions: Vec<_> = members().await.into_iter().map(|it| (it.instance, it.version.0)).collect();
    assert_eq!(versions, [(name("a1"), 2), (name("a9"), 1)]);
}

pub async fn too_many_members_or_too_much_of_one_is_refused(kind: Kind) {
    let Arbiter { world: _world, client, token, session: _session } = Arbiter::new(kind).await;
    let put = |member: Member| async { within(client.put_member(token, member)).await.expect("an answer") };
    let long = Member { endpoint: Endpoint("x".repeat(10_000).into()), ..member("orders-1", "a1") };
    let is_limit = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::Limit);
    let outcome = put(long).await;
    assert!(is_limit(&outcome), "{outcome:?}");
    for index in 0..64 {
        let outcome = put(member("orders-1", &format!("a{index}"))).await;
        assert!(matches!(outcome, WriteOutcome::Applied(_)), "{index}: {outcome:?}");
    }
    let outcome = put(member("orders-1", "a64")).await;
    assert!(is_limit(&outcome), "{outcome:?}");
    // One that is there may still change, and another set has room of its own.
    let changed = Member { priority: 3, ..member("orders-1", "a7") };
    for fits in [changed, member("orders-2", "a64")] {
        let outcome = put(fits).await;
        assert!(matches!(outcome, WriteOutcome::Applied(_)), "{outcome:?}");
    }
    assert_eq!(within(client.read()).await.expect("a snapshot").members.len(), 65);
}

pub async fn settings_are_versioned_and_checked(kind: Kind) {
    let mut world = World::alone(kind, LONG).await;
    let client = world.client();
    let before = within(client.read()).await.expect("a snapshot").settings;
    assert_eq!(&before, world.settings());
    let own = SetSettings { max_lag_bytes: Some(7), ack_quorum: Some(2), ..SetSettings::default() };
    let wanted = Settings {
        ack_quorum: 1,
        max_lag_bytes: Some(1 << 40),
        stall_timeout: Some(Span::from_secs(31)),
        overrides: [(set("orders-1"), own)].into(),
        ..before.clone()
    };
    let put = |expected, settings| {
        let client = client.clone();
        async move { within(client.put_settings(expected, settings)).await.expect("an answer") }
    };
    let outcome = put(before.version, wanted.clone()).await;
    assert!(matches!(outcome, SettingsOutcome::Applied(_)), "{outcome:?}");
    let now = Settings { version: Version(before.version.0 + 1), ..wanted };
    for wrong in [before.version, Version(now.version.0 + 1), Version(1_000)] {
        let outcome = put(wrong, before.clone()).await;
        assert_eq!(outcome, SettingsOutcome::Conflict(Box::new(now.clone())));
    }
    let not_safe = [
        Settings { lease_ttl: Span::ZERO, ..now.clone() },
        Settings { lease_ttl: Span(1), ..now.clone() },
        Settings { clock_drift_ppm: 0, ..now.clone() },
        Settings { clock_drift_ppm: 900_000, ..now.clone() },
        Settings { stall_timeout: Some(Span::ZERO), ..now.clone() },
    ];
    for settings in not_safe {
        match put(now.version, settings.clone()).await {
            SettingsOutcome::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::Timing),
            other => panic!("{settings:?}: {other:?}"),
        }
    }
    world.restart().await;
    assert_eq!(within(world.client().read()).await.expect("a snapshot").settings, now);
}

pub async fn of_two_who_change_the_settings_at_once_one_wins(kind: Kind) {
    let world = World::new(kind, LONG).await;
    let (one, other) = (world.client(), world.client());
    for round in 0..40 {
        let now = within(one.read()).await.expect("a snapshot").settings;
        let put = |client: std::sync::Arc<dyn StateProvider>, lag| {
            let settings = Settings { max_lag_bytes: Some(lag), ..now.clone() };
            let expected = now.version;
            async move { client.put_settings(expected, settings).await.expect("an answer") }
        };
        let (mine, theirs) = (2 * round + 1, 2 * round + 2);
        let both = async { tokio::join!(put(one.clone(), mine), put(other.clone(), theirs)) };
        let (winner, shown) = match within(both).await {
            (SettingsOutcome::Applied(_), SettingsOutcome::Conflict(shown)) => (mine, shown),
            (SettingsOutcome::Conflict(shown), SettingsOutcome::Applied(_)) => (theirs, shown),
            neither => panic!("round {round}: {neither:?}"),
        };
        assert_eq!(shown.max_lag_bytes, Some(winner));
        assert_eq!(shown.version, now.version.next());
    }
}

pub async fn the_lock_follows_the_settings(kind: Kind) {
    let Arbiter { world, client, mut session, .. } = Arbiter::new(kind).await;
    let longer = Settings { lease_ttl: Span::from_secs(60), ..world.settings().clone() };
    let ttl = world.lock_ttl_of(&longer);
    assert!(ttl > world.lock_ttl());
    let outcome = within(client.put_settings(world.settings().version, longer)).await.expect("an answer");
    assert!(matches!(outcome, SettingsOutcome::Applied(_)), "{outcome:?}");
    let renewal = within(session.renew()).await.expect("an answer");
    assert_eq!(renewal, Renewal::Granted { ttl });
}

pub async fn history_is_bounded_and_newest_first(kind: Kind) {
    let Arbiter { mut world, client, token, session: _session } = Arbiter::alone(kind).await;
    let terms = 10 + HISTORY as u64;
    for term in 1..=terms {
        let appointment = change(record("orders-1", term, 2 * term - 1, "a1", token.epoch));
        within(client.appoint(token, vec![appointment])).await.expect("an answer");
        // A change at the same term is no appointment and leaves no line.
        let pinned = change(record("orders-1", term, 2 * term, "a1", token.epoch));
        within(client.appoint(token, vec![pinned])).await.expect("an answer");
    }
    world.restart().await;
    let client = world.client();
    let lines = within(client.history(&set("orders-1"), 100)).await.expect("an answer");
    let wanted: Vec<u64> = (1..=terms).rev().take(HISTORY).collect();
    assert_eq!(lines.iter().map(|line| line.record.term.0).collect::<Vec<_>>(), wanted);
    let newest = lines.first().expect("there are lines");
    assert_eq!(newest.decision, format!("{{\"term\":{terms}}}"));
    assert_eq!(newest.record, record("orders-1", terms, 2 * terms - 1, "a1", token.epoch));
    assert_eq!(within(client.history(&set("orders-1"), 1)).await.expect("an answer").len(), 1);
    assert!(within(client.history(&set("orders-1"), 0)).await.expect("an answer").is_empty());
    // A name that begins alike is another set.
    assert!(within(client.history(&set("orders"), 100)).await.expect("an answer").is_empty());
}
