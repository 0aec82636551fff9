//! The tasks of operators: versioned documents that only the holder of the lock writes, and only as they were read.

use super::keys::{Key, end_of};
use super::outcome::Failure;
use super::store::{ATTEMPTS, Store, revision};
use super::txn::{self, Do, Get, Kv, Unchanged};
use super::values::{self, TaskDoc};
use crate::error::ProviderError;
use baton_board::{LockToken, TaskOutcome, WriteOutcome, rules};
use baton_core::ids::{TaskId, Version};
use baton_core::task::StoredTask;
use std::collections::BTreeMap;

/// Tasks in one answer: each may have some kilobytes.
const TASKS_PER_PAGE: i64 = 200;

fn overtaken() -> ProviderError {
    ProviderError::NotApplied("others wrote the same task at the same time, again and again".to_owned())
}

/// The task under a key, which must be that of its number.
pub(super) fn task_at(kv: &Kv, id: TaskId) -> Result<StoredTask, values::Damaged> {
    let task = values::read::<TaskDoc>(&kv.key, &kv.value)?;
    if task.id == id { Ok(task) } else { Err(values::Damaged::misplaced(&kv.key)) }
}

impl Store {
    pub(super) async fn put_task(
        &self,
        token: LockToken,
        expected: Option<Version>,
        mut task: StoredTask,
    ) -> Result<TaskOutcome, ProviderError> {
        let key = self.keys.task(task.id);
        for _ in 0..ATTEMPTS {
            let mut head = self.head(vec![Get::Key(key.clone()), Get::Oldest(self.keys.tasks())]).await?;
            head.open()?;
            if head.held_by(token).is_none() {
                return Ok(TaskOutcome::StaleEpoch(head.epoch()));
            }
            let kv = head.take(0).into_iter().next();
            let before = kv.as_ref().map(|kv| task_at(kv, task.id)).transpose()?;
            if before.as_ref().map(|before| before.version) != expected {
                return Ok(TaskOutcome::Conflict(before.map(Box::new)));
            }
            let others = before.is_none().then(|| head.take(1).len());
            if let Err(refusal) = rules::check_task(&self.limits, &task, others) {
                return Ok(TaskOutcome::Refused(refusal));
            }
            task.version = expected.unwrap_or_default().next();
            let mut unchanged = head.same_lock(&self.keys);
            unchanged.push(Unchanged::since(key.as_str(), kv.as_ref()));
            let put = Do::put(key.clone(), values::write(&TaskDoc::from(&task)));
            let answer = txn::write(&self.endpoints, &unchanged, &[put]).await?;
            if answer.done {
                return Ok(TaskOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(overtaken())
    }

    pub(super) async fn remove_task(
        &self,
        token: LockToken,
        id: TaskId,
    ) -> Result<WriteOutcome, ProviderError> {
        let key = self.keys.task(id);
        for _ in 0..ATTEMPTS {
            let mut head = self.head(vec![Get::Key(key.clone())]).await?;
            head.open()?;
            if head.held_by(token).is_none() {
                return Ok(WriteOutcome::StaleEpoch(head.epoch()));
            }
            let Some(kv) = head.take(0).into_iter().next() else {
                return Ok(WriteOutcome::Applied(head.revision()));
            };
            let mut unchanged = head.same_lock(&self.keys);
            unchanged.push(Unchanged::since(key.as_str(), Some(&kv)));
            let answer = txn::write(&self.endpoints, &unchanged, &[Do::Delete(key.clone())]).await?;
            if answer.done {
                return Ok(WriteOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(overtaken())
    }

    /// All tasks as they were at a revision; `None` where it is no longer kept.
    pub(super) async fn tasks_at(
        &self,
        at: i64,
    ) -> Result<Option<BTreeMap<TaskId, StoredTask>>, ProviderError> {
        let (mut from, to) = (self.keys.tasks(), end_of(&self.keys.tasks()));
        let mut tasks = BTreeMap::new();
        loop {
            let page = Get::Page { from, to: to.clone(), limit: TASKS_PER_PAGE, revision: at };
            let found = match txn::read(&self.endpoints, &[page]).await {
                Ok(mut answer) => answer.found.pop().unwrap_or_default(),
                Err(Failure::Compacted) => return Ok(None),
                Err(failure) => return Err(failure.into_error()),
            };
            for kv in &found.kvs {
                if let Key::Task(id) = self.keys.parse(&kv.key) {
                    tasks.insert(id, task_at(kv, id)?);
                }
            }
            match found.kvs.last().filter(|_| found.more) {
                Some(last) => from = format!("{}\0", last.key),
                None => return Ok(Some(tasks)),
            }
        }
    }
}
