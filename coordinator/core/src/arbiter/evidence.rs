//! When the recorded master may be replaced (design, *Dead evidence*). Nothing else counts: a closed stream is a reason
//! to look, not evidence.

use super::Arbiter;
use super::set::{SetState, ago};
use super::succession::all_heard;
use crate::decision::{Class, Evidence};
use crate::message::Health;
use crate::position::Position;
use crate::rules::Rule;
use crate::time::Time;

impl Arbiter {
    /// Accepts evidence against the recorded master, once and for all at its term.
    pub(super) fn look_for_evidence(&mut self, now: Time, set: &mut SetState) {
        if set.evidence.is_some() || !self.may_appoint(now) {
            return;
        }
        let found = self
            .relinquished(set)
            .or_else(|| confirmed_off(set))
            .or_else(|| self.outer_bound_passed(now, set));
        if let Some(evidence) = found {
            set.evidence = Some((evidence, classify(set, evidence)));
            set.proposal = None;
            self.end_forced_in_vain(set);
        }
    }

    /// What the recorded master finally held, as the very run that led says, whenever it is heard to: whoever was replaced for its
    /// silence may come while no successor is found, and holds all that it ever acknowledged (P55).
    pub(super) fn final_position(&self, set: &SetState) -> Option<Position> {
        let known = |evidence| match evidence {
            // One that could not be read at first may be told later.
            Evidence::Relinquished { ended: false, position } => {
                Some(position).filter(|position| *position != Position::Unknown)
            }
            Evidence::Relinquished { ended: true, .. }
            | Evidence::OuterBound { .. }
            | Evidence::Fenced
            | Evidence::AllHeard
            | Evidence::Vouched => None,
        };
        let (accepted, _) = set.evidence?;
        // After a restore it may have led since, and followed another.
        let settled = !all_heard(set);
        let later = || self.relinquished(set).and_then(known);
        settled.then(|| known(accepted).or_else(later)).flatten()
    }

    /// Evidence 1, from the run that holds the term or its successor on the same boot. The same name on another host is
    /// nobody's evidence.
    fn relinquished(&self, set: &SetState) -> Option<Evidence> {
        let (record, guard) = set.master()?;
        let beat = guard.beat.as_ref()?;
        let relinquished =
            beat.relinquished.as_ref().filter(|relinquished| relinquished.term >= record.term)?;
        let holder = record.incarnation.is_some_and(|holder| beat.incarnation.is_or_succeeds(&holder));
        // A successor knows that nothing is led any more, not whether the engine is still the run that led: what it holds
        // now is no final position.
        let same_run = record.incarnation == Some(beat.incarnation);
        let position = if same_run { relinquished.position } else { Position::Unknown };
        (holder || !self.keep(Rule::EvidenceFromHolder))
            .then_some(Evidence::Relinquished { ended: relinquished.ended, position })
    }

    /// Evidence 2: every right that anybody granted has run out.
    fn outer_bound_passed(&self, now: Time, set: &SetState) -> Option<Evidence> {
        let heard = set.master().and_then(|(_, guard)| guard.heard_at);
        let bound = if self.keep(Rule::WaitForOuterBound) {
            set.outer_bound.max(set.patience)
        } else {
            // Broken on purpose: silence of two beats is taken for death.
            heard.map_or(set.patience, |heard| heard + self.timing.beat_master * 2)
        };
        (now >= bound).then_some(Evidence::OuterBound { silent_for: ago(now, heard) })
    }
}

/// Evidence 3 (design, *Dead evidence*).
fn confirmed_off(set: &SetState) -> Option<Evidence> {
    let record = set.record.as_ref()?;
    set.fenced.filter(|term| *term >= record.term).map(|_| Evidence::Fenced)
}

/// The name under which people see it.
fn classify(set: &SetState, evidence: Evidence) -> Class {
    let asked = set.task_of_term().map(|task| task.class);
    if asked == Some(Class::Forced) {
        return Class::Forced;
    }
    let health = set.master().and_then(|(_, guard)| guard.beat.as_ref()).map(|beat| beat.engine.health);
    match evidence {
        Evidence::Relinquished { ended: false, .. } if asked.is_some() => asked.unwrap_or(Class::Switchover),
        Evidence::Relinquished { .. } | Evidence::OuterBound { .. } if health == Some(Health::Stalled) => {
            Class::Stalled
        }
        Evidence::Relinquished { ended: true, .. } if set.ended_by_drill(evidence) => Class::DrillCrashed,
        Evidence::Relinquished { ended: true, .. } => Class::Crashed,
        Evidence::Relinquished { ended: false, .. } => Class::Lapsed,
        Evidence::OuterBound { .. } | Evidence::Fenced => Class::Silent,
        Evidence::AllHeard | Evidence::Vouched => Class::Restored,
    }
}
