//! The whole, at one revision: the head and the names of all keys in one read, then records and members (not the
//! histories between them) at that very revision. Every read is linearizable.

use super::appoint::record_at;
use super::documents::member_at;
use super::keys::{Key, end_of};
use super::outcome::Failure;
use super::store::{ATTEMPTS, Head, Store};
use super::txn::{self, Get};
use crate::error::{FatalError, ProviderError};
use baton_board::{Snapshot, Status};
use baton_core::ids::ReplicaSetName;
use std::collections::{BTreeMap, BTreeSet};

/// Names of keys in one answer.
const NAMES_PER_PAGE: i64 = 10_000;
/// Sets in one answer, each a range of its own; etcd's default allows 128 operations in a transaction.
const SETS_PER_PAGE: usize = 64;

/// What was found of the sets.
struct Names {
    sets: BTreeSet<ReplicaSetName>,
    records: u64,
    members: u64,
}

impl Store {
    pub(super) async fn snapshot(&self) -> Result<Snapshot, ProviderError> {
        self.snapshot_and_head().await.map(|(snapshot, _)| snapshot)
    }

    /// With the head that it was made from.
    pub(super) async fn snapshot_and_head(&self) -> Result<(Snapshot, Head), ProviderError> {
        for _ in 0..ATTEMPTS {
            if let Some(done) = self.try_snapshot().await? {
                return Ok(done);
            }
        }
        Err(ProviderError::NotApplied("revisions are compacted faster than they can be read".to_owned()))
    }

    /// `None` where the revision was compacted away in the middle.
    async fn try_snapshot(&self) -> Result<Option<(Snapshot, Head)>, ProviderError> {
        let Some((head, names)) = self.names().await? else { return Ok(None) };
        let (mut records, mut members) = (BTreeMap::new(), BTreeMap::new());
        let sets: Vec<_> = names.sets.into_iter().collect();
        for page in sets.chunks(SETS_PER_PAGE) {
            let range = |set: &ReplicaSetName| Get::Range {
                from: self.keys.members(set),
                // The record's key comes right after the members', and is to be in it.
                to: format!("{}\0", self.keys.record(set)).into_bytes(),
                revision: head.revision,
            };
            let gets: Vec<Get> = page.iter().map(range).collect();
            let answer = match txn::read(&self.endpoints, &gets).await {
                Ok(answer) => answer,
                Err(Failure::Compacted) => return Ok(None),
                Err(failure) => return Err(failure.into_error()),
            };
            for kv in answer.found.iter().flat_map(|found| &found.kvs) {
                match self.keys.parse(&kv.key) {
                    Key::Record(set) => {
                        records.insert(set.clone(), record_at(kv, &set)?);
                    }
                    Key::Member(set, instance) => {
                        let member = member_at(kv, &set, &instance)?;
                        members.insert((set, instance), member);
                    }
                    Key::Identity
                    | Key::Epoch
                    | Key::Lock
                    | Key::Bid
                    | Key::Settings
                    | Key::Task(_)
                    | Key::Other => {}
                }
            }
        }
        let Some(tasks) = self.tasks_at(head.revision).await? else { return Ok(None) };
        let snapshot = Snapshot {
            revision: head.revision(),
            lock: head.view(),
            records,
            members,
            settings: head.settings.clone(),
            tasks,
        };
        Ok(Some((snapshot, head)))
    }

    /// `None` as above.
    async fn names(&self) -> Result<Option<(Head, Names)>, ProviderError> {
        let (from, to) = (self.keys.sets(), end_of(&self.keys.sets()));
        let page =
            |from: String, revision| Get::Names { from, to: to.clone(), limit: NAMES_PER_PAGE, revision };
        let mut head = self.head(vec![page(from, 0)]).await?;
        let mut names = Names { sets: BTreeSet::new(), records: 0, members: 0 };
        let mut found = head.found.pop().unwrap_or_default();
        loop {
            for kv in &found.kvs {
                match self.keys.parse(&kv.key) {
                    Key::Record(set) => {
                        names.records += 1;
                        names.sets.insert(set);
                    }
                    Key::Member(set, _) => {
                        names.members += 1;
                        names.sets.insert(set);
                    }
                    Key::Identity
                    | Key::Epoch
                    | Key::Lock
                    | Key::Bid
                    | Key::Settings
                    | Key::Task(_)
                    | Key::Other => {}
                }
            }
            if !found.more {
                return Ok(Some((head, names)));
            }
            let last = found.kvs.last().ok_or_else(|| {
                FatalError::Protocol("etcd says that there is more, after nothing".to_owned())
            })?;
            let next = page(format!("{}\0", last.key), head.revision);
            found = match txn::read(&self.endpoints, &[next]).await {
                Ok(mut answer) => answer.found.pop().unwrap_or_default(),
                Err(Failure::Compacted) => return Ok(None),
                Err(failure) => return Err(failure.into_error()),
            };
        }
    }

    /// Who waits for the lock is known to nobody: candidates only watch its key.
    pub(super) async fn status(&self) -> Result<Status, ProviderError> {
        for _ in 0..ATTEMPTS {
            if let Some((head, names)) = self.names().await? {
                let Names { records, members, .. } = names;
                let (revision, lock) = (head.revision(), head.view());
                return Ok(Status { revision, lock, waiting: 0, records, members, restored: None });
            }
        }
        Err(ProviderError::NotApplied("revisions are compacted faster than they can be read".to_owned()))
    }
}
