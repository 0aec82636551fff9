//! The right to accept writes: granted, extended, lapsed, given up, relinquished (design, *The lease*).
//!
//! It must not know how an engine is fenced, only whether it may still be writable.

use super::io::{Action, GaveUp, Note};
use super::{Guard, Lead};
use crate::engine::DataState;
use crate::ids::{DataId, Epoch, OpId, Term};
use crate::message::{Grant, Relinquished};
use crate::position::Position;
use crate::record::Record;
use crate::rules::Rule;
use crate::time::{Span, Time};

impl Guard {
    /// Guards start fenced: until this has been read, nothing is led; afterwards nothing at or below the term read.
    pub(super) fn provider_read(&mut self, now: Time, record: Option<&Record>, epoch: Epoch) {
        if self.floor.is_some() {
            // An answer that comes late still tells of an epoch, and whoever speaks in a lower one is not heeded.
            self.saved.highest_epoch = self.saved.highest_epoch.max(epoch);
            return;
        }
        // Where the provider has lost the record, what was known of it before is all that is left.
        let floor = record.map_or(self.saved.highest_term, |record| record.term);
        self.floor = Some(floor);
        if record.is_none() && epoch.generation <= 1 && self.saved.highest_term == Term(0) {
            // Where there is no record yet, nothing was promised. (After a restore of the provider there may have been one; where a term
            // is known there was, and the provider has lost it.)
            self.hold_until = now;
            self.saved.promised.take_if(|promised| promised.is_unremembered());
        } else if let Some(promised) = self.saved.promised.as_mut().filter(|it| it.is_unremembered()) {
            // Nobody was promised anything for a later term than is recorded.
            promised.term = floor;
        }
        if let Some(master) = record.and_then(|record| record.master.clone()) {
            self.note_master(floor, master);
        }
        self.saved.highest_term = self.saved.highest_term.max(floor);
        self.saved.highest_epoch = self.saved.highest_epoch.max(epoch);
        self.push(Action::Note(Note::Read { floor }));
        self.relinquish_read_term();
        self.beat_soon(now);
    }

    /// A successor on the same boot, which holds the instance's lock and a fenced engine, speaks for the run that it
    /// succeeds: it will never lead at or below the term that it read. What that term's engine finally held it does not
    /// know: the engine that it found need not be the run that led.
    pub(super) fn relinquish_read_term(&mut self) {
        let Some(floor) = self.floor else { return };
        if self.relinquished.is_some() || self.lead.is_some() || self.leaving.is_some() {
            return;
        }
        if floor > Term(0) && self.engine.surely_fenced() {
            self.relinquished = Some(Relinquished { term: floor, position: Position::Unknown, ended: true });
        }
    }

    /// Told to give a term up that it never heard it should lead: it says so, and from then on never will.
    pub(super) fn relinquish_up_to(&mut self, now: Time, term: Term) {
        let known = self.relinquished.as_ref().is_some_and(|relinquished| relinquished.term >= term);
        if known || self.lead.is_some() || self.leaving.is_some() || !self.engine.surely_fenced() {
            return;
        }
        let position = self.engine.position();
        self.relinquished = Some(Relinquished { term, position, ended: self.engine.run().is_none() });
        self.push(Action::Note(Note::Relinquished { term, position }));
        self.beat_soon(now);
    }

    /// The moment from which the right is treated as over: the fence, and after it the kill, still fit before its end.
    pub(super) fn fence_time(&self) -> Option<Time> {
        self.lead.as_ref()?.fence_at().filter(|_| self.keep(Rule::FenceBeforeDeadline))
    }

    /// Gives the right up where its time has come.
    pub(super) fn lapse(&mut self, now: Time) {
        if self.fence_time().is_some_and(|fence| now >= fence) {
            self.give_up(now, GaveUp::Lapsed);
        }
    }

    /// A grant: matched to its very beat, counted from the beat's send, never reviving what has lapsed.
    pub(super) fn granted(&mut self, now: Time, grant: Grant) {
        if grant.incarnation != self.config.incarnation || !self.admit_epoch(grant.epoch) {
            return;
        }
        if grant.beat > now {
            // Nobody of ours sent a beat in the future; an echo that says so is no answer.
            return;
        }
        let (lease, ttl, margin) = self.span_of(&grant);
        let from = if self.keep(Rule::LeaseFromSend) { grant.beat } else { now };
        let right = (from + ttl).back(margin);
        let in_time = now < self.reckon(lease).fence_at(right);
        if !self.keep(Rule::NoRevival) && self.lead.is_none() && in_time {
            self.revive(grant.term);
        }
        if self.lead.as_ref().is_none_or(|lead| lead.term != grant.term) {
            return;
        }
        self.keep_pace(now, lease);
        if self.extend_right(now, right, lease) {
            if let Some(lead) = self.lead.as_mut().filter(|_| ttl > lease) {
                lead.pinned_until = Some(from + ttl);
            }
            self.set_on_promises(false);
            self.regranted(now);
        }
    }

