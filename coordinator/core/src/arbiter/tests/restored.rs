//! After a restore of the provider: who has to be heard before anybody is appointed, and what is written back.

use super::*;
use crate::fixture::name;
use crate::record::Member;

pub(super) const OTHER: SessionId = SessionId(2);
/// Until then an earlier arbiter may be believed.
pub(super) const BOUND: Time = Time(2_000_000);

fn listed(text: &str) -> Member {
    Member {
        instance: name(text),
        replicaset: replicaset(),
        coordinator: coordinator(),
        endpoint: Endpoint(format!("{text}:1").into()),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 1,
        version: Version(1),
    }
}

/// An arbiter of the next generation that has read these records, and two members listed; one of them has attached.
pub(super) fn with_two_listed(records: Vec<Record>) -> Arbiter {
    with_two_listed_in(2, records)
}

/// The same of another generation.
pub(super) fn with_two_listed_in(generation: u64, records: Vec<Record>) -> Arbiter {
    let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
    let mut arbiter = Arbiter::new(config, Settings::default()).expect("the defaults are safe");
    let (epoch, valid_until) = (Epoch { generation, number: 3 }, Time(9_000_000));
    arbiter.step(Time(0), Input::LockAcquired { epoch, valid_until, predecessor_bound: BOUND });
    let members = ["a1", "a2"].map(listed).into();
    let settings = Box::default();
    let loaded = Input::Loaded { records, members, settings, tasks: Vec::new(), unix_millis: 0 };
    arbiter.step(Time(1), loaded);
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    arbiter
}

pub(super) fn hear(arbiter: &mut Arbiter, at: u64, session: SessionId, beat: Beat) {
    arbiter.step(Time(at), Input::Beat { session, beat: Box::new(beat) });
}

/// It leads nothing, and is severed; term 5 was the first member's.
fn idle(text: &str) -> Beat {
    idle_by(recorded_at(Term(3)).version, text)
}

pub(super) fn idle_by(version: Version, text: &str) -> Beat {
    let relinquished = beat(Term(5)).relinquished.filter(|_| text == "a1");
    let known_master = Some((Term(5), instance()));
    cut_by(version, Beat { instance: name(text), relinquished, known_master, ..beat(Term(5)) })
}

pub(super) fn attach_second(arbiter: &mut Arbiter, at: u64) {
    let second = Hello { instance: name("a2"), endpoint: Endpoint("a2:1".into()), ..hello() };
    arbiter.step(Time(at), Input::Attached { session: OTHER, guards: vec![second] });
}

