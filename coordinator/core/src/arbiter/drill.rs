//! A drill: a fault that is brought about on purpose, to see that the set gets over it (design, *Operators*; P181 to P184).
//! Checked right before the fault, struck once, measured, and waited for until the set is whole again.
//!
//! It must not know how an engine is killed, or how a master is replaced: that is what is tried.

mod outlook;

use super::Arbiter;
use super::io::{Action, TaskId, TaskState};
use super::rails::{DrillAsked, Fault, broken};
use super::set::{SetState, Task};
use super::switchover::check_switchover;
use super::task::{TaskPhase, phase_of};
use super::wishes::OWN;
use crate::decision::{Class, Evidence};
use crate::ids::{InstanceName, ReplicaSetName, Term};
use crate::message::{Health, Order};
use crate::record::Record;
use crate::time::{Span, Time};
use crate::timing::FailureClass;

/// How long a target may take to reach the master's final position; it is short, since the target has caught up.
const CATCH_UP: Span = Span::from_secs(5);

/// How long writes were refused by a drill, as the arbiter saw it, and how long they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outage {
    /// From the order to the confirmation: never shorter than what clients saw of the fault itself.
    pub took: Span,
    /// The worst case of the settings for such a fault.
    pub budget: Span,
}

/// A drill that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Drill {
    pub(super) id: TaskId,
    pub(super) asked: DrillAsked,
    old_master: InstanceName,
    term_before: Term,
    /// How long the set may take to be whole again.
    timeout: Span,
    /// A step that is not made by then ends the drill.
    deadline: Time,
    /// A rail that is broken is waited for until then: after a takeover members come back one after the other.
    check_until: Time,
    /// An earlier arbiter began it, and may have struck.
    taken_up: bool,
    aborted: bool,
    outage: Option<Outage>,
    stage: Stage,
}

impl Drill {
    /// Of the master of this term, with so much time from then on.
    fn new(
        id: TaskId,
        asked: DrillAsked,
        (old_master, term_before): (InstanceName, Term),
        timeout: Span,
        from: Time,
    ) -> Self {
        Self {
            id,
            asked,
            old_master,
            term_before,
            timeout,
            deadline: from + timeout,
            check_until: from,
            taken_up: false,
            aborted: false,
            outage: None,
            stage: Stage::Check,
        }
    }
}

/// How far a drill has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// The rails are looked at for the last time.
    Check,
    /// The fault is ordered, by an order that rests on this beat of the master.
    Struck { at: Time, beat: Time },
    /// Another leads; the old master is to be its in-sync replica.
    Recover,
    /// The old master is to lead again, above this term.
    Return(Term),
}

impl Drill {
    /// The class that the records of its changes of master have.
    fn class(&self) -> Class {
        match self.asked.fault {
            Fault::KillEngine => Class::DrillCrashed,
            Fault::Switchover => Class::DrillSwitchover,
        }
    }

    /// Whether the set has not got over its fault yet.
    fn strikes(&self) -> bool {
        matches!(self.stage, Stage::Check | Stage::Struck { .. })
    }

    #[cfg(feature = "model")]
    pub(super) fn rebase(&mut self, by: Span) {
        let shift = |time: &mut Time| *time = time.folded(by);
        shift(&mut self.deadline);
        shift(&mut self.check_until);
        if let Stage::Struck { at, .. } = &mut self.stage {
            shift(at);
        }
    }
}

impl SetState {
    /// Whether a drill of it is under way, and the set has not got over the fault yet.
    pub(super) fn is_drilled(&self) -> bool {
        self.drill.as_ref().is_some_and(Drill::strikes)
    }

    /// What a drill orders the recorded master to do.
    pub(super) fn drill_order(&self, within: Span) -> Option<Order> {
        let drill = self.drill.as_ref().filter(|drill| drill.asked.fault == Fault::KillEngine)?;
        let term = self.record.as_ref()?.term;
        match drill.stage {
            Stage::Struck { beat, .. } if drill.term_before == term => {
                Some(Order::EndEngine { beat, within })
            }
            Stage::Struck { .. } | Stage::Check | Stage::Recover | Stage::Return(_) => None,
        }
    }

    /// Whether the end of the recorded master's engine is the fault of a drill: of this arbiter's, or of one that it
    /// took up.
    pub(super) fn ended_by_drill(&self, evidence: Evidence) -> bool {
        let term = self.record.as_ref().map(|record| record.term);
        let ended = matches!(evidence, Evidence::Relinquished { ended: true, .. });
        ended
            && self.drill.as_ref().is_some_and(|drill| {
                let struck = drill.taken_up || matches!(drill.stage, Stage::Struck { .. });
                drill.asked.fault == Fault::KillEngine && struck && Some(drill.term_before) == term
            })
    }

