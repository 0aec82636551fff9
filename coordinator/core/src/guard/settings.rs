//! Settings that change while the guard runs, and what a right was reckoned with (design, *The lease*): the guard's own lease
//! need not be that of the arbiter that grants, or of the member that promises, since each learns of a change when it does.
//!
//! A right keeps the budgets with which it was extended, so that no change moves the moment of its fence to an earlier one. A
//! span counts for its whole length, with a margin in proportion; and where whoever gave it reckons with a shorter lease,
//! budgets and beats are shortened with it.
//!
//! It must not know where settings are kept.

use super::{Guard, Lead};
use crate::time::{Span, Time};
use crate::timing::Timing;

/// What a right keeps of its end for the fence and the kill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reckoned {
    /// For the kill.
    pub kill: Span,
    /// For the fence before it.
    pub fence: Span,
}

impl Reckoned {
    /// The deadman's deadline for a right that ends then.
    pub(super) fn deadline(&self, right: Time) -> Time {
        right.back(self.kill)
    }

    /// From then on such a right is treated as over.
    pub(super) fn fence_at(&self, right: Time) -> Time {
        self.deadline(right).back(self.fence)
    }
}

/// A member's latest promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    /// On this node's clock, the margin taken off.
    pub end: Time,
    /// For how long it was given.
    pub ttl: Span,
}

impl Lead {
    /// From when on the right is treated as over, the fence and the kill before its end.
    pub(super) fn fence_at(&self) -> Option<Time> {
        self.right.map(|right| self.reckoned.fence_at(right))
    }
}

impl Guard {
    /// Takes effect at once for what this guard promises, asks for and beats. What was given by the earlier ones stands.
    pub(super) fn settings_changed(&mut self, now: Time, timing: Timing, failsafe: bool) {
        let timing = self.config.rules.timed(timing);
        if self.config.timing == timing && self.config.failsafe == failsafe {
            return;
        }
        self.config.timing = timing;
        self.config.failsafe = failsafe;
        // What was planned at the old pace may be too late at the new one.
        self.probe_soon(now);
        self.beat_soon(now);
    }

    /// What is kept of the end of a right that was given by this lease.
    pub(super) fn reckon(&self, lease: Span) -> Reckoned {
        let timing = &self.config.timing;
        Reckoned {
            kill: timing.within(timing.kill_budget, lease),
            fence: timing.within(timing.fence_budget, lease),
        }
    }

    /// Whoever gives this guard its right does so by this lease: from now on it keeps up with that.
    pub(super) fn keep_pace(&mut self, now: Time, lease: Span) {
        let Some(lead) = &mut self.lead else { return };
        if lead.pace != Some(lease) {
            lead.pace = Some(lease);
            self.next_beat = self.next_beat.min(now + self.paced(self.config.timing.beat_master));
        }
    }

    /// A span of the own timing at the pace that this guard has to keep: its own, or that of a shorter lease.
    pub(super) fn paced(&self, span: Span) -> Span {
        let timing = &self.config.timing;
        let pace = self.lead.as_ref().and_then(|lead| lead.pace);
        timing.within(span, pace.unwrap_or(timing.lease_ttl))
    }
}
