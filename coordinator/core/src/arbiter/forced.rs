//! A change of master that a person forces: it accepts that data is lost, never a second master (design, *Operators*,
//! `failover --force`).
//!
//! The master is told to relinquish; where it does not answer, the ordinary evidence has to come. Outside the in-sync set
//! evidence 2 is not enough by itself: the old master may go on by the promises of that set's members. One of them that
//! is severed and holds no promise keeps it from that.
//!
//! It must not know how the preview is shown.

use super::Arbiter;
use super::forgotten::last_master;
use super::io::{Action, Forcing, TaskId, TaskState};
use super::restored::is_fenced;
use super::select::Choice;
use super::set::{SetState, Task};
use super::succession::{hold_left, severed};
use super::task::{TaskPhase, phase_of};
use crate::decision::{Class, Evidence};
use crate::engine::DataState;
use crate::ids::{InstanceName, ReplicaSetName, Term};
use crate::position::Position;
use crate::record::Record;
use crate::rules::Rule;
use crate::settings::LossPolicy;
use crate::time::{Span, Time};

/// How long a fence command that confirmed nothing is left alone.
const FENCE_AGAIN: Span = Span::from_secs(5);

impl Task {
    /// Whether a person asked for it.
    pub(super) fn is_persons(&self) -> bool {
        matches!(self.class, Class::Switchover | Class::Forced | Class::DrillSwitchover)
    }
}

impl Arbiter {
    pub(super) fn failover_asked(
        &mut self,
        now: Time,
        id: TaskId,
        name: ReplicaSetName,
        target: Option<InstanceName>,
        timeout: Span,
        forcing: Forcing,
    ) {
        let begun = self.begin_failover(now, id, &name, target, timeout, forcing);
        self.task_begun(now, id, &name, begun);
    }

    fn begin_failover(
        &mut self,
        now: Time,
        id: TaskId,
        name: &ReplicaSetName,
        target: Option<InstanceName>,
        timeout: Span,
        forcing: Forcing,
    ) -> Result<(), String> {
        let set = self.set_to_change(now, name)?;
        let old_master = check_failover(set, target.as_ref(), forcing)?;
        let term_before = set.record.as_ref().map_or(Term(0), |record| record.term);
        let replaced = set.task.take().filter(Task::is_persons).map(|task| task.id);
        let master = set.record.as_ref().and_then(|record| record.master.clone());
        let task = Task::new(id, Class::Forced, target, old_master, term_before, now + timeout);
        set.task = Some(Task { forcing, ..task });
        if let Some((_, class)) = &mut set.evidence {
            *class = Class::Forced;
        }
        // Nobody may ever reach the position that a planned change waited for: members report what they have.
        if let Some(succession) = &mut set.succession {
            succession.reach = None;
        }
        if let Some(task) = replaced {
            let why = "a person forces another master".to_owned();
            self.push(Action::Task { task, state: TaskState::Failed { why, master, term: term_before } });
        }
        Ok(())
    }

    /// Whether what may be lost is accepted: by a person's word for this decision, or by the settings for all of them.
    pub(super) fn accepts_loss(&self, set: &SetState) -> bool {
        let in_force = |task: &Task| task.class == Class::Forced && task.aborted.is_none();
        set.task.as_ref().is_some_and(in_force) || self.settings.of(&set.name).loss_policy == LossPolicy::Any
    }

    /// Whether nothing can keep the old master going that members outside the in-sync set do not know of.
    pub(super) fn is_surely_over(&self, now: Time, set: &SetState, record: &Record) -> bool {
        let refuses = |instance: &InstanceName| {
            let guard = set.guards.get(instance).filter(|guard| guard.session.is_some());
            let left = guard.map(|guard| hold_left(now, guard, guard.beat.as_ref()));
            !set.is_master(instance) && severed(guard, record).is_some() && left == Some(Span::ZERO)
        };
        if set.fenced >= Some(record.term) {
            return true;
        }
        match set.evidence {
            Some((
                Evidence::Relinquished { .. } | Evidence::Fenced | Evidence::AllHeard | Evidence::Vouched,
                _,
            )) => true,
            Some((Evidence::OuterBound { .. }, _)) => {
                record.in_sync.iter().any(refuses) || !self.keep(Rule::ForceNeedsRefusal)
            }
            None => false,
        }
    }

