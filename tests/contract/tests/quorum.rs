//! Three members of an etcd, of which one or two fail: design, *Provider operations*.

use baton_core::time::Span;
use baton_provider::{AppointOutcome, Item, ProviderError, Renewal, StateProvider, WatchEvent};
use contract::{Arbiter, Kind, LONG, Plan, SHORT, World, candidate, change, record, renewed, set, within};
use std::time::{Duration, Instant};
use tokio_stream::StreamExt as _;

/// Writes until it is known to be there, as an arbiter does: what is unknown is asked again as it is.
async fn appointed(arbiter: &Arbiter, client: &dyn StateProvider, term: u64) {
    let wanted = arbiter.record("orders-1", term, term, "a1");
    let asked = async {
        loop {
            match client.appoint(arbiter.token, vec![change(wanted.clone())]).await {
                Ok(AppointOutcome::Applied(_)) => return,
                Ok(AppointOutcome::Conflict(shown)) => {
                    assert_eq!(shown.into_values().collect::<Vec<_>>(), [Some(wanted.clone())]);
                    return;
                }
                Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    within(asked).await;
}

pub async fn a_majority_that_is_lost_and_regained_costs_no_answered_change(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    arbiter.applied(vec![arbiter.record("orders-1", 1, 1, "a1")]).await;
    let leader = arbiter.world.leader().await;
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    others.iter().for_each(|node| arbiter.world.kill(*node));
    let alone = arbiter.world.client_of_node(leader);
    let request = vec![change(arbiter.record("orders-1", 2, 2, "a1"))];
    let answer = within(alone.appoint(arbiter.token, request)).await;
    assert!(matches!(answer, Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_))), "{answer:?}");
    for _ in 0..3 {
        let read = within(alone.read()).await;
        assert!(matches!(read, Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_))), "{read:?}");
    }
    for node in others {
        arbiter.world.start(node).await;
    }
    arbiter.world.well().await;
    assert_eq!(renewed(arbiter.session.as_mut()).await, Renewal::Granted { ttl: arbiter.world.lock_ttl() });
    let client = arbiter.world.client();
    appointed(&arbiter, client.as_ref(), 2).await;
    appointed(&arbiter, client.as_ref(), 3).await;
    let lines = within(client.history(&set("orders-1"), 10)).await.expect("an answer");
    assert_eq!(lines.iter().map(|line| line.record.term.0).collect::<Vec<_>>(), [3, 2, 1]);
}

pub async fn the_death_of_the_leader_costs_no_lock_and_no_change(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    let client = arbiter.world.client();
    let mut events = within(client.watch(None)).await.expect("a watch");
    let first = within(events.next()).await.expect("it goes on").expect("no error");
    assert!(matches!(first, WatchEvent::Snapshot(_)), "{first:?}");
    let mut term = 0;
    for _ in 0..2 {
        for _ in 0..5 {
            term += 1;
            appointed(&arbiter, client.as_ref(), term).await;
        }
        let leader = arbiter.world.leader().await;
        arbiter.world.kill(leader);
        for _ in 0..5 {
            term += 1;
            appointed(&arbiter, client.as_ref(), term).await;
        }
        assert_eq!(
            renewed(arbiter.session.as_mut()).await,
            Renewal::Granted { ttl: arbiter.world.lock_ttl() }
        );
        arbiter.world.start(leader).await;
        arbiter.world.well().await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&term) {
        match within(events.next()).await.expect("it goes on").expect("no error") {
            WatchEvent::Update(update) => {
                seen.extend(update.items.into_iter().filter_map(|item| match item {
                    Item::Record(record) => Some(record.term.0),
                    _ => None,
                }))
            }
            WatchEvent::Snapshot(snapshot) => panic!("told anew: {snapshot:?}"),
        }
    }
    assert_eq!(seen, (1..=term).collect::<Vec<_>>());
}

