//! What a directive makes a guard do, and what it must not: whose term is known, who leads again, what a shrink waits for.

use super::*;
use crate::ids::Endpoint;

fn told(hand: &mut Hand, at: u64, version: u64, term: u64, order: Order) {
    let (incarnation, epoch) = (incarnation(), EPOCH);
    let directive = Directive { incarnation, epoch, version: Version(version), term: Term(term), order };
    hand.step(Time(at), Input::FromArbiter(ToGuard::Directive(directive)));
}

fn lead() -> Order {
    Order::Lead { in_sync: [member("a1")].into(), data_id: DataId("d".into()), ack_quorum: 0 }
}

fn follow(master: &str) -> Order {
    let (endpoint, data_id) = (Endpoint(format!("{master}:1").into()), DataId("d".into()));
    Order::Follow { master: member(master), endpoint, data_id, start: Position::at(0, 0), reach: None }
}

fn became_candidate(hand: &Hand, term: Term) -> bool {
    hand.actions.contains(&Action::Note(Note::Candidate(term)))
}

fn fence(hand: &Hand) -> Option<OpId> {
    hand.asked(|command| matches!(command, EngineCommand::Fence))
}

fn last_saved(hand: &Hand) -> Saved {
    let saved = hand.actions.iter().rev().find_map(|action| match action {
        Action::Persist { saved, .. } => Some(saved.clone()),
        _ => None,
    });
    saved.expect("something was written")
}

/// Its writes are on the disk.
fn settle(hand: &mut Hand, at: u64) {
    for _ in 0..3 {
        hand.persisted(Time(at));
    }
}

#[test]
fn every_order_that_names_a_master_says_whose_term_it_is() {
    let sever = Order::Sever { master: Some(member("a2")), reach: None, relinquished: false };
    for (order, master) in [(lead(), "a1"), (follow("a2"), "a2"), (sever, "a2"), (Order::Relinquish, "a1")] {
        let mut hand = started(probe(false), Some(Saved::default()), EPOCH);
        told(&mut hand, 0, 1, 3, order.clone());
        settle(&mut hand, 0);
        assert_eq!(last_saved(&hand).known_master, Some((Term(3), member(master))), "{order:?}");
    }
}

#[test]
fn whose_an_earlier_term_was_does_not_replace_whose_the_latest_is() {
    let mut hand = started(probe(false), Some(Saved::default()), EPOCH);
    told(&mut hand, 0, 1, 5, follow("a2"));
    told(&mut hand, 1, 2, 4, follow("a3"));
    settle(&mut hand, 1);
    assert_eq!(last_saved(&hand).known_master, Some((Term(5), member("a2"))));
}

#[test]
fn nobody_leads_below_the_highest_term_that_it_has_seen() {
    for (term, leads) in [(4, false), (5, true)] {
        let mut hand = started(probe(false), Some(Saved::default()), EPOCH);
        told(&mut hand, 0, 1, 5, follow("a2"));
        told(&mut hand, 1, 2, term, lead());
        assert_eq!(became_candidate(&hand, Term(term)), leads, "at {term}, having seen 5");
    }
}

#[test]
fn whoever_is_giving_a_term_up_becomes_no_candidate_before_its_engine_is_fenced() {
    let mut hand = master(Time(0));
    told(&mut hand, 4_000, 2, 2, lead());
    assert!(fence(&hand).is_some(), "the earlier term is given up");
    assert!(!became_candidate(&hand, Term(2)), "its engine may still be written");
    let op = fence(&hand).expect("it was asked for");
    hand.step(Time(5_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(false)) });
    told(&mut hand, 6_000, 3, 2, lead());
    assert!(became_candidate(&hand, Term(2)), "now it may not");
}

#[test]
fn a_master_that_is_told_to_follow_or_to_sever_at_its_own_term_keeps_its_engine() {
    let sever = Order::Sever { master: None, reach: None, relinquished: false };
    for order in [follow("a2"), sever] {
        let mut hand = master(Time(0));
        let right = hand.right();
        told(&mut hand, 4_000, 2, 1, order.clone());
        assert_eq!((hand.right(), fence(&hand)), (right, None), "{order:?}");
        settle(&mut hand, 4_000);
        let handed = hand.guard.hand_over(0).expect("everything is settled");
        assert!(handed.follow.is_none() && handed.severance.is_none(), "{handed:?}");
    }
}

