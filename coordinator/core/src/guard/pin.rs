//! A pinned right: a grant for as long as a person paused the set for, and the way back to leases (design, *Operators*).
//!
//! It must not know who paused, or why.

use super::{Guard, Lead};
use crate::ids::{Epoch, Stamp, Version};
use crate::message::Grant;
use crate::time::{Span, Time};

/// An order to give a pinned right up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unpin {
    /// Of the arbiter that ordered it.
    pub epoch: Epoch,
    /// Of the directive.
    pub stamp: Stamp,
    /// The deadman's deadline is that of a lease again.
    pub done: bool,
}

impl Guard {
    /// By which lease a grant is given, how long it lasts, and what is taken off it: a pin's whole length, with a margin in
    /// proportion; of any other grant at most that lease. A pin of a record that was given up since is an ordinary grant.
    pub(super) fn span_of(&self, grant: &Grant) -> (Span, Span, Span) {
        let timing = &self.config.timing;
        // An arbiter of an older build does not say by which lease it grants.
        let lease = if grant.lease == Span::ZERO { timing.lease_ttl } else { grant.lease };
        match grant.pinned.filter(|version| !self.gave_up(grant.epoch, *version)) {
            Some(_) if grant.ttl > lease => {
                (lease, grant.ttl, timing.margin * (grant.ttl.0 / timing.lease_ttl.0.max(1) + 1))
            }
            _ => {
                let ttl = grant.ttl.min(lease);
                (lease, ttl, timing.margin_of(ttl))
            }
        }
    }

    fn gave_up(&self, epoch: Epoch, version: Version) -> bool {
        self.unpin.is_some_and(|unpin| (epoch, version) <= (unpin.epoch, unpin.stamp.version))
    }

    /// From now on the right rests on leases; the first of them is this guard's own, since the arbiter counts one from the
    /// receipt of the answer.
    pub(super) fn unpin_ordered(&mut self, now: Time, epoch: Epoch, stamp: Stamp) {
        if self.unpin.is_some_and(|unpin| unpin.epoch == epoch && unpin.stamp == stamp) {
            return;
        }
        self.unpin = Some(Unpin { epoch, stamp, done: false });
        let lease = self.lease_after_pin();
        let end = (now + lease).back(self.config.timing.margin);
        if let Some(lead) = &mut self.lead {
            lead.pinned_until = None;
        }
        self.shorten_right(end, lease);
    }

    /// The lease that an unpinned right rests on at first: our own, and no longer than one that an arbiter has granted by. Of
    /// that one every arbiter knows, and waits for the longest that ever was; a longer one we may be the first to know.
    fn lease_after_pin(&self) -> Span {
        let granted_by = self.lead.as_ref().and_then(|lead| lead.pace);
        let own = self.config.timing.lease_ttl;
        granted_by.map_or(own, |lease| lease.min(own))
    }

    /// Says so once the deadman holds no later deadline than a lease from now: what it holds is the last thing between a
    /// guard that stops here and a second master.
    pub(super) fn answer_unpin(&mut self, now: Time) {
        let latest = now + self.lease_after_pin();
        let in_time = self.armed.is_none_or(|armed| armed <= latest);
        let right = self.lead.as_ref().and_then(|lead| lead.right).is_none_or(|right| right <= latest);
        let Some(unpin) = self.unpin.as_mut().filter(|unpin| !unpin.done && in_time && right) else { return };
        unpin.done = true;
        self.beat_soon(now);
    }

    pub(super) fn unpinned(&self) -> Option<(Epoch, Version)> {
        self.unpin.filter(|unpin| unpin.done).map(|unpin| (unpin.epoch, unpin.stamp.version))
    }

    /// What is left of a pin, as it was granted.
    #[must_use]
    pub fn pinned_left(&self, now: Time) -> Span {
        let until = self.lead.as_ref().and_then(|lead: &Lead| lead.pinned_until);
        until.map_or(Span::ZERO, |until| until.since(now))
    }
}
