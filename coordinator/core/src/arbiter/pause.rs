//! A pause: recorded first, then told, so that every later arbiter knows that such a master has no shorter bound than its
//! pin (design, *Operators*, `pause`).
//!
//! A pin is told as a long grant: it answers a beat and counts from its send, and the bound of whoever gave it is noted
//! before it leaves. It ends early only by the master's own word: the master gives it up, its deadman's deadline included,
//! and only then is the record written.
//!
//! It must not know why somebody pauses.

use super::Arbiter;
use super::set::{PinWish, Proposal, SetState};
use crate::ids::{InstanceName, ReplicaSetName, Version};
use crate::record::{Pin, Record};
use crate::rules::Rule;
use crate::time::{Span, Time};

impl Arbiter {
    pub(super) fn pause_asked(&mut self, now: Time, name: &ReplicaSetName, pin: Pin) {
        if let Some(set) = self.sets.get_mut(name).filter(|set| set.has_master()) {
            set.pin_wish = Some(PinWish::Pin(pin, now + pin.span));
        }
        self.drive(now, name);
    }

    /// While the master leads: records a pause, ends one whose time is over, and records the end once the master has given
    /// its pin up.
    pub(super) fn maintain_pin(&mut self, now: Time, set: &mut SetState) {
        let Some(record) = set.record.clone() else { return };
        if record.pinned.is_some() && now >= set.pin_end && set.pin_end_written.is_none() {
            set.ask_unpin();
        }
        if set.pin_wish.is_none() || set.pending.is_some() {
            return;
        }
        // To an earlier arbiter the same may have been said, and the pin been told again since.
        let asked = self.epoch().map(|epoch| (epoch, record.version));
        let said = set.master_beat().and_then(|beat| beat.unpinned);
        let given_up = said.is_some() && said == asked && set.proposal == Some(Proposal::Unpin);
        if given_up && set.pin_bound > now {
            // From its word on it rests on leases. (The word is older than its receipt.)
            set.pin_bound = now;
            set.outer_bound = now + self.timing.hold;
            set.leased_until = set.leased_until.max(set.outer_bound);
        }
        // The master gave itself that lease. Once the pin is out of the record, whoever takes the lock over knows of nothing but
        // the end of ours.
        let uncovered = !self.lock_covers(set.outer_bound) && self.keep(Rule::CoverUnpin);
        let unheard = now < set.pin_bound;
        let awaits =
            set.pin_wish == Some(PinWish::Unpin) && record.pinned.is_some() && (unheard || uncovered);
        if awaits && self.keep(Rule::AwaitUnpin) {
            // A proposal on this version is dropped for nothing but a higher one.
            if set.confirmed && set.proposal.is_none() {
                set.proposal = Some(Proposal::Unpin);
            }
            return;
        }
        self.write_pin_wish(now, set, &record);
    }

    /// Records what was asked; whether it did. Where there is evidence against the master no word of its own is needed.
    pub(super) fn write_pin_wish(&mut self, now: Time, set: &mut SetState, record: &Record) -> bool {
        // A record from before a restore must not come to look like one that was settled since.
        if self.epoch().is_none_or(|epoch| record.epoch.generation < epoch.generation) {
            return false;
        }
        let (pinned, reason) = match set.pin_wish {
            Some(PinWish::Pin(pin, end))
                if record.pinned != Some(pin) || set.proposal == Some(Proposal::Unpin) =>
            {
                set.pin_end_written = Some(end);
                // A longer one may have been told: whoever takes the lock over has to wait for that.
                let told = record.pinned.map_or(Span::ZERO, |before| before.span);
                (Some(Pin { span: pin.span.max(told), ..pin }), "pause")
            }
            Some(PinWish::Unpin) if record.pinned.is_some() => (None, "resume"),
            Some(PinWish::Pin(..) | PinWish::Unpin) | None => {
                set.pin_wish = None;
                return false;
            }
        };
        let Some(epoch) = self.epoch() else { return false };
        set.pin_wish = None;
        set.proposal = None;
        let record = Record {
            version: record.version.next(),
            pinned,
            reason: reason.to_owned(),
            decided_by: self.config.coordinator.clone(),
            epoch,
            at_unix_millis: 0,
            ..record.clone()
        };
        self.write(now, set, record, None);
        true
    }
}

impl SetState {
    /// No automatic decision, until then.
    pub(super) fn is_paused(&self, now: Time) -> bool {
        let pinned = self.record.as_ref().is_some_and(|record| record.pinned.is_some());
        pinned && now < self.pin_end && self.pin_wish != Some(PinWish::Unpin)
    }

    /// A pin that an earlier arbiter may have told until its lock was over.
    pub(super) fn take_over_pin(
        &mut self,
        now: Time,
        bound: Time,
        pin: Pin,
        unix_millis: u64,
        remember: bool,
    ) {
        let left = Span::from_millis(pin.until_unix_millis.saturating_sub(unix_millis));
        self.pin_end = now + if pin.is_for_good() { pin.span } else { left.min(pin.span) };
        self.pin_bound = bound.max(now) + pin.span;
        if remember {
            self.outer_bound = self.outer_bound.max(self.pin_bound);
        }
    }

    /// What a master says that it was pinned for: after a restore of the provider nobody else may know it.
    pub(super) fn note_pinned(&mut self, now: Time, instance: &InstanceName, pinned: Span) {
        if pinned > Span::ZERO && self.is_master(instance) && self.proposal != Some(Proposal::Unpin) {
            self.pin_bound = self.pin_bound.max(now + pinned);
            self.outer_bound = self.outer_bound.max(now + pinned);
        }
    }

    /// For how long a pin may be told now, and by which version of the record.
    pub(super) fn pin_to_grant(&self, now: Time) -> Option<(Span, Version)> {
        let record = self.record.as_ref().filter(|record| record.pinned.is_some())?;
        let unpinning = self.pending.as_ref().is_some_and(|pending| pending.record.pinned.is_none());
        let ending =
            unpinning || self.pin_wish == Some(PinWish::Unpin) || self.proposal == Some(Proposal::Unpin);
        (!ending && now < self.pin_end).then(|| (self.pin_end.since(now), record.version))
    }

    pub(super) fn ask_unpin(&mut self) {
        let pinned = self.record.as_ref().is_some_and(|record| record.pinned.is_some());
        if pinned || matches!(self.pin_wish, Some(PinWish::Pin(..))) {
            self.pin_wish = Some(PinWish::Unpin);
        }
    }
}
