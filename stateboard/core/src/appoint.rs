//! Appointments: compare-and-set over several records at once. Decides whether a request is applied, and nothing else.

use crate::board::Board;
use crate::break_rule::BreakRule;
use crate::lock::LockToken;
use crate::message::Write;
use crate::outcome::{AppointOutcome, Refusal, RefusalReason};
use crate::watch::Item;
use baton_core::ids::{ReplicaSetName, Term};
use baton_core::record::{BadChange, Change, Record};
use std::collections::{BTreeMap, BTreeSet};

impl Board {
    pub(crate) fn appoint(&mut self, token: LockToken, changes: Vec<Change>) -> AppointOutcome {
        if !self.lock.is_current(token) && !self.broken(BreakRule::IgnoreEpoch) {
            return AppointOutcome::StaleEpoch(self.lock.durable.epoch);
        }
        if let Err(refusal) = self.check_request(&changes) {
            return AppointOutcome::Refused(refusal);
        }
        let conflicts = self.conflicts(&changes);
        if !conflicts.is_empty() {
            return AppointOutcome::Conflict(conflicts);
        }
        for change in &changes {
            if let Err(refusal) = self.check_change(token, change) {
                return AppointOutcome::Refused(refusal);
            }
        }
        self.apply(changes);
        AppointOutcome::Applied(self.revision)
    }

    fn check_request(&self, changes: &[Change]) -> Result<(), Refusal> {
        if changes.is_empty() {
            return Err(Refusal::new(RefusalReason::Empty, None, "no change was asked for"));
        }
        if changes.len() > self.limits.changes_per_request {
            let detail = format!(
                "{} changes in one request, at most {} are taken",
                changes.len(),
                self.limits.changes_per_request
            );
            return Err(Refusal::new(RefusalReason::Limit, None, detail));
        }
        let mut seen = BTreeSet::new();
        for change in changes {
            let set = &change.record.replicaset;
            if !seen.insert(set) {
                return Err(Refusal::new(RefusalReason::Duplicate, Some(set), "named twice in one request"));
            }
        }
        let new = seen.iter().filter(|set| !self.records.contains_key(**set)).count();
        if self.records.len() + new > self.limits.records {
            let detail = format!("the board keeps at most {} records", self.limits.records);
            return Err(Refusal::new(RefusalReason::Limit, None, detail));
        }
        Ok(())
    }

    fn conflicts(&self, changes: &[Change]) -> BTreeMap<ReplicaSetName, Option<Record>> {
        if self.broken(BreakRule::IgnoreVersion) {
            return BTreeMap::new();
        }
        let differs = |change: &&Change| {
            self.records.get(&change.record.replicaset).map(|record| record.version) != change.expected
        };
        changes
            .iter()
            .filter(differs)
            .map(|change| {
                let set = change.record.replicaset.clone();
                let current = self.records.get(&set).cloned();
                (set, current)
            })
            .collect()
    }

    fn check_change(&self, token: LockToken, change: &Change) -> Result<(), Refusal> {
        let record = &change.record;
        let set = &record.replicaset;
        self.check_sizes(change)?;
        if record.epoch != token.epoch {
            let detail =
                format!("the record names epoch {}, the request epoch {}", record.epoch, token.epoch);
            return Err(Refusal::new(RefusalReason::WrongEpoch, Some(set), detail));
        }
        if record.term == Term(0) {
            return Err(Refusal::new(RefusalReason::TermFell, Some(set), "term 0 belongs to nobody"));
        }
        if record.master.is_none() && (!record.in_sync.is_empty() || record.endpoint.is_some()) {
            let detail = "a record without a master has no in-sync set and no endpoint";
            return Err(Refusal::new(RefusalReason::BadTombstone, Some(set), detail));
        }
        match record.check_follows(self.records.get(set)) {
            Ok(()) => Ok(()),
            Err(error) if self.is_broken_for(&error) => Ok(()),
            Err(error) => Err(Refusal::of_change(set, &error)),
        }
    }

    fn is_broken_for(&self, error: &BadChange) -> bool {
        match error {
            BadChange::Version { .. } => self.broken(BreakRule::IgnoreVersion),
            BadChange::TermFell { .. } | BadChange::TermReused { .. } => {
                self.broken(BreakRule::AllowTermReuse) || self.broken(BreakRule::IgnoreVersion)
            }
            BadChange::MasterNotInSync { .. } | BadChange::InSyncGrew { .. } | BadChange::Name(_) => false,
        }
    }

    fn check_sizes(&self, change: &Change) -> Result<(), Refusal> {
        let record = &change.record;
        let limit = |what: &str, found: usize, most: usize| {
            if found <= most {
                return Ok(());
            }
            let detail = format!("{what} of {found}, at most {most} are taken");
            Err(Refusal::new(RefusalReason::Limit, Some(&record.replicaset), detail))
        };
        let text = self.limits.text_bytes;
        limit("an in-sync set", record.in_sync.len(), self.limits.members_per_set)?;
        limit("a decision (bytes)", change.decision.len(), self.limits.decision_bytes)?;
        limit("a reason (bytes)", record.reason.len(), text)?;
        limit("an endpoint (bytes)", record.endpoint.as_ref().map_or(0, |it| it.0.len()), text)?;
        limit("a data identity (bytes)", record.data_id.as_ref().map_or(0, |it| it.0.len()), text)
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let mut writes = Vec::new();
        let mut items = Vec::new();
        for Change { record, decision, .. } in changes {
            let before = self.records.insert(record.replicaset.clone(), record.clone());
            if before.is_none_or(|before| record.term > before.term) {
                self.remember(&record, decision, &mut writes);
            }
            writes.push(Write::Record(Box::new(record.clone())));
            items.push(Item::Record(Box::new(record)));
        }
        self.commit(writes, items);
    }
}
