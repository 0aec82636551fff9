//! What people ask of the active arbiter, as its process keeps it: on the board before anything is done about it, so that
//! whoever takes the lock over goes on with it.
//!
//! It must not know what the machine makes of a task.

use super::World;
use super::arbiter::Purpose;
use baton_board::{Request, TaskOutcome};
use baton_core::arbiter::{DrillAsked, Fault, Input, Rail, Resumed, TaskId, broken};
use baton_core::ids::{InstanceName, ReplicaSetName, Term, Version};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use std::collections::{BTreeMap, BTreeSet};

/// What is fed to the machine once a task is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterTask {
    Begin,
    Abort,
}

/// A task as its arbiter knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTask {
    /// `None`: it is not on the board yet.
    version: Option<Version>,
    /// In which generation it was begun.
    generation: u64,
    what: Resumed,
}

impl KeptTask {
    fn body(&self) -> String {
        let Resumed { replicaset, target, old_master, term_before, timeout, aborted, drill, .. } = &self.what;
        let target = target.as_ref().map_or("-", InstanceName::as_str);
        let (generation, timeout) = (self.generation, timeout.0);
        let drill = drill.map_or_else(|| "-".to_owned(), drill_text);
        format!("{replicaset} {target} {old_master} {term_before} {timeout} {aborted} {generation} {drill}")
    }

    fn read(stored: &StoredTask) -> Option<Self> {
        let words: Vec<&str> = stored.body.split(' ').collect();
        let [set, target, old_master, term, timeout, aborted, generation, drill] = words.as_slice() else {
            return None;
        };
        let name = |text: &str| InstanceName::parse(text).ok();
        let what = Resumed {
            task: stored.id,
            replicaset: ReplicaSetName::parse(set).ok()?,
            target: name(target),
            old_master: name(old_master)?,
            term_before: Term(term.parse().ok()?),
            timeout: Span(timeout.parse().ok()?),
            aborted: aborted.parse().ok()?,
            forced: None,
            drill: drill_of(drill),
        };
        Some(Self { version: Some(stored.version), generation: generation.parse().ok()?, what })
    }
}

fn drill_text(asked: DrillAsked) -> String {
    let DrillAsked { fault, spares, accept_loss, back } = asked;
    format!("{}:{spares}:{accept_loss}:{back}", fault.name())
}

fn drill_of(text: &str) -> Option<DrillAsked> {
    let words: Vec<&str> = text.split(':').collect();
    let [fault, spares, accept_loss, back] = words.as_slice() else { return None };
    Some(DrillAsked {
        fault: Fault::ALL.into_iter().find(|known| known.name() == *fault)?,
        spares: spares.parse().ok()?,
        accept_loss: accept_loss.parse().ok()?,
        back: back.parse().ok()?,
    })
}

impl World {
    /// A person asks the active arbiter for a planned change of master.
    pub fn switchover(&mut self, target: Option<InstanceName>, timeout: Span) {
        self.change_master(target, timeout, None);
    }

    /// A person asks the active arbiter for a drill; one whose guard rails do not hold is refused.
    pub fn drill(&mut self, asked: DrillAsked, timeout: Span) {
        match self.broken_rails(asked) {
            Ok(None) => self.change_master(None, timeout, Some(asked)),
            Ok(Some(why)) | Err(why) => self.say("you", format_args!("the drill is refused: {why}")),
        }
    }

    /// Every guard rail of a drill, as the active arbiter sees it.
    ///
    /// # Errors
    /// There is no active arbiter, or no master.
    pub fn rails(&self, asked: DrillAsked) -> Result<Vec<Rail>, String> {
        let name = self.active_arbiter().ok_or("there is no active arbiter to ask")?;
        let node = self.arbiters.get(&name).ok_or("there is no active arbiter to ask")?;
        let machine = node.machine.as_ref().ok_or("there is no active arbiter to ask")?;
        Ok(machine.forecast_drill(node.clock.read(self.now), &self.replicaset, asked)?.rails)
    }

    fn broken_rails(&self, asked: DrillAsked) -> Result<Option<String>, String> {
        Ok(broken(&self.rails(asked)?))
    }

    fn change_master(&mut self, target: Option<InstanceName>, timeout: Span, drill: Option<DrillAsked>) {
        let Some(name) = self.active_arbiter() else {
            self.say("you", "there is no active arbiter to ask");
            return;
        };
        self.last_task += 1;
        let task = TaskId(self.last_task);
        let replicaset = self.replicaset.clone();
        let Some(node) = self.arbiters.get_mut(&name) else { return };
        let record = node.machine.as_ref().and_then(|machine| machine.master_of(&replicaset));
        let master = record.and_then(|(record, _)| Some((record.master.clone()?, record.term)));
        let Some((old_master, term_before)) = master else {
            self.say("you", "there is no master to change");
            return;
        };
        let what = Resumed {
            task,
            replicaset,
            target,
            old_master,
            term_before,
            timeout,
            aborted: false,
            forced: None,
            drill,
        };
        let generation = node.token.map_or(0, |token| token.epoch.generation);
        node.tasks.insert(task, KeptTask { version: None, generation, what });
        self.keep_task(&name, task, AfterTask::Begin);
    }

