//! A person's word for those that nobody hears, after the provider was restored.

use super::restored::{BOUND, OTHER, attach_second, hear, idle_by, with_two_listed};
use super::*;
use crate::arbiter::{DrillAsked, Fate, Fault, Forcing, Resumed, TaskId, TaskState};
use crate::fixture::name;

/// Somebody else was master of the highest term, and is not there.
fn waits_for_a_stranger() -> Arbiter {
    let mut arbiter = after_a_restore(Time(0));
    let stranger = InstanceName::parse("a9").expect("a good name");
    let beat = cut(Beat { known_master: Some((Term(5), stranger)), ..beat(Term(5)) });
    arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat) });
    assert_eq!(written_terms(&mut arbiter), [], "its master may lead");
    arbiter
}

fn ask(arbiter: &mut Arbiter, others_off: bool) {
    ask_at(arbiter, 20, others_off);
}

fn ask_at(arbiter: &mut Arbiter, at: u64, others_off: bool) {
    let forcing = Forcing { fence: false, others_off };
    let (task, replicaset, target) = (TaskId(1), replicaset(), None);
    let timeout = Span::from_secs(10);
    arbiter.step(Time(at), Input::Failover { task, replicaset, target, timeout, forcing });
}

#[test]
fn only_a_persons_word_for_the_others_ends_the_hold() {
    let mut arbiter = waits_for_a_stranger();
    ask(&mut arbiter, false);
    let refused = std::iter::from_fn(|| arbiter.pop_action()).any(
        |action| matches!(action, Action::Task { state: TaskState::Failed { why, .. }, .. } if why.contains("--others-off")),
    );
    assert!(refused, "and it is said what a person can do");

    let mut arbiter = waits_for_a_stranger();
    ask(&mut arbiter, true);
    assert_eq!(written_terms(&mut arbiter), [Term(1_005)]);
}

#[test]
fn no_word_stands_against_one_that_leads() {
    let a2 = InstanceName::parse("a2").expect("a good name");
    let leads = |instance, term| {
        let stand = Stand::Leading { term, writable: true };
        Box::new(Beat { instance, stand, relinquished: None, ..beat(term) })
    };
    for there_before in [true, false] {
        let mut arbiter = waits_for_a_stranger();
        // It has not severed yet, and is waited for.
        let late = Hello { instance: InstanceName::parse("a3").expect("a good name"), ..hello() };
        let guards = vec![hello(), late.clone(), Hello { instance: a2.clone(), ..hello() }];
        arbiter.step(Time(11), Input::Attached { session: SESSION, guards });
        let known = Beat { relinquished: None, ..beat(Term(5)) };
        for instance in [instance(), late.instance] {
            let beat = Box::new(Beat { instance, ..known.clone() });
            arbiter.step(Time(12), Input::Beat { session: SESSION, beat });
        }
        let other = if there_before {
            leads(a2.clone(), Term(4))
        } else {
            Box::new(Beat { instance: a2.clone(), ..known })
        };
        arbiter.step(Time(13), Input::Beat { session: SESSION, beat: other });
        ask(&mut arbiter, true);
        let at_once = written_terms(&mut arbiter);
        arbiter.step(Time(30), Input::Beat { session: SESSION, beat: leads(a2.clone(), Term(4)) });
        arbiter.step(Time(5_000_000), Input::Tick);
        assert_eq!((at_once, written_terms(&mut arbiter)), (vec![], vec![]), "there before: {there_before}");
        assert!(arbiter.sets[&replicaset()].held, "it is held again");
    }
}

