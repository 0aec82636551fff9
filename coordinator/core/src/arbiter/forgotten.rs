//! A life of a set of which the provider knows nothing, since it was put back to a tombstone under which the set had begun anew, or to
//! before the set's first record, while members know of a later term (docs/protocol.md, P149); or since it has lost what it held (P233).
//!
//! Nobody knows who acknowledged in it. So it ends as a recorded one would that is held after a restore: all who are heard are severed
//! and report, and whoever holds most is appointed. A first appointment would ask nobody, and would take an engine that is found
//! writable for the best.
//!
//! It must not know when it may end: what a first appointment waits for is waited for here, too.

use super::Arbiter;
use super::restored::{beats, highest_term};
use super::set::SetState;
use crate::engine::DataState;
use crate::ids::{DataId, Epoch, InstanceName, Term, Version};
use crate::position::Position;
use crate::record::Record;
use crate::rules::Rule;
use crate::stragglers::Stragglers;
use std::collections::BTreeSet;
use std::sync::Arc;

/// As a record's reason; it is never written.
const REASON: &str = "forgotten";

impl Arbiter {
    /// What orders, the choice and the next record rest on: the record; where a life that it lacks is being ended, what is known of
    /// that one.
    pub(super) fn basis(&self, set: &SetState) -> Option<Arc<Record>> {
        let forgotten = set.evidence.and_then(|_| self.forgotten(set));
        forgotten.map(Arc::new).or_else(|| set.record.clone())
    }

    /// What a record would say of the life that the provider forgot, where somebody knows of one and there is data of it.
    pub(super) fn forgotten(&self, set: &SetState) -> Option<Record> {
        let epoch = self.epoch()?;
        let tombstone = set.record.as_deref();
        let older = tombstone.is_none_or(|record| record.epoch.generation < epoch.generation);
        let term = highest_term(set);
        let later = tombstone.map_or(Term(0), |record| record.term) < term;
        if set.has_master() || !older || !later || !self.keep(Rule::HoldRestored) {
            return None;
        }
        let data_id = latest_data(set)?;
        Some(Record {
            replicaset: set.name.clone(),
            term,
            version: tombstone.map_or(Version(0), |record| record.version),
            master: last_master(set),
            endpoint: None,
            incarnation: None,
            start: Position::at(0, 0),
            in_sync: BTreeSet::new(),
            stragglers: Stragglers::default(),
            failovers: Vec::new(),
            over_budget: false,
            // What it was at that time nobody knows.
            ack_quorum: self.settings.ack_quorum_of(&set.name),
            data_id: Some(data_id),
            pinned: None,
            forced: false,
            reason: REASON.to_owned(),
            decided_by: self.config.coordinator.clone(),
            // As old as what the provider does know.
            epoch: tombstone.map_or(Epoch::default(), |record| record.epoch),
            term_generation: tombstone.map_or(1, |record| record.term_generation),
            at_unix_millis: 0,
        })
    }
}

/// Whose the highest known term was, by the word of those who know.
pub(super) fn last_master(set: &SetState) -> Option<InstanceName> {
    let known = beats(set).filter_map(|beat| beat.known_master.as_ref());
    known.max_by_key(|(term, _)| *term).map(|(_, master)| master.clone())
}

/// The identity of the data that was written to last.
fn latest_data(set: &SetState) -> Option<DataId> {
    let marked = beats(set).filter_map(|beat| match &beat.engine.data {
        DataState::Marked { id, term } => Some((term, id)),
        DataState::Empty | DataState::Unmarked => None,
    });
    marked.max().map(|(_, id)| id.clone())
}
