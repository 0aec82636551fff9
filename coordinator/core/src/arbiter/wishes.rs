//! What the arbiter moves by its own wish: masters out of a drained zone or off a member in maintenance, and the
//! preferred member back into its place (design, *Operators*). One set after the other, each by an ordinary switchover,
//! and none that is held or was changed a moment ago.
//!
//! It must not know how a switchover is carried out.

use super::Arbiter;
use super::io::TaskId;
use super::select::{Question, choose};
use super::set::{SetState, Task};
use super::switchover::check_switchover;
use crate::decision::Class;
use crate::ids::InstanceName;
use crate::record::Record;
use crate::settings::SetPolicy;
use crate::time::{Span, Time};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// The number that the arbiter's own wishes have; no person's task does.
pub(super) const OWN: TaskId = TaskId(0);
/// How long a target may take to reach the master's final position; it is short, since the target has caught up.
const TIMEOUT: Span = Span::from_secs(5);
/// How long a set is left alone after a wish that failed.
const AGAIN: Span = Span::from_secs(30);

impl Arbiter {
    /// Begins the move that is wanted, if there is one.
    pub(super) fn wish(&mut self, now: Time, set: &mut SetState) {
        let Some(record) = set.record.clone() else { return };
        let busy = set.task.is_some() || set.is_drilled() || set.pending.is_some() || set.proposal.is_some();
        if busy || !set.confirmed || now < set.wish_after {
            return;
        }
        let policy = self.settings.of(&set.name);
        let wanted =
            self.wanted_elsewhere(now, set, &record).or_else(|| preferred(now, set, &record, &policy, self));
        let Some((class, target)) = wanted else { return };
        let fresh = now < set.appointed_at + policy.immunity;
        if fresh || self.is_wishing() || self.hold_of(now, set).is_some() {
            return;
        }
        let Ok(old_master) = check_switchover(now, set, Some(&target)) else { return };
        let task = Task::new(OWN, class, Some(target), old_master, record.term, now + TIMEOUT);
        set.task = Some(task);
        set.wish_after = now + AGAIN;
        self.wishing = Some(set.name.clone());
    }

    /// Whether another set's master is on its way.
    fn is_wishing(&mut self) -> bool {
        let set = self.wishing.as_ref().and_then(|name| self.sets.get(name));
        let under_way = set.is_some_and(|set| set.task.is_some() || !set.confirmed);
        if !under_way {
            self.wishing = None;
        }
        under_way
    }

    /// To whom the mastership should go since the master's zone is drained, or somebody works on it.
    fn wanted_elsewhere(&self, now: Time, set: &SetState, record: &Record) -> Option<(Class, InstanceName)> {
        let (_, guard) = set.master()?;
        let leaving = self.is_drained(guard.hello.zone.as_ref())
            || set.in_maintenance(now, &guard.hello.instance).is_some()
            || set.expels(&guard.hello.instance);
        if !leaving {
            return None;
        }
        let question = Question {
            spare_old_master: true,
            avoid_drained: true,
            by_itself: false,
            candidates: self.imagined_candidates(now, set, record, &BTreeSet::new()),
            ..self.question(now, set, record, None)
        };
        choose(&question).chosen.map(|(target, _)| (Class::Drain, target))
    }
}

/// The member with the highest priority, where that is not the master and it has been well for long enough.
fn preferred(
    now: Time,
    set: &SetState,
    record: &Record,
    policy: &SetPolicy,
    arbiter: &Arbiter,
) -> Option<(Class, InstanceName)> {
    let (_, master) = set.master().filter(|_| policy.autoreturn)?;
    let well = |since: Time| now.since(since) >= policy.autoreturn_delay;
    let fit = set.guards.values().filter(|guard| {
        let name = &guard.hello.instance;
        record.in_sync.contains(name)
            && set.is_electable(&guard.hello)
            && set.in_maintenance(now, name).is_none()
            && !arbiter.is_drained(guard.hello.zone.as_ref())
    });
    let best = fit.max_by_key(|guard| (set.priority(&guard.hello), Reverse(guard.hello.instance.clone())))?;
    let higher = set.priority(&best.hello) > set.priority(&master.hello);
    (higher && best.sound_since.is_some_and(well)).then(|| (Class::Autoreturn, best.hello.instance.clone()))
}
