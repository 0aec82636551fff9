//! What the guard says of itself: the beat, and what it keeps on disk.

use super::io::Action;
use super::{Guard, Promotion};
use crate::ids::OpId;
use crate::message::{Beat, EngineView, Stand};
use crate::time::{Span, Time};

impl Guard {
    /// A beat leaves with this step.
    pub(super) fn beat_soon(&mut self, now: Time) {
        self.next_beat = self.next_beat.min(now);
    }

    pub(super) fn beat(&mut self, now: Time) {
        let timing = &self.config.timing;
        let often = self.paced(timing.beat_master);
        let busy = self.lead.is_some() || self.leaving.is_some() || self.severance.is_some();
        let period = if busy { often } else { timing.beat_replica };
        self.next_beat = now + period;
        if let Some(phase) = self.beat_phase {
            self.next_beat = last_of_phase(self.next_beat, period, phase);
        }
        let held = self.held_until().max(self.unfit_until);
        if self.severance.is_some() && held > now {
            // The arbiter waits for the end of the hold.
            self.next_beat = self.next_beat.min(held);
        }
        let beat = Beat {
            instance: self.config.instance.clone(),
            incarnation: self.config.incarnation,
            sent_at: now,
            highest_term: self.saved.highest_term,
            known_master: self.saved.known_master.clone(),
            stand: self.stand(now),
            needs: self.needs(),
            relinquished: self.relinquished.clone(),
            severed: self.severance.as_ref().and_then(|severance| severance.report.clone()),
            honoured: self.honoured.clone(),
            unpinned: self.unpinned(),
            pinned: self.pinned_left(now),
            ack_quorum: self.sure_quorum(),
            greeted: self.greeted,
            hold: held.since(now),
            engine: self.engine_view(),
        };
        self.ask_for_promises(now, &beat);
        if self.attached {
            self.push(Action::Beat(Box::new(beat)));
        }
    }

    fn stand(&self, now: Time) -> Stand {
        if self.floor.is_none() {
            return Stand::Starting;
        }
        match &self.lead {
            None => Stand::Standby,
            Some(lead) => match (lead.right, lead.promotion) {
                (None, _) if now < self.held_until() => Stand::Standby,
                (None, _) => Stand::Candidate(lead.term),
                (Some(_), promotion) => {
                    Stand::Leading { term: lead.term, writable: promotion == Promotion::Confirmed }
                }
            },
        }
    }

    fn engine_view(&self) -> EngineView {
        let probe = self.engine.probe.as_ref();
        EngineView {
            health: self.engine.health(),
            run: probe.map(|probe| probe.run.clone()),
            position: self.engine.position(),
            data: probe.map(|probe| probe.data.clone()).unwrap_or_default(),
            follows: probe.filter(|probe| probe.link_up).and_then(|probe| probe.follows.clone()),
            found_writable: self.engine.found_writable,
            may_write: !self.engine.surely_fenced(),
            replicas_caught_up: probe.map_or(0, |probe| probe.replicas_caught_up),
            whole: probe.is_some_and(|probe| self.engine.whole == Some(probe.run.lineage())),
        }
    }

    /// Keeps what is on disk equal to what should be, one write at a time.
    pub(super) fn persist(&mut self) {
        if self.persisting.is_none() && self.saved != self.persisted {
            let op = self.next_op();
            self.persisting = Some((op, self.saved.clone()));
            self.push(Action::Persist { op, saved: self.saved.clone() });
        }
    }

    pub(super) fn persist_done(&mut self, op: OpId) {
        if let Some((_, saved)) = self.persisting.take_if(|(asked, _)| *asked == op) {
            self.persisted = saved;
        }
    }
}

/// The last moment not after `at` that is `phase` after a multiple of `period`: less than a period before it.
fn last_of_phase(at: Time, period: Span, phase: Span) -> Time {
    let period = period.0.max(1);
    at.back(Span((at.0 % period + period - phase.0 % period) % period))
}
