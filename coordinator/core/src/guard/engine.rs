//! The engine as the guard knows it, and the comparison of what is wanted with what is seen, at every step (design,
//! *Guards start fenced*). Level-triggered: nothing here depends on having seen an edge.
//!
//! It must not know why something is wanted; that is `lease.rs` and `orders.rs`.

use super::io::{Action, GaveUp, Note};
use super::{Guard, Promotion, WholeRun, command_span};
use crate::engine::{DataState, EngineCommand, EngineOutcome, Probe};
use crate::ids::{EngineRun, OpId, Stamp};
use crate::message::Health;
use crate::position::Position;
use crate::rules::Rule;
use crate::time::{Span, Time};
use std::collections::VecDeque;

/// What is known of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EngineState {
    /// Whether it was ever seen, running or ended: before that nothing may be said of it.
    pub(super) known: bool,
    pub(super) connected: bool,
    pub(super) probe: Option<Probe>,
    /// Asked and not answered, oldest first.
    pub(super) outstanding: VecDeque<(OpId, EngineCommand)>,
    /// It cannot be excluded that a client's write is accepted.
    pub(super) may_write: bool,
    /// ... and that without our doing: an operator's hand, or an engine found writable.
    pub(super) intruder: bool,
    /// A promotion was lost with its connection and may still arrive: no answered fence proves anything any more.
    pub(super) promotion_lost: bool,
    /// The same of a fence or follow: a severance cannot be vouched for.
    pub(super) order_lost: bool,
    /// The smallest quorum that was asked for and not answered: it may still arrive, after a larger one.
    pub(super) quorum_lost: Option<u32>,
    pub(super) stalled: bool,
    pub(super) found_writable: bool,
    pub(super) killed: bool,
    pub(super) unreachable_since: Option<Time>,
    /// The severance for which a fence was answered by this run.
    pub(super) fenced_for: Option<Stamp>,
    /// The run that is known to hold everything that the instance ever confirmed; after a start the one that the state file
    /// names, until the engine is seen.
    pub(super) whole: WholeRun,
    pub(super) told_foreign: bool,
    pub(super) next_probe: Time,
    pub(super) follow_at: Time,
    pub(super) restart_at: Option<Time>,
    pub(super) up_since: Option<Time>,
    pub(super) failures: u32,
}

impl EngineState {
    pub(super) fn new(now: Time) -> Self {
        Self {
            known: false,
            connected: false,
            probe: None,
            outstanding: VecDeque::new(),
            may_write: false,
            intruder: false,
            promotion_lost: false,
            order_lost: false,
            quorum_lost: None,
            stalled: false,
            found_writable: false,
            killed: false,
            unreachable_since: None,
            fenced_for: None,
            whole: None,
            told_foreign: false,
            next_probe: now,
            follow_at: now,
            restart_at: None,
            up_since: None,
            failures: 0,
        }
    }

    pub(super) fn run(&self) -> Option<&EngineRun> {
        self.probe.as_ref().map(|probe| &probe.run)
    }

    pub(super) fn position(&self) -> Position {
        self.probe.as_ref().map_or(Position::Unknown, |probe| probe.position)
    }

    /// It was seen, and it was not writable, or it does not run.
    pub(super) fn surely_fenced(&self) -> bool {
        self.known && !self.may_write
    }

    pub(super) fn health(&self) -> Health {
        match (self.stalled, self.connected) {
            (true, _) => Health::Stalled,
            (false, true) => Health::Up,
            (false, false) => Health::Down,
        }
    }

    /// Whether it is known to be gone, rather than out of reach.
    pub(super) fn is_gone(&self) -> bool {
        self.known && self.probe.is_none() && !self.connected
    }

    #[cfg(feature = "model")]
    pub(super) fn rebase(&mut self, by: Span) {
        let shift = |time: &mut Time| *time = time.folded(by);
        shift(&mut self.next_probe);
        shift(&mut self.follow_at);
        self.unreachable_since.iter_mut().for_each(shift);
        self.restart_at.iter_mut().for_each(shift);
        self.up_since.iter_mut().for_each(shift);
    }

    #[cfg(feature = "model")]
    pub(super) fn rebase_ops(&mut self, by: OpId) {
        for (op, _) in &mut self.outstanding {
            op.0 = op.0.saturating_sub(by.0);
        }
    }
}

