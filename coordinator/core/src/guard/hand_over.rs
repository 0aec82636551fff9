//! The hand-over of a guard to a later process of the same run, where the sidecar is restarted on purpose (design, *Guards
//! start fenced*): everything that its safety rests on, as a value, after which it takes no step; and the guard that goes on
//! from it. Engine and deadman live on meanwhile, and a right that ends meanwhile has ended.
//!
//! It must not know how the value is kept.

use super::engine::EngineState;
use super::{Config, FollowOrder, Guard, Lead, Promotion, Proposal, Saved, Severance, Unpin};
use crate::engine::{EngineCommand, Probe};
use crate::ids::{EngineRun, Incarnation, InstanceName, OpId, ReplicaSetName, Stamp, Term};
use crate::message::{Honoured, Relinquished};
use crate::rules::{Rule, Rules};
use crate::time::Time;

/// A guard's whole safety state. Times are those of this node's clock, on the boot that the incarnation names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandOver {
    /// Whose.
    pub instance: InstanceName,
    /// The instance's set.
    pub replicaset: ReplicaSetName,
    /// The run, which goes on.
    pub incarnation: Incarnation,
    /// Whether the engine is the deadman's child.
    pub supervised: bool,
    /// How many hand-overs its home had taken before.
    pub taken: u64,
    /// What is on disk.
    pub saved: Saved,
    /// The term that the run read when it started.
    pub floor: Term,
    /// Until when promises of earlier runs are waited out.
    pub hold_until: Time,
    /// The highest directive seen.
    pub seen: Stamp,
    /// A mastership, with its right, its pin, its budgets and the promises that it lives by.
    pub lead: Option<Lead>,
    /// What was relinquished.
    pub relinquished: Option<Relinquished>,
    /// A directive to stop replicating.
    pub severance: Option<Severance>,
    /// A directive to follow.
    pub follow: Option<FollowOrder>,
    /// A proposal: a newcomer's promise is needed from then on.
    pub proposal: Option<Proposal>,
    /// What was answered to it.
    pub honoured: Option<Honoured>,
    /// An order to give a pinned right up.
    pub unpin: Option<Unpin>,
    /// The deadman's deadline.
    pub armed: Option<Time>,
    /// The engine as it was seen last.
    pub engine: HandedEngine,
}

/// What is known of an engine that lives on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandedEngine {
    /// The last look; `None` where no process of it is left.
    pub probe: Option<Probe>,
    /// It cannot be excluded that a client's write is accepted.
    pub may_write: bool,
    /// An order to fence or follow was lost with its connection.
    pub order_lost: bool,
    /// The smallest quorum that was asked for and not answered.
    pub quorum_lost: Option<u32>,
    /// It finishes no tiny write.
    pub stalled: bool,
    /// It was writable when it was first seen.
    pub found_writable: bool,
    /// The severance for which a fence was answered by this run.
    pub fenced_for: Option<Stamp>,
    /// The run that is known to be whole.
    pub whole: Option<EngineRun>,
    /// People were told that its data is foreign.
    pub told_foreign: bool,
}

/// Why a guard has nothing to hand over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsettled {
    /// It has not read the provider, or not seen its engine.
    Starting,
    /// It stops, has stood down, or has handed over.
    Ended,
    /// A term is being given up.
    Leaving,
    /// The engine has something to answer, is out of reach, or is being killed.
    Engine,
    /// The deadman has a deadline to confirm, or is gone.
    Deadman,
    /// The state is not on disk yet.
    Disk,
}

impl Unsettled {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Starting => "it has not read the provider or not seen its engine",
            Self::Ended => "it has ended",
            Self::Leaving => "a term is being given up",
            Self::Engine => "its engine does not answer",
            Self::Deadman => "its deadman does not answer",
            Self::Disk => "its state is not on disk",
        }
    }
}

/// What a process that starts finds in the home of its instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Home {
    /// The instance that is configured.
    pub instance: InstanceName,
    /// The set that is configured for it.
    pub replicaset: ReplicaSetName,
    /// Whether the engine is to be the deadman's child.
    pub supervised: bool,
    /// The last run that was counted there, with the boot of this moment.
    pub incarnation: Incarnation,
    /// How many hand-overs were taken there.
    pub taken: u64,
    /// The state that is kept there.
    pub saved: Saved,
}