#[test]
fn nobody_is_appointed_while_a_listed_member_is_not_heard() {
    // With a record and without one.
    for records in [vec![recorded_at(Term(3))], Vec::new()] {
        let mut arbiter = with_two_listed(records.clone());
        let idle = |text| idle_by(records.first().map_or(Version(0), |record| record.version), text);
        hear(&mut arbiter, 10, SESSION, idle("a1"));
        arbiter.step(BOUND, Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [], "the other one may lead at a later term");
        attach_second(&mut arbiter, BOUND.0 + 1);
        assert_eq!(written_terms(&mut arbiter), [], "it has said nothing yet");
        hear(&mut arbiter, BOUND.0 + 2, OTHER, idle("a2"));
        arbiter.step(Time(BOUND.0 + 2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [Term(1_005)], "all are heard, {} records", records.len());
    }
}

/// Seed 100056377: a master gave its right up, which members' promises had kept, and its engine did not answer the fence. It was heard,
/// led nothing, and went on to be written while another led.
#[test]
fn nobody_is_appointed_while_the_engine_of_one_that_gave_up_may_still_be_written() {
    for records in [vec![recorded_at(Term(3))], Vec::new()] {
        let mut arbiter = with_two_listed(records.clone());
        let idle = |text| idle_by(records.first().map_or(Version(0), |record| record.version), text);
        attach_second(&mut arbiter, 11);
        let mut leaving = Beat { relinquished: None, severed: None, ..idle("a1") };
        leaving.engine.may_write = true;
        hear(&mut arbiter, BOUND.0, SESSION, leaving);
        hear(&mut arbiter, BOUND.0, OTHER, idle("a2"));
        arbiter.step(Time(BOUND.0 + 2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [], "its fence is not answered");
        hear(&mut arbiter, BOUND.0 + 2_000_001, SESSION, idle("a1"));
        arbiter.step(Time(BOUND.0 + 4_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [Term(1_005)], "{} records", records.len());
    }
}

/// Seed 40002706: the write that was to list the master was lost, the record named it, and it was paused and led unheard.
#[test]
fn nobody_is_appointed_while_one_is_not_heard_whom_only_the_record_names() {
    let third = || name("a3");
    let known = recorded_at(Term(3));
    let straggling = [(third(), instance())].into_iter().collect();
    let naming = [
        Record { master: Some(third()), in_sync: BTreeSet::new(), ..known.clone() },
        Record { in_sync: [instance(), third()].into(), ..known.clone() },
        Record { stragglers: straggling, ..known },
    ];
    for record in naming {
        let mut arbiter = with_two_listed(vec![record.clone()]);
        attach_second(&mut arbiter, 11);
        let session = SessionId(3);
        hear(&mut arbiter, BOUND.0, SESSION, idle("a1"));
        hear(&mut arbiter, BOUND.0, OTHER, idle("a2"));
        arbiter.step(Time(BOUND.0 + 2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [], "a3 may lead: {record:?}");
        let hello = Hello { instance: third(), endpoint: Endpoint("a3:1".into()), ..hello() };
        arbiter.step(Time(BOUND.0 + 2_000_001), Input::Attached { session, guards: vec![hello] });
        hear(&mut arbiter, BOUND.0 + 2_000_002, session, idle("a3"));
        arbiter.step(Time(BOUND.0 + 4_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [Term(1_005)], "all are heard: {record:?}");
    }
}

#[test]
fn what_a_member_said_before_its_stream_broke_does_not_count() {
    for (stays, appointed) in [(false, None), (true, Some(Term(1_005)))] {
        let mut arbiter = with_two_listed(vec![recorded_at(Term(3))]);
        hear(&mut arbiter, 10, SESSION, idle("a1"));
        attach_second(&mut arbiter, 11);
        hear(&mut arbiter, 12, OTHER, idle("a2"));
        if !stays {
            arbiter.step(Time(13), Input::Detached { session: OTHER });
        }
        for at in [BOUND, Time(BOUND.0 + 2_000_000)] {
            arbiter.step(at, Input::Tick);
        }
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "attached: {stays}");
    }
}

#[test]
fn a_leader_of_a_term_below_the_recorded_one_is_not_written_back() {
    for (led, written) in [(Term(4), None), (Term(7), Some(Term(7)))] {
        let mut arbiter = after_a_restore_of(vec![recorded_at(Term(7))], Time(0));
        hear(&mut arbiter, 10, SESSION, pinned_leader(led, Span::ZERO));
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(written), "it leads at {led}");
    }
}

#[test]
fn a_master_of_a_set_that_the_restored_state_does_not_know_is_written_back() {
    let mut arbiter = after_a_restore_of(Vec::new(), Time(0));
    hear(&mut arbiter, 10, SESSION, pinned_leader(Term(5), Span::ZERO));
    let (_, record) = last_written(&mut arbiter).expect("it leads");
    assert_eq!((record.term, record.master), (Term(5), Some(instance())));
}

#[test]
fn what_is_written_back_keeps_what_a_person_has_to_look_at_and_counts_the_master_among_no_stragglers() {
    for over_budget in [false, true] {
        let before = Record {
            over_budget,
            ack_quorum: 1,
            in_sync: ["a1", "a2"].map(name).into(),
            ..recorded_at(Term(3))
        };
        let mut arbiter = after_a_restore_of(vec![before], Time(0));
        let leader = Beat { ack_quorum: Some(1), ..pinned_leader(Term(5), Span::ZERO) };
        hear(&mut arbiter, 10, SESSION, leader);
        let (_, record) = last_written(&mut arbiter).expect("it leads at the highest term");
        assert_eq!(record.over_budget, over_budget);
        assert_eq!(record.stragglers, [(name("a2"), instance())].into_iter().collect());
    }
}

/// Seed 110019422: where nothing waits for replicas the stragglers of the older record are kept, and the master was one of them.
#[test]
fn a_master_that_is_written_back_is_no_straggler_of_an_earlier_one() {
    let stragglers = [("a1", "a3"), ("a2", "a3")].map(|(member, of)| (name(member), name(of)));
    let before = Record {
        ack_quorum: 1,
        stragglers: stragglers.into_iter().collect(),
        in_sync: ["a1", "a2"].map(name).into(),
        ..recorded_at(Term(3))
    };
    let mut arbiter = after_a_restore_of(vec![before], Time(0));
    hear(&mut arbiter, 10, SESSION, Beat { ack_quorum: Some(0), ..pinned_leader(Term(5), Span::ZERO) });
    let (_, record) = last_written(&mut arbiter).expect("it leads at the highest term");
    assert_eq!(record.stragglers, [(name("a2"), name("a3"))].into_iter().collect());
}

#[test]
fn a_master_that_was_written_back_has_the_time_that_it_may_have_been_promised() {
    for (pinned, more) in [(Span::ZERO, Span::ZERO), (Span::from_secs(3_600), Span::from_secs(3_600))] {
        let mut arbiter = after_a_restore(Time(0));
        hear(&mut arbiter, 10, SESSION, pinned_leader(Term(5), pinned));
        let (op, _) = last_written(&mut arbiter).expect("it leads at the highest term");
        arbiter.step(Time(30), Input::Written { op, outcome: WriteOutcome::Applied });
        let bound = Time(30) + arbiter.timing().hold.max(more);
        assert!(arbiter.sets[&replicaset()].outer_bound >= bound, "its silence means nothing before");
        let resigned = arbiter.last_grant_until();
        assert!(resigned >= Time(30) + arbiter.timing().hold, "nor to whoever takes the lock over");
    }
}

#[test]
fn a_pause_writes_no_record_from_before_the_restore_anew() {
    // It would look as if it had been settled since, and the next arbiter would not hold the set.
    let mut arbiter = with_two_listed(vec![recorded_at(Term(3))]);
    arbiter.step(Time(9), Input::Pause { replicaset: replicaset(), pin: FOR_GOOD });
    attach_second(&mut arbiter, 11);
    hear(&mut arbiter, BOUND.0, SESSION, idle("a1"));
    hear(&mut arbiter, BOUND.0, OTHER, idle("a2"));
    arbiter.step(Time(BOUND.0 + 2_000_000), Input::Tick);
    let (_, first) = last_written(&mut arbiter).expect("all are heard");
    assert_eq!(
        (first.term, first.pinned),
        (Term(1_005), None),
        "the first record of the generation is an appointment"
    );
}

#[test]
fn a_set_that_was_removed_before_the_backup_is_not_held() {
    let tombstone =
        Record { master: None, incarnation: None, in_sync: BTreeSet::new(), ..recorded_at(Term(3)) };
    let mut arbiter = after_a_restore_of(vec![tombstone], BOUND);
    hear(&mut arbiter, 10, SESSION, Beat { known_master: None, ..idle("a1") });
    assert!(!arbiter.sets[&replicaset()].held, "it has no master to wait for");
}

/// Seed 20021707: a member was appointed a moment before the report of another, which was in no recorded in-sync set, and held more.
#[test]
fn whoever_is_heard_is_waited_for_in_whatever_set_it_was() {
    let mut arbiter = with_two_listed(vec![recorded_at(Term(3))]);
    attach_second(&mut arbiter, 11);
    hear(&mut arbiter, BOUND.0, SESSION, idle("a1"));
    hear(&mut arbiter, BOUND.0, OTHER, Beat { severed: None, ..idle("a2") });
    arbiter.step(Time(BOUND.0 + 1), Input::Tick);
    assert_eq!(written_terms(&mut arbiter), [], "the second one is not severed yet");
    let more = Position::at(1, 12);
    let ahead = Beat { engine: EngineView { position: more, ..idle("a2").engine }, ..idle("a2") };
    hear(&mut arbiter, BOUND.0 + 2, OTHER, cut(ahead));
    let (_, record) = last_written(&mut arbiter).expect("all have reported");
    assert_eq!((record.master, record.start), (Some(name("a2")), more));
}

/// Seed 20018817: the recorded master was in truth a replica of another, and went on following it.
#[test]
fn the_recorded_master_is_severed_like_the_others() {
    let mut arbiter = with_two_listed(vec![recorded_at(Term(3))]);
    attach_second(&mut arbiter, 11);
    hear(&mut arbiter, BOUND.0, SESSION, Beat { severed: None, ..idle("a1") });
    hear(&mut arbiter, BOUND.0, OTHER, idle("a2"));
    let told = std::iter::from_fn(|| arbiter.pop_action()).filter_map(|action| match action {
        Action::Send { instance, message: ToGuard::Directive(directive), .. } => {
            Some((instance, directive.order))
        }
        _ => None,
    });
    let severed: BTreeSet<_> = told
        .filter(|(_, order)| matches!(order, Order::Sever { .. }))
        .map(|(instance, _)| instance)
        .collect();
    assert_eq!(severed, ["a1", "a2"].map(name).into());
}

/// Seed 80030548: two members reported that they may have lost something, were expelled, and were missed by nobody.
#[test]
fn an_expelled_member_is_let_go_once_a_successor_is_recorded_after_a_restore_and_not_before() {
    for whole in [false, true] {
        let record = Record { ack_quorum: 1, in_sync: [instance()].into(), ..recorded_at(Term(3)) };
        let mut arbiter = with_two_listed(vec![record]);
        attach_second(&mut arbiter, 11);
        hear(&mut arbiter, BOUND.0, SESSION, idle("a1"));
        let severed = idle("a2").severed.map(|severed| Severed { whole, ..severed });
        hear(&mut arbiter, BOUND.0, OTHER, Beat { severed, ..idle("a2") });
        expel(&mut arbiter, BOUND, "a2");
        arbiter.step(Time(BOUND.0 + 2_000_000), Input::Tick);
        let appointed = whole.then_some(Term(1_005));
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "its run is whole: {whole}");
        assert!(arbiter.sets[&replicaset()].guards.contains_key(&name("a2")), "its report is kept");
    }
}

/// The set is held, since the recorded master is not heard: what the other member reported is wanted as soon as it is.
#[test]
fn nobody_who_is_expelled_is_let_go_while_a_set_is_held_after_a_restore() {
    let record = Record { in_sync: [instance()].into(), ..recorded_at(Term(3)) };
    let mut arbiter = with_two_listed(vec![record]);
    attach_second(&mut arbiter, 11);
    hear(&mut arbiter, BOUND.0, OTHER, idle("a2"));
    expel(&mut arbiter, BOUND, "a2");
    assert!(arbiter.sets[&replicaset()].held);
    assert!(arbiter.sets[&replicaset()].guards.contains_key(&name("a2")), "its report is kept");
}

pub(super) fn expel(arbiter: &mut Arbiter, at: Time, member: &str) {
    let mut said = Settings::default();
    said.members.entry(name(member)).or_default().expelled = true;
    arbiter.step(at, Input::Settings { settings: Box::new(said), unix_millis: 0 });
}

/// It may have led since, and followed another.
#[test]
fn what_the_recorded_master_once_gave_up_with_is_no_final_position_after_a_restore() {
    for (whole, appointed) in [(true, Some(Term(1_005))), (false, None)] {
        let mut arbiter = with_two_listed(vec![Record { ack_quorum: 1, ..recorded_at(Term(3)) }]);
        attach_second(&mut arbiter, 11);
        hear(&mut arbiter, BOUND.0, SESSION, idle("a1"));
        let mut second = idle("a2");
        second.severed.iter_mut().for_each(|severed| severed.whole = whole);
        hear(&mut arbiter, BOUND.0, OTHER, second);
        arbiter.step(Time(BOUND.0 + 2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "the report is whole: {whole}");
    }
}

/// What a master sent before the provider went back may be on its way for any time: by now another may lead at a term of which nobody
/// says anything here.
#[test]
fn a_leader_is_written_back_by_what_it_sent_after_it_was_greeted() {
    let earlier = Epoch { number: RESTORED.number - 1, ..RESTORED };
    for greeted in [None, Some(earlier)] {
        let mut arbiter = after_a_restore(Time(0));
        let old = Beat { greeted, ..pinned_leader(Term(5), Span::ZERO) };
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(old.clone()) });
        let mut greetings = Vec::new();
        while let Some(action) = arbiter.pop_action() {
            match action {
                Action::Write { .. } => panic!("on an old word"),
                Action::Send { message: ToGuard::Greeting(greeting), .. } => greetings.push(greeting),
                _ => {}
            }
        }
        assert_eq!(greetings, [Greeting { incarnation: INCARNATION, epoch: RESTORED }]);
        let answer = Beat { sent_at: Time(20), greeted: Some(RESTORED), ..old };
        arbiter.step(Time(20), Input::Beat { session: SESSION, beat: Box::new(answer) });
        assert_eq!(written_terms(&mut arbiter), [Term(5)]);
    }
}

/// Only a set that a restore has put in doubt needs it.
#[test]
fn nobody_is_greeted_whose_word_is_not_waited_for() {
    let mut arbiter = with_lock(Time(9_000_000));
    load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    arbiter
        .step(Time(10), Input::Beat { session: SESSION, beat: Box::new(pinned_leader(Term(3), Span::ZERO)) });
    let greets = |action: Action| matches!(action, Action::Send { message: ToGuard::Greeting(_), .. });
    assert!(!std::iter::from_fn(|| arbiter.pop_action()).any(greets));
}