impl Guard {
    pub(super) fn engine_connected(&mut self, now: Time, probe: Probe) {
        let first = !self.engine.known;
        let new_run = self.engine.run() != Some(&probe.run);
        if new_run && self.engine.probe.is_some() {
            // The old run is gone though nobody saw it end (an adopted engine, restarted by its own supervisor).
            self.forget_run(now);
        }
        self.engine.known = true;
        self.engine.connected = true;
        self.engine.unreachable_since = None;
        self.engine.killed = false;
        self.engine.found_writable = self.engine.found_writable || (first && probe.writable);
        if new_run {
            self.believe_whole_only(&probe.run);
            self.engine.up_since = Some(now);
            // Not before: that an engine was killed because it stalled is what its end is told by.
            self.engine.stalled = false;
            self.drop_severance_report();
        }
        self.engine.next_probe = now + self.probe_interval();
        self.look(now, probe);
        self.relinquish_read_term();
        self.beat_soon(now);
    }

    /// The connection is gone, and every command that was not answered over it is lost: also one that was asked between
    /// the last answer and this word, and never left. (A promotion forgotten here would be waited for without end.)
    pub(super) fn engine_disconnected(&mut self, now: Time) {
        if self.engine.connected {
            self.engine.connected = false;
            self.engine.unreachable_since = Some(now);
        }
        let lost = std::mem::take(&mut self.engine.outstanding);
        if self.keep(Rule::SettlePromotion) {
            lost.iter().for_each(|(_, command)| self.command_lost(now, command));
        }
    }

    pub(super) fn engine_ended(&mut self, now: Time) {
        self.engine.known = true;
        self.engine.connected = false;
        self.engine.outstanding.clear();
        self.forget_run(now);
        let restart_in = self.config.supervised.then(|| self.restart_delay(now));
        self.engine.restart_at = restart_in.map(|delay| now + delay);
        self.push(Action::Note(Note::EngineEnded { restart_in }));
        self.beat_soon(now);
    }

    /// No process of the run is left: nothing of it can be written, and nothing that it held in memory counts.
    fn forget_run(&mut self, now: Time) {
        let engine = &mut self.engine;
        engine.probe = None;
        engine.may_write = false;
        engine.intruder = false;
        engine.promotion_lost = false;
        engine.order_lost = false;
        engine.quorum_lost = None;
        engine.killed = false;
        engine.fenced_for = None;
        engine.told_foreign = false;
        engine.unreachable_since = None;
        if self.config.rules.keep(Rule::ForgetEndedRun) {
            engine.whole.take_if(|whole| !whole.is_durable());
        }
        self.drop_severance_report();
        if let Some(relinquished) = &mut self.relinquished {
            relinquished.position = Position::Unknown;
            relinquished.ended = true;
        }
        if self.lead.as_ref().is_some_and(|lead| lead.promotion != Promotion::NotAsked) {
            self.give_up(now, GaveUp::EngineEnded);
        } else if self.leaving.is_some() {
            self.finish_leaving(now, Position::Unknown, true);
        } else {
            self.relinquish_read_term();
        }
    }

    fn restart_delay(&mut self, now: Time) -> Span {
        let timing = &self.config.timing;
        // One that was not seen since its last start did not come up.
        let up_since = self.engine.up_since.take();
        if up_since.is_some_and(|since| now.since(since) > timing.lease_ttl) {
            self.engine.failures = 0;
        }
        let first_ever = up_since.is_none() && self.engine.failures == 0;
        self.engine.failures = (self.engine.failures + 1).min(10);
        if first_ever {
            return Span::ZERO;
        }
        // Doubled from a twelfth of a lease: a restart must not compete with the failover that its crash began.
        let base = timing.lease_ttl / 12;
        Span((base * (1 << (self.engine.failures - 1))).0.min(Span::from_secs(10).0))
    }

    pub(super) fn deadman_lost(&mut self, now: Time) {
        self.deadman_up = false;
        self.armed = None;
        self.arming = None;
        self.give_up(now, GaveUp::DeadmanLost);
    }

    pub(super) fn write_path(&mut self, now: Time, finished: bool) {
        self.engine.stalled = !finished;
        if !finished {
            // The fence must not depend on an engine that does not answer.
            self.give_up(now, GaveUp::Stalled);
        }
    }

    pub(super) fn engine_done(&mut self, now: Time, op: OpId, outcome: EngineOutcome) {
        let Some((_, command)) = self.engine.outstanding.front().filter(|(front, _)| *front == op).cloned()
        else {
            return;
        };
        self.engine.outstanding.pop_front();
        match outcome {
            EngineOutcome::Done(probe) => self.command_done(now, &command, probe),
            EngineOutcome::Refused(_) => self.command_refused(now, &command),
            EngineOutcome::Unknown(_) => self.command_lost(now, &command),
        }
    }