    /// When its drill wants to be looked at.
    pub(super) fn drill_alarm(&self, lease: Span) -> Option<Time> {
        let drill = self.drill.as_ref()?;
        Some(match drill.stage {
            Stage::Struck { at, .. } => drill.deadline.min(at + lease),
            Stage::Check => drill.deadline.min(drill.check_until),
            Stage::Recover | Stage::Return(_) => drill.deadline,
        })
    }

    /// How far its drill has come, for people.
    pub(super) fn drill_phase(&self) -> Option<TaskPhase> {
        let drill = self.drill.as_ref()?;
        let nested = self.task.as_ref().filter(|task| task.id == OWN);
        Some(match drill.stage {
            Stage::Check => TaskPhase::Check,
            Stage::Recover => TaskPhase::Recover,
            Stage::Return(_) => TaskPhase::Return,
            Stage::Struck { .. } => match nested {
                Some(nested) => phase_of(self, nested),
                None if self.record.as_ref().is_some_and(|record| record.term > drill.term_before) => {
                    TaskPhase::Confirm
                }
                None if self.pending.is_some() => TaskPhase::Record,
                None => TaskPhase::Strike,
            },
        })
    }

    pub(super) fn drill_is_aborted(&self) -> bool {
        self.drill.as_ref().is_some_and(|drill| drill.aborted)
    }
}

/// What becomes of a drill by one look at its set.
enum Next {
    /// It goes on.
    On,
    /// It goes on, and is looked at again at once.
    Again,
    Over(TaskState),
}

impl Arbiter {
    pub(super) fn drill_asked(
        &mut self,
        now: Time,
        id: TaskId,
        name: &ReplicaSetName,
        asked: DrillAsked,
        timeout: Span,
    ) {
        let begun = self.begin_drill(now, id, name, asked, timeout);
        self.task_begun(now, id, name, begun);
    }

    fn begin_drill(
        &mut self,
        now: Time,
        id: TaskId,
        name: &ReplicaSetName,
        asked: DrillAsked,
        timeout: Span,
    ) -> Result<(), String> {
        let set = self.set_to_change(now, name)?;
        if set.drill.is_some() || set.task.is_some() {
            return Err(format!("another task of {name} is under way"));
        }
        let record = set.record.as_ref().ok_or_else(|| format!("{name} has had no master yet"))?;
        let old_master = record.master.clone().ok_or_else(|| format!("{name} was deleted"))?;
        let term_before = record.term;
        set.drill = Some(Drill::new(id, asked, (old_master, term_before), timeout, now));
        Ok(())
    }

    /// Goes on with a drill of an earlier arbiter, which may have struck. What it ordered can be obeyed at that term only,
    /// and once; so can what is ordered now.
    pub(super) fn take_up_drill(
        &mut self,
        now: Time,
        id: TaskId,
        name: &ReplicaSetName,
        asked: DrillAsked,
        begun: (InstanceName, Term, Span, bool),
    ) {
        let (old_master, term_before, timeout, aborted) = begun;
        let from = now.max(self.predecessor_bound());
        let check_until = from + self.timing.lease_ttl * 2;
        let known = self.sets.get_mut(name).filter(|set| set.record.is_some() && set.drill.is_none());
        let Some(set) = known else {
            let why = "the set is gone, or another task of it is under way".to_owned();
            let state = TaskState::Failed { why, master: None, term: Term(0) };
            self.push(Action::Task { task: id, state });
            return;
        };
        let drill = Drill::new(id, asked, (old_master, term_before), timeout, from);
        set.drill = Some(Drill { check_until, taken_up: true, aborted, ..drill });
    }

    /// One look at the drill of a set.
    pub(super) fn drive_drill(&mut self, now: Time, set: &mut SetState) {
        let Some(mut drill) = set.drill.take() else { return };
        while let Some(record) = set.record.clone().filter(|_| set.pending.is_none()) {
            match self.drill_step(now, set, &mut drill, &record) {
                Next::On => break,
                Next::Again => {}
                Next::Over(state) => {
                    self.push(Action::Task { task: drill.id, state });
                    return;
                }
            }
        }
        set.drill = Some(drill);
    }

    fn drill_step(&mut self, now: Time, set: &mut SetState, drill: &mut Drill, record: &Record) -> Next {
        let risen = record.term > drill.term_before;
        match drill.stage {
            Stage::Check if !risen => self.last_check(now, set, drill, record),
            Stage::Struck { at, .. } if !risen => self.await_fault(now, set, drill, record, at),
            Stage::Check | Stage::Struck { .. } => self.judge_fault(now, set, drill, record),
            Stage::Recover => self.await_recovery(now, set, drill, record),
            Stage::Return(term) => await_return(now, set, drill, record, term),
        }
    }

