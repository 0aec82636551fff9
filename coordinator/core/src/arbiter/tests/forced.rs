//! What is left of a forced failover that was called off.

use super::*;
use crate::arbiter::{Forcing, TaskId, TaskState};
use crate::fixture::name;
use crate::ids::DataId;
use crate::settings::LossPolicy;

/// Two members that hold the same are heard, and their master is not.
fn two_of_three() -> Arbiter {
    let mut arbiter = with_lock(Time(9_000_000));
    let records = vec![Record { in_sync: ["a1", "a2", "a3"].map(name).into(), ..recorded_at(Term(3)) }];
    load(&mut arbiter, records, Settings::default());
    let guards = ["a2", "a3"].map(|text| Hello { instance: name(text), ..hello() });
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: guards.into() });
    arbiter
}

#[test]
fn whom_a_person_wanted_is_one_like_the_others_once_that_is_called_off() {
    for (aborted, chosen) in [(false, "a3"), (true, "a2")] {
        let mut arbiter = two_of_three();
        let (task, timeout) = (TaskId(1), Span::from_secs(60));
        let (target, forcing) = (Some(name("a3")), Forcing::default());
        let asked = Input::Failover { task, replicaset: replicaset(), target, timeout, forcing };
        arbiter.step(Time(3), asked);
        if aborted {
            arbiter.step(Time(4), Input::Abort { task });
        }
        let (stamp, position) = (Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
        let severed = Some(Severed { stamp, position, run: None, whole: true });
        for member in ["a2", "a3"] {
            let said = Beat {
                instance: name(member),
                severed: severed.clone(),
                relinquished: None,
                ..beat(Term(3))
            };
            arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
        }
        arbiter.step(Time(2_000_000), Input::Tick);
        let written = last_written(&mut arbiter).expect("the master is silent").1;
        assert_eq!(written.master, Some(name(chosen)), "aborted: {aborted}");
    }
}

/// What a member says that has severed and reported.
fn severed(member: &str, stamp: Stamp, position: Position) -> Beat {
    let severed = Some(Severed { stamp, position, run: None, whole: true });
    Beat { instance: name(member), severed, relinquished: None, ..beat(Term(3)) }
}

/// Seed 80001760: whoever was appointed gave up at once, and the next was appointed by the same word, without an end.
#[test]
fn a_persons_word_counts_for_one_appointment() {
    let mut arbiter = two_of_three();
    let (task, timeout) = (TaskId(1), Span::from_secs(60));
    let asked = Input::Failover {
        task,
        replicaset: replicaset(),
        target: None,
        timeout,
        forcing: Forcing::default(),
    };
    arbiter.step(Time(3), asked);
    for member in ["a2", "a3"] {
        let said = severed(member, Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
    }
    arbiter.step(Time(2_000_000), Input::Tick);
    let (op, appointed) = last_written(&mut arbiter).expect("the master is silent");
    assert_eq!(appointed.master, Some(name("a2")));
    arbiter.step(Time(2_000_001), Input::Written { op, outcome: WriteOutcome::Applied });
    let relinquished = Relinquished { term: appointed.term, position: Position::at(1, 9), ended: false };
    let gave_up = Beat {
        instance: name("a2"),
        stand: Stand::Standby,
        relinquished: Some(relinquished),
        ..beat(appointed.term)
    };
    arbiter.step(Time(2_000_010), Input::Beat { session: SESSION, beat: Box::new(gave_up) });
    let said = std::iter::from_fn(|| arbiter.pop_action());
    let ended = said.filter(|action| matches!(action, Action::Task { state: TaskState::Failed { .. }, .. }));
    assert_eq!(ended.count(), 1, "the person is told");
    assert!(arbiter.sets[&replicaset()].task.is_none());
}

/// The same seed: a guard promotes no data but what the record names.
#[test]
fn whom_a_person_lets_lead_with_foreign_data_gives_the_set_its_identity() {
    let other = DataId("another".into());
    for (check_identity, expected) in [(false, Some(other.clone())), (true, None)] {
        let mut arbiter = two_of_three();
        let said = Settings { check_identity, ..Settings::default() };
        arbiter.step(Time(2), Input::Settings { settings: Box::new(said), unix_millis: 0 });
        let (task, timeout) = (TaskId(1), Span::from_secs(60));
        let asked = Input::Failover {
            task,
            replicaset: replicaset(),
            target: None,
            timeout,
            forcing: Forcing::default(),
        };
        arbiter.step(Time(3), asked);
        for member in ["a2", "a3"] {
            let mut said = severed(member, Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
            said.engine.data = DataState::Marked { id: other.clone(), term: Term(2) };
            arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
        }
        arbiter.step(Time(2_000_000), Input::Tick);
        let written = last_written(&mut arbiter).map(|(_, record)| record.data_id);
        assert_eq!(written.flatten(), expected, "check_identity: {check_identity}");
    }
}

/// Seed 244: whoever was appointed had not been heard for a moment, and was shot for it.
#[test]
fn the_fence_command_is_for_the_old_master_and_not_for_whom_a_person_has_appointed() {
    let mut arbiter = two_of_three();
    let said = Settings { fence_command: Some("poweroff".to_owned()), ..Settings::default() };
    arbiter.step(Time(2), Input::Settings { settings: Box::new(said), unix_millis: 0 });
    let (task, timeout) = (TaskId(1), Span::from_secs(60));
    let forcing = Forcing { fence: true, others_off: false };
    arbiter.step(Time(3), Input::Failover { task, replicaset: replicaset(), target: None, timeout, forcing });
    for member in ["a2", "a3"] {
        let said = severed(member, Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
    }
    // The fence command says nothing, and the master is replaced for its silence.
    arbiter.step(Time(2_000_000), Input::Tick);
    let mut shot = Vec::new();
    let mut op = None;
    while let Some(action) = arbiter.pop_action() {
        match action {
            Action::Fence { instance, .. } => shot.push(instance),
            Action::Write { op: written, .. } => op = Some(written),
            _ => {}
        }
    }
    let op = op.expect("somebody is appointed");
    arbiter.step(Time(2_000_001), Input::Written { op, outcome: WriteOutcome::Applied });
    arbiter.step(Time(3_000_000), Input::Tick);
    let actions = std::iter::from_fn(|| arbiter.pop_action());
    shot.extend(actions.filter_map(|action| match action {
        Action::Fence { instance, .. } => Some(instance),
        _ => None,
    }));
    assert_eq!(shot, [instance()]);
}

/// Seed 90003296: what was called off stood in the way of the next word until its time was over.
#[test]
fn what_a_person_has_called_off_does_not_stand_in_the_way_of_another_word() {
    for aborted in [false, true] {
        let mut arbiter = two_of_three();
        let timeout = Span::from_secs(60);
        let force = |number| Input::Failover {
            task: TaskId(number),
            replicaset: replicaset(),
            target: None,
            timeout,
            forcing: Forcing::default(),
        };
        arbiter.step(Time(3), force(1));
        if aborted {
            arbiter.step(Time(4), Input::Abort { task: TaskId(1) });
        }
        arbiter.step(Time(5), force(2));
        let under_way = arbiter.task_of(&replicaset()).map(|view| view.task);
        assert_eq!(under_way, Some(TaskId(if aborted { 2 } else { 1 })));
    }
}

/// Seed 90056705: the only one that could be appointed had come back under the old name, and was turned off for it.
#[test]
fn nobody_is_turned_off_where_there_is_evidence_and_somebody_to_appoint() {
    for in_sync in [["a1", "a2", "a3"], ["a1", "a4", "a5"]] {
        let records = vec![Record { in_sync: in_sync.map(name).into(), ..recorded_at(Term(3)) }];
        let mut arbiter = with_lock(Time(9_000_000));
        let said = Settings {
            fence_command: Some("poweroff".to_owned()),
            loss_policy: LossPolicy::None,
            ..Settings::default()
        };
        load(&mut arbiter, records, said);
        let guards = ["a2", "a3"].map(|text| Hello { instance: name(text), ..hello() });
        arbiter.step(Time(2), Input::Attached { session: SESSION, guards: guards.into() });
        for member in ["a2", "a3"] {
            let said = severed(member, Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
            arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
        }
        arbiter.step(Time(2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [], "something may be lost");
        let (task, timeout) = (TaskId(1), Span::from_secs(60));
        let forcing = Forcing { fence: true, others_off: false };
        let asked = Input::Failover { task, replicaset: replicaset(), target: None, timeout, forcing };
        arbiter.step(Time(2_000_001), asked);
        let actions: Vec<_> = std::iter::from_fn(|| arbiter.pop_action()).collect();
        let shot = actions.iter().any(|action| matches!(action, Action::Fence { .. }));
        let appointed = actions.iter().any(|action| matches!(action, Action::Write { .. }));
        // Outside the in-sync set it takes the word of the fence command.
        assert_eq!((shot, appointed), (in_sync != ["a1", "a2", "a3"], in_sync == ["a1", "a2", "a3"]));
    }
}
