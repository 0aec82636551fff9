//! The guard of one instance: holds the right to accept writes on behalf of its engine, and takes the engine's ability
//! to do so away before that right ends. Dispatch only; the rules are in the files beside this one.
//!
//! It must not know: sockets, disks, clocks, what kind of engine it guards, who the arbiter is.

mod engine;
mod failsafe;
mod hand_over;
mod io;
mod lease;
mod orders;
mod pin;
mod quorum;
mod report;
mod settings;
mod whole;

pub use failsafe::Promised;
pub use hand_over::{HandOver, HandedEngine, Home, Unfit, Unsettled};
pub use io::{Action, GaveUp, Input, Note, Saved};
pub use pin::Unpin;
pub use quorum::Quorum;
pub use settings::{Kept, Reckoned};

use crate::ids::{
    DataId, Endpoint, EngineRun, Epoch, Incarnation, InstanceName, OpId, ReplicaSetName, Stamp, Term,
};
use crate::message::{Honoured, PromiseRefusal, Relinquished, Severed, ToGuard};
use crate::position::Position;
use crate::rules::{Rule, Rules};
use crate::time::{Span, Time};
use crate::timing::Timing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a guard is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Its instance.
    pub instance: InstanceName,
    /// The instance's set.
    pub replicaset: ReplicaSetName,
    /// This run.
    pub incarnation: Incarnation,
    /// Whether the engine is the deadman's child, and restarted by it.
    pub supervised: bool,
    /// Whether it asks the other members for promises where no arbiter answers. Whether it *gives* promises is no setting:
    /// they bind nobody else.
    pub failsafe: bool,
    /// All times.
    pub timing: Timing,
    /// Which rules are kept (all, outside tests).
    pub rules: Rules,
}

/// The machine. Drive it as the crate's contract says: `step`, then every `pop_action`, then wait for `next_deadline`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    config: Config,
    /// What should be on disk, what surely is, and the write under way.
    saved: Saved,
    persisted: Saved,
    persisting: Option<(OpId, Saved)>,
    /// The term that was read at the start; nothing is led until it is known, and nothing at or below it ever.
    floor: Option<Term>,
    /// Promises of an earlier run are waited out until here.
    hold_until: Time,
    /// Its last promotion failed: the arbiter is told to look for another until here (P219).
    unfit_until: Time,
    attached: bool,
    /// The highest directive seen.
    seen: Stamp,
    /// The last arbiter that greeted this run.
    greeted: Option<Epoch>,
    lead: Option<Lead>,
    /// Given up, but the engine may still be writable.
    leaving: Option<(Term, GaveUp)>,
    relinquished: Option<Relinquished>,
    severance: Option<Severance>,
    follow: Option<FollowOrder>,
    proposal: Option<Proposal>,
    honoured: Option<Honoured>,
    unpin: Option<Unpin>,
    promiser: failsafe::Promiser,
    deadman_up: bool,
    /// The deadline that the deadman knows, and the one that it was told last. A late answer to an older one is nothing:
    /// a disarm may have come between.
    armed: Option<Time>,
    arming: Option<(OpId, Time)>,
    engine: engine::EngineState,
    next_beat: Time,
    /// Where in their period the beats fall that nothing but time asks for; `None`: a period after the last one.
    beat_phase: Option<Span>,
    last_op: u64,
    stopping: bool,
    stood_down: bool,
    handed_over: bool,
    actions: VecDeque<Action>,
}

/// A mastership, asked for or held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lead {
    /// At which term.
    pub term: Term,
    /// The data's identity, as the record has it.
    pub data_id: DataId,
    /// Who may be appointed after it.
    pub in_sync: BTreeSet<InstanceName>,
    /// The end of the right, on this node's clock, the margin taken off. `None`: not granted yet.
    pub right: Option<Time>,
    /// The end of a pinned right, nothing taken off.
    pub pinned_until: Option<Time>,
    /// What it was extended with.
    pub reckoned: Reckoned,
    /// By which lease it is extended; `None`: by nobody yet.
    pub pace: Option<Span>,
    /// How far the engine is.
    pub promotion: Promotion,
    /// For how many replicas its commits wait.
    pub quorum: Quorum,
    /// Each member's latest promise.
    pub promises: BTreeMap<InstanceName, Kept>,
    /// Who refused last, and why.
    pub refusals: BTreeMap<InstanceName, PromiseRefusal>,
    /// The right was last extended by promises.
    pub on_promises: bool,
}

