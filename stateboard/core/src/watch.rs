//! Updates as watchers see them, and the bounded log from which a watch resumes. After a restart the log is empty: a
//! watcher from before gets a snapshot, which says by itself that the revisions between are not told one by one.

use crate::lock::LockView;
use crate::state::Snapshot;
use baton_core::ids::{InstanceName, ReplicaSetName, Revision, TaskId};
use baton_core::record::{Member, Record, Settings};
use baton_core::task::StoredTask;
use std::collections::VecDeque;

/// One atomic change of the board.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Update {
    /// The revision that it made; each is one above the one before.
    pub revision: Revision,
    /// What is there now.
    pub items: Vec<Item>,
}

/// One thing that an update changed, as it is afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// An appointment.
    Record(Box<Record>),
    /// A member was put.
    Member(Box<Member>),
    /// A member was removed.
    MemberRemoved {
        /// Its set.
        replicaset: ReplicaSetName,
        /// Its name.
        instance: InstanceName,
    },
    /// The settings.
    Settings(Box<Settings>),
    /// A task was put.
    Task(Box<StoredTask>),
    /// A task was removed.
    TaskRemoved(TaskId),
    /// The lock changed hands or was resigned.
    Lock(LockView),
}

/// How a watch begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchStart {
    /// The updates after the revision that was asked for, none missing.
    Updates(Vec<Update>),
    /// Everything: nothing was asked for, or the updates after it are no longer kept.
    Snapshot(Box<Snapshot>),
}

/// The last updates, without a gap up to the current revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UpdateLog {
    /// The revision before the first update that is kept.
    base: Revision,
    updates: VecDeque<Update>,
    limit: usize,
}

impl UpdateLog {
    pub(crate) fn new(base: Revision, limit: usize) -> Self {
        Self { base, updates: VecDeque::new(), limit }
    }

    pub(crate) fn push(&mut self, update: Update) {
        self.updates.push_back(update);
        while self.updates.len() > self.limit {
            if let Some(dropped) = self.updates.pop_front() {
                self.base = dropped.revision;
            }
        }
    }

    /// The updates after `after`; `None` if one of them is not kept, or if `after` was never reached here (a watcher
    /// of a board that was restored from a backup).
    pub(crate) fn after(&self, after: Revision) -> Option<Vec<Update>> {
        let last = self.updates.back().map_or(self.base, |update| update.revision);
        if after < self.base || after > last {
            return None;
        }
        Some(self.updates.iter().filter(|update| update.revision > after).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_never_hides_a_gap() {
        let mut log = UpdateLog::new(Revision(4), 2);
        assert_eq!(log.after(Revision(4)), Some(Vec::new()));
        for revision in 5..=7 {
            log.push(Update { revision: Revision(revision), items: Vec::new() });
        }
        assert_eq!(log.after(Revision(4)), None, "revision 5 is gone");
        assert_eq!(log.after(Revision(5)).map(|updates| updates.len()), Some(2));
        assert_eq!(log.after(Revision(7)), Some(Vec::new()));
        assert_eq!(log.after(Revision(8)), None, "a revision of another life");
    }
}