#[test]
fn a_shrink_is_answered_by_a_look_of_its_own_that_shows_enough_holders() {
    // Of what this very proposal asked for, and so many replicas hold everything.
    let in_sync: BTreeSet<_> = ["a1", "a2", "a3"].map(member).into();
    for (asked_anew, held, answered) in [(true, 1, true), (true, 0, false), (false, 1, false)] {
        let order = Order::Lead { in_sync: in_sync.clone(), data_id: DataId("d".into()), ack_quorum: 1 };
        let mut hand = directed(probe(false), order);
        settle(&mut hand, 0);
        hand.grant(Time(1_000), Time(0), timing().lease_ttl);
        let armed = hand.last(arm);
        hand.step(Time(2_000), Input::Armed(armed));
        let op = hand.promotion().expect("it was sent");
        hand.step(Time(3_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(true)) });
        let shrink = |member| Order::Shrink { member, in_sync: in_sync.clone(), ack_quorum: 1 };
        told(&mut hand, 4_000, 2, 1, shrink(member("a2")));
        let look = |hand: &Hand| hand.asked(|command| matches!(command, EngineCommand::Quorum { .. }));
        let first = look(&hand).expect("it asks whether enough hold everything");
        if !asked_anew {
            // Whoever leaves by this one may have been counted by the look of the one before.
            told(&mut hand, 5_000, 3, 1, shrink(member("a3")));
        }
        let outcome = EngineOutcome::Done(Probe { replicas_caught_up: held, ..probe(true) });
        hand.step(Time(6_000), Input::EngineDone { op: first, outcome });
        let said = hand.actions.iter().any(|action| match action {
            Action::Beat(beat) => beat.honoured.as_ref().is_some_and(|honoured| honoured.dropped.is_some()),
            _ => false,
        });
        assert_eq!(said, answered, "asked anew: {asked_anew}, held by {held}");
    }
}

#[test]
fn a_newcomer_counts_until_a_record_of_a_higher_version_is_told() {
    for (version, needed) in [(2, true), (3, false)] {
        let mut hand = master(Time(0));
        let in_sync: BTreeSet<_> = ["a1", "a2"].map(member).into();
        told(&mut hand, 4_000, 2, 1, Order::Grow { member: member("a4"), in_sync: in_sync.clone() });
        let order = Order::Lead { in_sync, data_id: DataId("d".into()), ack_quorum: 0 };
        told(&mut hand, 5_000, version, 1, order);
        assert_eq!(hand.guard.needs().contains(&member("a4")), needed, "told of version {version}");
    }
}

#[test]
fn a_master_whose_name_is_anothers_gives_up_and_ends_its_engine() {
    let mut hand = master(Time(0));
    told(&mut hand, 4_000, 1, 1, Order::StandDown);
    assert_eq!(hand.right(), None);
    assert!(hand.actions.contains(&Action::KillEngine) && hand.actions.contains(&Action::StandDown));
    let mut replica = started(probe(false), Some(Saved::default()), EPOCH);
    told(&mut replica, 0, 1, 1, Order::StandDown);
    assert!(
        !replica.actions.contains(&Action::KillEngine),
        "one that accepts no write goes on for whoever has its name"
    );
}

#[test]
fn an_engine_that_is_writable_after_its_fence_is_not_fenced() {
    for (writable, over) in [(true, false), (false, true)] {
        let mut hand = master(Time(0));
        told(&mut hand, 4_000, 2, 1, Order::Relinquish);
        let op = fence(&hand).expect("it gives its term up");
        hand.step(Time(5_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(writable)) });
        let relinquished =
            hand.actions.iter().any(|action| matches!(action, Action::Note(Note::Relinquished { .. })));
        assert_eq!(
            (relinquished, !hand.actions.contains(&Action::KillEngine)),
            (over, over),
            "writable: {writable}"
        );
    }
}

#[test]
fn what_is_proposed_to_a_master_that_is_not_writable_yet_is_not_acknowledged() {
    for (promoted_first, acknowledged) in [(true, true), (false, false)] {
        let in_sync: BTreeSet<_> = ["a1", "a2"].map(member).into();
        let order = Order::Lead { in_sync: in_sync.clone(), data_id: DataId("d".into()), ack_quorum: 0 };
        let mut hand = directed(probe(false), order);
        settle(&mut hand, 0);
        hand.grant(Time(1_000), Time(0), timing().lease_ttl);
        let armed = hand.last(arm);
        hand.step(Time(2_000), Input::Armed(armed));
        let op = hand.promotion().expect("it was sent");
        let done = Input::EngineDone { op, outcome: EngineOutcome::Done(probe(true)) };
        let grow = Order::Grow { member: member("a4"), in_sync };
        if promoted_first {
            hand.step(Time(3_000), done);
            told(&mut hand, 4_000, 2, 1, grow);
        } else {
            told(&mut hand, 3_000, 2, 1, grow);
            hand.step(Time(4_000), done);
        }
        hand.grant(Time(6_000), Time(5_000), timing().lease_ttl);
        let said = hand.actions.iter().any(|action| match action {
            Action::Beat(beat) => beat.honoured.is_some(),
            _ => false,
        });
        let needed = hand.guard.needs().contains(&member("a4"));
        assert_eq!((said, needed), (acknowledged, acknowledged), "promoted first: {promoted_first}");
    }
}

