//! What the end of an engine, or of its deadman, settles: what was lost on the way to the one is of the past, and what the other
//! held is gone.

use super::*;
use crate::ids::Endpoint;

fn granted(hand: &mut Hand, at: u64, term: Term) {
    let (incarnation, epoch, ttl) = (incarnation(), EPOCH, timing().lease_ttl);
    let grant = Grant { beat: Time(at), incarnation, epoch, term, ttl, lease: Span::ZERO, pinned: None };
    hand.step(Time(at), Input::FromArbiter(ToGuard::Grant(grant)));
}

/// Directs it to lead at this term, by the version of the same number, and lets the disk keep up.
fn appointed(hand: &mut Hand, at: u64, term: u64, ack_quorum: u32) {
    let order = Order::Lead { in_sync: [member("a1")].into(), data_id: DataId("d".into()), ack_quorum };
    let (incarnation, epoch, version) = (incarnation(), EPOCH, Version(term));
    let directive = Directive { incarnation, epoch, version, term: Term(term), order };
    hand.step(Time(at), Input::FromArbiter(ToGuard::Directive(directive)));
    for _ in 0..2 {
        hand.persisted(Time(at));
    }
}

/// Granted and armed at this term.
fn ready(hand: &mut Hand, at: u64, term: u64) {
    granted(hand, at, Term(term));
    let armed = hand.last(arm);
    hand.step(Time(at), Input::Armed(armed));
}

fn next_run() -> Probe {
    Probe { run: EngineRun("a1.2".into()), ..probe(false) }
}

#[test]
fn a_promotion_that_was_lost_is_settled_by_the_end_of_its_engine() {
    let mut hand = durable_candidate();
    ready(&mut hand, 1_000, 1);
    assert!(hand.promotion().is_some(), "it was sent");
    hand.step(Time(3_000), Input::EngineDisconnected);
    hand.step(Time(5_000), Input::EngineEnded);
    hand.step(Time(6_000), Input::EngineConnected(next_run()));
    hand.actions.clear();
    appointed(&mut hand, 7_000, 2, 0);
    ready(&mut hand, 8_000, 2);
    assert!(hand.promotion().is_some(), "no promotion is on its way to this run");
}

#[test]
fn a_run_that_may_come_to_wait_for_fewer_is_not_promoted_and_the_next_one_is() {
    let mut hand = durable_candidate();
    ready(&mut hand, 1_000, 1);
    let op = hand.promotion().expect("it was sent");
    hand.step(Time(2_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(true)) });
    hand.guard.quorum_lost(0);
    hand.step(Time(3_000), Input::EngineEnded);
    hand.step(Time(4_000), Input::EngineConnected(next_run()));
    // That the first run was whole, and that it has ended.
    hand.persisted(Time(4_000));
    hand.persisted(Time(4_000));
    hand.actions.clear();
    appointed(&mut hand, 5_000, 2, 1);
    ready(&mut hand, 6_000, 2);
    assert!(hand.promotion().is_some(), "what was lost was said to the earlier run");
    assert!(!hand.actions.contains(&Action::KillEngine));
}

#[test]
fn an_order_to_follow_that_was_lost_ends_one_run_and_not_the_next() {
    let follow = Order::Follow {
        master: member("a2"),
        endpoint: Endpoint("a2:1".into()),
        data_id: DataId("d".into()),
        start: Position::at(0, 5),
        reach: None,
    };
    let marked = |run: &str| {
        let data = DataState::Marked { id: DataId("d".into()), term: Term(1) };
        Probe { run: EngineRun(run.into()), data, ..probe(false) }
    };
    let mut hand = directed(marked("a1.1"), follow);
    let op = hand.asked(|command| matches!(command, EngineCommand::Follow { .. })).expect("it is told to");
    hand.direct(EPOCH, Version(2), Order::Sever { master: None, reach: None, relinquished: false });
    let outcome = EngineOutcome::Unknown("no answer".into());
    hand.step(Time(1_000), Input::EngineDone { op, outcome });
    assert!(hand.actions.contains(&Action::KillEngine), "it may still come to follow");
    hand.step(Time(2_000), Input::EngineEnded);
    hand.actions.clear();
    hand.step(Time(3_000), Input::EngineConnected(marked("a1.2")));
    assert!(!hand.actions.contains(&Action::KillEngine), "nothing was ever asked of this run");
    assert!(hand.asked(|command| matches!(command, EngineCommand::Fence)).is_some(), "it is severed");
}