    /// The rails are looked at again right before the fault; one that broke by now ends the drill.
    fn last_check(&mut self, now: Time, set: &mut SetState, drill: &mut Drill, record: &Record) -> Next {
        if drill.aborted {
            return Next::Over(aborted(record));
        }
        // Struck by an earlier arbiter, or lost otherwise: what is recorded next will tell.
        if set.evidence.is_some() {
            return if now < drill.deadline { Next::On } else { nobody(set, record) };
        }
        let fate = self.fate_of_drill(now, set, record, drill.asked);
        let rails = self.rails(now, set, drill.asked, &fate);
        let Some(why) = broken(&rails) else {
            self.strike(now, set, drill, record);
            return Next::On;
        };
        if now < drill.check_until {
            return Next::On;
        }
        Next::Over(failed(record, format!("a guard rail does not hold, and nothing was done: {why}")))
    }

    fn strike(&mut self, now: Time, set: &mut SetState, drill: &mut Drill, record: &Record) {
        let beat = set.master_beat().map(|beat| beat.sent_at).unwrap_or_default();
        drill.stage = Stage::Struck { at: now, beat };
        if drill.asked.fault == Fault::Switchover {
            let (old, limit) = (drill.old_master.clone(), CATCH_UP.min(drill.timeout));
            let task = Task::new(OWN, drill.class(), None, old, record.term, now + limit);
            set.task = Some(task);
        }
    }

    /// The fault is ordered, and the next term is not written yet.
    fn await_fault(&mut self, now: Time, set: &SetState, drill: &Drill, record: &Record, at: Time) -> Next {
        if set.evidence.is_some() {
            // From here on the set is decided as after any fault; the drill only looks on.
            return match drill.aborted && drill.asked.fault == Fault::KillEngine {
                true => Next::Over(called_off(record)),
                false if now >= drill.deadline => nobody(set, record),
                false => Next::On,
            };
        }
        match drill.asked.fault {
            // By now the order is too old to be obeyed.
            Fault::KillEngine if now >= at + self.timing.lease_ttl => {
                let old = &drill.old_master;
                Next::Over(failed(
                    record,
                    format!("{old} did not carry the order out in time; it stays the master"),
                ))
            }
            Fault::Switchover if set.task.is_none() && drill.aborted => Next::Over(aborted(record)),
            Fault::Switchover if set.task.is_none() => {
                let why = "the master did not relinquish in time; it stays the master";
                Next::Over(failed(record, why.to_owned()))
            }
            Fault::KillEngine | Fault::Switchover => Next::On,
        }
    }

    /// A later term is recorded: was it by the drill, and how long did it take?
    fn judge_fault(&mut self, now: Time, set: &mut SetState, drill: &mut Drill, record: &Record) -> Next {
        if !set.confirmed {
            return if now < drill.deadline { Next::On } else { nobody(set, record) };
        }
        // A change of the in-sync set has overwritten what the term began with: then it is taken for the drill's.
        let began = Class::ALL.into_iter().find(|class| class.name() == record.reason);
        if began.is_some_and(|class| class != drill.class()) {
            let why = format!("the set had another change of master meanwhile ({})", record.reason);
            return Next::Over(failed(record, why));
        }
        if record.master.as_ref() == Some(&drill.old_master) {
            return Next::Over(match (drill.aborted, drill.asked.fault) {
                (true, _) => aborted(record),
                (false, Fault::KillEngine) => {
                    failed(record, "only the old master could be appointed".to_owned())
                }
                (false, Fault::Switchover) => {
                    failed(record, "nobody reached the old master's final position in time".to_owned())
                }
            });
        }
        if let Stage::Struck { at, .. } = drill.stage {
            let class = match drill.asked.fault {
                Fault::KillEngine => FailureClass::Crashed,
                Fault::Switchover => FailureClass::Switchover,
            };
            let outage = Outage { took: now.since(at), budget: self.timing.worst_outage(class) };
            drill.outage = Some(outage);
            self.push(Action::Drilled { task: drill.id, outage });
        }
        drill.stage = Stage::Recover;
        drill.deadline = now + drill.timeout;
        Next::Again
    }