/// The answer in its last beat: to whom, and for how many replicas commits wait then.
fn said(hand: &Hand) -> Option<(Option<Epoch>, Option<u32>)> {
    let last = hand.actions.iter().rev().find_map(|action| match action {
        Action::Beat(beat) => {
            Some(beat.honoured.as_ref().map(|honoured| (honoured.epoch, honoured.ack_quorum)))
        }
        _ => None,
    });
    last.flatten()
}

/// A master that this arbiter proposes something, grants a lease then, and whose engine answers what it was asked meanwhile.
fn proposed_by(hand: &mut Hand, epoch: Epoch, at: u64, order: Order) {
    hand.direct(epoch, Version(2), order);
    hand.guard.step(Time(at), Input::Tick);
    hand.step(Time(at), Input::Tick);
    let grant = Grant {
        beat: Time(at),
        incarnation: incarnation(),
        epoch,
        term: Term(1),
        ttl: timing().lease_ttl,
        lease: Span::ZERO,
        pinned: None,
    };
    hand.step(Time(at + 1), Input::FromArbiter(ToGuard::Grant(grant)));
    let asked = hand.actions.iter().rev().find_map(|action| match action {
        Action::Engine { op, .. } => Some(*op),
        _ => None,
    });
    let outcome = EngineOutcome::Done(Probe { replicas_caught_up: 2, ..probe(true) });
    hand.step(Time(at + 2), Input::EngineDone { op: asked.expect("it was promoted"), outcome });
    hand.step(Time(at + 3), Input::Tick);
}

/// Two arbiters propose the same, at the same version of the record.
#[test]
fn an_answer_says_to_which_arbiter_it_is() {
    let in_sync: BTreeSet<_> = ["a1", "a2", "a3"].map(member).into();
    let orders = [
        Order::Grow { member: member("a4"), in_sync: in_sync.clone() },
        Order::Shrink { member: member("a3"), in_sync: in_sync.clone(), ack_quorum: 0 },
        Order::Quorum { in_sync, ack_quorum: 1 },
    ];
    for order in orders {
        let mut hand = master(Time(0));
        for number in [1, 2] {
            let epoch = Epoch { number, ..EPOCH };
            proposed_by(&mut hand, epoch, number * 200_000, order.clone());
            assert_eq!(said(&hand).map(|(epoch, _)| epoch), Some(Some(epoch)), "{order:?}");
        }
    }
}

/// An arbiter of an older build would count the answer for its own.
#[test]
fn the_next_arbiters_order_to_lead_takes_back_what_was_answered_to_a_raise() {
    let in_sync: BTreeSet<_> = ["a1", "a2", "a3"].map(member).into();
    for (number, stands) in [(1, true), (2, false)] {
        let mut hand = master(Time(0));
        proposed_by(&mut hand, EPOCH, 200_000, Order::Quorum { in_sync: in_sync.clone(), ack_quorum: 1 });
        assert_eq!(said(&hand), Some((Some(EPOCH), Some(1))));
        let lead = Order::Lead { in_sync: in_sync.clone(), data_id: DataId("d".into()), ack_quorum: 0 };
        hand.direct(Epoch { number, ..EPOCH }, Version(2), lead);
        hand.step(Time(2_000_000), Input::Tick);
        assert_eq!(said(&hand).is_some(), stands, "told by {number}");
    }
}

/// Only of an arbiter that is believed, and only to the run that it is for.
#[test]
fn a_beat_names_the_arbiter_that_greeted_this_run_last() {
    let mut hand = directed(probe(false), lead());
    let mut greeted = |at: u64, incarnation: Incarnation, number: u64| {
        hand.actions.clear();
        let epoch = Epoch { number, ..EPOCH };
        let greeting = ToGuard::Greeting(Greeting { incarnation, epoch });
        hand.step(Time(at), Input::FromArbiter(greeting));
        hand.actions.iter().find_map(|action| match action {
            Action::Beat(beat) => Some(beat.greeted.map(|epoch| epoch.number)),
            _ => None,
        })
    };
    let own = incarnation();
    let other = Incarnation { run: own.run + 1, ..own };
    assert_eq!(greeted(1_000, own, EPOCH.number + 1), Some(Some(EPOCH.number + 1)), "and at once");
    assert_eq!(greeted(1_001, other, EPOCH.number + 2), None);
    assert_eq!(greeted(1_002, own, EPOCH.number), None, "another has the lock");
    assert_eq!(greeted(1_003, own, EPOCH.number + 2), Some(Some(EPOCH.number + 2)));
}
