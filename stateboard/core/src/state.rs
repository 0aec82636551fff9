//! What the board keeps: the durable whole, as storage gives it back, and what readers get to see of it.

use crate::identity::Identity;
use crate::lock::{Candidate, LockSecret, LockView};
use crate::message::Write;
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision, TaskId};
use baton_core::record::{HistoryEntry, Member, Move, MovePhase, Record, Settings};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use std::collections::{BTreeMap, VecDeque};

/// Everything that survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Durable {
    /// Whose board it is.
    pub identity: Identity,
    /// Counts all changes.
    pub revision: Revision,
    /// The lock.
    pub lock: DurableLock,
    /// The appointments, tombstones included.
    pub records: BTreeMap<ReplicaSetName, Record>,
    /// The members.
    pub members: BTreeMap<(ReplicaSetName, InstanceName), Member>,
    /// The settings.
    pub settings: Settings,
    /// What operators asked for.
    pub tasks: BTreeMap<TaskId, StoredTask>,
    /// Appointments of the past, oldest first, bounded for each set.
    pub history: BTreeMap<ReplicaSetName, VecDeque<HistoryEntry>>,
    /// From which backup it was restored last.
    pub restored: Option<Restored>,
}

/// That a board was restored from a backup. The times are for people only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Restored {
    /// When the backup was taken: milliseconds since 1970.
    pub backup_at_unix_millis: u64,
    /// The revision of the backup. Changes after it are lost.
    pub backup_revision: Revision,
    /// When it was restored: milliseconds since 1970.
    pub at_unix_millis: u64,
}

/// What of the lock survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DurableLock {
    /// The epoch that was given last; number 0 if the lock was never taken.
    pub epoch: Epoch,
    /// Who took it and has not resigned, with the secret by which it is known again.
    pub holder: Option<(Candidate, LockSecret)>,
    /// The longest ttl that a lock of this board was ever given.
    pub longest_ttl: Span,
}

impl Durable {
    /// A board that was never used.
    #[must_use]
    pub fn genesis(identity: Identity, settings: Settings) -> Self {
        Self {
            identity,
            revision: Revision(0),
            lock: DurableLock {
                epoch: Epoch { generation: 1, number: 0 },
                holder: None,
                longest_ttl: Span::ZERO,
            },
            records: BTreeMap::new(),
            members: BTreeMap::new(),
            settings,
            tasks: BTreeMap::new(),
            history: BTreeMap::new(),
            restored: None,
        }
    }

    /// Takes a write of a commit in: so does whoever keeps the state as a value, and no more than that is kept. (A file keeps each
    /// in its own place.) The revision is of the commit.
    pub fn apply(&mut self, write: Write) {
        match write {
            Write::Lock(lock) => self.lock = lock,
            Write::Record(record) => {
                self.records.insert(record.replicaset.clone(), *record);
            }
            Write::History(entry) => {
                self.history.entry(entry.record.replicaset.clone()).or_default().push_back(*entry);
            }
            Write::HistoryDropped { replicaset, term } => {
                if let Some(lines) = self.history.get_mut(&replicaset) {
                    lines.retain(|line| line.record.term != term);
                }
            }
            Write::Member(member) => {
                self.members.insert((member.replicaset.clone(), member.instance.clone()), *member);
            }
            Write::MemberRemoved { replicaset, instance } => {
                self.members.remove(&(replicaset, instance));
            }
            Write::Settings(settings) => self.settings = *settings,
            Write::Task(task) => {
                self.tasks.insert(task.id, *task);
            }
            Write::TaskRemoved(id) => {
                self.tasks.remove(&id);
            }
        }
    }

    /// Whether nothing was ever done with it, so that nothing is lost when it is replaced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revision == Revision(0) && self.restored.is_none()
    }

    /// Whether a state that moves to this board may take its place: nothing was ever done here, an earlier run filled it
    /// and never committed, or the state was moved away from here. Never below an epoch that was given here.
    #[must_use]
    pub fn may_be_filled(&self, epoch: Epoch) -> bool {
        let given_up = matches!(self.settings.phase(), Some(MovePhase::Arriving | MovePhase::Moved));
        self.is_empty() || (given_up && self.lock.epoch <= epoch)
    }

    /// This, the state of the end that is left, as the board that it moves to begins with it in place of `over`. The
    /// generation stays: what is here is what was there, so nothing has to be held back as after a restore. Nobody can get
    /// the lock before the step that opens it.
    #[must_use]
    pub fn arriving_over(mut self, over: Option<&Self>, arriving: Move) -> Self {
        self.lock.holder = None;
        let theirs = over.map_or(Span::ZERO, |over| over.lock.longest_ttl);
        self.lock.longest_ttl = self.lock.longest_ttl.max(theirs);
        let revision = self.revision.max(over.map_or(Revision(0), |over| over.revision));
        self.revision = Revision(revision.0.saturating_add(1));
        self.settings.moving = Some(Move { phase: MovePhase::Arriving, ..arriving });
        self.restored = None;
        self
    }

    /// This, taken from a backup, as the board begins with it in place of `over`. The generation rises above both, so
    /// that no epoch of an earlier life is given again (`generation_at_least` speaks for a life of which nothing is
    /// left); the revision too, so that no watcher sees it fall. Nobody holds the lock, and whoever held it before is
    /// waited for, however the backup knows it: the board that was lost may have served until a moment ago.
    #[must_use]
    pub fn restored_over(
        mut self,
        over: Option<&Self>,
        generation_at_least: u64,
        backup_at_unix_millis: u64,
        at_unix_millis: u64,
    ) -> Self {
        // The move, if there was one, was another life's: whoever restores says that the state is here.
        self.settings.moving = None;
        // A guard may have promised by a lease that the backup knows nothing of.
        let longest = over.map_or(Span::ZERO, |over| over.settings.longest());
        self.settings.longest_lease = self.settings.longest().max(longest);
        self.restored =
            Some(Restored { backup_at_unix_millis, backup_revision: self.revision, at_unix_millis });
        let (ours, theirs) = (&mut self.lock, over.map(|over| &over.lock));
        let generation = ours.epoch.generation.max(theirs.map_or(0, |lock| lock.epoch.generation));
        ours.epoch.generation = generation.saturating_add(1).max(generation_at_least);
        // Number 0 would say that there is nobody to wait for.
        ours.epoch.number = ours.epoch.number.max(1);
        ours.holder = None;
        ours.longest_ttl = ours.longest_ttl.max(theirs.map_or(Span::ZERO, |lock| lock.longest_ttl));
        let revision = self.revision.max(over.map_or(Revision(0), |over| over.revision));
        self.revision = Revision(revision.0.saturating_add(1));
        self
    }
}

/// Everything that a reader needs, at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The revision that all of it is from.
    pub revision: Revision,
    /// Who holds the lock, in which epoch.
    pub lock: LockView,
    /// The appointments, tombstones included.
    pub records: BTreeMap<ReplicaSetName, Record>,
    /// The members.
    pub members: BTreeMap<(ReplicaSetName, InstanceName), Member>,
    /// The settings.
    pub settings: Settings,
    /// What operators asked for.
    pub tasks: BTreeMap<TaskId, StoredTask>,
}

/// A glance, for people and health checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// The current revision.
    pub revision: Revision,
    /// Who holds the lock, in which epoch.
    pub lock: LockView,
    /// Candidates in line behind the holder.
    pub waiting: u64,
    /// How many records are kept, tombstones included.
    pub records: u64,
    /// How many members are kept.
    pub members: u64,
    /// From which backup it was restored last.
    pub restored: Option<Restored>,
}