    /// Takes a right that is given by this lease where it lasts longer: until a later fence. Whether it did. (Its very end may
    /// come earlier than that of a right with longer budgets.)
    pub(super) fn extend_right(&mut self, now: Time, right: Time, lease: Span) -> bool {
        let reckoned = self.reckon(lease);
        let fence = reckoned.fence_at(right);
        let Some(lead) = self.lead.as_mut().filter(|_| now < fence) else { return false };
        if lead.fence_at().is_some_and(|known| known >= fence) {
            return false;
        }
        lead.right = Some(right);
        lead.reckoned = reckoned;
        self.arm(reckoned.deadline(right));
        true
    }

    /// Moves the end of the right to an earlier moment, as if it were given by this lease, and the deadman's deadline with it.
    pub(super) fn shorten_right(&mut self, right: Time, lease: Span) {
        let reckoned = self.reckon(lease);
        let Some(lead) = self.lead.as_mut() else { return };
        if lead.right.is_some_and(|known| known > right) {
            lead.right = Some(right);
            lead.reckoned = reckoned;
            self.arm(reckoned.deadline(right));
        }
    }

    /// Breaks [`Rule::NoRevival`]; unreachable in a build that keeps all rules.
    fn revive(&mut self, term: Term) {
        let lapsed = self.leaving.map(|(term, _)| term);
        let ended = self.relinquished.as_ref().map(|relinquished| relinquished.term);
        if lapsed.or(ended) != Some(term) || term < self.saved.highest_term {
            return;
        }
        let data = self.engine.probe.as_ref().map(|probe| &probe.data);
        let data_id = match data {
            Some(DataState::Marked { id, .. }) => id.clone(),
            _ => DataId("revived".into()),
        };
        self.leaving = None;
        self.relinquished = None;
        let in_sync = std::collections::BTreeSet::new();
        self.lead = Some(Lead::new(term, data_id, in_sync, 0));
    }

    /// Ends a mastership from this side. The term is relinquished once the engine surely cannot be written.
    pub(super) fn give_up(&mut self, now: Time, why: GaveUp) {
        let Some(lead) = self.lead.take() else { return };
        self.push(Action::Note(Note::GivingUp { term: lead.term, why }));
        self.leaving = Some((lead.term, why));
        if why == GaveUp::PromotionFailed {
            self.unfit_until = now + self.config.timing.promote_wait;
        }
        self.proposal = None;
        self.honoured = None;
        self.follow = None;
        if self.engine.may_write {
            self.fence_urgently(now, why);
        } else {
            let position = self.engine.position();
            self.finish_leaving(now, position, self.engine.run().is_none());
        }
        self.beat_soon(now);
    }

    /// The engine is surely not writable any more: the term that was given up is relinquished, and said so at once.
    pub(super) fn finish_leaving(&mut self, now: Time, position: Position, ended: bool) {
        // A candidate that fenced what a hand had made writable has armed the deadman for a right of its own. A pinned one is extended
        // by no later grant: disarmed, it would wait to be promoted for ever (P34).
        if self.lead.as_ref().is_none_or(|lead| lead.right.is_none()) {
            self.disarm();
        }
        let Some((term, _)) = self.leaving.take() else {
            self.relinquish_read_term();
            return;
        };
        self.relinquished = Some(Relinquished { term, position, ended });
        self.push(Action::Note(Note::Relinquished { term, position }));
        self.beat_soon(now);
    }

    fn arm(&mut self, deadline: Time) {
        let op = self.next_op();
        self.arming = Some((op, deadline));
        self.push(Action::Arm { op, deadline });
    }

    pub(super) fn armed_as_asked(&mut self, op: OpId) {
        if let Some((_, deadline)) = self.arming.filter(|(asked, _)| *asked == op) {
            self.armed = Some(deadline);
        }
    }

    fn disarm(&mut self) {
        if self.arming.take().is_some() {
            self.armed = None;
            self.push(Action::Disarm);
        }
    }

    /// Whether a message of this epoch may be listened to; raises what is known.
    pub(super) fn admit_epoch(&mut self, epoch: Epoch) -> bool {
        if epoch < self.saved.highest_epoch && self.keep(Rule::IgnoreLowerEpoch) {
            return false;
        }
        self.saved.highest_epoch = self.saved.highest_epoch.max(epoch);
        true
    }
}
