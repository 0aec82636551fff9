//! The cluster-wide settings: one versioned document. A timing that is not safe is refused here, for everybody.

use crate::board::Board;
use crate::message::Write;
use crate::outcome::SettingsOutcome;
use crate::rules;
use crate::watch::Item;
use baton_core::ids::Version;
use baton_core::record::Settings;

impl Board {
    pub(crate) fn put_settings(&mut self, expected: Version, mut settings: Settings) -> SettingsOutcome {
        if self.settings.version != expected {
            return SettingsOutcome::Conflict(Box::new(self.settings.clone()));
        }
        if let Some(refusal) = self.standstill() {
            return SettingsOutcome::Refused(refusal);
        }
        let timing = match rules::check_settings(&self.limits, &settings) {
            Ok(timing) => timing,
            Err(refusal) => return SettingsOutcome::Refused(refusal),
        };
        settings.version = expected.next();
        // Whoever wrote these may not know what a move is, and must not take one back by it.
        settings.moving.clone_from(&self.settings.moving);
        settings.longest_lease = self.settings.longest().max(settings.longest());
        self.settings = settings.clone();
        let settings = Box::new(settings);
        let mut writes = vec![Write::Settings(settings.clone())];
        if timing.lock_ttl > self.lock.durable.longest_ttl {
            // In the same write as the settings: no renewal with the longer ttl can be answered before it is durable,
            // or a restarted board would wait too short a time for its holder.
            self.lock.durable.longest_ttl = timing.lock_ttl;
            writes.push(Write::Lock(self.lock.durable.clone()));
        }
        self.commit(writes, vec![Item::Settings(settings)]);
        SettingsOutcome::Applied(self.revision)
    }
}
