//! A replica set that is to be no more (design, *The record*): a tombstone keeps its term, so that whoever comes under its name
//! later starts above it. It is written once no master can be leading, which is the people's work: they stop its coordinators.
//!
//! It must not know how its members are taken out of the provider's list.

use super::Arbiter;
use super::io::{Action, TaskState};
use super::set::{SetState, ago};
use super::succession::next_term;
use crate::decision::Evidence;
use crate::ids::ReplicaSetName;
use crate::record::Record;
use crate::stragglers::Stragglers;
use crate::time::Time;
use std::collections::BTreeSet;

/// In the record and the history.
const REASON: &str = "removed";

impl Arbiter {
    /// What stands against the removal of a set now, a sentence each; nothing: it can be removed.
    #[must_use]
    pub fn against_removal(&self, now: Time, name: &ReplicaSetName) -> Vec<String> {
        if !self.is_active(now) || !self.may_appoint(now) {
            return vec!["this coordinator is not the active arbiter, or became it a moment ago".to_owned()];
        }
        let Some(set) = self.sets.get(name) else { return vec![format!("there is no replica set {name}")] };
        let attached = set.guards.values().filter(|guard| guard.session.is_some());
        let mut against: Vec<_> = attached
            .map(|guard| {
                let (instance, coordinator) = (&guard.hello.instance, &guard.hello.coordinator);
                format!("{instance} is attached by coordinator {coordinator}: stop that one")
            })
            .collect();
        if set.pending.is_some() {
            against.push("a change of its record is being written: ask again".to_owned());
        } else if set.held || self.forgotten(set).is_some() {
            against.push(
                "the provider was restored, and the set is held: start its coordinators until its last master is known"
                    .to_owned(),
            );
        } else if against.is_empty()
            && let Some(record) = set.record.as_ref().filter(|record| record.master.is_some())
            && set.evidence.is_none()
        {
            against.push(may_lead(now, set, record));
        }
        against
    }

    pub(super) fn remove_asked(&mut self, now: Time, name: &ReplicaSetName) {
        let against = self.against_removal(now, name);
        if !against.is_empty() {
            self.push(Action::RemovalAnswered { replicaset: name.clone(), answer: Err(against) });
            return;
        }
        let Some(mut set) = self.sets.remove(name) else { return };
        set.removal_asked = true;
        if set.has_master() {
            self.write_tombstone(now, &mut set);
        }
        self.sets.insert(name.clone(), set);
        self.answer_removal(name);
    }

    fn write_tombstone(&mut self, now: Time, set: &mut SetState) {
        let (Some(record), Some(epoch)) = (set.record.clone(), self.epoch()) else { return };
        let seen = set.guards.values().filter_map(|guard| guard.beat.as_ref());
        let highest = seen.map(|beat| beat.highest_term).max().unwrap_or_default().max(record.term);
        // On evidence 2 it may lead on unheard, by promises: the name then waits for its host.
        let over = !matches!(set.evidence, Some((Evidence::OuterBound { .. }, _)));
        let tombstone = Record {
            term: next_term(highest, record.term_generation, epoch),
            version: record.version.next(),
            master: None,
            endpoint: None,
            incarnation: record.incarnation.filter(|_| !over),
            in_sync: BTreeSet::new(),
            stragglers: Stragglers::default(),
            over_budget: false,
            ack_quorum: 0,
            pinned: None,
            forced: false,
            reason: REASON.to_owned(),
            decided_by: self.config.coordinator.clone(),
            epoch,
            term_generation: epoch.generation,
            at_unix_millis: 0,
            ..Record::clone(&record)
        };
        self.write(now, set, tombstone, None);
    }

    /// Says how a removal that a person waits for has ended, once it has.
    pub(super) fn answer_removal(&mut self, name: &ReplicaSetName) {
        let Some(set) = self.sets.get_mut(name).filter(|set| set.removal_asked) else { return };
        if set.pending.is_some() {
            return;
        }
        set.removal_asked = false;
        let term = set.record.as_ref().map(|record| record.term);
        let answer = if set.has_master() {
            Err(vec!["its record was changed meanwhile: ask again".to_owned()])
        } else {
            Ok(term)
        };
        let task = set.task.take_if(|_| answer.is_ok());
        if answer.is_ok() {
            self.actions.push_back(Action::Publish(name.clone()));
        }
        if let Some(task) = task {
            let why = "the set was removed".to_owned();
            let state = TaskState::Failed { why, master: None, term: term.unwrap_or_default() };
            self.push(Action::Task { task: task.id, state });
        }
        self.push(Action::RemovalAnswered { replicaset: name.clone(), answer });
    }
}

/// Why the recorded master may be leading though none of its set is attached.
fn may_lead(now: Time, set: &SetState, record: &Record) -> String {
    let master = record.master.as_ref().map(ToString::to_string).unwrap_or_default();
    let heard = ago(now, set.master().and_then(|(_, guard)| guard.heard_at));
    let heard = heard.map_or("was not heard".to_owned(), |ago| format!("was last heard {ago} ago"));
    if record.pinned.is_some() {
        return format!(
            "{master} is paused, {heard}, and may lead on: end the pause first (batonctl resume)"
        );
    }
    let left = set.outer_bound.max(set.patience).since(now);
    format!("{master} {heard} and may lead for {left} more: ask again then")
}

impl SetState {
    /// Whether it has had a master and was not removed since.
    pub(super) fn has_master(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.master.is_some())
    }

    /// It was removed, and nobody has come under its name since.
    pub(super) fn is_gone(&self) -> bool {
        self.record.is_some() && !self.has_master() && self.guards.is_empty()
    }

    /// A tombstone is durable: what was known of the set is over.
    pub(super) fn bury(&mut self) {
        if self.record.is_some() && !self.has_master() {
            self.guards.retain(|_, guard| guard.session.is_some());
            self.last_decision = None;
            self.unconfirmed = None;
            self.failovers.clear();
            self.cutting.clear();
            self.pin_wish = None;
        }
    }
}