/// It was frozen while the others went on; then it runs and they do not. It may believe that it leads.
pub async fn a_member_without_a_majority_is_never_believed(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    let mut term = 1;
    appointed(&arbiter, arbiter.client.clone().as_ref(), term).await;
    let leader = arbiter.world.leader().await;
    for minority in [leader, (leader + 1) % 3] {
        let others: Vec<usize> = (0..3).filter(|node| *node != minority).collect();
        let alone = arbiter.world.client_of_node(minority);
        let mut events = within(alone.watch(None)).await.expect("a watch");
        let first = within(events.next()).await.expect("it goes on").expect("no error");
        assert!(matches!(first, WatchEvent::Snapshot(_)), "{first:?}");
        arbiter.world.freeze(minority);
        term += 1;
        let client = arbiter.world.client();
        appointed(&arbiter, client.as_ref(), term).await;
        others.iter().for_each(|node| arbiter.world.freeze(*node));
        arbiter.world.thaw(minority);
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            let read = within(alone.read()).await;
            assert!(
                matches!(read, Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_))),
                "{read:?}"
            );
            let status = within(alone.status()).await;
            assert!(status.is_err(), "{status:?}");
        }
        let fresh = tokio::time::timeout(Duration::from_millis(500), async {
            match alone.watch(None).await {
                Ok(mut fresh) => fresh.next().await,
                Err(_) => std::future::pending().await,
            }
        });
        assert!(fresh.await.is_err(), "a watch began without a majority");
        // What the others had sent it before they were frozen it may tell: that was decided by a majority.
        let early = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
        others.iter().for_each(|node| arbiter.world.thaw(*node));
        arbiter.world.well().await;
        let next = match early {
            Ok(early) => early,
            Err(_) => within(events.next()).await,
        };
        let next = next.expect("it goes on").expect("no error");
        let WatchEvent::Update(update) = next else { panic!("told anew: {next:?}") };
        let told =
            update.items.iter().any(|item| matches!(item, Item::Record(record) if record.term.0 == term));
        assert!(told, "{update:?}");
        assert_eq!(
            renewed(arbiter.session.as_mut()).await,
            Renewal::Granted { ttl: arbiter.world.lock_ttl() }
        );
    }
}

/// It accepts connections and answers nothing, which no closed socket tells.
pub async fn a_member_that_hangs_is_gone_round(kind: Kind) {
    let mut arbiter = Arbiter::alone(kind).await;
    let mut term = 0;
    for hanging in 0..3 {
        // Each client begins with the members in the same order, so one of the three rounds meets the hanging one first.
        let client = arbiter.world.impatient_client();
        within(client.status()).await.expect("an answer");
        arbiter.world.freeze(hanging);
        let asked = Instant::now();
        for _ in 0..4 {
            term += 1;
            appointed(&arbiter, client.as_ref(), term).await;
            let snapshot = within(async {
                loop {
                    if let Ok(snapshot) = client.read().await {
                        return snapshot;
                    }
                }
            })
            .await;
            assert_eq!(snapshot.records.get(&set("orders-1")).map(|it| it.term.0), Some(term));
        }
        // An election, and the time-outs of the first calls; what follows goes elsewhere at once.
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?} round member {hanging}", asked.elapsed());
        let renewal = renewed(arbiter.session.as_mut()).await;
        assert_eq!(renewal, Renewal::Granted { ttl: arbiter.world.lock_ttl() });
        arbiter.world.thaw(hanging);
        arbiter.world.well().await;
    }
}

/// A lock that runs out while there is no majority is taken by one only, and not before its time.
pub async fn a_lock_without_a_majority_is_nobodys_news(kind: Kind) {
    let world = World::alone(kind, LONG).await;
    let client = world.client();
    let mut session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let leader = world.leader().await;
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    others.iter().for_each(|node| world.freeze(*node));
    let renewal = tokio::time::timeout(Duration::from_secs(3), session.renew()).await;
    assert!(!matches!(renewal, Ok(Ok(_))), "{renewal:?} without a majority");
    others.iter().for_each(|node| world.thaw(*node));
    world.well().await;
    assert_eq!(renewed(session.as_mut()).await, Renewal::Granted { ttl: world.lock_ttl() });
    let token = session.grant().token;
    let appointment = change(record("orders-1", 1, 1, "a1", token.epoch));
    let outcome = within(client.appoint(token, vec![appointment])).await.expect("an answer");
    assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    within(session.resign(Span::ZERO)).await.expect("resigned");
}

