//! What people's settings make of the rules: who of a set may be appointed, and when a set is held because too much
//! happened (design, *Operators*).
//!
//! It must not know how a setting is written down, or who changed it.

use super::Arbiter;
use super::set::{Said, SetState};
use crate::decision::{Class, Hold};
use crate::ids::{InstanceName, ReplicaSetName, Zone};
use crate::message::Hello;
use crate::record::{FAILOVERS_KEPT, Record, Settings};
use crate::time::{Span, Time};
use crate::timing::Timing;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Over how long `max_failovers_per_minute` counts.
const MINUTE: Span = Span::from_secs(60);

impl Arbiter {
    /// Settings that are not safe together were refused when they were written; what a damaged provider says otherwise
    /// does not take effect, the last good ones stay.
    pub(super) fn take_settings(&mut self, settings: Settings) {
        let Ok(timing) = Timing::new(&settings) else { return };
        // One that was made by hand stays while nothing is set that times follow from.
        if Timing::new(&self.settings).as_ref() != Ok(&timing) {
            self.timing = self.config.rules.timed(timing);
        }
        self.settings = settings;
    }

    /// Takes effect at once. What was granted by earlier settings is known by its bounds.
    pub(super) fn settings_changed(&mut self, now: Time, settings: Settings, unix_millis: u64) {
        if settings.version < self.settings.version {
            return;
        }
        self.read_wall(now, unix_millis);
        let pace = self.timing.beat_replica;
        self.take_settings(settings);
        if self.timing.beat_replica < pace {
            // Nobody is late by a pace that it has not heard of yet.
            self.paced_from = now + pace;
        }
        self.heed_said(now, unix_millis);
        self.drive_all(now);
    }

    /// Gives each set what people said of its members, with ends on our own clock.
    pub(super) fn heed_said(&mut self, now: Time, unix_millis: u64) {
        let said: BTreeMap<_, _> = self
            .settings
            .members
            .iter()
            .map(|(name, own)| {
                let left = own.maintenance_until.map(|until| until.saturating_sub(unix_millis));
                let said = Said {
                    electable: own.electable,
                    priority: own.priority,
                    maintenance_until: left
                        .filter(|left| *left > 0)
                        .map(|left| now + Span::from_millis(left)),
                    expelled: own.expelled,
                };
                (name.clone(), said)
            })
            .collect();
        for set in self.sets.values_mut() {
            let named = set.members.keys().chain(set.guards.keys());
            let own = named.filter_map(|name| Some((name.clone(), said.get(name)?.clone())));
            set.said = own.collect();
        }
        self.said = said;
    }

    pub(super) fn said_of(&self, instance: &InstanceName) -> Said {
        self.said.get(instance).cloned().unwrap_or_default()
    }

    /// It is no member any more, unless it comes again.
    pub(super) fn member_removed(&mut self, name: &ReplicaSetName, instance: &InstanceName) {
        self.listings.remove(instance);
        let Some(set) = self.sets.get_mut(name) else { return };
        set.members.remove(instance);
        if set.guards.get(instance).is_some_and(|guard| guard.session.is_none()) {
            set.guards.remove(instance);
            self.homes.remove(instance);
        }
    }

    /// Why no other member is made master by nobody's wish.
    pub(super) fn hold_of(&self, now: Time, set: &SetState) -> Option<Hold> {
        let policy = self.settings.of(&set.name);
        let within = set.failovers.iter().filter(|at| now.since(**at) < policy.suppress_window).count();
        let threshold = policy.suppress_threshold as usize;
        let recent = self.recent.iter().filter(|at| now.since(**at) < MINUTE).count();
        let max = self.settings.max_failovers_per_minute;
        if set.is_paused(now) {
            Some(Hold::Paused)
        } else if set.excused {
            None
        } else if threshold > 0 && within >= threshold {
            Some(Hold::Suppressed)
        } else if self.tripped || max.is_some_and(|max| recent >= max as usize) {
            Some(Hold::Budget)
        } else {
            None
        }
    }

    /// What holds this very decision: a person's word stands above all of it.
    pub(super) fn hold_of_decision(&mut self, now: Time, set: &SetState, class: Class) -> Option<Hold> {
        let asked = set.task.as_ref().is_some_and(|task| task.is_persons());
        if asked || matches!(class, Class::Restored | Class::DrillCrashed) {
            return None;
        }
        let hold = self.hold_of(now, set);
        // One network event is not over because a minute has passed: a person has to look.
        self.tripped |= hold == Some(Hold::Budget);
        hold
    }

    /// Counts an automatic change of master.
    pub(super) fn count_failover(&mut self, now: Time, set: &mut SetState) {
        let window = self.settings.of(&set.name).suppress_window;
        set.failovers.retain(|at| now.since(*at) < window);
        set.failovers.push_back(now);
        self.recent.retain(|at| now.since(*at) < MINUTE);
        self.recent.push_back(now);
    }

    /// 0 is no time of day: a driver without one.
    pub(super) fn read_wall(&mut self, now: Time, unix_millis: u64) {
        self.wall = (unix_millis > 0).then_some((now, unix_millis));
    }

