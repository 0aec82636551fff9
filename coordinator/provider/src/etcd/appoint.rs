//! Appointments: one read, the rules of the board on what it gave, one transaction that holds only if nothing of what
//! was read has changed. A write that was overtaken is judged anew, and then ends in the conflict that it is.
//!
//! A delayed transaction can land only while the lock key and the record stand exactly as it read them, so never after
//! the lock has changed hands, and never after a later write of the same record (P10).

use super::store::{ATTEMPTS, Head, Store, revision};
use super::txn::{self, Do, Get, Kv, Unchanged};
use super::values::{self, HistoryDoc, RecordDoc};
use crate::error::ProviderError;
use baton_board::{AppointOutcome, LockToken, rules};
use baton_core::ids::ReplicaSetName;
use baton_core::record::{Change, HistoryEntry, Record};
use std::collections::BTreeMap;

/// Lines of a history that one appointment drops at most; one would do, two shrink a history whose limit was lowered.
const DROPPED_AT_ONCE: usize = 2;

/// A record as it stands in etcd.
struct Standing {
    kv: Option<Kv>,
    record: Option<Record>,
    /// The keys of its history, the oldest first.
    history: Vec<Kv>,
}

/// What the rules made of a request.
enum Judged {
    /// It may be written like this.
    Write(Vec<Unchanged>, Vec<Do>),
    /// It may not.
    Ended(AppointOutcome),
}

impl Store {
    pub(super) async fn appoint(
        &self,
        token: LockToken,
        changes: Vec<Change>,
    ) -> Result<AppointOutcome, ProviderError> {
        for _ in 0..ATTEMPTS {
            let (unchanged, ops) = match self.judge(token, &changes).await? {
                Judged::Write(unchanged, ops) => (unchanged, ops),
                Judged::Ended(outcome) => return Ok(outcome),
            };
            let answer = txn::write(&self.endpoints, &unchanged, &ops).await?;
            if answer.done {
                return Ok(AppointOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(ProviderError::NotApplied(
            "others wrote the same records at the same time, again and again".into(),
        ))
    }

    async fn judge(&self, token: LockToken, changes: &[Change]) -> Result<Judged, ProviderError> {
        // A request that is none is not read for: it may name more sets than fit into one transaction.
        let request = rules::check_request(&self.limits, changes);
        let mut gets = Vec::new();
        if request.is_ok() {
            for change in changes {
                let set = &change.record.replicaset;
                gets.push(Get::Key(self.keys.record(set)));
                gets.push(Get::Oldest(self.keys.history(set)));
            }
        }
        let mut head = self.head(gets).await?;
        head.open()?;
        if head.held_by(token).is_none() {
            return Ok(Judged::Ended(AppointOutcome::StaleEpoch(head.epoch())));
        }
        if let Err(refusal) = request {
            return Ok(Judged::Ended(AppointOutcome::Refused(refusal)));
        }
        let mut standing = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            standing.push(standing_of(&mut head, index, &change.record.replicaset)?);
        }
        let conflicts: BTreeMap<_, _> = changes
            .iter()
            .zip(&standing)
            .filter(|(change, it)| it.record.as_ref().map(|record| record.version) != change.expected)
            .map(|(change, it)| (change.record.replicaset.clone(), it.record.clone()))
            .collect();
        if !conflicts.is_empty() {
            return Ok(Judged::Ended(AppointOutcome::Conflict(conflicts)));
        }
        let (mut unchanged, mut ops) = (head.same_lock(&self.keys), Vec::new());
        for (change, it) in changes.iter().zip(&standing) {
            if let Err(refusal) = rules::check_change(&self.limits, token.epoch, change, it.record.as_ref()) {
                return Ok(Judged::Ended(AppointOutcome::Refused(refusal)));
            }
            unchanged.push(Unchanged::since(self.keys.record(&change.record.replicaset), it.kv.as_ref()));
            self.ops_of(change, it, &mut ops);
        }
        Ok(Judged::Write(unchanged, ops))
    }

    fn ops_of(&self, change: &Change, standing: &Standing, ops: &mut Vec<Do>) {
        let Change { record, decision, .. } = change;
        let set = &record.replicaset;
        ops.push(Do::put(self.keys.record(set), values::write(&RecordDoc::from(record))));
        if standing.record.as_ref().is_some_and(|before| record.term <= before.term) {
            return;
        }
        let line = self.keys.history_line(set, record.term);
        let entry = HistoryEntry { record: record.clone(), decision: decision.clone() };
        // With the new one, so many are too many. A line of the same term (left by a restore) is replaced, and etcd takes
        // no transaction that writes a key twice.
        let too_many = (standing.history.len() + 1).saturating_sub(self.limits.history_per_set);
        let oldest = standing.history.iter().filter(|kv| kv.key != line).take(too_many.min(DROPPED_AT_ONCE));
        ops.extend(oldest.map(|kv| Do::Delete(kv.key.clone())));
        ops.push(Do::put(line, values::write(&HistoryDoc::from(&entry))));
    }
}

fn standing_of(head: &mut Head, index: usize, set: &ReplicaSetName) -> Result<Standing, ProviderError> {
    let kv = head.take(2 * index).into_iter().next();
    let record = kv.as_ref().map(|kv| record_at(kv, set)).transpose()?;
    Ok(Standing { kv, record, history: head.take(2 * index + 1) })
}

/// The record under a key, which must be about the set of that key.
pub(super) fn record_at(kv: &Kv, set: &ReplicaSetName) -> Result<Record, values::Damaged> {
    let record = values::read::<RecordDoc>(&kv.key, &kv.value)?;
    if record.replicaset == *set { Ok(record) } else { Err(values::Damaged::misplaced(&kv.key)) }
}
