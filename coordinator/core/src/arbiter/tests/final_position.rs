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