    /// A person wants the old master back.
    pub fn abort(&mut self) {
        let task = TaskId(self.last_task);
        let Some(name) = self.active_arbiter() else {
            self.say("you", "there is no active arbiter to ask");
            return;
        };
        let known = self.arbiters.get_mut(&name).and_then(|node| node.tasks.get_mut(&task));
        let Some(known) = known.filter(|known| known.version.is_some()) else {
            self.say(&name, format_args!("task {task} is not under way"));
            return;
        };
        known.what.aborted = true;
        self.keep_task(&name, task, AfterTask::Abort);
    }

    /// A person wants whatever is under way to end, a forced failover too, which nobody keeps.
    pub fn abort_all(&mut self) {
        let Some(name) = self.active_arbiter() else { return };
        let Some(node) = self.arbiters.get(&name) else { return };
        let under_way = node.machine.as_ref().and_then(|machine| machine.task_of(&self.replicaset));
        let mut tasks: BTreeSet<_> = node.tasks.keys().copied().collect();
        tasks.extend(under_way.map(|view| view.task));
        for task in tasks {
            self.arbiter_step(&name, Input::Abort { task });
        }
    }

    /// Writes a task down; asked again by whoever gets no answer.
    pub(super) fn keep_task(&mut self, name: &str, task: TaskId, after: AfterTask) {
        let Some(node) = self.arbiters.get(name) else { return };
        let (Some(token), Some(kept)) = (node.token, node.tasks.get(&task)) else { return };
        let stored = StoredTask { id: task, body: kept.body(), version: Version(0) };
        let request = Request::PutTask { token, expected: kept.version, task: Box::new(stored) };
        self.ask_board(name, Purpose::Task(task, after), request);
    }

    pub(super) fn task_kept(&mut self, name: &str, task: TaskId, after: AfterTask, outcome: &TaskOutcome) {
        let Some(kept) = self.arbiters.get_mut(name).and_then(|node| node.tasks.get_mut(&task)) else {
            return;
        };
        if after == AfterTask::Begin && kept.version.is_some() {
            // Taken up meanwhile, by a later epoch of this very process.
            return;
        }
        let body = kept.body();
        let ours = match outcome {
            TaskOutcome::Applied(_) => true,
            // Ours, whose answer was lost.
            TaskOutcome::Conflict(Some(shown)) => shown.body == body,
            TaskOutcome::Conflict(None) | TaskOutcome::StaleEpoch(_) | TaskOutcome::Refused(_) => false,
        };
        if !ours {
            return;
        }
        kept.version = Some(kept.version.unwrap_or_default().next());
        let Resumed { task, replicaset, target, timeout, drill, .. } = kept.what.clone();
        match after {
            AfterTask::Begin => {
                let begin = match drill {
                    None => Input::Switchover { task, replicaset, target, timeout },
                    Some(asked) => Input::Drill { task, replicaset, asked, timeout },
                };
                self.arbiter_step(name, begin);
            }
            AfterTask::Abort => self.arbiter_step(name, Input::Abort { task }),
        }
    }

    /// It has ended. Should the arbiter die before this is done, the next one finds out anew how.
    pub(super) fn forget_task(&mut self, name: &str, task: TaskId) {
        let Some(node) = self.arbiters.get_mut(name) else { return };
        node.tasks.remove(&task);
        if let Some(token) = node.token {
            self.ask_board(name, Purpose::Forgotten, Request::RemoveTask { token, id: task });
        }
    }

    /// What an earlier arbiter had begun in this generation. A restored provider may hold what was ended long ago.
    pub(super) fn tasks_to_take_up(
        &mut self,
        name: &str,
        stored: BTreeMap<TaskId, StoredTask>,
    ) -> Vec<Resumed> {
        let Some(node) = self.arbiters.get_mut(name) else { return Vec::new() };
        let generation = node.token.map_or(0, |token| token.epoch.generation);
        let kept = stored.into_values().filter_map(|stored| Some((stored.id, KeptTask::read(&stored)?)));
        node.tasks = kept.filter(|(_, kept)| kept.generation == generation).collect();
        let tasks: Vec<Resumed> = node.tasks.values().map(|kept| kept.what.clone()).collect();
        for resumed in &tasks {
            self.say(name, format_args!("task {}: taken up", resumed.task));
        }
        tasks
    }
}
