//! Calls and bids beside the lock, as every provider keeps them: docs/protocol.md, P205.

use crate::watch::Known;
use baton_core::contender::Bid;
use baton_core::ids::{CoordinatorName, Endpoint, Epoch};
use baton_core::time::Span;
use baton_provider::{RefusalReason, StateProvider, WriteOutcome};
use contract::{Arbiter, Kind, candidate, within};

fn bid(by: &str, hears: u32, number: u64) -> Bid {
    let by = CoordinatorName::parse(by).expect("a good name");
    Bid { by, address: Endpoint("10.0.0.9:4402".into()), hears, number }
}

async fn put(client: &dyn StateProvider, epoch: Epoch, expected: u64, bid: Option<Bid>) -> WriteOutcome {
    within(client.put_bid(epoch, expected, bid)).await.expect("an answer")
}

async fn standing(client: &dyn StateProvider) -> Option<Bid> {
    within(client.read()).await.expect("a snapshot").lock.bid
}

pub async fn a_bid_stands_where_its_maker_knew_what_stood_before(kind: Kind) {
    let arbiter = Arbiter::new(kind).await;
    let (client, epoch) = (arbiter.client.as_ref(), arbiter.token.epoch);
    let applied = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Applied(_));
    let mut events = within(client.watch(None)).await.expect("a watch");
    let mut known = Known::default();
    known.one(&mut events).await;
    // The number is the provider's, whatever was said.
    assert!(applied(&put(client, epoch, 0, Some(bid("host-a", 1, 77))).await));
    assert_eq!(standing(client).await, Some(bid("host-a", 1, 1)));
    for late in [0, 2] {
        let outcome = put(client, epoch, late, Some(bid("host-c", 9, 0))).await;
        let refused =
            matches!(&outcome, WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::Version);
        assert!(refused, "{late}: {outcome:?}");
    }
    assert!(applied(&put(client, epoch, 1, Some(bid("host-b", 3, 0))).await));
    known.follow(&mut events, client).await;
    let told = known.lock.as_ref().and_then(|lock| lock.bid.clone());
    assert_eq!(told, Some(bid("host-b", 3, 2)), "the watch tells it");
    assert!(applied(&put(client, epoch, 2, None).await));
    assert_eq!(standing(client).await, None);
    known.follow(&mut events, client).await;
    assert_eq!(known.lock.as_ref().and_then(|lock| lock.bid.clone()), None);
}

pub async fn a_bid_ends_with_its_epoch(kind: Kind) {
    let Arbiter { world, client, token, session } = Arbiter::new(kind).await;
    let epoch = token.epoch;
    put(client.as_ref(), epoch, 0, Some(bid("host-b", 3, 0))).await;
    within(session.resign(Span::ZERO)).await.expect("resigned");
    // Whoever stands back for it still has to see it.
    assert_eq!(standing(client.as_ref()).await, Some(bid("host-b", 3, 1)));
    let second = within(world.client().campaign(&candidate("host-b"), None)).await.expect("the lock");
    assert_eq!(standing(client.as_ref()).await, None);
    let now = second.grant().token.epoch;
    assert_eq!(put(client.as_ref(), epoch, 1, None).await, WriteOutcome::StaleEpoch(now));
    let fresh = put(client.as_ref(), now, 0, Some(bid("host-b", 1, 0))).await;
    assert!(matches!(fresh, WriteOutcome::Applied(_)), "{fresh:?}");
}
