//! What the arbiter knows of one replica set. State only; the rules are elsewhere.

use super::drill::Drill;
use super::io::{Forcing, SessionId, TaskId};
use super::view::MasterState;
use crate::decision::{Class, Decision, Evidence};
use crate::ids::{Endpoint, InstanceName, OpId, ReplicaSetName, Term, Version};
use crate::message::{Beat, Health, Hello, Order};
use crate::position::Position;
use crate::record::{Member, Pin, Record};
use crate::time::{Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// One replica set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SetState {
    pub(super) name: ReplicaSetName,
    /// What is surely durable.
    pub(super) record: Option<Arc<Record>>,
    pub(super) members: BTreeMap<InstanceName, Member>,
    pub(super) guards: BTreeMap<InstanceName, GuardState>,
    /// No right of the recorded master, by whomever granted, lives beyond this.
    pub(super) outer_bound: Time,
    /// No lease of the recorded master, by whomever granted, lives beyond this: a pin is in the record, and whoever takes the
    /// lock over reads it there.
    pub(super) leased_until: Time,
    /// Silence means nothing before this (a takeover or an appointment is fresh).
    pub(super) patience: Time,
    /// The appointed master did not become writable in time: no grant any more, so that its right runs out.
    pub(super) refused: bool,
    /// Accepted against the recorded master at the recorded term; from then on it is never granted again.
    pub(super) evidence: Option<(Evidence, Class)>,
    /// The record may be an earlier one than what was appointed; see `restored.rs`.
    pub(super) held: bool,
    /// It has no master on record, and may have one that a restore forgot; see `bootstrap.rs`.
    pub(super) unsettled: bool,
    /// What people said of its members.
    pub(super) said: BTreeMap<InstanceName, Said>,
    /// A pause is in force until then.
    pub(super) pin_end: Time,
    /// The same of the pause that is being recorded, and told by nobody yet.
    pub(super) pin_end_written: Option<Time>,
    /// No pinned right, by whomever given, lives beyond this.
    pub(super) pin_bound: Time,
    pub(super) pin_wish: Option<PinWish>,
    /// The fence command confirmed that the holder of this term is off.
    pub(super) fenced: Option<Term>,
    /// It is being asked.
    pub(super) fencing: Option<Term>,
    /// It confirmed nothing, and is not asked again before this.
    pub(super) fence_after: Time,
    /// Automatic changes of master, the oldest first.
    pub(super) failovers: VecDeque<Time>,
    /// A person has looked: what holds it for too many failovers does not, until the next appointment.
    pub(super) excused: bool,
    /// When the recorded term was recorded, or found.
    pub(super) appointed_at: Time,
    /// Not before this is the master moved by the arbiter's own wish.
    pub(super) wish_after: Time,
    pub(super) succession: Option<Succession>,
    pub(super) pending: Option<Pending>,
    /// The recorded master has confirmed that it accepts writes.
    pub(super) confirmed: bool,
    /// What was decided and waits for its confirmation.
    pub(super) unconfirmed: Option<(Box<Decision>, Time)>,
    pub(super) task: Option<Task>,
    pub(super) drill: Option<Drill>,
    /// What the recorded master said that it holds, the oldest first: a replica's word is as old as its beat.
    pub(super) reached: VecDeque<(Time, Position)>,
    pub(super) proposal: Option<Proposal>,
    /// When it was made.
    pub(super) proposed_at: Time,
    /// Who is to stop replicating though there is no evidence against the master: before it leaves, or before commits wait
    /// for replicas.
    pub(super) cutting: BTreeSet<InstanceName>,
    /// Commits are about to wait for replicas: nobody outside the in-sync set may begin to replicate.
    pub(super) raising: bool,
    /// A person waits for its removal.
    pub(super) removal_asked: bool,
    pub(super) last_decision: Option<Box<Decision>>,
    pub(super) alarm: Option<Time>,
}

/// A guard as its beats show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GuardState {
    pub(super) hello: Hello,
    pub(super) session: Option<SessionId>,
    pub(super) beat: Option<Beat>,
    pub(super) heard_at: Option<Time>,
    /// Since when it was, without a break, no sound replica of the recorded master.
    pub(super) unsound_since: Option<Time>,
    /// Since when it was one, without a break.
    pub(super) sound_since: Option<Time>,
    pub(super) sent: Option<(Version, Order)>,
    /// Its last beat came through this member, since its own stream is broken.
    pub(super) relayed_by: Option<InstanceName>,
}

/// A change of master under way, from evidence to the write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Succession {
    pub(super) since: Time,
    /// The final position of the old master, which every member is to reach (switchover).
    pub(super) reach: Option<Position>,
    /// The last refusal that was told.
    pub(super) told: Option<Box<Decision>>,
}