    /// The end of a forced failover that found nobody: the acceptance was for now, not for ever.
    pub(super) fn give_up_forced(&mut self, now: Time, set: &mut SetState, why: &str) {
        let over = |task: &mut Task| task.class == Class::Forced && now >= task.deadline;
        let Some(task) = set.task.take_if(over) else { return };
        let record = set.record.as_ref();
        let state = TaskState::Failed {
            why: format!("nobody could be appointed: {why}"),
            master: None,
            term: record.map_or(Term(0), |record| record.term),
        };
        self.push(Action::Task { task: task.id, state });
    }

    /// The end of a person's word for those that are off, where nobody of those who are there could begin.
    pub(super) fn give_up_vouching(&mut self, now: Time, set: &mut SetState, why: &str) {
        let Some(task) = set.task.take_if(|task| task.is_over(now)) else { return };
        let why = match task.aborted {
            Some(_) => "it was called off".to_owned(),
            None => format!("nobody could be appointed: {why}"),
        };
        let term = set.record.as_ref().map_or(Term(0), |record| record.term);
        self.push(Action::Task { task: task.id, state: TaskState::Failed { why, master: None, term } });
    }

    /// The end of a forced failover whose master is to be replaced before it was confirmed: the word was for that one. Otherwise
    /// whatever keeps a member from leading would have one after the other appointed with nothing to stop it.
    pub(super) fn end_forced_in_vain(&mut self, set: &mut SetState) {
        let Some(record) = set.record.clone() else { return };
        let in_vain = |task: &mut Task| task.class == Class::Forced && task.term_before < record.term;
        let Some(task) = set.task.take_if(in_vain) else { return };
        let appointed = record.master.as_ref().map_or("nobody", InstanceName::as_str);
        let state = TaskState::Failed {
            why: format!("{appointed} was appointed at term {}, and is not the master any more", record.term),
            master: None,
            term: record.term,
        };
        self.push(Action::Task { task: task.id, state });
    }

    /// Asks for evidence 3 where a person allowed it and there is none yet.
    pub(super) fn ask_for_fence(&mut self, now: Time, set: &mut SetState) {
        // Whoever is appointed by it may not be heard yet, and is not the one to be turned off.
        let allowed = set.task_of_term().is_some_and(|task| task.forcing.fence);
        let Some((term, instance)) =
            set.record.as_ref().and_then(|record| Some((record.term, record.master.clone()?)))
        else {
            return;
        };
        let configured = self.settings.fence_command.is_some();
        // One that can still be told to let go is told, and given the time of a few beats for it.
        let patience = self.timing.beat_master * 2;
        // Who came under its name on another host, or after another boot, cannot let go for it.
        let heard = set.master().and_then(|(record, guard)| {
            let own = record.incarnation.is_none_or(|run| guard.hello.incarnation.is_or_succeeds(&run));
            guard.heard_at.filter(|_| own)
        });
        let silent = heard.is_none_or(|heard| now.since(heard) > patience);
        let due = now >= set.fence_after && set.fencing != Some(term);
        if allowed && configured && silent && due && set.fenced != Some(term) {
            set.fencing = Some(term);
            self.push(Action::Fence { replicaset: set.name.clone(), term, instance });
        }
    }

    pub(super) fn fenced(&mut self, now: Time, name: &ReplicaSetName, term: Term, confirmed: bool) {
        let Some(set) = self.sets.get_mut(name) else { return };
        set.fencing.take_if(|asked| *asked == term);
        set.fence_after = now + FENCE_AGAIN;
        if confirmed && set.record.as_ref().is_some_and(|record| record.term == term) {
            set.fenced = Some(term);
        }
        self.drive(now, name);
    }
}

/// Whether a change has nothing left to do but to wait for a master who may never answer: it was aborted, or the next master is
/// appointed. So is what a drill that failed has left. A person may force another one then; nobody could help the set otherwise.
fn yields(set: &SetState, task: &Task) -> bool {
    let waits = task.aborted.is_some() || phase_of(set, task) == TaskPhase::Confirm;
    let yields = match task.class {
        Class::Switchover | Class::Forced => waits,
        Class::DrillSwitchover => set.drill.is_none(),
        _ => false,
    };
    yields && set.pending.is_none()
}

