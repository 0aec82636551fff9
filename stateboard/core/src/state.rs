//! What the board keeps: the durable whole, as storage gives it back, and what readers get to see of it.

use crate::identity::Identity;
use crate::lock::{Candidate, LockSecret, LockView};
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision};
use baton_core::record::{HistoryEntry, Member, Record, Settings};
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
    /// Appointments of the past, oldest first, bounded for each set.
    pub history: BTreeMap<ReplicaSetName, VecDeque<HistoryEntry>>,
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
            history: BTreeMap::new(),
        }
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
}