    /// The old master is to be an in-sync replica again.
    fn await_recovery(&mut self, now: Time, set: &mut SetState, drill: &mut Drill, record: &Record) -> Next {
        if drill.aborted {
            return Next::Over(aborted(record));
        }
        let late = now >= drill.deadline;
        let leads = record.master.as_ref() == Some(&drill.old_master);
        let why = match missing(set, record, &drill.old_master) {
            Some(why) => why,
            None if leads || !drill.asked.back => return Next::Over(concluded(record, drill)),
            None => match check_switchover(now, set, Some(&drill.old_master)) {
                Ok(from) => {
                    let (target, class) = (Some(drill.old_master.clone()), Class::DrillSwitchover);
                    set.task = Some(Task::new(OWN, class, target, from, record.term, now + CATCH_UP));
                    drill.stage = Stage::Return(record.term);
                    drill.deadline = now + drill.timeout;
                    return Next::On;
                }
                Err(why) => why,
            },
        };
        if !late {
            return Next::On;
        }
        let timeout = drill.timeout;
        Next::Over(failed(record, format!("the set is not whole again within {timeout}: {why}")))
    }

    /// What becomes of the wish to end a drill.
    pub(super) fn abort_drill(&mut self, now: Time, name: &ReplicaSetName) -> Result<(), String> {
        let ordered = || Err("the fault is ordered, and may happen at any moment".to_owned());
        let Some(set) = self.sets.get_mut(name) else { return ordered() };
        let nested = set.task.as_ref().filter(|task| task.id == OWN).map(|task| phase_of(set, task));
        let Some(drill) = &mut set.drill else { return ordered() };
        let early = matches!(nested, Some(TaskPhase::Relinquish | TaskPhase::CatchUp));
        let kills = drill.asked.fault == Fault::KillEngine;
        match drill.stage {
            Stage::Struck { .. } if kills && set.evidence.is_none() => return ordered(),
            Stage::Struck { .. } | Stage::Return(_) if nested.is_some() && !early => {
                return Err("the next term is being written".to_owned());
            }
            Stage::Check | Stage::Struck { .. } | Stage::Recover | Stage::Return(_) => drill.aborted = true,
        }
        if let Some(task) = set.task.as_mut().filter(|task| task.id == OWN) {
            task.aborted.get_or_insert(now);
        }
        Ok(())
    }
}

/// The switchover back to the old master has come to its end, or not yet.
fn await_return(now: Time, set: &SetState, drill: &Drill, record: &Record, term: Term) -> Next {
    let rests = set.confirmed && set.task.is_none() && set.evidence.is_none();
    if !rests {
        return match now < drill.deadline {
            true => Next::On,
            false => Next::Over(failed(record, "the way back did not come to its end in time".to_owned())),
        };
    }
    let back = record.term > term && record.master.as_ref() == Some(&drill.old_master);
    Next::Over(match (back, drill.aborted) {
        (true, _) => concluded(record, drill),
        (false, true) => aborted(record),
        (false, false) => failed(record, format!("{} did not become master again", drill.old_master)),
    })
}

fn failed(record: &Record, why: String) -> TaskState {
    TaskState::Failed { why, master: record.master.clone(), term: record.term }
}

/// The fault has happened, and nobody looks on any more.
fn called_off(record: &Record) -> TaskState {
    let why = "it was called off after its fault; the set is decided as after any other".to_owned();
    TaskState::Failed { why, master: None, term: record.term }
}

fn nobody(set: &SetState, record: &Record) -> Next {
    let why = set.last_decision.as_ref().map(|decision| decision.sentence()).unwrap_or_default();
    let why = format!("nobody could be appointed in time: {why}");
    Next::Over(TaskState::Failed { why, master: None, term: record.term })
}

fn aborted(record: &Record) -> TaskState {
    match record.master.clone() {
        Some(master) => TaskState::Aborted { master, term: record.term },
        None => failed(record, "the set was deleted".to_owned()),
    }
}

/// The end of a drill that came through: only what was measured may still be too long.
fn concluded(record: &Record, drill: &Drill) -> TaskState {
    let Some(master) = record.master.clone() else { return aborted(record) };
    match drill.outage.filter(|outage| outage.took > outage.budget) {
        Some(Outage { took, budget }) => failed(
            record,
            format!("over budget: writes were refused for up to {took}, and {budget} is the worst case"),
        ),
        None => TaskState::Done { master, term: record.term },
    }
}

/// What keeps the set from being whole again.
fn missing(set: &SetState, record: &Record, old_master: &InstanceName) -> Option<String> {
    if !set.confirmed || set.evidence.is_some() {
        return Some("it has no active master".to_owned());
    }
    if record.master.as_ref() == Some(old_master) {
        return None;
    }
    let guard = set.guards.get(old_master);
    let beat = guard.filter(|guard| guard.session.is_some()).and_then(|guard| guard.beat.as_ref());
    let why = match beat {
        None => "has no coordinator attached",
        Some(beat) if beat.engine.health != Health::Up => "has an engine that is not up",
        Some(beat) if beat.engine.follows != record.endpoint => "does not follow the new master",
        Some(_) if !record.in_sync.contains(old_master) => "is not in the in-sync set",
        Some(_) => return None,
    };
    Some(format!("{old_master} {why}"))
}
