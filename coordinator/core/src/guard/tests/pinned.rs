//! A pinned right: how long it lasts, and how it is given up.

use super::*;

const HOUR: Span = Span::from_secs(3_600);

fn pinned(hand: &mut Hand, now: Time, epoch: Epoch, version: u64) {
    let (beat, incarnation, term) = (now, incarnation(), Term(1));
    let grant = Grant {
        beat,
        incarnation,
        epoch,
        term,
        ttl: HOUR,
        lease: timing().lease_ttl,
        pinned: Some(Version(version)),
    };
    hand.step(now, Input::FromArbiter(ToGuard::Grant(grant)));
}

fn right(hand: &Hand) -> Time {
    hand.guard.right_until().expect("it holds a right").1
}

/// What the last beat says of an order to give a pin up.
fn unpinned(hand: &Hand) -> Option<(Epoch, Version)> {
    let beat = hand.actions.iter().rev().find_map(|action| match action {
        Action::Beat(beat) => Some(beat.unpinned),
        _ => None,
    });
    beat.expect("it has beaten")
}

#[test]
fn a_pin_lasts_for_its_length_less_a_margin_in_proportion() {
    let mut hand = candidate();
    pinned(&mut hand, Time(0), EPOCH, 1);
    let margin = timing().margin * (HOUR.0 / timing().lease_ttl.0 + 1);
    assert_eq!(right(&hand), (Time(0) + HOUR).back(margin));
    assert!(margin >= HOUR / 100, "twice the drift of half a percent");
    let mut leased = candidate();
    leased.grant(Time(0), Time(0), HOUR);
    assert_eq!(right(&leased), (Time(0) + timing().lease_ttl).back(timing().margin), "a grant is a lease");
}

/// Seed 60013635: a candidate of a paused set fenced its engine, which somebody had made writable, and was never promoted.
#[test]
fn a_candidate_with_a_pin_that_fences_a_hands_work_is_promoted_all_the_same() {
    let mut hand = durable_candidate();
    pinned(&mut hand, Time(0), EPOCH, 1);
    let armed = hand.last(arm);
    let look = hand.asked(|command| matches!(command, EngineCommand::Probe));
    hand.step(Time(1), Input::EngineConnected(probe(true)));
    let fence =
        hand.asked(|command| matches!(command, EngineCommand::Fence)).expect("nobody has the right yet");
    assert!(look.is_none_or(|look| look < fence));
    hand.step(Time(2), Input::Armed(armed));
    assert_eq!(hand.promotion(), None, "it may be writable still");
    hand.step(Time(3), Input::EngineDone { op: fence, outcome: EngineOutcome::Done(probe(false)) });
    assert!(!hand.actions.iter().any(|action| matches!(action, Action::Disarm)));
    assert!(hand.promotion().is_some(), "fenced, armed, and with a right");
}

#[test]
fn a_pin_is_given_up_when_the_deadman_holds_the_shorter_deadline_and_not_before() {
    let mut hand = candidate();
    pinned(&mut hand, Time(0), EPOCH, 1);
    let op = hand.last(arm);
    hand.step(Time(1), Input::Armed(op));
    let now = Time(0) + Span::from_secs(60);
    hand.step(now, Input::Tick);
    let directive = Directive {
        incarnation: incarnation(),
        epoch: EPOCH,
        version: Version(2),
        term: Term(1),
        order: Order::Unpin,
    };
    hand.step(now, Input::FromArbiter(ToGuard::Directive(directive)));
    assert!(right(&hand) <= now + timing().lease_ttl);
    let op = hand.last(arm);
    hand.step(now + Span::from_secs(1), Input::Tick);
    assert_eq!(unpinned(&hand), None, "the deadman would still wait for an hour");
    hand.step(now + Span::from_secs(1), Input::Armed(op));
    assert_eq!(unpinned(&hand), Some((EPOCH, Version(2))));
}

#[test]
fn a_pin_that_was_given_up_comes_back_by_a_later_record_or_a_later_arbiter_only() {
    let later = Epoch { generation: 1, number: 2 };
    for (epoch, version, counts) in [(EPOCH, 1, false), (EPOCH, 2, false), (EPOCH, 3, true), (later, 1, true)]
    {
        let mut hand = candidate();
        pinned(&mut hand, Time(0), EPOCH, 1);
        hand.direct(EPOCH, Version(2), Order::Unpin);
        pinned(&mut hand, Time(1), epoch, version);
        let long = right(&hand) > Time(1) + timing().lease_ttl;
        assert_eq!(long, counts, "epoch {epoch}, version {version}");
    }
}

#[test]
fn to_give_a_pin_up_never_lengthens_a_right() {
    let mut hand = candidate();
    hand.grant(Time(0), Time(0), timing().lease_ttl);
    let before = right(&hand);
    let later = Time(0) + timing().beat_master;
    let (incarnation, epoch, version, term) = (incarnation(), EPOCH, Version(2), Term(1));
    let directive = Directive { incarnation, epoch, version, term, order: Order::Unpin };
    hand.step(later, Input::FromArbiter(ToGuard::Directive(directive)));
    assert_eq!(right(&hand), before, "it rests on a grant that nobody has given again");
}

#[test]
fn each_order_to_give_a_pin_up_is_answered_for_itself() {
    let mut hand = candidate();
    for (now, version) in [(Time(0), 1), (Time(1_000), 3)] {
        pinned(&mut hand, now, EPOCH, version);
        hand.direct(EPOCH, Version(version + 1), Order::Unpin);
        let op = hand.last(arm);
        hand.step(now, Input::Armed(op));
        assert_eq!(unpinned(&hand), Some((EPOCH, Version(version + 1))));
    }
}

#[test]
fn a_master_says_what_is_left_of_its_pin_and_of_a_lease_nothing() {
    let mut hand = candidate();
    pinned(&mut hand, Time(0), EPOCH, 1);
    let minute = Span::from_secs(60);
    assert_eq!(hand.guard.pinned_left(Time(0) + minute), HOUR.less(minute));
    let mut leased = candidate();
    leased.grant(Time(0), Time(0), HOUR);
    assert_eq!(leased.guard.pinned_left(Time(0)), Span::ZERO);
}

#[test]
fn an_order_to_give_a_pin_up_is_answered_to_the_very_arbiter_that_gave_it() {
    let mut hand = candidate();
    pinned(&mut hand, Time(0), EPOCH, 1);
    // Both read the same record, and the second does not know what was said to the first.
    for epoch in [EPOCH, Epoch { number: 2, ..EPOCH }] {
        hand.direct(epoch, Version(2), Order::Unpin);
        let op = hand.last(arm);
        hand.step(Time(1_000), Input::Armed(op));
        assert_eq!(unpinned(&hand), Some((epoch, Version(2))));
    }
}
