//! The steps of a move of the cluster's state to another provider, and what they close. Knows nothing of the other end:
//! whoever asks for a step has seen there what it rests on.
//!
//! All steps and all changes of the settings are under one version, so they are in one order: of a step that commits a
//! move and one that takes it back only one is done.

use crate::board::Board;
use crate::message::Write;
use crate::outcome::{Refusal, RefusalReason, SettingsOutcome};
use crate::rules;
use crate::watch::Item;
use baton_core::ids::Version;
use baton_core::record::{Move, MovePhase};
use baton_core::rules::Rule;

impl Board {
    /// One step of a move, only from the version of the settings that is expected.
    pub(crate) fn put_move(&mut self, expected: Version, moving: Option<Move>) -> SettingsOutcome {
        if self.settings.version != expected {
            return SettingsOutcome::Conflict(Box::new(self.settings.clone()));
        }
        let before = self.settings.moving.as_ref();
        if let Err(refusal) = rules::check_move(&self.limits, before, moving.as_ref()) {
            return SettingsOutcome::Refused(refusal);
        }
        let arrived = before.filter(|before| before.phase == MovePhase::Arriving).map(|before| before.lock);
        let mut writes = Vec::new();
        if let Some(lock) = arrived {
            // Whoever held the lock at the end that was left could renew it until a moment ago. The same in the file: a
            // board that is restarted now must wait as long.
            self.lock.durable.longest_ttl = self.lock.durable.longest_ttl.max(lock);
            self.lock.wait_for_others(self.now, lock);
            writes.push(Write::Lock(self.lock.durable.clone()));
        }
        self.settings.moving = moving;
        self.settings.version = expected.next();
        let settings = Box::new(self.settings.clone());
        writes.push(Write::Settings(settings.clone()));
        self.commit(writes, vec![Item::Settings(settings)]);
        if self.settings.phase() == Some(MovePhase::Moved) {
            self.end_all_candidates();
        }
        SettingsOutcome::Applied(self.revision)
    }

    /// Why nothing can be changed here now.
    pub(crate) fn standstill(&self) -> Option<Refusal> {
        if !self.keep(Rule::ServeUnmoved) {
            return None;
        }
        self.settings.standstill().map(|why| Refusal::new(RefusalReason::Moving, None, why))
    }
}
