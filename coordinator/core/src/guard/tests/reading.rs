//! What a guard reads when it starts, and when it says that a term is over.

use super::*;
use crate::fixture::name;
use crate::record::Record;

const READ: Epoch = Epoch { generation: 1, number: 5 };

/// The provider's record: another member is master at term 7.
fn recorded() -> Record {
    Record { epoch: READ, ..fixture::record("a2", Term(7)) }
}

/// A guard of a run that starts, with a deadman and a stream, that has neither seen its engine nor read anything.
fn starting() -> Hand {
    starting_after(Saved::default(), true)
}

/// The same after a run that left this behind.
fn starting_after(saved: Saved, same_boot: bool) -> Hand {
    let config = Config {
        instance: name("a1"),
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        incarnation: incarnation(),
        supervised: true,
        failsafe: true,
        timing: timing(),
        rules: Rules::default(),
    };
    let mut hand = Hand { guard: Guard::new(Time(0), config, saved, same_boot), actions: Vec::new() };
    hand.step(Time(0), Input::DeadmanUp);
    hand.step(Time(0), Input::Attached);
    hand
}

fn last_beat(hand: &Hand) -> Beat {
    let beat = hand.actions.iter().rev().find_map(|action| match action {
        Action::Beat(beat) => Some(Beat::clone(beat)),
        _ => None,
    });
    beat.expect("it has beaten")
}

fn reads(hand: &mut Hand, at: u64) {
    hand.step(Time(at), Input::ProviderRead { record: Some(recorded()), epoch: READ });
}

fn lead_at(hand: &mut Hand, at: u64, epoch: Epoch, term: Term) {
    let (in_sync, data_id, ack_quorum) = (BTreeSet::new(), DataId("d".into()), 0);
    let order = Order::Lead { in_sync, data_id, ack_quorum };
    let directive = Directive { incarnation: incarnation(), epoch, version: Version(5), term, order };
    hand.step(Time(at), Input::FromArbiter(ToGuard::Directive(directive)));
}

#[test]
fn what_was_read_binds_a_guard_as_if_it_had_been_told() {
    let mut hand = starting();
    hand.step(Time(1), Input::EngineConnected(probe(false)));
    reads(&mut hand, 2);
    let beat = last_beat(&hand);
    assert_eq!(beat.highest_term, Term(7), "nobody is appointed at a term that was used");
    assert_eq!(beat.known_master, Some((Term(7), name("a2"))), "after a restore somebody has to know");
    let saved = hand.actions.iter().rev().find_map(|action| match action {
        Action::Persist { saved, .. } => Some(saved.highest_epoch),
        _ => None,
    });
    assert_eq!(saved, Some(READ), "and the next run on this disk knows it, too");
    for (number, heeded) in [(4, false), (5, true)] {
        let mut hand = starting();
        hand.step(Time(1), Input::EngineConnected(probe(false)));
        reads(&mut hand, 2);
        lead_at(&mut hand, 3, Epoch { number, ..READ }, Term(8));
        let candidate = hand.actions.iter().any(|action| matches!(action, Action::Note(Note::Candidate(_))));
        assert_eq!(candidate, heeded, "an arbiter of epoch {number}, where {READ} was read");
    }
}

#[test]
fn a_term_that_was_read_is_relinquished_only_once_the_engine_is_surely_fenced() {
    let mut hand = starting();
    reads(&mut hand, 1);
    assert_eq!(last_beat(&hand).relinquished, None, "nothing is known of the engine");
    hand.step(Time(2), Input::EngineConnected(probe(false)));
    let relinquished = last_beat(&hand).relinquished.expect("it was seen, and is fenced");
    assert_eq!((relinquished.term, relinquished.position), (Term(7), Position::Unknown));

    let mut hand = starting();
    reads(&mut hand, 1);
    hand.step(Time(2), Input::EngineConnected(probe(true)));
    assert_eq!(last_beat(&hand).relinquished, None, "it was found writable");
    let fence = hand.asked(|command| matches!(command, EngineCommand::Fence)).expect("and is fenced");
    hand.step(Time(3), Input::EngineDone { op: fence, outcome: EngineOutcome::Done(probe(false)) });
    hand.step(Time(3) + timing().beat_replica, Input::Tick);
    assert_eq!(
        last_beat(&hand).relinquished.map(|it| it.term),
        Some(Term(7)),
        "and says so with its next beat"
    );
}

#[test]
fn a_term_is_not_relinquished_by_order_while_the_engine_may_be_written() {
    for (writable, said) in [(true, None), (false, Some(Term(9)))] {
        let mut hand = starting();
        hand.step(Time(1), Input::EngineConnected(probe(writable)));
        reads(&mut hand, 2);
        let (version, order) = (Version(6), Order::Relinquish);
        let directive = Directive { incarnation: incarnation(), epoch: READ, version, term: Term(9), order };
        hand.step(Time(3), Input::FromArbiter(ToGuard::Directive(directive)));
        assert_eq!(last_beat(&hand).relinquished.map(|it| it.term), said, "writable: {writable}");
    }
}

#[test]
fn nobody_leads_before_it_has_read_or_at_a_term_that_it_read() {
    let candidate =
        |hand: &Hand| hand.actions.iter().any(|action| matches!(action, Action::Note(Note::Candidate(_))));
    let mut hand = starting();
    hand.step(Time(1), Input::EngineConnected(probe(false)));
    lead_at(&mut hand, 2, READ, Term(8));
    assert!(!candidate(&hand), "it may be the term at which an earlier run led");
    // Nothing is known of the engine, so the term that was read is not relinquished yet either.
    for (term, leads) in [(7, false), (8, true)] {
        let mut hand = starting();
        reads(&mut hand, 1);
        lead_at(&mut hand, 2, READ, Term(term));
        assert_eq!(candidate(&hand), leads, "at {term}, having read 7");
    }
}

/// Seed 120053584: a guard that a boot had made forget its promises wrote its file, ended, and the next one found a file of its own boot.
#[test]
fn what_nobody_remembers_is_on_disk_before_the_provider_was_read() {
    let first = starting_after(Saved::default(), false);
    let left = first.actions.iter().find_map(|action| match action {
        Action::Persist { saved, .. } => Some(saved.clone()),
        _ => None,
    });
    let left = left.expect("whatever is written says what is waited out");
    let bound = Time(0) + timing().hold;
    // No record was ever written; or there is one, as the provider says at once, and after all of the wait.
    for (record, at, held) in
        [(None, 1, Time(1)), (Some(recorded()), 1, bound), (Some(recorded()), bound.0, bound)]
    {
        let mut next = starting_after(left.clone(), true);
        assert_eq!(next.guard.held_until(), bound, "it has read nothing yet");
        next.step(Time(at), Input::ProviderRead { record: record.clone(), epoch: READ });
        assert_eq!(next.guard.held_until(), held, "recorded: {record:?}");
        let term = next.guard.promised_last().map(|promised| promised.term);
        assert_eq!(term, record.map(|record| record.term), "to nobody of a later term");
    }
}
