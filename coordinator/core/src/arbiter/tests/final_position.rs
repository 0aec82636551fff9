//! What the final position of a fenced master is worth, where commits wait for a replica.

use super::*;
use crate::fixture::name;
use crate::settings::LossPolicy;

/// An arbiter of a set in which every commit waits for one of these replicas; these guards have attached.
fn waiting_for_one(in_sync: &[&str], guards: Vec<Hello>) -> Arbiter {
    let mut arbiter = with_lock(Time(9_000_000));
    let in_sync = in_sync.iter().map(|text| name(text)).collect();
    let records = vec![Record { ack_quorum: 1, in_sync, ..recorded_at(Term(3)) }];
    load(&mut arbiter, records, Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards });
    arbiter
}

/// A successor on the same boot knows that its term is over, and not whether its engine is the run that led.
#[test]
fn the_position_of_a_later_run_of_the_master_is_not_taken_for_final() {
    for (run, appointed) in [(1, Some(Term(4))), (2, None)] {
        let incarnation = Incarnation { run, ..INCARNATION };
        let mut arbiter = waiting_for_one(&["a1", "a2"], vec![Hello { incarnation, ..hello() }]);
        // It was fenced at 1:9, as it says, and the replica is not heard.
        let said = Beat { incarnation, ..beat(Term(3)) };
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
        arbiter.step(Time(2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "run {run}");
    }
}

#[test]
fn a_final_position_is_a_quorum_only_for_whoever_holds_it() {
    // The third member, which is not heard, may hold what the second does not.
    for (offset, appointed) in [(9, Some(Term(4))), (5, None)] {
        let old = Hello { electable: false, ..hello() };
        let second = Hello { instance: name("a2"), ..hello() };
        let mut arbiter = waiting_for_one(&["a1", "a2", "a3"], vec![old, second]);
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat(Term(3))) });
        second_severed(&mut arbiter, offset);
        assert_eq!(
            written_terms(&mut arbiter),
            Vec::from_iter(appointed),
            "it is at {offset}, fenced was at 9"
        );
    }
}

#[test]
fn where_nothing_may_be_lost_a_final_position_is_enough_only_for_whoever_holds_it() {
    for (offset, appointed) in [(9, Some(Term(4))), (5, None)] {
        let mut arbiter = with_lock(Time(9_000_000));
        let records = vec![Record { in_sync: ["a1", "a2"].map(name).into(), ..recorded_at(Term(3)) }];
        load(&mut arbiter, records, Settings { loss_policy: LossPolicy::None, ..Settings::default() });
        let old = Hello { electable: false, ..hello() };
        let guards = vec![old, Hello { instance: name("a2"), ..hello() }];
        arbiter.step(Time(2), Input::Attached { session: SESSION, guards });
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat(Term(3))) });
        second_severed(&mut arbiter, offset);
        assert_eq!(
            written_terms(&mut arbiter),
            Vec::from_iter(appointed),
            "it is at {offset}, fenced was at 9"
        );
    }
}

/// The master was replaceable for its silence, nobody could be chosen, and it comes with its word then.
#[test]
fn a_final_position_that_is_heard_late_is_worth_what_one_in_time_is() {
    // Where commits wait, the third member, which is not heard, may hold more; else nothing may be lost.
    for (ack_quorum, loss_policy) in [(1, LossPolicy::default()), (0, LossPolicy::None)] {
        for (offset, appointed) in [(9, Some(Term(4))), (5, None)] {
            let mut arbiter = with_lock(Time(9_000_000));
            let in_sync = ["a1", "a2", "a3"].map(name).into();
            let records = vec![Record { ack_quorum, in_sync, ..recorded_at(Term(3)) }];
            load(&mut arbiter, records, Settings { loss_policy, ..Settings::default() });
            let second = Hello { instance: name("a2"), ..hello() };
            arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![second] });
            second_severed(&mut arbiter, offset);
            assert_eq!(written_terms(&mut arbiter), [], "the master has said nothing");
            let old = Hello { electable: false, ..hello() };
            arbiter.step(Time(2_000_001), Input::Attached { session: SessionId(2), guards: vec![old] });
            let beat = Box::new(beat(Term(3)));
            arbiter.step(Time(2_000_002), Input::Beat { session: SessionId(2), beat });
            let written = last_written(&mut arbiter).map(|(_, record)| record);
            assert_eq!(written.as_ref().map(|record| record.term), appointed, "{offset}, {ack_quorum}");
            let both = written.is_none_or(|record| record.in_sync == ["a1", "a2"].map(name).into());
            assert!(both, "the old master holds nothing that the new one does not");
        }
    }
}

