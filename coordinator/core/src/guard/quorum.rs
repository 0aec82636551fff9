//! For how many replicas a master's commits wait: as it is recorded, or more while a raise is being made (design, *The
//! in-sync set*). The record never says more than the engine keeps: a raise is applied here first and answered, a lower
//! number is recorded first and then told.
//!
//! It must not know how an engine waits.

use super::{Guard, Promotion, Proposal};
use crate::engine::EngineCommand;
use crate::ids::{Epoch, Stamp, Term};
use crate::message::Honoured;
use crate::time::Time;

/// The quorum of one mastership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// For how many replicas commits are to wait.
    pub wanted: u32,
    /// What the engine has answered to. `None`: it was asked for another, and did not answer.
    pub told: Option<u32>,
    /// So many replicas hold each write that was acknowledged at this term.
    pub sure: u32,
    /// The proposal that raised it: nothing that rests on the same version and the same arbiter lowers it.
    pub raised: Option<(Epoch, Stamp)>,
}

impl Quorum {
    pub(super) fn new(recorded: u32) -> Self {
        Self { wanted: recorded, told: None, sure: 0, raised: None }
    }

    /// The promotion carried it: it has counted since the first write.
    pub(super) fn promoted(&mut self, ack_quorum: u32) {
        self.told = Some(ack_quorum);
        self.sure = ack_quorum.min(self.wanted);
    }

    fn want(&mut self, ack_quorum: u32) {
        self.wanted = ack_quorum;
        // From now on this is what can be relied on, though the engine may wait for more a moment longer.
        self.sure = self.sure.min(ack_quorum);
    }
}

impl Guard {
    /// What the record says. An arbiter that takes over at the version of a raise knows that it was never recorded.
    pub(super) fn quorum_recorded(
        &mut self,
        now: Time,
        term: Term,
        epoch: Epoch,
        stamp: Stamp,
        ack_quorum: u32,
    ) {
        let withdrawn = match &self.proposal {
            Some(Proposal::Quorum { epoch: proposed_by, .. }) => *proposed_by < epoch,
            _ => false,
        };
        if withdrawn {
            self.proposal = None;
            self.honoured = None;
        }
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.term == term) else { return };
        let quorum = &mut lead.quorum;
        if quorum.raised == Some((epoch, stamp)) || quorum.wanted == ack_quorum {
            return;
        }
        quorum.raised = None;
        quorum.want(ack_quorum);
        self.probe_soon(now);
    }

    /// A raise, not recorded yet.
    pub(super) fn quorum_proposed(
        &mut self,
        now: Time,
        epoch: Epoch,
        stamp: Stamp,
        ack_quorum: u32,
    ) -> Proposal {
        let proposal = Proposal::Quorum { stamp, epoch, ack_quorum };
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.promotion == Promotion::Confirmed) else {
            return proposal;
        };
        lead.quorum.raised = Some((epoch, stamp));
        if lead.quorum.wanted < ack_quorum {
            lead.quorum.want(ack_quorum);
            self.probe_soon(now);
        }
        proposal
    }

    /// What the engine has to be asked for in place of a mere look: another quorum, or whether so many hold everything.
    pub(super) fn quorum_to_ask(&mut self) -> Option<EngineCommand> {
        let leaving = match &self.proposal {
            Some(Proposal::Shrink { ack_quorum, .. }) => *ack_quorum > 0 && self.honoured.is_none(),
            _ => false,
        };
        let round = self.proposed_on().map_or(0, |stamp| stamp.version.0);
        let lead = self.lead.as_mut().filter(|lead| lead.promotion == Promotion::Confirmed)?;
        let quorum = &mut lead.quorum;
        let other = quorum.told != Some(quorum.wanted);
        if !other && quorum.sure >= quorum.wanted && !leaving {
            return None;
        }
        if other {
            quorum.told = None;
        }
        Some(EngineCommand::Quorum { ack_quorum: quorum.wanted, round })
    }

    pub(super) fn quorum_done(&mut self, ack_quorum: u32, held: u32) {
        let lost = self.quorum_may_fall_below(ack_quorum);
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.promotion == Promotion::Confirmed) else {
            return;
        };
        let quorum = &mut lead.quorum;
        if ack_quorum != quorum.wanted {
            return;
        }
        quorum.told = Some(ack_quorum);
        if held >= ack_quorum && !lost {
            quorum.sure = ack_quorum;
        }
    }

    /// A raise is answered once so many hold everything, and hold every later write too.
    pub(super) fn answer_quorum(&mut self, now: Time) {
        let Some(Proposal::Quorum { stamp, epoch, ack_quorum }) = &self.proposal else { return };
        let Some(lead) = &self.lead else { return };
        if self.honoured.is_some() || lead.quorum.sure < *ack_quorum {
            return;
        }
        let (members, ack_quorum) = (lead.in_sync.clone(), Some(*ack_quorum));
        let (stamp, epoch) = (*stamp, Some(*epoch));
        self.honoured = Some(Honoured { stamp, epoch, members, dropped: None, ack_quorum });
        self.beat_soon(now);
    }

    /// What was asked for over a connection that broke may be obeyed later, after something else.
    pub(super) fn quorum_lost(&mut self, ack_quorum: u32) {
        let known = self.engine.quorum_lost.unwrap_or(u32::MAX);
        self.engine.quorum_lost = Some(known.min(ack_quorum));
        if let Some(lead) = &mut self.lead {
            lead.quorum.told = None;
        }
    }

    /// Whether this run of the engine may still come to wait for fewer.
    pub(super) fn quorum_may_fall_below(&self, ack_quorum: u32) -> bool {
        self.engine.quorum_lost.is_some_and(|lost| lost < ack_quorum)
    }

    /// For the beat.
    pub(super) fn sure_quorum(&self) -> Option<u32> {
        let lead = self.lead.as_ref().filter(|lead| lead.promotion == Promotion::Confirmed)?;
        Some(lead.quorum.sure)
    }
}
