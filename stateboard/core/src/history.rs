//! Past appointments, bounded for each set. A line is kept where the term rises.

use crate::board::Board;
use crate::message::Write;
use baton_core::ids::ReplicaSetName;
use baton_core::record::{HistoryEntry, Record};

impl Board {
    pub(crate) fn remember(&mut self, record: &Record, decision: String, writes: &mut Vec<Write>) {
        let entry = HistoryEntry { record: record.clone(), decision };
        writes.push(Write::History(Box::new(entry.clone())));
        let lines = self.history.entry(record.replicaset.clone()).or_default();
        lines.push_back(entry);
        while lines.len() > self.limits.history_per_set {
            if let Some(dropped) = lines.pop_front() {
                writes.push(Write::HistoryDropped {
                    replicaset: dropped.record.replicaset,
                    term: dropped.record.term,
                });
            }
        }
    }

    /// Newest first.
    pub(crate) fn past(&self, set: &ReplicaSetName, limit: usize) -> Vec<HistoryEntry> {
        self.history.get(set).map_or_else(Vec::new, |lines| lines.iter().rev().take(limit).cloned().collect())
    }
}
