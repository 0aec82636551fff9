//! The arbiter's lock: what it may do while it holds it, and what it must wait for after a takeover (design, *The lock*).
//!
//! It must not know who keeps the lock, or how it is renewed.

use super::io::{Action, Resumed};
use super::set::SetState;
use super::{Arbiter, SessionId};
use crate::ids::Epoch;
use crate::message::Hello;
use crate::record::{Member, Record, Settings};
use crate::rules::Rule;
use crate::time::{Span, Time};
use std::sync::Arc;

/// The lock while it is ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lock {
    pub(super) epoch: Epoch,
    pub(super) valid_until: Time,
    pub(super) predecessor_bound: Time,
    taken_at: Time,
    loaded: bool,
}

impl Lock {
    #[cfg(feature = "model")]
    pub(super) fn rebase(&mut self, by: Span) {
        for time in [&mut self.valid_until, &mut self.predecessor_bound, &mut self.taken_at] {
            *time = time.folded(by);
        }
    }
}

impl Arbiter {
    /// Whether it may decide and grant now.
    #[must_use]
    pub fn is_active(&self, now: Time) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.loaded && now < lock.valid_until)
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.loaded)
    }

    /// How long the lock is still good for.
    #[must_use]
    pub fn lock_left(&self, now: Time) -> Span {
        self.lock.as_ref().map_or(Span::ZERO, |lock| lock.valid_until.since(now))
    }

    /// Whether nobody else can hold the lock before this moment.
    pub(super) fn lock_covers(&self, until: Time) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.valid_until >= until)
    }

    pub(super) fn lock_acquired(
        &mut self,
        now: Time,
        epoch: Epoch,
        valid_until: Time,
        predecessor_bound: Time,
    ) {
        if self.lock.as_ref().is_some_and(|lock| lock.epoch == epoch) {
            // Resumed: nobody was in between, so everything that is known still holds.
            self.lock_renewed(now, valid_until);
            return;
        }
        // A new epoch: every bound that an earlier one of ours knew is forgotten; `loaded` sets them anew.
        let guards = self.take_guards();
        self.alarms.clear();
        self.writes.clear();
        self.sets.clear();
        self.listings.forget();
        self.reach.forget();
        self.lock = Some(Lock { epoch, valid_until, predecessor_bound, taken_at: now, loaded: false });
        for (session, hello) in guards {
            self.attached(now, session, vec![hello]);
        }
        self.push(Action::Load);
    }

    fn take_guards(&self) -> Vec<(SessionId, Hello)> {
        let guards = self.sets.values().flat_map(|set| set.guards.values());
        guards.filter_map(|guard| Some((guard.session?, guard.hello.clone()))).collect()
    }

    pub(super) fn lock_renewed(&mut self, now: Time, valid_until: Time) {
        let was_active = self.is_active(now);
        let Some(lock) = &mut self.lock else { return };
        lock.valid_until = lock.valid_until.max(valid_until);
        if !was_active {
            // Masters that went on by promises beat meanwhile, and were answered nothing: their silence would be ours.
            let patience = now + self.timing.beat_master * 2;
            for set in self.sets.values_mut() {
                set.patience = set.patience.max(patience);
            }
            self.drive_all(now);
            self.count_later(now);
        }
    }

    pub(super) fn lock_lost(&mut self) {
        self.lock = None;
        self.listings.forget();
        self.reach.forget();
        self.alarms.clear();
        self.writes.clear();
        for set in self.sets.values_mut() {
            set.forget_decisions();
        }
    }

    /// Everything was read, linearizably, after the lock was ours: now decisions may begin.
    pub(super) fn loaded(
        &mut self,
        now: Time,
        records: Vec<Record>,
        members: Vec<Member>,
        settings: Settings,
        tasks: Vec<Resumed>,
        unix_millis: u64,
    ) {
        let Some(lock) = self.lock.as_mut().filter(|lock| !lock.loaded) else { return };
        lock.loaded = true;
        let patience = self.takeover_patience();
        self.read_wall(now, unix_millis);
        // Settings that are not safe together were refused when they were written; what a damaged provider says
        // otherwise does not take effect, the last good ones stay.
        self.take_settings(settings);
        for member in members {
            let set = self.set_mut(&member.replicaset.clone());
            set.members.insert(member.instance.clone(), member);
        }
        let bound = self.predecessor_bound();
        self.list_guards(now);
        let remember = self.keep(Rule::BoundPin);
        self.tripped = records.iter().any(|record| record.over_budget);
        self.recall_recent(now, &records, unix_millis);
        for record in records {
            let within = self.settings.of(&record.replicaset).suppress_window;
            let set = self.set_mut(&record.replicaset.clone());
            set.outer_bound = bound;
            set.leased_until = bound;
            set.patience = patience;
            set.appointed_at = now;
            set.take_over_failovers(now, &record.failovers, unix_millis, within);
            if let Some(pin) = record.pinned {
                set.take_over_pin(now, bound, pin, unix_millis, remember);
            }
            set.record = Some(Arc::new(record));
        }
        // Before the first look: a master that has relinquished by now did so for them.
        self.take_up(now, tasks);
        self.heed_said(now, unix_millis);
        self.drive_all(now);
        self.count_later(now);
    }

    pub(super) fn lock_taken_at(&self) -> Option<Time> {
        self.lock.as_ref().map(|lock| lock.taken_at)
    }

    /// How long a new arbiter lets guards attach before silence means anything. No rule of safety: what has run out has
    /// run out, but a master that attaches a moment later is the better choice.
    pub(super) fn takeover_patience(&self) -> Time {
        self.lock.as_ref().map_or(Time::default(), |lock| lock.taken_at + self.timing.beat_master * 2)
    }

    /// The latest moment at which an earlier holder, or a grant of one, could be believed. (Broken on purpose without
    /// its rule: the earlier holders' grants are forgotten.)
    pub(super) fn predecessor_bound(&self) -> Time {
        let wait = self.keep(Rule::WaitForPredecessor);
        let bound = |lock: &Lock| if wait { lock.predecessor_bound } else { lock.taken_at };
        self.lock.as_ref().map_or(Time::default(), bound)
    }

    /// Before the predecessor bound nothing is appointed, whatever the evidence.
    pub(super) fn may_appoint(&self, now: Time) -> bool {
        now >= self.predecessor_bound()
    }

    /// No grant outlives the granter's lock.
    pub(super) fn grantable(&self, now: Time) -> Span {
        let lease = self.timing.lease_ttl;
        if self.keep(Rule::GrantWithinLock) { lease.min(self.lock_left(now)) } else { lease }
    }

    pub(super) fn set_mut(&mut self, name: &crate::ids::ReplicaSetName) -> &mut SetState {
        self.sets.entry(name.clone()).or_insert_with(|| Box::new(SetState::new(name.clone())))
    }
}