#[test]
fn a_deadman_that_comes_back_is_armed_anew_before_anything_is_promoted() {
    let mut hand = durable_candidate();
    ready(&mut hand, 1_000, 1);
    let op = hand.promotion().expect("it was sent");
    hand.step(Time(2_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(true)) });
    hand.step(Time(3_000), Input::DeadmanLost);
    let op = hand.asked(|command| matches!(command, EngineCommand::Fence)).expect("its right is over");
    hand.step(Time(4_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(false)) });
    hand.step(Time(5_000), Input::DeadmanUp);
    hand.persisted(Time(5_000));
    hand.actions.clear();
    appointed(&mut hand, 6_000, 2, 0);
    granted(&mut hand, 7_000, Term(2));
    assert_eq!(hand.promotion(), None, "what the earlier one held is no deadline of this one");
    let armed = hand.last(arm);
    hand.step(Time(8_000), Input::Armed(armed));
    assert!(hand.promotion().is_some());
}

#[test]
fn nothing_is_promoted_while_there_is_no_deadman_whatever_is_said_of_one() {
    let mut hand = durable_candidate();
    hand.step(Time(500), Input::DeadmanLost);
    appointed(&mut hand, 600, 2, 0);
    ready(&mut hand, 1_000, 2);
    assert_eq!(hand.promotion(), None);
}

/// Seed 100056377: it led nothing any more by its own word, and its engine had not answered.
#[test]
fn whoever_gave_up_says_that_its_engine_may_be_written_until_that_is_fenced() {
    let said = |hand: &Hand| {
        hand.actions.iter().rev().find_map(|action| match action {
            Action::Beat(beat) => Some((beat.stand, beat.engine.may_write)),
            _ => None,
        })
    };
    let mut hand = durable_candidate();
    hand.step(Time(0), Input::Attached);
    assert_eq!(said(&hand), Some((Stand::Candidate(Term(1)), false)));
    ready(&mut hand, 1_000, 1);
    let op = hand.promotion().expect("it was sent");
    hand.step(Time(1_500), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(true)) });
    hand.step(Time(2_000), Input::DeadmanLost);
    assert_eq!(said(&hand), Some((Stand::Standby, true)), "its fence is not answered");
    let op = hand.asked(|command| matches!(command, EngineCommand::Fence)).expect("its right is over");
    hand.step(Time(3_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(false)) });
    assert_eq!(said(&hand), Some((Stand::Standby, false)));
}

/// Seed 8026 of the chaos suite: 70 terms a second, each with a promotion that a full disk refused.
#[test]
fn whoever_could_not_be_promoted_says_that_it_is_not_fit_for_a_while() {
    let holds = |hand: &Hand| -> Vec<Span> {
        let beats = hand.actions.iter().filter_map(|action| match action {
            Action::Beat(beat) => Some(beat.hold),
            _ => None,
        });
        beats.collect()
    };
    let wait = timing().promote_wait;
    for (refused, said) in [(true, wait), (false, Span::ZERO)] {
        let mut hand = durable_candidate();
        hand.step(Time(0), Input::Attached);
        ready(&mut hand, 1_000, 1);
        let op = hand.promotion().expect("it was sent");
        hand.actions.clear();
        let outcome = EngineOutcome::Refused("full".into());
        let over = if refused { Input::EngineDone { op, outcome } } else { Input::DeadmanLost };
        hand.step(Time(2_000), over);
        assert_eq!(holds(&hand).last(), Some(&said), "refused: {refused}");
        hand.actions.clear();
        hand.step(Time(2_000) + wait, Input::Tick);
        assert_eq!(holds(&hand).last(), Some(&Span::ZERO));
    }
}

/// Seed 10002 of the chaos suite: an engine whose log was damaged by a full disk was started four times a second, for ever.
#[test]
fn an_engine_that_does_not_come_up_is_started_less_and_less_often() {
    let lease = timing().lease_ttl;
    let waits_after = |hand: &mut Hand, at: Time| {
        hand.actions.clear();
        hand.step(at, Input::EngineEnded);
        let waits = hand.actions.iter().find_map(|action| match action {
            Action::Note(Note::EngineEnded { restart_in }) => *restart_in,
            _ => None,
        });
        waits.expect("it is supervised")
    };
    let twelfth = lease / 12;
    // It was never seen, or was up for long.
    for (seen, first) in [(false, Span::ZERO), (true, twelfth)] {
        let mut hand = started(probe(false), Some(Saved::default()), EPOCH);
        if !seen {
            hand.guard.engine = engine::EngineState::new(Time(0));
        }
        let mut now = Time(0) + lease * 2;
        let mut waited = Vec::new();
        for _ in 0..9 {
            let wait = waits_after(&mut hand, now);
            waited.push(wait);
            now = now + wait + Span::from_millis(50);
            hand.step(now, Input::Tick);
        }
        let doubled: Vec<Span> =
            (0..9).map(|times| (twelfth * (1 << times)).min(Span::from_secs(10))).collect();
        assert_eq!((waited[0], &waited[1..]), (first, &doubled[1..]), "seen: {seen}");
        // Up for longer than a lease it has come up.
        hand.step(now, Input::EngineConnected(probe(false)));
        assert_eq!(waits_after(&mut hand, now + lease + Span(1)), twelfth);
    }
}
