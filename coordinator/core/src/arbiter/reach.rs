//! An arbiter that hears too few guards gives its lock up for a contender that hears more (design, *Operators*). It calls
//! beside the lock, and looks at the bids that answer; see [`crate::contender`] for the other side. It never gives up for
//! nobody: without a bid it stays.
//!
//! It must not know how bids travel.

use super::Arbiter;
use super::io::Action;
use super::set::{GuardState, SetState};
use crate::contender::{Bid, stand_back};
use crate::time::{Span, Time};

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reach {
    /// What stands beside our lock, and since when it does.
    standing: Option<(Bid, Time)>,
    /// When to count again. Nothing is counted while nobody was lost.
    pub(super) look_at: Option<Time>,
    /// When this coordinator gave its lock up the last time; known beyond the lock.
    gave_up_at: Option<Time>,
    /// Nobody could answer a call here.
    #[cfg(feature = "model")]
    off: bool,
}

impl Reach {
    /// Of another epoch nothing is known.
    pub(super) fn forget(&mut self) {
        (self.standing, self.look_at) = (None, None);
    }

    #[cfg(feature = "model")]
    pub(super) fn rebase(&mut self, by: Span) {
        let times = [&mut self.look_at, &mut self.gave_up_at];
        for time in times.into_iter().flatten().chain(self.standing.as_mut().map(|(_, at)| at)) {
            *time = time.folded(by);
        }
    }
}

impl Arbiter {
    /// How many of the listed guards are attached and beat, of how many.
    #[must_use]
    pub fn hears(&self, now: Time) -> (u32, u32) {
        let lease = self.timing.lease_ttl;
        let (mut heard, mut listed) = (0_u32, 0_u32);
        for set in self.sets.values() {
            for instance in set.members.keys().filter(|name| !self.said_of(name).expelled) {
                let hears = set.guards.get(instance).is_some_and(|guard| guard.is_heard(now, lease));
                listed = listed.saturating_add(1);
                heard = heard.saturating_add(u32::from(hears));
            }
        }
        (heard, listed)
    }

    /// Somebody of this set is not heard: to be counted soon.
    pub(super) fn count_if_silent(&mut self, now: Time, set: &SetState) {
        let lease = self.timing.lease_ttl;
        if self.reach.look_at.is_none() && set.guards.values().any(|guard| !guard.is_heard(now, lease)) {
            self.count_later(now);
        }
    }

    pub(super) fn count_later(&mut self, now: Time) {
        #[cfg(feature = "model")]
        if self.reach.off {
            return;
        }
        // Whoever lost its stream and comes back at once is back by then, and not every beat of a large cluster counts everybody.
        let at = now + self.timing.beat_master;
        self.reach.look_at = Some(self.reach.look_at.map_or(at, |known| known.min(at)));
    }

    /// The call or the bid beside our lock is this one now.
    pub(super) fn bid_seen(&mut self, now: Time, bid: Option<Bid>) {
        if self.reach.standing.as_ref().map(|(bid, _)| bid) != bid.as_ref() {
            self.reach.standing = bid.map(|bid| (bid, now));
            self.look_at_reach(now);
        }
    }

    pub(super) fn look_at_reach(&mut self, now: Time) {
        self.reach.look_at = None;
        let (Some(taken_at), true) = (self.lock_taken_at(), self.is_active(now)) else { return };
        let (heard, listed) = self.hears(now);
        let standing = self.reach.standing.clone();
        let expected = standing.as_ref().map_or(0, |(bid, _)| bid.number);
        if u64::from(heard) * 2 >= u64::from(listed) {
            if standing.is_some() {
                self.push(Action::Bid { expected, hears: None });
                self.count_later(now);
            }
            return;
        }
        self.count_later(now);
        // Whoever has just taken over may not be heard by all yet. Nothing else is waited for here: a silence counts only once it
        // has lasted for a lease, and who was cut off for a moment answers no call.
        if now < taken_at + self.timing.lease_ttl {
            return;
        }
        let stand_back = stand_back(&self.timing);
        let mine = |bid: &Bid| bid.by == self.config.coordinator;
        match standing {
            Some((bid, _)) if mine(&bid) => {}
            Some((bid, since)) if now < since + stand_back => {
                let rested = self.reach.gave_up_at.is_none_or(|at| now >= at + stand_back * 2);
                if bid.hears > heard && rested {
                    self.reach.gave_up_at = Some(now);
                    self.push(Action::GiveUp { to: bid.by, hears: bid.hears, heard, listed });
                }
            }
            // Nobody has called yet, or whoever answered has fallen silent.
            Some(_) | None => self.push(Action::Bid { expected, hears: Some(heard) }),
        }
    }
}

#[cfg(feature = "model")]
impl Arbiter {
    /// For worlds whose provider knows no bids: it never counts whom it hears, which would make states that differ by
    /// nothing else.
    #[must_use]
    pub fn without_calls(mut self) -> Self {
        self.reach.off = true;
        self
    }
}

impl GuardState {
    /// Over its own stream, within a lease.
    fn is_heard(&self, now: Time, lease: Span) -> bool {
        self.session.is_some() && self.heard_at.is_none_or(|at| now.since(at) <= lease)
    }
}

#[cfg(test)]
mod tests;
