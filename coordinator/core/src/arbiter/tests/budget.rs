//! That the cluster failed over too often, as the next arbiter knows it from the records.

use super::*;

/// Of this moment on the wall clock, in milliseconds.
const UNIX: u64 = 1_700_000_000_000;

/// The terms that a new arbiter writes where one failover in a minute is allowed, this is recorded of another set, and the
/// master of ours, which may not lead again, has given its term up.
fn decided(failovers: Vec<u64>, over_budget: bool) -> Vec<Term> {
    let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
    let settings = Settings { max_failovers_per_minute: Some(1), ..Settings::default() };
    let mut arbiter = Arbiter::new(config, settings.clone()).expect("they are safe");
    let valid_until = Time(9_000_000);
    arbiter.step(Time(0), Input::LockAcquired { epoch: EPOCH, valid_until, predecessor_bound: Time(0) });
    let a2 = InstanceName::parse("a2").expect("a good name");
    let ours = Record { in_sync: BTreeSet::from([instance(), a2.clone()]), ..recorded_at(Term(3)) };
    let other = Record { failovers, over_budget, ..quiet_record(7) };
    let (records, settings) = (vec![ours, other], Box::new(settings));
    let loaded =
        Input::Loaded { records, members: Vec::new(), settings, tasks: Vec::new(), unix_millis: UNIX };
    arbiter.step(Time(1), loaded);
    let old = Hello { electable: false, ..hello() };
    let guards = vec![old, Hello { instance: a2.clone(), ..hello() }];
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards });
    arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat(Term(3))) });
    let stamp = Stamp { generation: 1, version: recorded_at(Term(3)).version };
    let severed = Some(Severed { stamp, position: Position::at(1, 9), run: None, whole: true });
    let said = Beat { instance: a2, relinquished: None, severed, ..beat(Term(3)) };
    arbiter.step(Time(11), Input::Beat { session: SESSION, beat: Box::new(said) });
    std::iter::from_fn(|| arbiter.pop_action())
        .filter_map(|action| match action {
            Action::Write { record, .. } if record.replicaset == replicaset() => Some(record.term),
            _ => None,
        })
        .filter(|term| *term > Term(3))
        .collect()
}

#[test]
fn failovers_of_the_last_minute_count_for_the_next_arbiter_whichever_set_they_were_of() {
    assert_eq!(decided(Vec::new(), false), [Term(4)], "nothing holds it");
    assert_eq!(decided(vec![UNIX - 70_000], false), [Term(4)], "that is too long ago");
    assert_eq!(decided(vec![UNIX - 10_000], false), [], "the minute's budget is used up");
}

#[test]
fn one_record_that_says_so_holds_every_set_until_a_person_has_looked() {
    assert_eq!(decided(Vec::new(), true), []);
}