/// Seed 90047000: whom a person had vouched for had reported nothing, and the record said that nothing was lost.
#[test]
fn what_those_who_are_off_may_have_held_is_told_as_a_loss() {
    let stranger = InstanceName::parse("a9").expect("a good name");
    for (ack_quorum, last_master, recorded, second_is_there, told) in [
        (1, instance(), None, false, true),
        (0, instance(), None, false, false),
        (1, instance(), None, true, false),
        (1, stranger.clone(), None, true, true),
        // The write that was to list it was lost.
        (1, instance(), Some(stranger), true, true),
    ] {
        let mut record = Record { ack_quorum, ..recorded_at(Term(3)) };
        record.in_sync.extend(recorded);
        let mut arbiter = with_two_listed(vec![record]);
        let knows = |text| {
            let said = idle_by(recorded_at(Term(3)).version, text);
            Beat { known_master: Some((Term(5), last_master.clone())), ..said }
        };
        if second_is_there {
            attach_second(&mut arbiter, 3);
            hear(&mut arbiter, 10, OTHER, knows("a2"));
        }
        hear(&mut arbiter, 10, SESSION, knows("a1"));
        ask(&mut arbiter, true);
        arbiter.step(BOUND, Input::Tick);
        let (_, written) = last_written(&mut arbiter).expect("the word ends the hold");
        assert_eq!(written.forced, told, "{ack_quorum}, {last_master}, {second_is_there}");
    }
}

/// Whoever takes the lock over after a restore reads what an earlier arbiter was asked for.
fn takes_up(forced: Option<Forcing>, drill: Option<DrillAsked>) -> Arbiter {
    let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
    let mut arbiter = Arbiter::new(config, Settings::default()).expect("the defaults are safe");
    let (epoch, valid_until) = (Epoch { generation: 2, number: 3 }, Time(9_000_000));
    arbiter.step(Time(0), Input::LockAcquired { epoch, valid_until, predecessor_bound: Time(5) });
    let asked = Resumed {
        task: TaskId(11),
        replicaset: replicaset(),
        target: None,
        old_master: instance(),
        term_before: Term(3),
        timeout: Span::from_secs(1),
        aborted: false,
        forced,
        drill,
    };
    let (records, members, settings) = (vec![recorded_at(Term(3))], Vec::new(), Box::default());
    let tasks = vec![asked];
    arbiter.step(Time(1), Input::Loaded { records, members, settings, tasks, unix_millis: 0 });
    arbiter
}

/// A member comes that knows somebody else as master of the highest term.
fn hear_of_a_stranger(arbiter: &mut Arbiter) {
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    let stranger = InstanceName::parse("a9").expect("a good name");
    let beat = cut(Beat { known_master: Some((Term(5), stranger)), ..beat(Term(5)) });
    arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat) });
}

/// Seed 90054809: an earlier arbiter had refused a switchover, and the lock changed hands before that was kept. Nothing is done in a
/// held set for what its successor took up, so it never ended, and a person's word was refused as long as it was under way.
#[test]
fn what_was_planned_for_a_held_set_has_failed_and_is_in_nobodys_way() {
    let back = DrillAsked { fault: Fault::Switchover, spares: 1, accept_loss: false, back: true };
    for drill in [None, Some(back)] {
        let mut arbiter = takes_up(None, drill);
        let ended: Vec<_> = std::iter::from_fn(|| arbiter.pop_action())
            .filter_map(|action| match action {
                Action::Task { task, state: TaskState::Failed { why, master, term } } => {
                    Some((task, why.contains("restored"), master, term))
                }
                _ => None,
            })
            .collect();
        assert_eq!(ended, [(TaskId(11), true, Some(instance()), Term(3))], "and it is said why: {drill:?}");
        assert_eq!(arbiter.task_of(&replicaset()), None);
        hear_of_a_stranger(&mut arbiter);
        ask(&mut arbiter, true);
        assert_eq!(written_terms(&mut arbiter), [Term(1_005)], "a person's word is taken: {drill:?}");
    }
}

#[test]
fn a_persons_word_for_a_held_set_is_taken_up() {
    let mut arbiter = takes_up(Some(Forcing { fence: false, others_off: true }), None);
    assert_eq!(arbiter.task_of(&replicaset()).map(|view| view.task), Some(TaskId(11)));
    hear_of_a_stranger(&mut arbiter);
    assert_eq!(written_terms(&mut arbiter), [Term(1_005)]);
}

