//! Who stays a straggler in the next record, and of whom.

use super::*;
use crate::arbiter::set::{GuardState, SetState};
use crate::decision::{Class, Evidence};
use crate::fixture::name;
use crate::record::Member;
use crate::stragglers::Stragglers;

fn pairs(all: &[(&str, &str)]) -> Stragglers {
    all.iter().map(|(member, master)| (name(member), name(master))).collect()
}

fn arbiter() -> Arbiter {
    let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
    Arbiter::new(config, Settings::default()).expect("the defaults are safe")
}

/// Commits wait for one; a1 leads at term 3, a2 may follow a9.
fn waits() -> Record {
    let (in_sync, stragglers) = (["a1", "a2"].map(name).into(), pairs(&[("a2", "a9")]));
    Record { ack_quorum: 1, in_sync, stragglers, ..recorded_at(Term(3)) }
}

/// What the set knows once a2 has said this.
fn heard(record: &Record, said: Beat) -> SetState {
    let mut set = SetState::new(replicaset());
    set.take_record(record.clone());
    let hello = Hello { instance: name("a2"), ..hello() };
    set.guards.insert(name("a2"), GuardState { beat: Some(said), ..GuardState::new(hello, SESSION) });
    set
}

fn follows(endpoint: &str, term: u64) -> Beat {
    let data = DataState::Marked { id: DataId("d".into()), term: Term(term) };
    let engine = EngineView { follows: Some(Endpoint(endpoint.into())), data, ..beat(Term(3)).engine };
    Beat { instance: name("a2"), relinquished: None, engine, ..beat(Term(3)) }
}

fn severed_by(version: u64) -> Beat {
    let stamp = Stamp { generation: EPOCH.generation, version: Version(version) };
    let severed = Severed { stamp, position: Position::at(3, 9), run: None, whole: true };
    Beat { severed: Some(severed), ..follows("a9:1", 2) }
}

#[test]
fn whoever_is_taken_in_stays_a_straggler_until_it_is_heard_to_follow() {
    let record = waits();
    let cases = [
        ("another master", follows("a9:1", 3), true),
        ("an earlier term's data", follows("a1:1", 2), true),
        ("this master", follows("a1:1", 3), false),
        ("nobody, by this record", severed_by(4), false),
        ("nobody, by an earlier record", severed_by(3), true),
    ];
    for (whom, said, stays) in cases {
        let left = arbiter().still_straggling(&heard(&record, said), &record, &record.in_sync);
        assert_eq!(left.contains(&name("a2")), stays, "it follows {whom}");
    }
    let alone = [name("a1")].into();
    let left = arbiter().still_straggling(&heard(&record, follows("a1:1", 3)), &record, &alone);
    assert_eq!(left, pairs(&[("a2", "a1")]), "outside the set it is one of this very master");
}

#[test]
fn only_stragglers_of_the_recorded_master_may_have_acknowledged() {
    let record = Record { stragglers: pairs(&[("a3", "a9"), ("a4", "a1")]), ..waits() };
    let asked = arbiter().who_may_have_acknowledged(&heard(&record, follows("a1:1", 3)), &record);
    assert_eq!(asked, ["a2", "a4"].map(name).into());
}

#[test]
fn whoever_may_follow_one_of_two_is_kept_with_both() {
    let record = waits();
    let cases = [
        (follows("a9:1", 2), &[("a2", "a1"), ("a2", "a9")][..]),
        (follows("a1:1", 3), &[("a2", "a1")][..]),
        (severed_by(4), &[][..]),
    ];
    for (said, left) in cases {
        let next = arbiter().next_stragglers(&heard(&record, said.clone()), &record, &name("a3"));
        assert_eq!(next, pairs(left), "it said {said:?}");
    }
    let chosen = arbiter().next_stragglers(&heard(&record, follows("a9:1", 2)), &record, &name("a2"));
    assert!(chosen.is_empty(), "a master follows nobody");
}

/// Seed 30008916: after a restore the record named none of the master's followers. One whose engine answered nobody was taken for a
/// straggler of the chosen one alone; then the one whom it followed led again.
#[test]
fn whoever_has_not_severed_when_all_are_heard_may_follow_anybody() {
    let record = Record { stragglers: Stragglers::default(), ..waits() };
    let next = |evidence| {
        let mut set = heard(&record, severed_by(4));
        for other in ["a1", "a3"].map(name) {
            let hello = Hello { instance: other.clone(), ..hello() };
            set.guards.insert(other, GuardState::new(hello, SESSION));
        }
        set.evidence = evidence;
        arbiter().next_stragglers(&set, &record, &name("a2"))
    };
    let all = Some((Evidence::AllHeard, Class::Restored));
    let anybody = pairs(&[("a1", "a2"), ("a1", "a3"), ("a3", "a1"), ("a3", "a2")]);
    assert_eq!(next(all), anybody, "a2 has severed, and is chosen");
    assert!(next(None).is_empty(), "the record says who followed");
}

/// Seed 300006050: the first master had been restarted before it led, and its engine followed whom it had followed before the set was
/// removed. That one was forced to lead then.
#[test]
fn a_first_master_that_never_led_may_follow_another_as_before() {
    let reason = |class: Class| class.name().to_owned();
    for (class, left) in [
        (Class::FirstAppointment, &[("a1", "a2"), ("a1", "a3"), ("a3", "a2")][..]),
        (Class::Silent, &[("a3", "a2")]),
    ] {
        let stragglers = pairs(&[("a2", "a1"), ("a3", "a2")]);
        let record = Record { reason: reason(class), in_sync: [name("a1")].into(), stragglers, ..waits() };
        let next = arbiter().next_stragglers(&heard(&record, severed_by(4)), &record, &name("a2"));
        assert_eq!(next, pairs(left), "{}", class.name());
    }
}

#[test]
fn at_a_first_appointment_nobody_knows_who_follows_whom() {
    let member = |text: &str| Member {
        instance: name(text),
        replicaset: replicaset(),
        coordinator: coordinator(),
        endpoint: Endpoint(format!("{text}:1").into()),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 1,
        version: Version(1),
    };
    let all = pairs(&[("a2", "a1"), ("a2", "a3"), ("a3", "a1"), ("a3", "a2")]);
    let cases = [
        (1, DataState::Unmarked, all.clone()),
        (1, DataState::Empty, all),
        (0, DataState::Unmarked, pairs(&[])),
    ];
    for (ack_quorum, data, stragglers) in cases {
        let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
        let settings = Settings { ack_quorum, ..Settings::default() };
        let mut arbiter = Arbiter::new(config, settings.clone()).expect("they are safe");
        let valid_until = Time(9_000_000);
        arbiter.step(Time(0), Input::LockAcquired { epoch: EPOCH, valid_until, predecessor_bound: Time(0) });
        let members = ["a1", "a2", "a3"].map(member).into();
        let settings = Box::new(settings);
        let loaded =
            Input::Loaded { records: Vec::new(), members, settings, tasks: Vec::new(), unix_millis: 0 };
        arbiter.step(Time(1), loaded);
        arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
        let engine = EngineView { data: data.clone(), ..beat(Term(0)).engine };
        let said = Beat { relinquished: None, known_master: None, engine, ..beat(Term(0)) };
        arbiter.step(Time(3), Input::Beat { session: SESSION, beat: Box::new(said) });
        let (_, record) = last_written(&mut arbiter).expect("one member suffices");
        assert_eq!(record.stragglers, stragglers, "{data:?}, commits wait for {ack_quorum}");
    }
}