impl Lead {
    fn new(term: Term, data_id: DataId, in_sync: BTreeSet<InstanceName>, ack_quorum: u32) -> Self {
        Self {
            term,
            data_id,
            in_sync,
            right: None,
            pinned_until: None,
            reckoned: Reckoned::default(),
            pace: None,
            promotion: Promotion::NotAsked,
            quorum: Quorum::new(ack_quorum),
            promises: BTreeMap::new(),
            refusals: BTreeMap::new(),
            on_promises: false,
        }
    }
}

/// How far the engine of a mastership is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promotion {
    /// It was not asked yet.
    NotAsked,
    /// It was, and has not answered.
    Asked,
    /// It accepts writes.
    Confirmed,
}

/// A directive to stop replicating.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Severance {
    /// Of the directive.
    pub stamp: Stamp,
    /// What is to be held first.
    pub reach: Option<Position>,
    /// What was reported.
    pub report: Option<Severed>,
}

/// A directive to follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FollowOrder {
    /// Whom.
    pub endpoint: Endpoint,
    /// Its data.
    pub data_id: DataId,
    /// Where its history starts.
    pub start: Position,
    /// What shows that the run is whole.
    pub reach: Option<Position>,
}

/// A proposal that waits for its condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Proposal {
    /// Somebody is to be taken into the in-sync set.
    Grow {
        /// Of the directive.
        stamp: Stamp,
        /// Of whoever proposed it.
        epoch: Epoch,
        /// Who.
        member: InstanceName,
    },
    /// Somebody is to leave it.
    Shrink {
        /// Of the directive.
        stamp: Stamp,
        /// Of whoever proposed it.
        epoch: Epoch,
        /// Who.
        member: InstanceName,
        /// How many of the others have to hold everything first.
        ack_quorum: u32,
    },
    /// Commits are to wait for more replicas.
    Quorum {
        /// Of the directive.
        stamp: Stamp,
        /// Of whoever proposed it.
        epoch: Epoch,
        /// For how many.
        ack_quorum: u32,
    },
}

impl Guard {
    /// A guard that starts: fenced, ignorant, asking for the provider's word. `earlier` is its state file;
    /// `same_boot` says whether that file was written since the machine booted (`false` too where there is none): if
    /// not, promises may be outstanding that nobody remembers, and the longest lease is waited out.
    #[must_use]
    pub fn new(now: Time, mut config: Config, earlier: Saved, same_boot: bool) -> Self {
        config.timing = config.rules.timed(config.timing);
        let hold_until = if same_boot { now } else { now + config.timing.hold };
        let mut earlier = earlier;
        if !same_boot {
            // A moment on the clock of another boot means nothing; the whole lease above covers it. That is on disk with the first
            // write of this boot, whatever is written: the next run finds a file of its own boot, and waits for nothing else (P229).
            earlier.promised = None;
            if config.rules.keep(Rule::ForgetEndedRun) {
                // No engine outlives its machine; its data may.
                earlier.whole.take_if(|whole| !whole.is_durable());
            }
        }
        let mut engine = engine::EngineState::new(now);
        engine.whole.clone_from(&earlier.whole);
        let severance = earlier.severed.map(|stamp| Severance { stamp, reach: None, report: None });
        let unremembered = (!same_boot).then(|| Promised::unremembered(hold_until));
        let mut guard = Self {
            saved: Saved { promised: earlier.promised.or(unremembered), ..earlier.clone() },
            persisted: earlier,
            persisting: None,
            floor: None,
            hold_until,
            unfit_until: now,
            attached: false,
            seen: Stamp::default(),
            greeted: None,
            lead: None,
            leaving: None,
            relinquished: None,
            severance,
            follow: None,
            proposal: None,
            honoured: None,
            unpin: None,
            promiser: failsafe::Promiser::new(now),
            deadman_up: false,
            armed: None,
            arming: None,
            engine,
            next_beat: now,
            beat_phase: None,
            last_op: 0,
            stopping: false,
            stood_down: false,
            handed_over: false,
            actions: VecDeque::new(),
            config,
        };
        guard.push(Action::ReadProvider);
        guard
    }