    /// What the next arbiter has to know of them, in a record that is about to be written.
    pub(super) fn failovers_to_record(&self, now: Time, set: &SetState) -> Vec<u64> {
        let Some((read_at, read)) = self.wall else { return Vec::new() };
        let unix = now.since(read_at).as_millis().saturating_add(read);
        let surplus = set.failovers.len().saturating_sub(FAILOVERS_KEPT);
        let kept = set.failovers.iter().skip(surplus);
        kept.map(|at| unix.saturating_sub(now.since(*at).as_millis())).collect()
    }

    /// After a takeover: those of the last minute, over all sets.
    pub(super) fn recall_recent(&mut self, now: Time, records: &[Record], unix_millis: u64) {
        let times = records.iter().flat_map(|record| &record.failovers);
        let mut recent: Vec<_> = times.filter_map(|at| recalled(now, *at, unix_millis, MINUTE)).collect();
        recent.sort_unstable();
        self.recent = recent.into();
    }

    /// A set is held since the cluster had too many failovers: the next arbiter, which may not have seen them, holds it too,
    /// until a person has looked.
    pub(super) fn record_over_budget(&mut self, now: Time, set: &mut SetState, hold: Option<Hold>) {
        let over_budget = hold == Some(Hold::Budget);
        let Some(record) = set.record.clone().filter(|record| record.over_budget != over_budget) else {
            return;
        };
        if over_budget || set.excused {
            let reason = if over_budget { "hold" } else { "resume" }.to_owned();
            self.record_looks(now, set, Record { over_budget, reason, ..Record::clone(&record) });
        }
    }

    /// A person has looked, which the next arbiter has to know as well.
    pub(super) fn forget_failovers(&mut self, now: Time, set: &mut SetState) {
        let tells = |record: &Arc<Record>| record.over_budget || !record.failovers.is_empty();
        let Some(record) = set.record.clone().filter(tells) else { return };
        if set.excused {
            let (failovers, over_budget) = (Vec::new(), false);
            let reason = "resume".to_owned();
            self.record_looks(now, set, Record { failovers, over_budget, reason, ..Record::clone(&record) });
        }
    }

    /// Writes what people have, or have not, looked at: the rest of the record stays as it is.
    fn record_looks(&mut self, now: Time, set: &mut SetState, record: Record) {
        // A record from before a restore must not come to look like one that was settled since.
        let epoch = self.epoch().filter(|epoch| epoch.generation <= record.epoch.generation);
        let (Some(epoch), true) = (epoch, set.pending.is_none()) else { return };
        set.proposal = None;
        let record = Record {
            version: record.version.next(),
            decided_by: self.config.coordinator.clone(),
            epoch,
            at_unix_millis: 0,
            ..record
        };
        self.write(now, set, record, None);
    }

    /// A person has looked: what holds a set, or all of them, is over.
    pub(super) fn resume_asked(&mut self, now: Time, name: Option<ReplicaSetName>) {
        let names = match name {
            Some(name) => vec![name],
            None => {
                self.tripped = false;
                self.recent.clear();
                self.sets.keys().cloned().collect()
            }
        };
        for name in names {
            if let Some(set) = self.sets.get_mut(&name) {
                set.failovers.clear();
                set.excused = true;
                set.ask_unpin();
            }
            self.drive(now, &name);
        }
    }

    pub(super) fn is_drained(&self, zone: Option<&Zone>) -> bool {
        zone.is_some_and(|zone| self.settings.drained.contains(zone))
    }
}

/// When something happened, on our clock; `None` where that is too long ago to count. Judged by the wall clock: ours may have
/// begun since, with this host, and knows no moment before that.
fn recalled(now: Time, at: u64, unix_millis: u64, within: Span) -> Option<Time> {
    let ago = Span::from_millis(unix_millis.saturating_sub(at));
    (ago < within).then(|| now.back(ago))
}

impl SetState {
    /// What an earlier arbiter has counted. One that lies in the future, by our wall clock, counts as of now.
    pub(super) fn take_over_failovers(
        &mut self,
        now: Time,
        failovers: &[u64],
        unix_millis: u64,
        within: Span,
    ) {
        self.failovers = failovers.iter().filter_map(|at| recalled(now, *at, unix_millis, within)).collect();
    }

    /// Whether it may ever be appointed, by its configuration and by what people said.
    pub(super) fn is_electable(&self, hello: &Hello) -> bool {
        let said = self.said.get(&hello.instance);
        let expelled = said.is_some_and(|said| said.expelled);
        !expelled && said.and_then(|said| said.electable).unwrap_or(hello.electable)
    }

    pub(super) fn priority(&self, hello: &Hello) -> u32 {
        let said = self.said.get(&hello.instance);
        said.and_then(|said| said.priority).unwrap_or(hello.priority)
    }

    /// For how much longer somebody works on it.
    pub(super) fn in_maintenance(&self, now: Time, instance: &InstanceName) -> Option<Span> {
        let until = self.said.get(instance)?.maintenance_until?;
        (now < until).then(|| until.since(now))
    }
}