    fn command_done(&mut self, now: Time, command: &EngineCommand, probe: Probe) {
        match command {
            EngineCommand::Probe => self.look(now, probe),
            EngineCommand::Fence => self.fence_done(now, probe),
            EngineCommand::Follow { .. } => {
                self.engine.next_probe = now + self.probe_interval();
                self.look(now, probe);
            }
            EngineCommand::Quorum { ack_quorum, round } => {
                let held = probe.replicas_caught_up;
                self.engine.next_probe = now + self.probe_interval();
                self.look(now, probe);
                self.quorum_done(*ack_quorum, held);
                self.answer_shrink(now, *round, held);
            }
            EngineCommand::Promote { ack_quorum, .. } => {
                let run = probe.run.clone();
                let writable = probe.writable;
                self.engine.probe = Some(probe);
                let Some(lead) = self.lead.as_mut().filter(|lead| lead.promotion == Promotion::Asked) else {
                    return;
                };
                if writable {
                    lead.promotion = Promotion::Confirmed;
                    lead.quorum.promoted(*ack_quorum);
                    let term = lead.term;
                    self.engine.whole = Some(run.lineage());
                    self.push(Action::Note(Note::Writable(term)));
                    self.beat_soon(now);
                } else {
                    self.give_up(now, GaveUp::PromotionFailed);
                }
            }
        }
    }

    fn fence_done(&mut self, now: Time, probe: Probe) {
        let later_promotion = self
            .engine
            .outstanding
            .iter()
            .any(|(_, command)| matches!(command, EngineCommand::Promote { .. }));
        let writable = probe.writable;
        let position = probe.position;
        self.engine.probe = Some(probe);
        let proves = !self.engine.promotion_lost || !self.keep(Rule::SettlePromotion);
        if writable || !proves {
            self.kill(GaveUp::PromotionFailed);
            return;
        }
        if later_promotion {
            return;
        }
        self.engine.may_write = false;
        self.engine.intruder = false;
        self.engine.fenced_for = self.severance.as_ref().map(|severance| severance.stamp);
        self.finish_leaving(now, position, false);
    }

    fn command_refused(&mut self, now: Time, command: &EngineCommand) {
        match command {
            EngineCommand::Probe | EngineCommand::Quorum { .. } => {}
            EngineCommand::Fence => {
                if self.engine.may_write {
                    self.kill(GaveUp::Stalled);
                }
            }
            EngineCommand::Follow { .. } => self.engine.follow_at = now + self.config.timing.beat_master,
            EngineCommand::Promote { .. } => self.give_up(now, GaveUp::PromotionFailed),
        }
    }

    fn command_lost(&mut self, now: Time, command: &EngineCommand) {
        match command {
            EngineCommand::Probe => {}
            EngineCommand::Fence => {
                self.engine.order_lost = true;
                if self.engine.may_write {
                    self.kill(GaveUp::Stalled);
                }
            }
            EngineCommand::Follow { .. } => self.engine.order_lost = true,
            EngineCommand::Quorum { ack_quorum, .. } => self.quorum_lost(*ack_quorum),
            EngineCommand::Promote { .. } => {
                self.engine.promotion_lost = true;
                self.give_up(now, GaveUp::PromotionFailed);
                if self.keep(Rule::SettlePromotion) {
                    self.kill(GaveUp::PromotionFailed);
                }
            }
        }
    }

    /// Takes a look at the engine in, and says so at once where it changes what the arbiter decides by.
    fn look(&mut self, now: Time, probe: Probe) {
        let before = self.engine.probe.as_ref();
        let changed = before.is_none_or(|before| {
            (before.writable, &before.follows, before.link_up, &before.run, &before.data)
                != (probe.writable, &probe.follows, probe.link_up, &probe.run, &probe.data)
        });
        let was_whole = self.engine.whole.is_some();
        self.note_whole(&probe);
        let leads = self.lead.as_ref().is_some_and(|lead| lead.promotion != Promotion::NotAsked);
        let demoted =
            self.lead.as_ref().is_some_and(|lead| lead.promotion == Promotion::Confirmed) && !probe.writable;
        if probe.writable && !leads && !self.engine.may_write && self.keep(Rule::FenceIntruder) {
            self.engine.may_write = true;
            self.engine.intruder = true;
            self.push(Action::Note(Note::Intruder));
        }
        self.engine.probe = Some(probe);
        if demoted {
            self.give_up(now, GaveUp::Demoted);
        }
        if changed || was_whole != self.engine.whole.is_some() {
            self.beat_soon(now);
        }
    }

