//! A planned change of master between its beginning and its end: how far it has come, how it is aborted, and how an
//! arbiter takes up what an earlier one had begun.
//!
//! It must not know who keeps tasks, or what else is written about them.

use super::Arbiter;
use super::io::{Action, Resumed, TaskId, TaskState};
use super::set::{SetState, Task};
use crate::decision::Class;
use crate::ids::{ReplicaSetName, Term};
use crate::message::Stand;
use crate::time::Time;

/// How far a planned change of master has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskPhase {
    /// The guard rails of a drill are looked at for the last time.
    Check,
    /// The fault of a drill is ordered, and the master is replaced.
    Strike,
    /// The old master is to give up its right.
    Relinquish,
    /// It is fenced, and the target is to reach its final position.
    CatchUp,
    /// The next term is being written.
    Record,
    /// It is written, and its master is to accept writes.
    Confirm,
    /// The old master of a drill is to be an in-sync replica again.
    Recover,
    /// It is to lead again.
    Return,
}

impl TaskPhase {
    /// The word for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Strike => "strike",
            Self::Relinquish => "relinquish",
            Self::CatchUp => "catch_up",
            Self::Record => "record",
            Self::Confirm => "confirm",
            Self::Recover => "recover",
            Self::Return => "return",
        }
    }
}

/// A planned change of master that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Its number.
    pub task: TaskId,
    /// How far it has come.
    pub phase: TaskPhase,
    /// The old master is wanted back.
    pub aborted: bool,
}

impl SetState {
    /// The planned change of master that the recorded term is to end by.
    pub(super) fn task_of_term(&self) -> Option<&Task> {
        let term = self.record.as_ref()?.term;
        self.task.as_ref().filter(|task| task.term_before == term)
    }
}

impl Task {
    /// Whether nobody waits for the target any more.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.aborted.is_some() || now >= self.deadline
    }
}

/// How far the task of a set has come: by what is known of the set, and nothing else.
pub(super) fn phase_of(set: &SetState, task: &Task) -> TaskPhase {
    let after = |term: Term| term > task.term_before;
    if set.record.as_ref().is_some_and(|record| after(record.term)) {
        TaskPhase::Confirm
    } else if set.pending.as_ref().is_some_and(|pending| after(pending.record.term)) {
        TaskPhase::Record
    } else if set.evidence.is_some() {
        TaskPhase::CatchUp
    } else {
        TaskPhase::Relinquish
    }
}

impl Arbiter {
    /// The planned change of master that is under way for a set.
    #[must_use]
    pub fn task_of(&self, name: &ReplicaSetName) -> Option<TaskView> {
        let set = self.sets.get(name)?;
        if let (Some(drill), Some(phase)) = (&set.drill, set.drill_phase()) {
            return Some(TaskView { task: drill.id, phase, aborted: set.drill_is_aborted() });
        }
        let task = set.task.as_ref()?;
        Some(TaskView { task: task.id, phase: phase_of(set, task), aborted: task.aborted.is_some() })
    }

    /// The set for which a person asks for something, or why nothing can be begun.
    pub(super) fn set_to_change(
        &mut self,
        now: Time,
        name: &ReplicaSetName,
    ) -> Result<&mut SetState, String> {
        if !self.is_active(now) {
            return Err("this coordinator is not the active arbiter".to_owned());
        }
        match self.sets.get_mut(name) {
            Some(set) => Ok(set),
            None => Err(format!("there is no replica set {name}")),
        }
    }

    /// Says whether a task is under way, or why it cannot be, and looks at its set.
    pub(super) fn task_begun(
        &mut self,
        now: Time,
        id: TaskId,
        name: &ReplicaSetName,
        begun: Result<(), String>,
    ) {
        let record = self.sets.get(name).and_then(|set| set.record.as_ref());
        let (master, term) = record.map_or((None, Term(0)), |record| (record.master.clone(), record.term));
        let state = match begun {
            Ok(()) => TaskState::Running,
            Err(why) => TaskState::Failed { why, master, term },
        };
        self.push(Action::Task { task: id, state });
        self.drive(now, name);
    }