/// Whether a forced failover can begin; the old master if so, the reason for people if not.
pub(super) fn check_failover(
    set: &SetState,
    target: Option<&InstanceName>,
    forcing: Forcing,
) -> Result<InstanceName, String> {
    let name = &set.name;
    // A life that the provider forgot, once all of it are heard, or a person vouches for the rest. Nobody may be left who knows whose
    // it was; whoever is there stands for that one.
    let anybody = || last_master(set).or_else(|| set.guards.keys().next().cloned());
    let forgotten =
        set.evidence.and_then(|_| last_master(set)).or_else(|| anybody().filter(|_| set.unsettled));
    let master = match &set.record {
        Some(record) => record.master.clone().or(forgotten).ok_or_else(|| format!("{name} was deleted"))?,
        None => forgotten.ok_or_else(|| format!("{name} has had no master yet"))?,
    };
    if set.task.as_ref().is_some_and(|task| task.is_persons() && !yields(set, task)) {
        return Err(format!("another switchover or failover of {name} is under way"));
    }
    if (set.held || set.unsettled) && !forcing.others_off {
        return Err(held(set));
    }
    let Some(target) = target else { return Ok(master) };
    let guard = set.guards.get(target).ok_or_else(|| format!("{name} has no member {target}"))?;
    if *target == master && set.evidence.is_none() && !set.unsettled {
        Err(format!("{target} is the master already"))
    } else if guard.session.is_none() {
        Err(format!("{target} has no coordinator attached"))
    } else {
        Ok(master)
    }
}

fn held(set: &SetState) -> String {
    let attached =
        |instance: &&InstanceName| set.guards.get(*instance).is_some_and(|guard| guard.session.is_some());
    let away: Vec<_> =
        set.members.keys().filter(|instance| !attached(instance)).map(InstanceName::as_str).collect();
    let unsure = set.guards.values().filter(|guard| guard.session.is_some() && !is_fenced(guard));
    let unsure: Vec<_> = unsure.map(|guard| guard.hello.instance.as_str()).collect();
    let listed =
        |names: &[&str], none: &str| if names.is_empty() { none.to_owned() } else { names.join(", ") };
    let name = &set.name;
    format!(
        "the provider was restored, and {name} is held until its last master is known (not attached: {}; starting, or not surely \
         fenced: {}). Where that never comes back, a person can vouch that every instance of {name} which is not attached is off: \
         --others-off",
        listed(&away, "none that is listed"),
        listed(&unsure, "none"),
    )
}

/// What is lost, as far as anybody knows, in words for the history.
pub(super) fn loss(
    set: &SetState,
    record: &Record,
    choice: &Choice,
    missing: Option<&str>,
) -> Option<String> {
    let (chosen, own) = choice.chosen.as_ref()?;
    let mut parts = Vec::new();
    if !record.in_sync.contains(chosen) {
        parts.push(format!("{chosen} was not in the in-sync set"));
    }
    if let Some(missing) = missing {
        parts.push(missing.to_owned());
    }
    let beat = set.guards.get(chosen).and_then(|guard| guard.beat.as_ref());
    if let Some(what) = beat.and_then(|beat| unlike(&beat.engine.data, record)) {
        parts.push(format!("{chosen} {what}"));
    }
    if own.compare(&record.start) == Some(std::cmp::Ordering::Less) {
        // Nobody may be there any more who holds it, and it is lost all the same.
        parts.push(format!("{chosen} is at {own}, and the last term started at {}", record.start));
    }
    let known = set.guards.values().filter_map(|guard| {
        let beat = guard.beat.as_ref()?;
        let ours = matches!(beat.engine.position, Position::At { .. });
        ours.then_some((beat.engine.position, &guard.hello.instance))
    });
    let best = known.max_by(|(a, _), (b, _)| a.compare(b).unwrap_or(std::cmp::Ordering::Equal));
    if let Some((best, whose)) = best.filter(|(best, _)| !own.holds(best)) {
        parts.push(format!("{chosen} is at {own}, and {whose} was last seen at {best}"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// How data differs from what the record names, in words.
fn unlike(data: &DataState, record: &Record) -> Option<&'static str> {
    match data {
        _ if record.data_id.is_none() => None,
        DataState::Empty => Some("is empty"),
        DataState::Unmarked => Some("holds data that is nobody's"),
        DataState::Marked { id, .. } => {
            (Some(id) != record.data_id.as_ref()).then_some("holds data of another identity")
        }
    }
}
