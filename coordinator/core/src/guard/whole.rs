//! Which run of the engine is known to hold everything that the instance ever confirmed: only such a run's report counts
//! where commits wait for replicas (design, *Promotion*, sever). Of an engine with durable data it is known of the data, and of every
//! later run on it ([`EngineRun::lineage`], P231). It is on disk, so that a guard which dies beside an engine
//! that lives on takes nothing with it.
//!
//! It must not know what the report is used for.

use super::Guard;
use crate::engine::{EngineCommand, Probe};
use crate::ids::EngineRun;
use crate::rules::Rule;

impl Guard {
    /// It is shown by a position that the master reported after this run began.
    pub(super) fn note_whole(&mut self, probe: &Probe) {
        if let Some(order) = &self.follow
            && order.reach.is_some_and(|reach| probe.position.holds(&reach))
            && probe.link_up
            && probe.follows.as_ref() == Some(&order.endpoint)
        {
            self.engine.whole = Some(probe.run.lineage());
        }
    }

    /// Of another run than the state file names nothing is known.
    pub(super) fn believe_whole_only(&mut self, run: &EngineRun) {
        if self.keep(Rule::ForgetEndedRun) {
            self.engine.whole.take_if(|whole| *whole != run.lineage());
        } else if self.engine.whole.is_some() {
            self.engine.whole = Some(run.lineage());
        }
    }

    /// Whether an order to follow may be asked. A guard that dies leaves it in the engine's socket, and the next one would
    /// vouch for a severance that the order undoes: so the state file must call no run whole until it is answered.
    pub(super) fn whole_is_off_disk(&mut self) -> bool {
        let coming = self.persisting.as_ref().and_then(|(_, saved)| saved.whole.as_ref());
        self.persisted.whole.is_none() && coming.is_none() || !self.keep(Rule::ForgetBeforeFollow)
    }

    /// What the state file is to say of it.
    pub(super) fn keep_whole(&mut self) {
        let engine = &self.engine;
        let asked =
            engine.outstanding.iter().any(|(_, command)| matches!(command, EngineCommand::Follow { .. }));
        let open = asked || engine.order_lost || self.wants_to_follow();
        self.saved.whole = engine.whole.clone().filter(|_| !open || !self.keep(Rule::ForgetBeforeFollow));
    }
}