/// Seed 120059650: a set was removed, and a restore forgot both it and its removal. Members knew of that term, and nobody whose it was;
/// no first appointment was made, and no person could do anything about it.
#[test]
fn a_set_that_a_restore_forgot_begins_anew_by_a_persons_word_for_those_who_are_not_there() {
    let waits = |arbiter: &mut Arbiter, data: DataState| {
        let mut beat = idle_by(Version(0), "a1");
        (beat.known_master, beat.engine.data) = (None, data);
        attach_second(arbiter, 11);
        hear(arbiter, BOUND.0, SESSION, beat.clone());
        hear(arbiter, BOUND.0, OTHER, Beat { instance: name("a2"), ..beat });
        assert_eq!(written_terms(arbiter), [], "whoever led at that term may lead");
        assert!(arbiter.set_view(BOUND, &replicaset()).is_some_and(|view| view.held), "people are told");
    };
    let marked = beat(Term(5)).engine.data;
    for (data, reason) in [(DataState::Empty, "first-appointment"), (marked, "forced")] {
        let mut arbiter = with_two_listed(Vec::new());
        waits(&mut arbiter, data.clone());
        let preview = |arbiter: &Arbiter, others_off| {
            arbiter.forecast_failover(BOUND, &replicaset(), None, Forcing { fence: false, others_off })
        };
        assert!(preview(&arbiter, false).is_err_and(|why| why.contains("--others-off")));
        let seen = preview(&arbiter, true).expect("a person may");
        assert!(matches!(seen.fate, Fate::Replaced(_)) && seen.may_lose.is_some(), "{seen:?}");
        ask_at(&mut arbiter, BOUND.0 + 1, true);
        arbiter.step(Time(BOUND.0 + 2_000_000), Input::Tick);
        let (op, record) = last_written(&mut arbiter).expect("a person has vouched");
        assert_eq!((record.term, record.reason.as_str()), (Term(1_005), reason));
        let master = record.master.clone().expect("somebody");
        arbiter.step(Time(BOUND.0 + 2_000_001), Input::Written { op, outcome: WriteOutcome::Applied });
        let led = Stand::Leading { term: record.term, writable: true };
        let session = if master == instance() { SESSION } else { OTHER };
        let confirmed = Beat { instance: master, stand: led, relinquished: None, ..beat(record.term) };
        hear(&mut arbiter, BOUND.0 + 2_000_002, session, confirmed);
        assert_eq!(ends(&mut arbiter), ["done"], "whoever it is");
    }
}

/// It could not begin by it, and the person is told.
#[test]
fn a_persons_word_for_a_forgotten_set_ends_with_its_time_or_as_it_is_called_off() {
    for aborted in [false, true] {
        let mut arbiter = with_two_listed(Vec::new());
        let starting = Beat { stand: Stand::Starting, ..idle_by(Version(0), "a2") };
        attach_second(&mut arbiter, 11);
        hear(&mut arbiter, BOUND.0, SESSION, idle_by(Version(0), "a1"));
        hear(&mut arbiter, BOUND.0, OTHER, starting);
        ask_at(&mut arbiter, BOUND.0 + 1, true);
        assert_eq!(
            ends(&mut arbiter),
            Vec::<&str>::new(),
            "one that is there may lead, for all that is known"
        );
        if aborted {
            arbiter.step(Time(BOUND.0 + 2), Input::Abort { task: TaskId(1) });
        }
        let at = BOUND + Span::from_secs(if aborted { 1 } else { 11 });
        arbiter.step(BOUND, Input::LockRenewed { valid_until: at + Span::from_secs(9) });
        arbiter.step(at, Input::Tick);
        assert_eq!(ends(&mut arbiter), ["failed"], "called off: {aborted}");
        assert_eq!(written_terms(&mut arbiter), []);
    }
}

/// How tasks have ended.
fn ends(arbiter: &mut Arbiter) -> Vec<&'static str> {
    let said = std::iter::from_fn(|| arbiter.pop_action());
    let ended = said.filter_map(|action| match action {
        Action::Task { state: TaskState::Done { .. }, .. } => Some("done"),
        Action::Task { state: TaskState::Failed { .. }, .. } => Some("failed"),
        _ => None,
    });
    ended.collect()
}
