//! The order of a drill to end the engine: for whom it counts, until when, and how often.

use super::*;

/// Of this version and term, resting on the beat of `beat`, for a second.
fn order(term: Term, beat: Time) -> Input {
    let order = Order::EndEngine { beat, within: Span::from_secs(1) };
    let (incarnation, version) = (incarnation(), Version(1));
    Input::FromArbiter(ToGuard::Directive(Directive { incarnation, epoch: EPOCH, version, term, order }))
}

fn kills(hand: &Hand) -> usize {
    hand.actions.iter().filter(|action| **action == Action::KillEngine).count()
}

#[test]
fn a_drill_ends_the_engine_of_the_master_at_its_term_and_only_once() {
    let mut hand = master(Time(0));
    hand.step(Time(10_000), order(Term(1), Time(0)));
    assert_eq!(kills(&hand), 1);
    assert_eq!(hand.right(), None, "the term is over");
    hand.step(Time(20_000), Input::EngineEnded);
    hand.step(Time(30_000), order(Term(1), Time(25_000)));
    hand.step(Time(40_000), Input::EngineConnected(probe(false)));
    hand.step(Time(50_000), order(Term(1), Time(45_000)));
    assert_eq!(kills(&hand), 1, "a repeated order finds no master");
}

#[test]
fn an_order_of_a_drill_that_is_late_or_of_another_term_is_nothing() {
    for (what, term, beat, now) in [
        ("late", Term(1), Time(0), Time(1_000_000)),
        ("from the future", Term(1), Time(50_000), Time(40_000)),
        ("of a term that it does not lead at", Term(0), Time(0), Time(10_000)),
    ] {
        let mut hand = master(Time(0));
        hand.step(now, order(term, beat));
        assert_eq!(kills(&hand), 0, "{what}");
        assert!(hand.right().is_some(), "{what}");
    }
    let mut candidate = candidate();
    candidate.step(Time(10_000), order(Term(1), Time(0)));
    assert_eq!(kills(&candidate), 0, "nobody leads yet");
}

#[test]
fn a_drill_leaves_an_engine_alone_that_is_not_ours_to_start_again() {
    let mut hand = master(Time(0));
    hand.guard.config.supervised = false;
    hand.step(Time(10_000), order(Term(1), Time(0)));
    assert_eq!(kills(&hand), 0);
    assert!(hand.right().is_some(), "it leads on");
}