/// Why a hand-over is not taken, and the start is an ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// It is of another instance or set, or the engine is to be held in another way now.
    Configuration,
    /// The machine has booted since.
    Boot,
    /// Another home's, or a later run was counted since.
    Run,
    /// It, or a later one, was taken already: somebody put a copy back.
    Taken,
    /// It does not agree with the state that is kept.
    Saved,
}

impl Unfit {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Configuration => "it is of another instance or set, or of one that was run in another way",
            Self::Boot => "the machine has booted since",
            Self::Run => "it is another run's than the last one here",
            Self::Taken => "it was taken already",
            Self::Saved => "it does not agree with the state file",
        }
    }
}

impl HandOver {
    /// Whether it is of this home, of the run that ended last, and was not taken yet. Whoever takes it counts that, durably,
    /// before the first step.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn fits(&self, home: &Home, rules: Rules) -> Result<(), Unfit> {
        let configured = (&home.instance, &home.replicaset, home.supervised);
        if (&self.instance, &self.replicaset, self.supervised) != configured {
            return Err(Unfit::Configuration);
        }
        if self.incarnation.boot != home.incarnation.boot {
            return Err(Unfit::Boot);
        }
        if self.incarnation != home.incarnation {
            return Err(Unfit::Run);
        }
        if self.taken != home.taken && rules.keep(Rule::TakeHandOverOnce) {
            return Err(Unfit::Taken);
        }
        // What a guard keeps it keeps before it acts on it: a difference means that one went on after this was written. Which
        // run is whole the engine's part of a hand-over says, and an earlier build's file does not.
        let saved = Saved { whole: home.saved.whole.clone(), ..self.saved.clone() };
        if saved != home.saved {
            return Err(Unfit::Saved);
        }
        Ok(())
    }
}

#[cfg(feature = "model")]
impl HandOver {
    /// Moves every time back, as [`Guard::rebase`] does.
    pub fn rebase(&mut self, by: crate::time::Span) {
        self.hold_until = self.hold_until.folded(by);
        self.armed = self.armed.map(|deadline| deadline.folded(by));
        if let Some(lead) = &mut self.lead {
            lead.rebase(by);
        }
        if let Some(promised) = &mut self.saved.promised {
            promised.until = promised.until.folded(by);
        }
    }
}

impl Guard {
    /// The guard that goes on from a hand-over which fits (see [`HandOver::fits`]): the same run, at the same term. It has no
    /// connection to anybody yet; what was asked for before and not answered is not waited for.
    #[must_use]
    pub fn resume(now: Time, config: Config, handed: HandOver) -> Self {
        let mut saved = handed.saved.clone();
        let mut hold_until = handed.hold_until;
        if !config.rules.keep(Rule::HandPromiseOver) {
            saved.promised = None;
            hold_until = now;
        }
        let mut guard = Self::new(now, config, saved, true);
        // The provider was read when this run started.
        guard.actions.clear();
        guard.persisted = handed.saved;
        guard.floor = Some(handed.floor);
        guard.hold_until = hold_until;
        guard.seen = handed.seen;
        guard.lead = handed.lead;
        guard.relinquished = handed.relinquished;
        guard.severance = handed.severance;
        guard.follow = handed.follow;
        guard.proposal = handed.proposal;
        guard.honoured = handed.honoured;
        guard.unpin = handed.unpin;
        guard.armed = handed.armed;
        guard.arming = handed.armed.map(|deadline| (OpId(0), deadline));
        guard.engine = EngineState::handed(now, handed.engine);
        guard
    }

    /// Gives the whole safety state away; from then on this guard takes no step and waits for nothing. `taken`: how many
    /// hand-overs were taken in its home.
    ///
    /// # Errors
    /// Something is not settled; nothing has changed.
    pub fn hand_over(&mut self, taken: u64) -> Result<HandOver, Unsettled> {
        let floor = self.settled()?;
        // Every field by its name: whoever adds one has to say here what becomes of it.
        let Self {
            config: Config { instance, replicaset, incarnation, supervised, failsafe: _, timing: _, rules: _ },
            saved,
            hold_until,
            seen,
            lead,
            relinquished,
            severance,
            follow,
            proposal,
            honoured,
            unpin,
            armed,
            engine,
            handed_over,
            // Settled, or about the process and its connections.
            persisted: _,
            persisting: _,
            unfit_until: _,
            greeted: _,
            floor: _,
            attached: _,
            leaving: _,
            promiser: _,
            deadman_up: _,
            arming: _,
            next_beat: _,
            beat_phase: _,
            last_op: _,
            stopping: _,
            stood_down: _,
            actions: _,
        } = self;
        *handed_over = true;
        let mut lead = lead.take();
        if let Some(lead) = &mut lead {
            // Told again where it is repeated.
            lead.refusals.clear();
        }
        Ok(HandOver {
            instance: instance.clone(),
            replicaset: replicaset.clone(),
            incarnation: *incarnation,
            supervised: *supervised,
            taken,
            saved: saved.clone(),
            floor,
            hold_until: *hold_until,
            seen: *seen,
            lead,
            relinquished: relinquished.take(),
            severance: severance.take(),
            follow: follow.take(),
            proposal: proposal.take(),
            honoured: honoured.take(),
            unpin: unpin.take(),
            armed: *armed,
            engine: engine.hand_over(),
        })
    }

