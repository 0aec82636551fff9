//! Appointments: compare-and-set over several records at once. Decides whether a request is applied, and nothing else.

use crate::board::Board;
use crate::lock::LockToken;
use crate::message::Write;
use crate::outcome::{AppointOutcome, Refusal, RefusalReason};
use crate::rules;
use crate::watch::Item;
use baton_core::ids::ReplicaSetName;
use baton_core::record::{BadChange, Change, Record};
use baton_core::rules::Rule;
use std::collections::BTreeMap;

impl Board {
    pub(crate) fn appoint(&mut self, token: LockToken, changes: Vec<Change>) -> AppointOutcome {
        if let Some(refusal) = self.standstill() {
            return AppointOutcome::Refused(refusal);
        }
        if !self.lock.is_current(token) && self.keep(Rule::WriteUnderEpoch) {
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
        rules::check_request(&self.limits, changes)?;
        let is_new = |change: &&Change| !self.records.contains_key(&change.record.replicaset);
        let new = changes.iter().filter(is_new).count();
        if self.records.len() + new > self.limits.records {
            let detail = format!("the board keeps at most {} records", self.limits.records);
            return Err(Refusal::new(RefusalReason::Limit, None, detail));
        }
        Ok(())
    }

    fn conflicts(&self, changes: &[Change]) -> BTreeMap<ReplicaSetName, Option<Record>> {
        if !self.keep(Rule::WriteFromVersion) {
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
        rules::check_shape(&self.limits, token.epoch, change)?;
        let record = &change.record;
        match record.check_follows(self.records.get(&record.replicaset)) {
            Ok(()) => Ok(()),
            Err(error) if self.is_broken_for(&error) => Ok(()),
            Err(error) => Err(Refusal::of_change(&record.replicaset, &error)),
        }
    }

    fn is_broken_for(&self, error: &BadChange) -> bool {
        match error {
            BadChange::Version { .. } => !self.keep(Rule::WriteFromVersion),
            BadChange::TermFell { .. } | BadChange::TermReused { .. } => {
                !self.keep(Rule::UseTermOnce) || !self.keep(Rule::WriteFromVersion)
            }
            BadChange::InSyncGrew { .. } => !self.keep(Rule::NarrowInSync),
            BadChange::MasterNotInSync { .. } | BadChange::Name(_) => false,
        }
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
