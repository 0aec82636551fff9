//! A planned change of master: asked for, checked, carried by the ordinary succession, concluded (design, *Operators*).
//!
//! It must not know how the old master is fenced or the new one chosen.

use super::Arbiter;
use super::io::{Action, TaskId, TaskState};
use super::set::{SetState, Task};
use super::wishes::OWN;
use crate::decision::Class;
use crate::ids::{InstanceName, ReplicaSetName, Term};
use crate::time::{Span, Time};

impl Arbiter {
    pub(super) fn switchover_asked(
        &mut self,
        now: Time,
        id: TaskId,
        name: ReplicaSetName,
        target: Option<InstanceName>,
        timeout: Span,
    ) {
        let begun = self.begin_switchover(now, id, &name, target, timeout);
        self.task_begun(now, id, &name, begun);
    }

    fn begin_switchover(
        &mut self,
        now: Time,
        id: TaskId,
        name: &ReplicaSetName,
        target: Option<InstanceName>,
        timeout: Span,
    ) -> Result<(), String> {
        let set = self.set_to_change(now, name)?;
        if set.is_drilled() {
            return Err(format!("a drill of {name} is under way"));
        }
        let old_master = check_switchover(now, set, target.as_ref())?;
        let term_before = set.record.as_ref().map_or(Term(0), |record| record.term);
        set.task = Some(Task::new(id, Class::Switchover, target, old_master, term_before, now + timeout));
        Ok(())
    }

    /// While the old master still holds its right: gives up on a task whose time is over or which was aborted; and
    /// concludes one whose set has come to rest.
    pub(super) fn drive_switchover(&mut self, now: Time, set: &mut SetState) {
        self.conclude_task(set);
        let waits = !self.may_appoint(now);
        if let Some(task) = &mut set.task {
            task.waits = waits;
        }
        let Some(record) = &set.record else { return };
        let (term, master) = (record.term, record.master.clone());
        let leads_on = self.leads_on(set);
        let over = |task: &mut Task| task.term_before == term && (now >= task.deadline || leads_on);
        let Some(task) = set.task.take_if(over) else { return };
        let state = match master {
            Some(master) if task.aborted.is_some() => TaskState::Aborted { master, term },
            master => {
                let why = "the master did not relinquish in time; it stays the master".to_owned();
                TaskState::Failed { why, master, term }
            }
        };
        self.push(Action::Task { task: task.id, state });
    }

    /// Ends a task where the set has come to rest at a later term.
    fn conclude_task(&mut self, set: &mut SetState) {
        let Some(record) = &set.record else { return };
        let Some(task) = set.task.take_if(|task| set.confirmed && record.term > task.term_before) else {
            return;
        };
        let (master, term) = (record.master.clone(), record.term);
        let back = master.as_ref() == Some(&task.old_master);
        let any = !back || task.forcing.others_off;
        let wanted = task.target.as_ref().map_or(any, |target| master.as_ref() == Some(target));
        let state = match master {
            Some(master) if task.aborted.is_some() && back => TaskState::Aborted { master, term },
            Some(master) if task.aborted.is_none() && wanted => TaskState::Done { master, term },
            master => TaskState::Failed { why: why_not(&task, back).to_owned(), master, term },
        };
        if task.id == OWN && matches!(state, TaskState::Done { .. }) {
            // Only a wish that failed is left alone for a while; after one that came true there is the immunity.
            set.wish_after = Time::default();
        }
        self.push(Action::Task { task: task.id, state });
    }
}

fn why_not(task: &Task, back: bool) -> &'static str {
    match (task.aborted, back) {
        (Some(_), _) => "it was aborted, and the old master could not be appointed again",
        (None, true) => "the target did not reach the old master's final position in time",
        (None, false) => "another was appointed meanwhile",
    }
}

/// Whether a switchover can begin; the old master if so, the reason for people if not.
pub(super) fn check_switchover(
    now: Time,
    set: &SetState,
    target: Option<&InstanceName>,
) -> Result<InstanceName, String> {
    let name = &set.name;
    let record = set.record.as_ref().ok_or_else(|| format!("{name} has had no master yet"))?;
    let master = record.master.clone().ok_or_else(|| format!("{name} was deleted"))?;
    if set.task.is_some() {
        return Err(format!("another switchover of {name} is under way"));
    }
    if set.evidence.is_some() || set.pending.is_some() || !set.confirmed {
        return Err(format!("{master} is not an active master at this moment"));
    }
    let fit = |instance: &InstanceName| -> Result<(), String> {
        let guard = set.guards.get(instance).ok_or_else(|| format!("{name} has no member {instance}"))?;
        let problem = if *instance == master {
            "is the master already"
        } else if !set.is_electable(&guard.hello) {
            "is not electable"
        } else if set.in_maintenance(now, instance).is_some() {
            "is in maintenance"
        } else if !record.in_sync.contains(instance) {
            "is not in the in-sync set"
        } else if guard.session.is_none() {
            "has no coordinator attached"
        } else if !guard.is_up() {
            "has an engine that is not up"
        } else {
            return Ok(());
        };
        Err(format!("{instance} {problem}"))
    };
    match target {
        Some(target) => fit(target)?,
        None if set.guards.keys().any(|instance| fit(instance).is_ok()) => {}
        None => return Err(format!("no other member of {name} can be appointed")),
    }
    Ok(master)
}
