//! A forced failover that was called off, and whom a person's word is for.

use super::*;
use crate::arbiter::{Forcing, TaskId, TaskState};
use crate::fixture::name;
use crate::ids::DataId;
use crate::settings::LossPolicy;

/// Two members are heard, and the master is not.
fn two_heard_of(in_sync: [&str; 3], settings: Settings) -> Arbiter {
    let mut arbiter = with_lock(Time(9_000_000));
    load(&mut arbiter, vec![Record { in_sync: in_sync.map(name).into(), ..recorded_at(Term(3)) }], settings);
    let guards = ["a2", "a3"].map(|text| Hello { instance: name(text), ..hello() });
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: guards.into() });
    arbiter
}

fn two_of_three() -> Arbiter {
    two_heard_of(["a1", "a2", "a3"], Settings::default())
}

fn force(arbiter: &mut Arbiter, at: u64, task: u64, target: Option<&str>, fence: bool) {
    arbiter.step(
        Time(at),
        Input::Failover {
            task: TaskId(task),
            replicaset: replicaset(),
            target: target.map(name),
            timeout: Span::from_secs(60),
            forcing: Forcing { fence, others_off: false },
        },
    );
}

/// Both have severed and hold the same, of this data.
fn both_report(arbiter: &mut Arbiter, data: &DataState) {
    let (stamp, position) = (Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
    for member in ["a2", "a3"] {
        let severed = Some(Severed { stamp, position, run: None, whole: true });
        let mut said = Beat { instance: name(member), severed, relinquished: None, ..beat(Term(3)) };
        said.engine.data = data.clone();
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
    }
}

fn our_data() -> DataState {
    beat(Term(3)).engine.data
}

/// Whom the fence command is run against, and the write that was asked for last.
fn shot_and_written(arbiter: &mut Arbiter) -> (Vec<InstanceName>, Option<(OpId, Record)>) {
    let (mut shot, mut written) = (Vec::new(), None);
    while let Some(action) = arbiter.pop_action() {
        match action {
            Action::Fence { instance, .. } => shot.push(instance),
            Action::Write { op, record, .. } => written = Some((op, *record)),
            _ => {}
        }
    }
    (shot, written)
}

#[test]
fn whom_a_person_wanted_is_one_like_the_others_once_that_is_called_off() {
    for (aborted, chosen) in [(false, "a3"), (true, "a2")] {
        let mut arbiter = two_of_three();
        force(&mut arbiter, 3, 1, Some("a3"), false);
        if aborted {
            arbiter.step(Time(4), Input::Abort { task: TaskId(1) });
        }
        both_report(&mut arbiter, &our_data());
        arbiter.step(Time(2_000_000), Input::Tick);
        let written = last_written(&mut arbiter).expect("the master is silent").1;
        assert_eq!(written.master, Some(name(chosen)), "aborted: {aborted}");
    }
}

/// Seed 80001760: whoever was appointed gave up at once, and the next was appointed by the same word, without an end.
#[test]
fn a_persons_word_counts_for_one_appointment() {
    let mut arbiter = two_of_three();
    force(&mut arbiter, 3, 1, None, false);
    both_report(&mut arbiter, &our_data());
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
        let settings = Settings { check_identity, ..Settings::default() };
        let mut arbiter = two_heard_of(["a1", "a2", "a3"], settings);
        force(&mut arbiter, 3, 1, None, false);
        both_report(&mut arbiter, &DataState::Marked { id: other.clone(), term: Term(2) });
        arbiter.step(Time(2_000_000), Input::Tick);
        let written = last_written(&mut arbiter).map(|(_, record)| record.data_id);
        assert_eq!(written.flatten(), expected, "check_identity: {check_identity}");
    }
}

/// Seed 244: whoever was appointed had not been heard for a moment, and was shot for it.
#[test]
fn the_fence_command_is_for_the_old_master_and_not_for_whom_a_person_has_appointed() {
    let settings = Settings { fence_command: Some("poweroff".to_owned()), ..Settings::default() };
    let mut arbiter = two_heard_of(["a1", "a2", "a3"], settings);
    force(&mut arbiter, 3, 1, None, true);
    both_report(&mut arbiter, &our_data());
    // The fence command says nothing, and the master is replaced for its silence.
    arbiter.step(Time(2_000_000), Input::Tick);
    let (shot, written) = shot_and_written(&mut arbiter);
    assert_eq!(shot, [instance()]);
    let (op, _) = written.expect("somebody is appointed");
    arbiter.step(Time(2_000_001), Input::Written { op, outcome: WriteOutcome::Applied });
    arbiter.step(Time(3_000_000), Input::Tick);
    assert_eq!(shot_and_written(&mut arbiter).0, []);
}

/// Seed 90003296: what was called off stood in the way of the next word until its time was over.
#[test]
fn what_a_person_has_called_off_does_not_stand_in_the_way_of_another_word() {
    for aborted in [false, true] {
        let mut arbiter = two_of_three();
        force(&mut arbiter, 3, 1, None, false);
        if aborted {
            arbiter.step(Time(4), Input::Abort { task: TaskId(1) });
        }
        force(&mut arbiter, 5, 2, None, false);
        let under_way = arbiter.task_of(&replicaset()).map(|view| view.task);
        assert_eq!(under_way, Some(TaskId(if aborted { 2 } else { 1 })));
    }
}

/// Seed 100035509: in a paused set whoever was appointed by force lost its host before it was confirmed. Nothing is evidence against it
/// but a fence command, and the word that had appointed it could neither be called off nor be followed by another.
#[test]
fn whom_a_person_has_appointed_and_who_does_not_confirm_is_in_no_later_words_way() {
    let settings = Settings { fence_command: Some("poweroff".to_owned()), ..Settings::default() };
    let mut arbiter = two_heard_of(["a1", "a2", "a3"], settings);
    force(&mut arbiter, 3, 1, None, false);
    both_report(&mut arbiter, &our_data());
    arbiter.step(Time(2_000_000), Input::Tick);
    let (op, appointed) = last_written(&mut arbiter).expect("the master is silent");
    force(&mut arbiter, 2_000_001, 2, None, true);
    assert_eq!(arbiter.task_of(&replicaset()).map(|view| view.task), Some(TaskId(1)), "it is being written");
    arbiter.step(Time(2_000_002), Input::Written { op, outcome: WriteOutcome::Applied });
    force(&mut arbiter, 2_100_000, 3, None, true);
    assert_eq!(arbiter.task_of(&replicaset()).map(|view| view.task), Some(TaskId(3)));
    assert_eq!(
        shot_and_written(&mut arbiter).0,
        Vec::from_iter(appointed.master),
        "the word is about that one"
    );
}

/// Seed 90056705: the only one that could be appointed had come back under the old name, and was turned off for it.
#[test]
fn nobody_is_turned_off_where_there_is_evidence_and_somebody_to_appoint() {
    // Outside the in-sync set it takes the word of the fence command.
    for (in_sync, enough) in [(["a1", "a2", "a3"], true), (["a1", "a4", "a5"], false)] {
        let settings = Settings {
            fence_command: Some("poweroff".to_owned()),
            loss_policy: LossPolicy::None,
            ..Settings::default()
        };
        let mut arbiter = two_heard_of(in_sync, settings);
        both_report(&mut arbiter, &our_data());
        arbiter.step(Time(2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [], "something may be lost");
        force(&mut arbiter, 2_000_001, 1, None, true);
        let (shot, written) = shot_and_written(&mut arbiter);
        assert_eq!((shot.is_empty(), written.is_some()), (enough, enough), "{in_sync:?}");
    }
}
