//! What a directive makes the guard want (design, *The record*, *Promotion*, *The in-sync set*).
//!
//! It must not know how an engine is made to comply.

use super::io::{Action, GaveUp, Note};
use super::{FollowOrder, Guard, Lead, Promotion, Proposal, Severance};
use crate::ids::{EngineRun, InstanceName, Stamp, Term};
use crate::message::{Directive, Greeting, Honoured, Order, Severed};
use crate::position::Position;
use crate::rules::Rule;
use crate::time::{Span, Time};
use std::collections::BTreeSet;

impl Guard {
    pub(super) fn directed(&mut self, now: Time, directive: Directive) {
        if directive.incarnation != self.config.incarnation || !self.admit_epoch(directive.epoch) {
            return;
        }
        if directive.order == Order::StandDown {
            self.stand_down(now);
            return;
        }
        let (stamp, epoch, seen) = (directive.stamp(), directive.epoch, self.seen);
        if self.floor.is_none() || !self.admit(&directive) {
            return;
        }
        self.saved.highest_term = self.saved.highest_term.max(directive.term);
        if self.lead.as_ref().is_some_and(|lead| lead.term < directive.term) {
            self.give_up(now, GaveUp::Superseded);
        }
        // A master keeps its right and is written back; a candidate would keep everybody waiting for a grant.
        let candidate = self.lead.as_ref().is_some_and(|lead| lead.right.is_none());
        if candidate && seen.generation < stamp.generation {
            self.give_up(now, GaveUp::Forgotten);
        }
        if !matches!(directive.order, Order::Sever { .. }) {
            self.lift_severance(stamp);
        }
        match directive.order {
            Order::Lead { in_sync, data_id, ack_quorum } => {
                self.conclude_proposal(stamp);
                self.note_master(directive.term, self.config.instance.clone());
                self.quorum_recorded(now, directive.term, epoch, stamp, ack_quorum);
                self.lead_ordered(
                    now,
                    directive.term,
                    Lead::new(directive.term, data_id, in_sync, ack_quorum),
                );
            }
            Order::Follow { master, endpoint, data_id, start, reach } => {
                self.note_master(directive.term, master);
                self.follow_ordered(now, FollowOrder { endpoint, data_id, start, reach });
            }
            Order::Sever { master, reach, relinquished } => {
                if let Some(master) = master {
                    self.note_master(directive.term, master);
                }
                if relinquished {
                    self.release_promise(directive.term);
                }
                self.sever_ordered(now, stamp, reach);
            }
            Order::Relinquish => {
                self.note_master(directive.term, self.config.instance.clone());
                if self.lead.as_ref().is_some_and(|lead| lead.term == directive.term) {
                    self.give_up(now, GaveUp::Ordered);
                }
                self.relinquish_up_to(now, directive.term);
            }
            Order::Grow { member, in_sync } => {
                self.propose(now, in_sync, Proposal::Grow { stamp, epoch, member });
            }
            Order::Shrink { member, in_sync, ack_quorum } => {
                self.propose(now, in_sync, Proposal::Shrink { stamp, epoch, member, ack_quorum });
            }
            Order::Quorum { in_sync, ack_quorum } => {
                let proposal = self.quorum_proposed(now, epoch, stamp, ack_quorum);
                self.propose(now, in_sync, proposal);
            }
            Order::EndEngine { beat, within } => self.end_ordered(now, directive.term, beat, within),
            Order::Unpin => self.unpin_ordered(now, epoch, stamp),
            Order::StandDown => {}
        }
    }

    /// A directive below the highest seen is ignored, and whatever is not above a severance. A restore of the provider (a
    /// new generation) may have set versions back; within one they only rise.
    fn admit(&mut self, directive: &Directive) -> bool {
        let stamp = directive.stamp();
        if stamp < self.seen && self.keep(Rule::IgnoreLowerVersion) {
            return false;
        }
        let bound = self.severance.as_ref().is_some_and(|severance| stamp <= severance.stamp);
        let sever = matches!(directive.order, Order::Sever { .. });
        if bound && !sever && self.keep(Rule::SeverBinds) {
            return false;
        }
        self.seen = self.seen.max(stamp);
        true
    }

