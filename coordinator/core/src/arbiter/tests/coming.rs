//! Who is waited for where guards come one after the other to a new arbiter.

use super::*;
use crate::fixture::name;

/// The master has relinquished, and is the first that a new arbiter hears of three, at this moment.
fn heard_alone(at: u64) -> Arbiter {
    let mut arbiter = with_lock(Time(9_000_000));
    let in_sync = ["a1", "a2", "a3"].map(name).into();
    load(&mut arbiter, vec![Record { in_sync, ack_quorum: 1, ..recorded_at(Term(3)) }], Settings::default());
    arbiter.step(Time(at), Input::Attached { session: SESSION, guards: vec![hello()] });
    arbiter.step(Time(at), Input::Beat { session: SESSION, beat: Box::new(beat(Term(3))) });
    arbiter
}

fn in_sync_of_next(arbiter: &mut Arbiter) -> Option<BTreeSet<InstanceName>> {
    last_written(arbiter).map(|(_, record)| record.in_sync)
}

/// Seed 8026 of the chaos suite: the master was heard some milliseconds before the replica that held the same, was appointed again
/// alone, and lost its disk.
#[test]
fn whoever_comes_first_to_a_new_arbiter_waits_for_those_who_hold_the_same() {
    let mut arbiter = heard_alone(10);
    assert_eq!(in_sync_of_next(&mut arbiter), None, "two in-sync members are to come");
    let guards = ["a2", "a3"].map(|text| Hello { instance: name(text), ..hello() });
    arbiter.step(Time(30), Input::Attached { session: SessionId(2), guards: guards.into() });
    let (stamp, position) = (Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
    for member in ["a2", "a3"] {
        let severed = Some(Severed { stamp, position, run: None, whole: true });
        let said = Beat { instance: name(member), severed, relinquished: None, ..beat(Term(3)) };
        arbiter.step(Time(40), Input::Beat { session: SessionId(2), beat: Box::new(said) });
    }
    assert_eq!(in_sync_of_next(&mut arbiter), Some(["a1", "a2", "a3"].map(name).into()));
}

#[test]
fn whoever_does_not_come_is_waited_for_as_long_as_a_report_and_only_by_a_new_arbiter() {
    let timing = crate::timing::Timing::new(&Settings::default()).expect("the default is safe");
    let alone = Some([name("a1")].into());
    let mut arbiter = heard_alone(10);
    arbiter.step(Time(9) + timing.sever_wait, Input::Tick);
    assert_eq!(in_sync_of_next(&mut arbiter), None);
    arbiter.step(Time(10) + timing.sever_wait, Input::Tick);
    assert_eq!(in_sync_of_next(&mut arbiter), alone);
    // Close to its end the patience with a new cluster is the shorter one.
    let patience = (timing.beat_master * 2).0;
    let mut arbiter = heard_alone(patience - 1);
    assert_eq!(in_sync_of_next(&mut arbiter), None);
    assert_eq!(arbiter.next_deadline(), Some(Time(patience)));
    arbiter.step(Time(patience), Input::Tick);
    assert_eq!(in_sync_of_next(&mut arbiter), alone);
    assert_eq!(in_sync_of_next(&mut heard_alone(patience)), alone);
}