    /// From now on the beats that nothing but time asks for fall `phase` after the multiples of their period on this node's
    /// clock, so that those of all guards of a host fall together and one message carries them. They never come later than
    /// they would have.
    pub fn beat_at(&mut self, phase: Span) {
        self.beat_phase = Some(phase);
    }

    /// Takes one input in. `now` never goes back, and was read after the input was received.
    pub fn step(&mut self, now: Time, input: Input) {
        if self.stood_down || self.handed_over {
            return;
        }
        // A right that ended while we were not running is gone before anything else is looked at.
        self.lapse(now);
        match input {
            Input::Tick => {}
            Input::ProviderRead { record, epoch } => self.provider_read(now, record.as_ref(), epoch),
            Input::Attached => {
                self.attached = true;
                self.promiser.attached();
                self.beat_soon(now);
            }
            Input::Detached => {
                self.attached = false;
                self.promiser.detached(now);
            }
            Input::FromArbiter(ToGuard::Grant(grant)) => self.granted(now, grant),
            Input::FromArbiter(ToGuard::Directive(directive)) => self.directed(now, directive),
            Input::FromArbiter(ToGuard::Greeting(greeting)) => self.greeted_by(now, greeting),
            Input::Asked { from, ask } => self.asked(now, from, *ask),
            Input::Answered { from, answer } => self.answered(now, from, *answer),
            Input::RelayAnswered { of, epoch, well, grant } => self.relay_answered(of, epoch, well, grant),
            Input::Persisted(op) => self.persist_done(op),
            Input::DeadmanUp => self.deadman_up = true,
            Input::Armed(op) => self.armed_as_asked(op),
            Input::DeadmanLost => self.deadman_lost(now),
            Input::EngineConnected(probe) => self.engine_connected(now, probe),
            Input::EngineDisconnected => self.engine_disconnected(now),
            Input::EngineDone { op, outcome } => self.engine_done(now, op, outcome),
            Input::EngineEnded => self.engine_ended(now),
            Input::Stop => {
                self.stopping = true;
                self.give_up(now, GaveUp::Stopping);
            }
            Input::WritePath { finished } => self.write_path(now, finished),
            Input::Settings { timing, failsafe } => self.settings_changed(now, *timing, failsafe),
        }
        self.reconcile(now);
        self.keep_whole();
        self.report_severance(now);
        self.answer_proposal(now);
        self.answer_quorum(now);
        self.answer_unpin(now);
        self.keep_promising(now);
        self.persist();
        if now >= self.next_beat {
            self.beat(now);
        }
        self.check();
    }