/// All three run, and the one that leads is cut off from the others, not from its clients. For a while it believes that it
/// leads: its reads must not be believed, and the others go on.
pub async fn a_leader_that_is_cut_off_is_not_believed(kind: Kind) {
    let plan = Plan { roads: true, ..Plan::default() };
    let mut arbiter = Arbiter::of(World::planned(kind, plan).await).await;
    appointed(&arbiter, arbiter.client.clone().as_ref(), 1).await;
    let leader = arbiter.world.leader().await;
    let cut_off = arbiter.world.client_of_node(leader);
    let mut events = within(cut_off.watch(None)).await.expect("a watch");
    within(events.next()).await.expect("it goes on").expect("no error");
    arbiter.world.isolate(leader).await;
    let read = tokio::spawn(async move {
        let mut last = 0;
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            let read = cut_off.read().await.map(|it| it.records.get(&set("orders-1")).map(|it| it.term.0));
            assert!(
                matches!(read, Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_))),
                "{read:?}"
            );
            last += 1;
        }
        last
    });
    // Whoever knows all members finds those that have a majority.
    let client = arbiter.world.impatient_client();
    for term in 2..=4 {
        appointed(&arbiter, client.as_ref(), term).await;
    }
    assert_eq!(renewed(arbiter.session.as_mut()).await, Renewal::Granted { ttl: arbiter.world.lock_ttl() });
    assert!(within(read).await.expect("no panic") > 0);
    arbiter.world.reunite().await;
    for term in 2..=4 {
        let next = within(events.next()).await.expect("it goes on").expect("no error");
        let WatchEvent::Update(update) = next else { panic!("told anew: {next:?}") };
        let told =
            update.items.iter().any(|item| matches!(item, Item::Record(record) if record.term.0 == term));
        assert!(told, "{term}: {update:?}");
    }
}

/// The holder of the lock reaches only the leader of the past, which would go on renewing leases that the others let expire.
pub async fn a_lock_is_not_renewed_by_a_leader_of_the_past(kind: Kind) {
    let plan = Plan { roads: true, lease_ttl: SHORT, ..Plan::default() };
    let world = World::planned(kind, plan).await;
    let leader = world.leader().await;
    let client = world.client_of_node(leader);
    let mut first = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    let sent = Instant::now();
    let Renewal::Granted { ttl } = renewed(first.as_mut()).await else { panic!("it is lost") };
    let mut believed_until = sent + ttl.as_duration();
    world.isolate(leader).await;
    let other = world.client_of_node((leader + 1) % 3);
    let second = tokio::spawn(async move {
        let second = within(other.campaign(&candidate("host-b"), None)).await.expect("the lock");
        (Instant::now(), second)
    });
    while !second.is_finished() {
        let sent = Instant::now();
        match tokio::time::timeout(Duration::from_millis(500), first.renew()).await {
            Ok(Ok(Renewal::Granted { ttl })) => believed_until = sent + ttl.as_duration(),
            Ok(Ok(Renewal::Lost { .. })) => break,
            Ok(Err(_)) | Err(_) => tokio::task::yield_now().await,
        }
    }
    let (taken, second) = within(second).await.expect("no panic");
    let may_act = taken + second.grant().predecessor_bound.as_duration();
    assert!(may_act >= believed_until, "two believed in the lock for {:?}", believed_until - may_act);
    world.reunite().await;
    let lost = renewed(first.as_mut()).await;
    assert!(matches!(lost, Renewal::Lost { .. }), "{lost:?}");
}

/// The leader sleeps through its own succession and the expiry of the lock, and wakes with renewals that it has not answered.
pub async fn a_lock_is_not_renewed_by_a_leader_that_slept(kind: Kind) {
    let world = World::alone(kind, SHORT).await;
    let leader = world.leader().await;
    let client = world.client_of_node(leader);
    let mut first = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
    renewed(first.as_mut()).await;
    world.freeze(leader);
    let holder = tokio::spawn(async move {
        let mut believed_until = None;
        loop {
            let sent = Instant::now();
            match tokio::time::timeout(Duration::from_millis(300), first.renew()).await {
                Ok(Ok(Renewal::Granted { ttl })) => believed_until = Some(sent + ttl.as_duration()),
                Ok(Ok(Renewal::Lost { .. })) => return believed_until,
                Ok(Err(_)) | Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let other = world.client_of_node((leader + 1) % 3);
    let second = within(other.campaign(&candidate("host-b"), None)).await.expect("the lock");
    let may_act = Instant::now() + second.grant().predecessor_bound.as_duration();
    world.thaw(leader);
    if let Some(believed_until) = within(holder).await.expect("no panic") {
        let both = believed_until.saturating_duration_since(may_act);
        assert!(both.is_zero(), "two believed in the lock for {both:?}");
    }
}