    /// Asks for what is wanted and not seen.
    pub(super) fn reconcile(&mut self, now: Time) {
        self.restart_if_due(now);
        self.stall_if_unreachable(now);
        if !self.engine.connected || self.engine.killed {
            return;
        }
        let fencing = matches!(self.engine.outstanding.back(), Some((_, EngineCommand::Fence)));
        let leads = self.lead.as_ref().is_some_and(|lead| lead.promotion != Promotion::NotAsked);
        if self.engine.may_write && !leads && !fencing {
            self.ask(EngineCommand::Fence, self.config.timing.fence_budget);
        }
        if !self.engine.outstanding.is_empty() {
            return;
        }
        if self.promote_if_ready(now) || self.sever_if_due() || self.follow_if_told(now) {
            return;
        }
        if now >= self.engine.next_probe {
            self.engine.next_probe = now + self.probe_interval();
            let look = self.quorum_to_ask().unwrap_or(EngineCommand::Probe);
            self.ask(look, self.config.timing.stall_timeout);
        }
    }

    fn restart_if_due(&mut self, now: Time) {
        if self.deadman_up && self.engine.restart_at.is_some_and(|at| now >= at) {
            self.engine.restart_at = None;
            self.push(Action::StartEngine);
        }
    }

    fn stall_if_unreachable(&mut self, now: Time) {
        let stall = self.config.timing.stall_timeout;
        let leads = self.lead.as_ref().is_some_and(|lead| lead.promotion != Promotion::NotAsked);
        if leads && self.engine.unreachable_since.is_some_and(|since| now >= since + stall) {
            self.engine.stalled = true;
            self.give_up(now, GaveUp::Stalled);
        }
    }

    /// Promotes where everything that must come before has come: the appointment on disk, the lease, the deadman.
    fn promote_if_ready(&mut self, now: Time) -> bool {
        let Some(lead) = &self.lead else { return false };
        let Some(probe) = &self.engine.probe else { return false };
        let granted = lead.right.is_some() && now >= self.held_until();
        let durable = self.persisted.highest_term >= lead.term || !self.keep(Rule::PersistTermBeforePromote);
        let guarded =
            self.deadman_up && self.armed.is_some_and(|at| at > now) || !self.keep(Rule::ArmBeforePromote);
        if lead.promotion != Promotion::NotAsked || !granted {
            return false;
        }
        if let DataState::Marked { id, .. } = &probe.data
            && *id != lead.data_id
            && self.keep(Rule::CheckIdentity)
        {
            self.give_up(now, GaveUp::ForeignData);
            return false;
        }
        if !durable || !guarded || self.engine.promotion_lost {
            return false;
        }
        let ack_quorum = lead.quorum.wanted;
        if self.quorum_may_fall_below(ack_quorum) {
            // Only another run of the engine surely never obeys it.
            self.give_up(now, GaveUp::PromotionFailed);
            self.kill(GaveUp::PromotionFailed);
            return false;
        }
        let command = EngineCommand::Promote { term: lead.term, data_id: lead.data_id.clone(), ack_quorum };
        if let Some(lead) = &mut self.lead {
            lead.promotion = Promotion::Asked;
        }
        self.engine.may_write = true;
        self.engine.intruder = false;
        self.ask(command, self.config.timing.promote_wait);
        true
    }

    fn sever_if_due(&mut self) -> bool {
        let Some(severance) = &self.severance else { return false };
        if self.engine.fenced_for == Some(severance.stamp) {
            return false;
        }
        if severance.reach.is_some_and(|reach| !self.engine.position().holds(&reach)) {
            return false;
        }
        if self.engine.order_lost && self.config.supervised {
            // A lost order to follow may still arrive and would undo what we are about to vouch for.
            self.kill(GaveUp::Stalled);
        } else {
            // No right ends here: a slow replica is waited for as long as any command.
            self.ask(EngineCommand::Fence, command_span(&self.config.timing));
        }
        true
    }