    /// Whether the guard could hand over: nothing is unanswered whose answer its successor would need. The floor, if so.
    ///
    /// # Errors
    /// What is not settled.
    pub fn settled(&self) -> Result<Term, Unsettled> {
        if self.stopping || self.stood_down || self.handed_over {
            return Err(Unsettled::Ended);
        }
        let floor = self.floor.filter(|_| self.engine.known).ok_or(Unsettled::Starting)?;
        if self.leaving.is_some() {
            return Err(Unsettled::Leaving);
        }
        let leads = self.lead.as_ref().is_some_and(|lead| lead.promotion != Promotion::NotAsked);
        let looks_only =
            self.engine.outstanding.iter().all(|(_, command)| matches!(command, EngineCommand::Probe));
        let reached = self.engine.connected || self.engine.is_gone();
        // An engine that is writable without the right is fenced by this very guard.
        let rightful = self.engine.may_write == leads;
        if !looks_only || !reached || !rightful || self.engine.killed || self.engine.promotion_lost {
            return Err(Unsettled::Engine);
        }
        if !self.deadman_up || self.arming.map(|(_, deadline)| deadline) != self.armed {
            return Err(Unsettled::Deadman);
        }
        if self.persisting.is_some() || self.saved != self.persisted {
            return Err(Unsettled::Disk);
        }
        Ok(floor)
    }

    /// The deadline that the deadman is known to hold.
    #[must_use]
    pub fn armed(&self) -> Option<Time> {
        self.armed
    }

    /// Whether a master's right was extended just now, so that its successor has nearly all of it to come back in; of
    /// anybody else, whether no mastership is about to begin. Nothing rests on it but how soon the successor has to be there.
    #[must_use]
    pub fn has_time_to_hand_over(&self, now: Time) -> bool {
        let Some(lead) = &self.lead else { return true };
        let timing = &self.config.timing;
        let fresh = self.paced(timing.usable().less(timing.beat_master * 2));
        let right = lead.fence_at().is_some_and(|fence| fence >= now + fresh);
        right && lead.promotion == Promotion::Confirmed
    }
}

impl EngineState {
    fn hand_over(&mut self) -> HandedEngine {
        let Self {
            probe,
            may_write,
            order_lost,
            quorum_lost,
            stalled,
            found_writable,
            fenced_for,
            whole,
            told_foreign,
            // Settled, or about the connection and what is planned over it.
            known: _,
            connected: _,
            outstanding: _,
            intruder: _,
            promotion_lost: _,
            killed: _,
            unreachable_since: _,
            next_probe: _,
            follow_at: _,
            restart_at: _,
            up_since: _,
            failures: _,
        } = self;
        HandedEngine {
            probe: probe.take(),
            may_write: *may_write,
            order_lost: *order_lost,
            quorum_lost: *quorum_lost,
            stalled: *stalled,
            found_writable: *found_writable,
            fenced_for: *fenced_for,
            whole: whole.take(),
            told_foreign: *told_foreign,
        }
    }

    /// Out of reach until there is a connection: a master that gets none gives up as ever.
    fn handed(now: Time, handed: HandedEngine) -> Self {
        let there = handed.probe.is_some();
        Self {
            known: true,
            unreachable_since: there.then_some(now),
            up_since: there.then_some(now),
            probe: handed.probe,
            may_write: handed.may_write,
            order_lost: handed.order_lost,
            quorum_lost: handed.quorum_lost,
            stalled: handed.stalled,
            found_writable: handed.found_writable,
            fenced_for: handed.fenced_for,
            whole: handed.whole,
            told_foreign: handed.told_foreign,
            ..Self::new(now)
        }
    }
}