    /// Whose a term is: after a restore of the provider somebody has to know.
    pub(super) fn note_master(&mut self, term: Term, master: InstanceName) {
        if self.saved.known_master.as_ref().is_none_or(|(known, _)| *known < term) {
            self.saved.known_master = Some((term, master));
        }
    }

    fn lift_severance(&mut self, stamp: Stamp) {
        let binds = self.severance.as_ref().is_some_and(|severance| stamp <= severance.stamp);
        if self.severance.is_some() && (!binds || !self.keep(Rule::SeverBinds)) {
            self.severance = None;
            self.saved.severed = None;
        }
    }

    fn lead_ordered(&mut self, now: Time, term: Term, order: Lead) {
        if let Some(lead) = self.lead.as_mut().filter(|lead| lead.term == term) {
            lead.in_sync = order.in_sync;
            return;
        }
        let read = self.floor.is_some_and(|floor| term > floor) || !self.keep(Rule::LeadAboveReadTerm);
        let given_up = self.relinquished.as_ref().is_some_and(|relinquished| term <= relinquished.term)
            && self.keep(Rule::LeadAboveReadTerm);
        let lower = term < self.saved.highest_term;
        let leaving = self.leaving.is_some() || self.stopping;
        if !read || given_up || lower || leaving {
            return;
        }
        self.relinquished = None;
        self.follow = None;
        self.proposal = None;
        self.honoured = None;
        self.lead = Some(order);
        self.push(Action::Note(Note::Candidate(term)));
        self.next_beat = now.max(self.held_until());
    }

    /// An arbiter waits for a beat that was sent after this.
    pub(super) fn greeted_by(&mut self, now: Time, greeting: Greeting) {
        if greeting.incarnation == self.config.incarnation && self.admit_epoch(greeting.epoch) {
            self.greeted = Some(greeting.epoch);
            self.beat_soon(now);
        }
    }

    fn follow_ordered(&mut self, now: Time, order: FollowOrder) {
        if self.lead.is_some() {
            // Directed to follow at our own term: the arbiter never does that; the mastership stands.
            return;
        }
        if self.follow.as_ref() != Some(&order) {
            self.follow = Some(order);
            self.probe_soon(now);
        }
    }

    fn sever_ordered(&mut self, now: Time, stamp: Stamp, reach: Option<Position>) {
        if self.lead.is_some() {
            return;
        }
        let known = self.severance.as_ref().filter(|severance| severance.stamp >= stamp);
        if known.is_some_and(|severance| severance.report.is_some()) {
            self.beat_soon(now);
            return;
        }
        self.follow = None;
        self.saved.severed = Some(stamp);
        self.severance = Some(Severance { stamp, reach, report: None });
        self.probe_soon(now);
    }

    /// A drill ends the engine of the master at this very term, and with it the term: so nothing is ever ended twice by one
    /// drill. An order that comes late is nothing: whoever gave it has stopped looking, and may have told a person so.
    fn end_ordered(&mut self, now: Time, term: Term, beat: Time, within: Span) {
        let leads = |lead: &Lead| lead.term == term && lead.promotion == Promotion::Confirmed;
        let in_time = beat <= now && now < beat + within;
        // One that is not ours to start again stays as it is.
        if in_time && self.config.supervised && self.lead.as_ref().is_some_and(leads) {
            self.give_up(now, GaveUp::Drill);
        }
    }

    fn propose(&mut self, now: Time, in_sync: BTreeSet<InstanceName>, proposal: Proposal) {
        let Some(lead) = &mut self.lead else { return };
        if lead.promotion != Promotion::Confirmed {
            return;
        }
        lead.in_sync = in_sync;
        if self.proposal.as_ref() != Some(&proposal) {
            self.honoured = None;
            // A shrink and a raise need to know anew what the replicas hold.
            if matches!(proposal, Proposal::Shrink { .. } | Proposal::Quorum { .. }) {
                self.probe_soon(now);
            }
            self.proposal = Some(proposal);
        } else if self.honoured.is_none() {
            // A beat that does not answer makes the arbiter repeat itself: to answer each repetition at once with such a
            // beat would go round as fast as the network does, until the condition comes in.
            return;
        }
        self.beat_soon(now);
    }

