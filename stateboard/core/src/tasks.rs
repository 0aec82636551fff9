//! The tasks of operators: numbered documents that only the active arbiter writes, so that whoever is it next goes on with
//! them. What a task is about is not known here.

use crate::board::Board;
use crate::lock::LockToken;
use crate::message::Write;
use crate::outcome::{TaskOutcome, WriteOutcome};
use crate::rules;
use crate::watch::Item;
use baton_core::ids::{TaskId, Version};
use baton_core::rules::Rule;
use baton_core::task::StoredTask;

impl Board {
    /// Adds a task, or changes one from the version that is expected. Its version is decided here.
    pub(crate) fn put_task(
        &mut self,
        token: LockToken,
        expected: Option<Version>,
        mut task: StoredTask,
    ) -> TaskOutcome {
        if let Some(refusal) = self.standstill() {
            return TaskOutcome::Refused(refusal);
        }
        if !self.lock.is_current(token) && self.keep(Rule::WriteUnderEpoch) {
            return TaskOutcome::StaleEpoch(self.lock.durable.epoch);
        }
        let before = self.tasks.get(&task.id);
        if before.map(|before| before.version) != expected {
            return TaskOutcome::Conflict(before.cloned().map(Box::new));
        }
        let others = before.is_none().then_some(self.tasks.len());
        if let Err(refusal) = rules::check_task(&self.limits, &task, others) {
            return TaskOutcome::Refused(refusal);
        }
        task.version = expected.unwrap_or_default().next();
        self.tasks.insert(task.id, task.clone());
        let task = Box::new(task);
        self.commit(vec![Write::Task(task.clone())], vec![Item::Task(task)]);
        TaskOutcome::Applied(self.revision)
    }

    /// Forgets a task; one that is not there counts as forgotten.
    pub(crate) fn remove_task(&mut self, token: LockToken, id: TaskId) -> WriteOutcome {
        if let Some(refusal) = self.standstill() {
            return WriteOutcome::Refused(refusal);
        }
        if !self.lock.is_current(token) && self.keep(Rule::WriteUnderEpoch) {
            return WriteOutcome::StaleEpoch(self.lock.durable.epoch);
        }
        if self.tasks.remove(&id).is_none() {
            return WriteOutcome::Applied(self.revision);
        }
        self.commit(vec![Write::TaskRemoved(id)], vec![Item::TaskRemoved(id)]);
        WriteOutcome::Applied(self.revision)
    }
}