    /// The next action, in order.
    pub fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Guard::step`] must be called again, at the latest, with [`Input::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.stood_down || self.handed_over {
            return None;
        }
        let [restart, probe, stall] = self.engine_deadlines();
        let others = [self.fence_time(), self.promise_due(), restart, probe, stall];
        Some(others.into_iter().flatten().fold(self.next_beat, Time::min))
    }

    /// The end of the right to accept writes, on this node's clock, while a mastership is held.
    #[must_use]
    pub fn right_until(&self) -> Option<(Term, Time)> {
        self.lead.as_ref().and_then(|lead| Some((lead.term, lead.right?)))
    }

    /// Until when clients may count on it: before the right ends, the fence and the kill have to fit.
    #[must_use]
    pub fn usable_until(&self) -> Option<Time> {
        self.lead.as_ref().and_then(Lead::fence_at)
    }

    /// The term at which the engine has confirmed to accept writes, while the right lasts.
    #[must_use]
    pub fn writable_at(&self) -> Option<Term> {
        let lead = self.lead.as_ref()?;
        (lead.right.is_some() && lead.promotion == Promotion::Confirmed).then_some(lead.term)
    }

    /// Whether the engine may accept writes as far as this guard can exclude it.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.engine.may_write
    }

    /// Whom the engine was told to follow.
    #[must_use]
    pub fn follows(&self) -> Option<&Endpoint> {
        self.follow.as_ref().map(|order| &order.endpoint)
    }

    /// The last look at the engine.
    #[must_use]
    pub fn last_probe(&self) -> Option<&crate::engine::Probe> {
        self.engine.probe.as_ref()
    }

    /// The engine's health as it is reported.
    #[must_use]
    pub fn health(&self) -> crate::message::Health {
        self.engine.health()
    }

    /// The highest term that it has seen.
    #[must_use]
    pub fn highest_term(&self) -> Term {
        self.saved.highest_term
    }

    /// The term read at the start, once it is known.
    #[must_use]
    pub fn floor(&self) -> Option<Term> {
        self.floor
    }

    /// The version of the highest directive that it has seen.
    #[must_use]
    pub fn directed_by(&self) -> Stamp {
        self.seen
    }

    /// The version of the directive that severs it, and binds it until a later one.
    #[must_use]
    pub fn severed_by(&self) -> Option<Stamp> {
        self.saved.severed
    }

    /// The highest epoch that it has seen.
    #[must_use]
    pub fn heard_epoch(&self) -> Epoch {
        self.saved.highest_epoch
    }

    /// The timings in force.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.config.timing
    }

    fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn next_op(&mut self) -> OpId {
        self.last_op += 1;
        OpId(self.last_op)
    }

    fn keep(&self, rule: Rule) -> bool {
        self.config.rules.keep(rule)
    }

    /// What must hold between any two steps. Assertions on what we own: a guard that finds one broken stops, and a
    /// stopped guard gets its engine fenced.
    fn check(&self) {
        if let Some(lead) = &self.lead {
            assert!(self.floor.is_some(), "a guard that has not read the provider leads nothing");
            if self.keep(Rule::LeadAboveReadTerm) {
                assert!(Some(lead.term) > self.floor, "a guard leads only above the term that it read");
            }
            assert!(
                lead.term >= self.saved.highest_term,
                "a guard never leads below the highest term it has seen"
            );
            if lead.promotion != Promotion::NotAsked && self.keep(Rule::PersistTermBeforePromote) {
                assert!(self.persisted.highest_term >= lead.term, "a term is on disk before it is led");
            }
            assert!(self.leaving.is_none(), "a term is left before the next is led");
        }
        if self.relinquished.is_some() && self.lead.is_none() && self.leaving.is_none() {
            let fenced = !self.engine.may_write || self.engine.intruder;
            assert!(fenced, "what was relinquished cannot be written");
        }
    }
}

/// How long one engine command other than a promotion or a fence may take.
fn command_span(timing: &Timing) -> Span {
    timing.request_timeout
}

#[cfg(feature = "model")]
impl Lead {
    pub(crate) fn rebase(&mut self, by: Span) {
        let shift = |time: &mut Time| *time = time.folded(by);
        self.right.iter_mut().for_each(shift);
        self.pinned_until.iter_mut().for_each(shift);
        self.promises.values_mut().for_each(|kept| shift(&mut kept.end));
    }
}

#[cfg(feature = "model")]
impl Guard {
    /// Moves every time of this machine `by` back, so that states that differ only by when they are fold into one.
    pub fn rebase(&mut self, by: Span) {
        let shift = |time: &mut Time| *time = time.folded(by);
        shift(&mut self.hold_until);
        shift(&mut self.unfit_until);
        shift(&mut self.next_beat);
        self.armed.iter_mut().for_each(shift);
        if let Some((_, deadline)) = &mut self.arming {
            shift(deadline);
        }
        let saved = [&mut self.saved, &mut self.persisted].into_iter();
        for saved in saved.chain(self.persisting.as_mut().map(|(_, saved)| saved)) {
            if let Some(promised) = &mut saved.promised {
                shift(&mut promised.until);
            }
        }
        if let Some(lead) = &mut self.lead {
            lead.rebase(by);
        }
        self.promiser.rebase(by);
        self.engine.rebase(by);
    }

    /// The operation that was asked for last.
    #[must_use]
    pub fn last_op(&self) -> OpId {
        OpId(self.last_op)
    }

    /// Lowers every operation's number by `by`, for the same reason. Whoever calls it does the same to every answer
    /// that is still to come; none of those may be of `by` or below.
    pub fn rebase_ops(&mut self, by: OpId) {
        let shift = |op: &mut OpId| op.0 = op.0.saturating_sub(by.0);
        self.last_op = self.last_op.saturating_sub(by.0);
        if let Some((op, _)) = &mut self.persisting {
            shift(op);
        }
        if let Some((op, _)) = &mut self.arming {
            shift(op);
        }
        self.engine.rebase_ops(by);
    }
}

/// The whole of a run's engine identity that the guard itself vouches for.
type WholeRun = Option<EngineRun>;

#[cfg(test)]
mod tests;