    /// Whether the engine is to follow another than it follows.
    pub(super) fn wants_to_follow(&self) -> bool {
        let free = self.lead.is_none() && self.severance.is_none() && !self.engine.may_write;
        let told = self.follow.as_ref().zip(self.engine.probe.as_ref());
        free && told.is_some_and(|(order, probe)| probe.follows.as_ref() != Some(&order.endpoint))
    }

    fn follow_if_told(&mut self, now: Time) -> bool {
        if !self.wants_to_follow() || now < self.engine.follow_at {
            return false;
        }
        let (Some(order), Some(probe)) = (&self.follow, &self.engine.probe) else { return false };
        // Unmarked data is a stranger's too: what was replicated from this set carries its mark, or follows already.
        let foreign = match &probe.data {
            DataState::Empty => false,
            DataState::Unmarked => true,
            DataState::Marked { id, .. } => *id != order.data_id,
        };
        if foreign && self.keep(Rule::CheckIdentity) {
            if !self.engine.told_foreign {
                self.engine.told_foreign = true;
                self.push(Action::Note(Note::Foreign));
            }
            return false;
        }
        let (own, start, endpoint) = (probe.position, order.start, order.endpoint.clone());
        // Offsets of an engine that was started anew count from elsewhere and can be compared with nothing.
        let comparable = self.engine.whole == self.engine.run().map(EngineRun::lineage);
        if !self.whole_is_off_disk() {
            return false;
        }
        if comparable && own.term() == start.term() && own.offset() > start.offset() {
            self.push(Action::Note(Note::Beyond { own, start }));
        }
        self.push(Action::Note(Note::Follows { endpoint: endpoint.clone() }));
        self.ask(EngineCommand::Follow { endpoint }, command_span(&self.config.timing));
        true
    }

    /// Takes the ability to write away from an engine that may have it.
    pub(super) fn fence_urgently(&mut self, _now: Time, why: GaveUp) {
        let useless = matches!(why, GaveUp::Stalled | GaveUp::Drill)
            || self.engine.promotion_lost && self.keep(Rule::SettlePromotion);
        if useless || !self.engine.connected {
            self.kill(why);
            return;
        }
        if !matches!(self.engine.outstanding.back(), Some((_, EngineCommand::Fence))) {
            self.ask(EngineCommand::Fence, self.config.timing.fence_budget);
        }
    }

    fn ask(&mut self, command: EngineCommand, within: Span) {
        let op = self.next_op();
        self.engine.outstanding.push_back((op, command.clone()));
        self.push(Action::Engine { op, command, within });
    }

    fn kill(&mut self, why: GaveUp) {
        if !self.engine.killed {
            self.engine.killed = true;
            self.push(Action::Note(Note::Killed(why)));
            self.push(Action::KillEngine);
        }
    }

    /// Probes come with the beats; faster while somebody waits for a position or a link.
    fn probe_interval(&self) -> Span {
        let timing = &self.config.timing;
        let awaits_reach = self.severance.as_ref().is_some_and(|severance| {
            severance.reach.is_some_and(|reach| !self.engine.position().holds(&reach))
        });
        let link = self.engine.probe.as_ref().is_some_and(|probe| probe.link_up);
        let awaits_link = self.follow.is_some() && (!link || self.engine.whole.is_none());
        let span = match (awaits_reach, awaits_link, self.lead.is_some()) {
            (true, _, _) => timing.lease_ttl / 3_000,
            (false, true, _) => timing.beat_master / 20,
            (false, false, true) => timing.beat_master,
            (false, false, false) => timing.beat_replica,
        };
        Span(span.0.max(1))
    }

    pub(super) fn probe_soon(&mut self, now: Time) {
        self.engine.next_probe = now;
    }

    pub(super) fn engine_deadlines(&self) -> [Option<Time>; 3] {
        let engine = &self.engine;
        let idle = engine.connected && engine.outstanding.is_empty() && !engine.killed;
        let leads = self.lead.is_some();
        let stall = engine.unreachable_since.map(|since| since + self.config.timing.stall_timeout);
        [
            engine.restart_at.filter(|_| self.deadman_up),
            idle.then_some(engine.next_probe),
            stall.filter(|_| leads),
        ]
    }

    pub(super) fn drop_severance_report(&mut self) {
        if let Some(severance) = &mut self.severance {
            severance.report = None;
        }
    }

    /// Whether a severance can be vouched for: the fence answered in this run, or there is no run at all.
    pub(super) fn severance_holds(&self, stamp: Stamp) -> bool {
        self.engine.is_gone() || self.engine.fenced_for == Some(stamp) && !self.engine.may_write
    }
}