/// A write whose outcome is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) op: OpId,
    pub(super) expected: Option<Version>,
    pub(super) record: Record,
    pub(super) decision: Option<Box<Decision>>,
    pub(super) since: Time,
    /// Set while it waits to be sent again.
    pub(super) retry_at: Option<Time>,
}

/// A change of master that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Task {
    pub(super) id: TaskId,
    /// By whom and how.
    pub(super) class: Class,
    /// Of a forced failover: what the person allows and vouches for.
    pub(super) forcing: Forcing,
    pub(super) target: Option<InstanceName>,
    pub(super) old_master: InstanceName,
    pub(super) term_before: Term,
    pub(super) deadline: Time,
    /// Nobody may be appointed yet, after a takeover: the old master leads on for so long.
    pub(super) waits: bool,
    /// Since when the old master is wanted back.
    pub(super) aborted: Option<Time>,
}

impl Task {
    pub(super) fn new(
        id: TaskId,
        class: Class,
        target: Option<InstanceName>,
        old_master: InstanceName,
        term_before: Term,
        deadline: Time,
    ) -> Self {
        Self {
            id,
            class,
            forcing: Forcing::default(),
            target,
            old_master,
            term_before,
            deadline,
            waits: false,
            aborted: None,
        }
    }
}

/// A change of the in-sync set that the master is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Proposal {
    /// Take this one in.
    Grow(InstanceName),
    /// Take this one out.
    Shrink(InstanceName),
    /// Give a pinned right up.
    Unpin,
    /// Let commits wait for so many replicas, more than is recorded.
    Quorum(u32),
}

/// What people said of a member, its end on our clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Said {
    pub(super) electable: Option<bool>,
    pub(super) priority: Option<u32>,
    pub(super) maintenance_until: Option<Time>,
    pub(super) expelled: bool,
}

/// What a person asked of a set's pause, and is not recorded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PinWish {
    /// To be in force until then, on our clock.
    Pin(Pin, Time),
    /// To be over.
    Unpin,
}

impl GuardState {
    pub(super) fn new(hello: Hello, session: SessionId) -> Self {
        Self {
            hello,
            session: Some(session),
            beat: None,
            heard_at: None,
            unsound_since: None,
            sound_since: None,
            sent: None,
            relayed_by: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.beat.as_ref().is_some_and(|beat| beat.engine.health == Health::Up)
    }
}

impl SetState {
    pub(super) fn new(name: ReplicaSetName) -> Self {
        Self {
            name,
            record: None,
            members: BTreeMap::new(),
            guards: BTreeMap::new(),
            outer_bound: Time::default(),
            leased_until: Time::default(),
            patience: Time::default(),
            refused: false,
            evidence: None,
            held: false,
            unsettled: false,
            said: BTreeMap::new(),
            pin_end: Time::default(),
            pin_end_written: None,
            pin_bound: Time::default(),
            pin_wish: None,
            fenced: None,
            fencing: None,
            fence_after: Time::default(),
            failovers: VecDeque::new(),
            excused: false,
            appointed_at: Time::default(),
            wish_after: Time::default(),
            succession: None,
            pending: None,
            confirmed: false,
            unconfirmed: None,
            task: None,
            drill: None,
            reached: VecDeque::new(),
            proposal: None,
            proposed_at: Time::default(),
            cutting: BTreeSet::new(),
            raising: false,
            removal_asked: false,
            last_decision: None,
            alarm: None,
        }
    }

    /// The recorded master and its guard.
    pub(super) fn master(&self) -> Option<(&Record, &GuardState)> {
        let record = self.record.as_ref()?;
        Some((record, self.guards.get(record.master.as_ref()?)?))
    }

    /// The last beat of the recorded master, if it is from the run that holds the term.
    pub(super) fn master_beat(&self) -> Option<&Beat> {
        let (record, guard) = self.master()?;
        guard.beat.as_ref().filter(|beat| Some(beat.incarnation) == record.incarnation)
    }

    pub(super) fn is_master(&self, instance: &InstanceName) -> bool {
        self.record.as_ref().is_some_and(|record| record.master.as_ref() == Some(instance))
    }

    /// A new record is durable: what belonged to the old one is over.
    pub(super) fn take_record(&mut self, record: Record) {
        let new_term = self.record.as_ref().is_none_or(|old| old.term < record.term);
        if new_term {
            self.evidence = None;
            self.succession = None;
            self.confirmed = false;
            self.refused = false;
            self.fencing = None;
            self.excused = false;
            self.reached.clear();
            for guard in self.guards.values_mut() {
                guard.unsound_since = None;
                guard.sound_since = None;
            }
        }
        // Who was to be cut off was so by what the old one said of commits; while its master is not heard nobody looks again.
        self.cutting.clear();
        self.proposal = None;
        self.raising = false;
        self.record = Some(Arc::new(record));
    }