    /// Goes on with what an earlier arbiter had begun. Its time is counted anew, from when somebody may be appointed; a master
    /// that leads still does so until then, since writes would be refused for nothing.
    pub(super) fn take_up(&mut self, now: Time, tasks: Vec<Resumed>) {
        let from = now.max(self.predecessor_bound());
        for resumed in tasks {
            let Resumed {
                task,
                replicaset,
                target,
                old_master,
                term_before,
                timeout,
                aborted,
                forced,
                drill,
            } = resumed;
            if let Some(asked) = drill {
                self.take_up_drill(
                    now,
                    task,
                    &replicaset,
                    asked,
                    (old_master, term_before, timeout, aborted),
                );
                continue;
            }
            let set = self.sets.get_mut(&replicaset);
            let record = set.as_ref().and_then(|set| set.record.as_ref());
            let (term, master) =
                record.map_or((Term(0), None), |record| (record.term, record.master.clone()));
            let deadline = from + timeout;
            let aborted = aborted.then_some(now);
            match set.filter(|set| master.is_some() && term >= term_before && set.task.is_none()) {
                Some(set) => {
                    let waits = true;
                    let class = if forced.is_some() { Class::Forced } else { Class::Switchover };
                    let forcing = forced.unwrap_or_default();
                    let begun = Task::new(task, class, target, old_master, term_before, deadline);
                    set.task = Some(Task { waits, aborted, forcing, ..begun });
                }
                None => {
                    let why = "the set is gone, or another task of it is under way".to_owned();
                    self.push(Action::Task { task, state: TaskState::Failed { why, master, term } });
                }
            }
        }
    }

    /// The old master is wanted back: before the record of the next term is written it leads on, or is appointed again.
    pub(super) fn abort_asked(&mut self, now: Time, id: TaskId) {
        let drilled = |set: &SetState| set.drill.as_ref().is_some_and(|drill| drill.id == id);
        if let Some(name) = self.sets.values().find(|set| drilled(set)).map(|set| set.name.clone()) {
            let answer = self.abort_drill(now, &name);
            self.push(Action::AbortAnswered { task: id, answer });
            self.drive(now, &name);
            return;
        }
        let running = |set: &SetState| set.task.as_ref().is_some_and(|task| task.id == id);
        let Some(set) = self.sets.values_mut().find(|set| running(set)) else {
            let answer = Err("no such task is under way".to_owned());
            self.push(Action::AbortAnswered { task: id, answer });
            return;
        };
        let name = set.name.clone();
        let phase = set.task.as_ref().map(|task| phase_of(set, task));
        let answer = match phase {
            Some(TaskPhase::Relinquish | TaskPhase::CatchUp) => Ok(()),
            Some(TaskPhase::Record) | None => Err("the next term is being written".to_owned()),
            Some(
                TaskPhase::Confirm
                | TaskPhase::Check
                | TaskPhase::Strike
                | TaskPhase::Recover
                | TaskPhase::Return,
            ) => Err("the next master is appointed".to_owned()),
        };
        if answer.is_ok()
            && let Some(task) = &mut set.task
        {
            task.aborted.get_or_insert(now);
        }
        self.push(Action::AbortAnswered { task: id, answer });
        self.drive(now, &name);
    }

    /// Whether a master that is to stay after all does: it may have been told to relinquish and not heard it yet, so it has
    /// to be heard leading for a while. Should it hear of it later than that, it is replaced like any other that gave up.
    pub(super) fn leads_on(&self, set: &SetState) -> bool {
        let (Some((record, guard)), Some(task)) = (set.master(), &set.task) else { return false };
        let patience = self.timing.beat_master * 2;
        let heard_after = |aborted: Time| guard.heard_at.is_some_and(|heard| heard >= aborted + patience);
        let leading = Stand::Leading { term: record.term, writable: true };
        let leads = set.master_beat().is_some_and(|beat| beat.stand == leading);
        task.aborted.is_some_and(heard_after) && leads
    }
}