#[test]
fn what_an_engine_held_that_ended_is_no_final_position() {
    for (ended, appointed) in [(false, Some(Term(4))), (true, None)] {
        let old = Hello { electable: false, ..hello() };
        let second = Hello { instance: name("a2"), ..hello() };
        let mut arbiter = waiting_for_one(&["a1", "a2", "a3"], vec![old, second]);
        let relinquished = Some(Relinquished { term: Term(3), position: Position::at(1, 9), ended });
        let said = Beat { relinquished, ..beat(Term(3)) };
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
        second_severed(&mut arbiter, 9);
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "ended: {ended}");
    }
}

#[test]
fn a_final_position_stays_one_though_the_next_run_of_the_master_knows_nothing_of_it() {
    let old = Hello { electable: false, ..hello() };
    let second = Hello { instance: name("a2"), ..hello() };
    let mut arbiter = waiting_for_one(&["a1", "a2", "a3"], vec![old.clone(), second]);
    arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat(Term(3))) });
    let incarnation = Incarnation { run: 2, ..INCARNATION };
    let guards = vec![Hello { incarnation, ..old }];
    arbiter.step(Time(11), Input::Attached { session: SessionId(2), guards });
    let said = Beat { incarnation, ..beat(Term(3)) };
    arbiter.step(Time(11), Input::Beat { session: SessionId(2), beat: Box::new(said) });
    second_severed(&mut arbiter, 9);
    assert_eq!(written_terms(&mut arbiter), [Term(4)]);
}

/// The second member has severed and reported this much.
fn second_severed(arbiter: &mut Arbiter, offset: u64) {
    let (position, stamp) = (Position::at(1, offset), Stamp { generation: 1, version: Version(4) });
    let severed = Some(Severed { stamp, position, run: None, whole: true });
    let known = beat(Term(3));
    let engine = EngineView { position, ..known.engine.clone() };
    let said = Beat { instance: name("a2"), relinquished: None, severed, engine, ..known };
    arbiter.step(Time(11), Input::Beat { session: SESSION, beat: Box::new(said) });
    arbiter.step(Time(2_000_000), Input::Tick);
}

/// Its engine could not be read when it relinquished.
#[test]
fn a_final_position_that_was_unknown_at_first_counts_when_it_is_told() {
    for (later, appointed) in [(Position::at(1, 9), Some(Term(4))), (Position::Unknown, None)] {
        let old = Hello { electable: false, ..hello() };
        let second = Hello { instance: name("a2"), ..hello() };
        let mut arbiter = waiting_for_one(&["a1", "a2", "a3"], vec![old, second]);
        let says = |position| {
            let relinquished = Some(Relinquished { term: Term(3), position, ended: false });
            Input::Beat { session: SESSION, beat: Box::new(Beat { relinquished, ..beat(Term(3)) }) }
        };
        arbiter.step(Time(10), says(Position::Unknown));
        // The third member, which is not heard, may hold what the second does not.
        second_severed(&mut arbiter, 9);
        assert_eq!(written_terms(&mut arbiter), []);
        arbiter.step(Time(2_100_000), says(later));
        arbiter.step(Time(2_200_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "{later}");
    }
}