    /// The lock is another's: what is under way is nobody's any more.
    pub(super) fn forget_decisions(&mut self) {
        self.record = None;
        self.held = false;
        self.unsettled = false;
        self.evidence = None;
        self.succession = None;
        self.pending = None;
        self.unconfirmed = None;
        self.task = None;
        self.drill = None;
        self.reached.clear();
        self.proposal = None;
        self.cutting.clear();
        self.raising = false;
        self.confirmed = false;
        self.refused = false;
        self.pin_wish = None;
        self.pin_end_written = None;
        self.fenced = None;
        self.fencing = None;
        self.alarm = None;
    }

    /// What routers see; a change of it is published.
    pub(super) fn publication(&self) -> Option<(Term, Option<InstanceName>, Option<Endpoint>, MasterState)> {
        let record = self.record.as_ref()?;
        Some((record.term, record.master.clone(), record.endpoint.clone(), self.master_state()))
    }

    pub(super) fn master_state(&self) -> MasterState {
        match &self.record {
            Some(record) if self.held && super::restored::highest_term(self) > record.term => {
                MasterState::None
            }
            Some(record) if record.master.is_some() && self.evidence.is_none() => {
                if self.confirmed {
                    MasterState::Active
                } else {
                    MasterState::Appointed
                }
            }
            _ => MasterState::None,
        }
    }

    #[cfg(feature = "model")]
    pub(super) fn rebase(&mut self, by: Span) {
        let shift = |time: &mut Time| *time = time.folded(by);
        shift(&mut self.outer_bound);
        shift(&mut self.leased_until);
        shift(&mut self.patience);
        shift(&mut self.pin_end);
        self.pin_end_written.iter_mut().for_each(shift);
        shift(&mut self.pin_bound);
        shift(&mut self.fence_after);
        shift(&mut self.wish_after);
        shift(&mut self.proposed_at);
        self.failovers.iter_mut().for_each(shift);
        self.alarm.iter_mut().for_each(shift);
        for guard in self.guards.values_mut() {
            guard.heard_at.iter_mut().for_each(shift);
            guard.unsound_since.iter_mut().for_each(shift);
        }
        if let Some(succession) = &mut self.succession {
            shift(&mut succession.since);
        }
        if let Some(pending) = &mut self.pending {
            shift(&mut pending.since);
            pending.retry_at.iter_mut().for_each(shift);
        }
        if let Some((_, since)) = &mut self.unconfirmed {
            shift(since);
        }
        if let Some(drill) = &mut self.drill {
            drill.rebase(by);
        }
        self.reached.iter_mut().for_each(|(at, _)| shift(at));
        if let Some(task) = &mut self.task {
            shift(&mut task.deadline);
            task.aborted.iter_mut().for_each(shift);
        }
    }

    #[cfg(feature = "model")]
    pub(super) fn forget_stories(&mut self) {
        self.last_decision = None;
        // For the arbiter's own wishes, of which no model has any.
        self.appointed_at = Time::default();
        if self.proposal.is_none() {
            self.proposed_at = Time::default();
        }
        self.failovers.clear();
        // For the guard rails of drills, of which no model has any either.
        self.reached.clear();
        for guard in self.guards.values_mut() {
            guard.sound_since = None;
            if let Some(beat) = &mut guard.beat {
                // Of another clock than ours, and answered already.
                beat.sent_at = Time::default();
            }
        }
        if let Some((Evidence::OuterBound { silent_for }, _)) = &mut self.evidence {
            *silent_for = None;
        }
        let waiting = self.pending.as_mut().and_then(|pending| pending.decision.as_mut());
        let written = self.unconfirmed.as_mut().map(|(decision, _)| decision);
        for decision in waiting.into_iter().chain(written) {
            decision.evidence = None;
            decision.observed.clear();
            decision.phases.clear();
            decision.ranking.clear();
            decision.question = None;
        }
        // Of a refusal that was told the ranking and what is missing stay: it is told again when they change.
        if let Some(told) = self.succession.as_mut().and_then(|succession| succession.told.as_mut()) {
            told.evidence = None;
            told.observed.clear();
            told.phases.clear();
            told.question = None;
        }
    }
}

/// How long ago something was, where it was at all.
pub(super) fn ago(now: Time, then: Option<Time>) -> Option<Span> {
    then.map(|then| now.since(then))
}