    /// A record of a higher stamp is there: what was proposed on a lower one is in it, or can never land.
    fn conclude_proposal(&mut self, stamp: Stamp) {
        if self.proposed_on().is_some_and(|made_on| made_on < stamp) {
            self.proposal = None;
        }
    }

    pub(super) fn proposed_on(&self) -> Option<Stamp> {
        self.proposal.as_ref().map(|proposal| match proposal {
            Proposal::Grow { stamp, .. }
            | Proposal::Shrink { stamp, .. }
            | Proposal::Quorum { stamp, .. } => *stamp,
        })
    }

    /// The right was extended after the proposal, by a grant or by promises with the newcomer's among them: from now on
    /// none rests on a set without the newcomer.
    pub(super) fn regranted(&mut self, now: Time) {
        let Some(Proposal::Grow { stamp, epoch, member }) = &self.proposal else { return };
        let Some(lead) = &self.lead else { return };
        let mut members = lead.in_sync.clone();
        members.insert(member.clone());
        let (stamp, epoch) = (*stamp, Some(*epoch));
        let honoured = Some(Honoured { stamp, epoch, members, dropped: None, ack_quorum: None });
        if self.honoured != honoured {
            self.honoured = honoured;
            self.beat_soon(now);
        }
    }

    /// A shrink is answered once enough of the remaining hold everything: by a look that was asked for since, for the one who
    /// leaves may have been counted before.
    pub(super) fn answer_shrink(&mut self, now: Time, round: u64, held: u32) {
        let Some(Proposal::Shrink { stamp, ack_quorum, .. }) = &self.proposal else { return };
        if stamp.version.0 == round && held >= *ack_quorum {
            self.drop_leaver(now);
        }
    }

    /// Where no commit waits there is nothing to look for.
    pub(super) fn answer_proposal(&mut self, now: Time) {
        if !self.keep(Rule::RegrantBeforeGrow) {
            self.regranted(now);
        }
        if matches!(&self.proposal, Some(Proposal::Shrink { ack_quorum: 0, .. })) {
            self.drop_leaver(now);
        }
    }

    fn drop_leaver(&mut self, now: Time) {
        let Some(Proposal::Shrink { stamp, epoch, member, .. }) = &self.proposal else { return };
        let Some(lead) = self.lead.as_ref().filter(|_| self.honoured.is_none()) else { return };
        let mut members = lead.in_sync.clone();
        members.remove(member);
        let (stamp, epoch, dropped) = (*stamp, Some(*epoch), Some(member.clone()));
        self.honoured = Some(Honoured { stamp, epoch, members, dropped, ack_quorum: None });
        self.beat_soon(now);
    }

    /// A severance is reported once it is on disk and the engine surely replicates from nobody.
    pub(super) fn report_severance(&mut self, now: Time) {
        let Some(severance) = &self.severance else { return };
        let stamp = severance.stamp;
        let durable = self.persisted.severed == Some(stamp);
        if severance.report.is_some() || !durable || !self.severance_holds(stamp) {
            return;
        }
        let position = self.engine.position();
        let run = self.engine.run().cloned();
        let known = self.engine.whole == run.as_ref().map(EngineRun::lineage);
        let whole = run.is_some() && (known || !self.keep(Rule::ReportWhole));
        self.push(Action::Note(Note::Severed { version: stamp.version, position }));
        if let Some(severance) = &mut self.severance {
            severance.report = Some(Severed { stamp, position, run, whole });
        }
        self.beat_soon(now);
    }

    /// Of two guards with one name the older one stands down: its engine is fenced or killed, and it stops.
    fn stand_down(&mut self, now: Time) {
        self.give_up(now, GaveUp::Ordered);
        if self.engine.may_write {
            self.push(Action::KillEngine);
        }
        self.push(Action::StandDown);
        self.stood_down = true;
    }
}
