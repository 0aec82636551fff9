//! What operators asked for, from the asking to the end. A task is kept by the provider before the machine hears of it, so
//! that whoever is the arbiter next goes on with it, and its end before anybody is told.
//!
//! Each task has a state that is wanted and one that is surely kept. Whenever they differ, and nothing is being written, the
//! wanted one is written; whenever they are the same, what it says is done. So no order of events has to be thought of.

mod entry;
mod writes;

use super::Shell;
use super::commands::not_active;
use super::writes::unix_millis;
use crate::clock;
use crate::operator::{How, Refused, RefusedKind, Reply};
use crate::view::TasksView;
use baton_client::decision::DecisionRecord;
use baton_client::drill::{DrillOutage, LastDrill};
use baton_client::task::{Before, FORMAT, Kind, Outcome, PhaseBegan, State, TaskRecord};
use baton_core::arbiter::{Forcing, Input, Outage, Rail, Resumed, TaskId, TaskState, broken};
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Version};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use entry::{Entry, Next, not_understood, surplus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often one that is due and cannot begin is tried again, and how soon a step of the wall clock is noticed.
const AGAIN: Duration = Duration::from_secs(1);
/// Tasks that may be planned or under way.
const OPEN_MAX: usize = 500;

/// A planned change of master, as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) replicaset: ReplicaSetName,
    pub(super) to: Option<InstanceName>,
    pub(super) timeout: Span,
    pub(super) asked_by: Option<String>,
    pub(super) start_at: Option<u64>,
    pub(super) how: How,
}

/// All of them. Empty while this is not the arbiter.
pub(super) struct Tasks {
    entries: BTreeMap<TaskId, Entry>,
    /// Those that a later version wrote.
    others: BTreeSet<TaskId>,
    /// Under way.
    running: BTreeSet<TaskId>,
    /// When each that is planned is to begin.
    planned: BTreeMap<TaskId, u64>,
    /// The last drill of each set that struck and has ended.
    drills: BTreeMap<String, TaskId>,
    /// The highest number that was ever given here.
    last: u64,
    /// Ends the writes of this epoch.
    writes: CancellationToken,
    view: watch::Sender<Arc<TasksView>>,
}

impl Tasks {
    pub(super) fn new(view: watch::Sender<Arc<TasksView>>) -> Self {
        Self {
            entries: BTreeMap::new(),
            others: BTreeSet::new(),
            running: BTreeSet::new(),
            planned: BTreeMap::new(),
            drills: BTreeMap::new(),
            last: 0,
            writes: CancellationToken::new(),
            view,
        }
    }

    /// When to look at planned ones again; `None` where there are none.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let at = self.planned.values().min()?;
        let left = Duration::from_millis(at.saturating_sub(unix_millis()));
        // The wall clock may be set: no longer sleep is trusted.
        Some(if left.is_zero() { AGAIN } else { left.min(AGAIN) })
    }

    fn publish(&self, id: TaskId) {
        let shown = self.entries.get(&id).map(|entry| Arc::new(entry.shown(id)));
        self.view.send_if_modified(|view| {
            if view.get(&id.0) == shown.as_ref() {
                return false;
            }
            let view = Arc::make_mut(view);
            match shown {
                Some(shown) => view.insert(id.0, shown),
                None => view.remove(&id.0),
            };
            true
        });
    }

    fn index(&mut self, id: TaskId) {
        if let Some(set) = self.entries.get(&id).and_then(|entry| entry.drilled_set()) {
            let last = self.drills.entry(set).or_insert(id);
            *last = id.max(*last);
        }
        let state =
            self.entries.get(&id).map(|entry| (entry.wanted.state, entry.wanted.start_at_unix_millis));
        self.running.remove(&id);
        self.planned.remove(&id);
        match state {
            Some((State::Running, _)) => drop(self.running.insert(id)),
            Some((State::Planned, at)) => drop(self.planned.insert(id, at.unwrap_or_default())),
            Some((State::Done | State::Failed | State::Aborted, _)) | None => {}
        }
    }
}

impl Shell {
    /// Takes a task in: checked now, kept next, and then begun or waited for. Its number is answered at once.
    pub(super) fn task_asked(&mut self, asked: Asked, reply: Reply<TaskId>) {
        let answer = self.accept(asked);
        let id = answer.as_ref().ok().copied();
        // Whoever asked may have left; the task is done all the same.
        let _ = reply.send(answer);
        if let Some(id) = id {
            self.drive_task(id);
        }
    }

    fn accept(&mut self, asked: Asked) -> Result<TaskId, Refused> {
        let now = unix_millis();
        let generation = self.active_epoch()?.generation;
        let open = self.tasks.running.len() + self.tasks.planned.len();
        if open >= OPEN_MAX {
            let why = format!("{open} tasks are planned or under way already");
            return Err(Refused::new(
                RefusedKind::Busy,
                why,
                "abort those that are not needed: batonctl task",
            ));
        }
        let mut record = TaskRecord {
            format: FORMAT,
            kind: match asked.how {
                How::Planned => Kind::Switchover,
                How::Forced(_) => Kind::Failover,
                How::Drill(_) => Kind::Drill,
            },
            fence: matches!(asked.how, How::Forced(Forcing { fence: true, .. })),
            others_off: matches!(asked.how, How::Forced(Forcing { others_off: true, .. })),
            state: State::Planned,
            replicaset: asked.replicaset.to_string(),
            to: asked.to.as_ref().map(ToString::to_string),
            timeout_ms: asked.timeout.as_millis(),
            asked_by: asked.asked_by,
            created_at_unix_millis: now,
            start_at_unix_millis: asked.start_at,
            generation,
            before: None,
            deadline_unix_millis: None,
            abort_asked: false,
            phases: vec![PhaseBegan { name: "planned".to_owned(), at_unix_millis: now }],
            outcome: None,
            drill: match &asked.how {
                How::Drill(asked) => Some(entry::drill_record(asked)),
                How::Planned | How::Forced(_) => None,
            },
            decision: None,
        };
        if asked.start_at.is_none() {
            record.phases.clear();
            self.begin(&mut record, now)?;
        }
        self.make_room();
        let id = TaskId(self.tasks.last + 1);
        self.tasks.last = id.0;
        self.tasks.entries.insert(id, Entry::new(record));
        self.tasks.index(id);
        self.tasks.publish(id);
        Ok(id)
    }

    fn active_epoch(&self) -> Result<Epoch, Refused> {
        match self.arbiter.epoch() {
            Some(epoch) if self.token.is_some() && self.arbiter.is_active(clock::now()) => Ok(epoch),
            Some(_) if self.token.is_some() => {
                let why = "this arbiter has only just taken over, or is losing its lock";
                Err(Refused::new(RefusedKind::Busy, why, "try again in a moment"))
            }
            Some(_) | None => Err(not_active()),
        }
    }

    /// Makes a task one that is under way, where it can be.
    fn begin(&self, record: &mut TaskRecord, now: u64) -> Result<(), Refused> {
        self.active_epoch()?;
        let not_possible = |why: String| {
            Refused::new(RefusedKind::NotPossible, why, "look at the members with: batonctl status")
        };
        let set =
            ReplicaSetName::parse(&record.replicaset).map_err(|error| not_possible(error.to_string()))?;
        let to = record.to.as_deref().map(InstanceName::parse).transpose();
        let to = to.map_err(|error| not_possible(error.to_string()))?;
        let other = |id: &&TaskId| {
            self.tasks.entries.get(id).is_some_and(|entry| entry.wanted.replicaset == record.replicaset)
        };
        if let Some(other) = self.tasks.running.iter().find(other) {
            let why = format!("task {other} of {set} is under way");
            return Err(Refused::new(
                RefusedKind::Busy,
                why,
                format!("look at it with: batonctl task {other}"),
            ));
        }
        let possible = match record.kind {
            Kind::Switchover => self.arbiter.forecast_switchover(clock::now(), &set, to.as_ref()),
            Kind::Failover => {
                let forcing = Forcing { fence: record.fence, others_off: record.others_off };
                self.arbiter.forecast_failover(clock::now(), &set, to.as_ref(), forcing)
            }
            Kind::Drill => match record.drill.as_ref().and_then(entry::drill_asked) {
                Some(asked) => self.arbiter.forecast_drill(clock::now(), &set, asked),
                None => Err("what the drill is about cannot be understood".to_owned()),
            },
        };
        let forecast = possible.map_err(not_possible)?;
        if let Some(why) = broken(&forecast.rails) {
            return Err(rails_refused(&set, why, &forecast.rails));
        }
        let before = self.arbiter.master_of(&set).and_then(|(record, _)| {
            Some(Before { master: record.master.as_ref()?.to_string(), term: record.term.0 })
        });
        record.before = Some(before.ok_or_else(|| not_possible(format!("{set} has no master")))?);
        record.state = State::Running;
        record.deadline_unix_millis = Some(now.saturating_add(record.timeout_ms));
        record.phases.push(PhaseBegan { name: "accepted".to_owned(), at_unix_millis: now });
        Ok(())
    }

    /// Forgets the oldest that have ended.
    fn make_room(&mut self) {
        let Some(token) = self.token else { return };
        let all = self.tasks.entries.len() + self.tasks.others.len();
        for id in surplus(&self.tasks.entries, &self.tasks.drills, all) {
            self.tasks.entries.remove(&id);
            self.tasks.drills.retain(|_, last| *last != id);
            self.tasks.publish(id);
            tokio::spawn(writes::remove_task(Arc::clone(&self.parts.provider), token, id));
        }
    }

    /// Writes what is wanted, or does what is kept.
    fn drive_task(&mut self, id: TaskId) {
        self.tasks.index(id);
        let Some(entry) = self.tasks.entries.get_mut(&id) else { return };
        if entry.writing.is_some() {
            return;
        }
        if !entry.is_settled() {
            self.write_task(id);
            self.tasks.publish(id);
            return;
        }
        match entry.next() {
            Next::Begin => {
                entry.begun = true;
                let resumed = entry.resumed(id);
                self.begin_task(id, resumed);
            }
            Next::Abort => {
                entry.abort_fed = true;
                self.step(Input::Abort { task: id });
            }
            Next::Over => {
                let aborted = entry.wanted.state == State::Aborted;
                for reply in std::mem::take(&mut entry.aborts) {
                    let _ = reply.send(if aborted { Ok(()) } else { Err(ended(id)) });
                }
            }
            Next::Nothing => {}
        }
        self.tasks.publish(id);
    }

    fn begin_task(&mut self, id: TaskId, resumed: Option<Resumed>) {
        let Some(Resumed { task, replicaset, target, timeout, forced, drill, .. }) = resumed else {
            // Its names were checked when it was taken in.
            tracing::error!(task = id.0, "a task cannot be read any more");
            return;
        };
        self.step(match (drill, forced) {
            (Some(asked), _) => Input::Drill { task, replicaset, asked, timeout },
            (None, None) => Input::Switchover { task, replicaset, target, timeout },
            (None, Some(forcing)) => Input::Failover { task, replicaset, target, timeout, forcing },
        });
    }

    fn write_task(&mut self, id: TaskId) {
        let (Some(token), Some(entry)) = (self.token, self.tasks.entries.get_mut(&id)) else { return };
        entry.writing = Some(entry.wanted.clone());
        let put = writes::PutTask {
            provider: Arc::clone(&self.parts.provider),
            token,
            expected: entry.kept.as_ref().map(|(version, _)| *version),
            task: StoredTask { id, body: entry.wanted.to_json(), version: Version(0) },
            timeout: self.arbiter.timing().request_timeout.as_duration(),
            stop: self.tasks.writes.clone(),
        };
        tokio::spawn(writes::put_task(put, self.events.clone()));
    }

    /// A write of a task has ended.
    pub(super) fn task_kept(&mut self, epoch: Epoch, id: TaskId, outcome: Result<Version, String>) {
        if self.token.is_none_or(|token| token.epoch != epoch) {
            return;
        }
        let Some(entry) = self.tasks.entries.get_mut(&id) else { return };
        let Some(written) = entry.writing.take() else { return };
        match outcome {
            Ok(version) => entry.kept = Some((version, written)),
            Err(why) => {
                tracing::error!(task = id.0, why, "the provider does not keep a task");
                if !entry.begun && !entry.wanted.has_ended() {
                    let why = format!("it could not be kept, and nothing was done: {why}");
                    let reason = RefusedKind::ProviderUnavailable.reason().to_owned();
                    let outcome = Outcome { why, reason, ..Outcome::default() };
                    entry.end(State::Failed, outcome, unix_millis());
                }
                entry.given_up = true;
            }
        }
        self.drive_task(id);
    }

    /// The machine says how a task stands.
    pub(super) fn task_moved(&mut self, id: TaskId, state: TaskState) {
        let Some(entry) = self.tasks.entries.get_mut(&id) else { return };
        if state == TaskState::Running || entry.wanted.has_ended() {
            return;
        }
        let decision: Option<DecisionRecord> = ReplicaSetName::parse(&entry.wanted.replicaset)
            .ok()
            .and_then(|set| self.decisions.get(&set).cloned());
        entry.moved(state, unix_millis());
        let (before, after) = (entry.wanted.before.as_ref(), entry.wanted.outcome.as_ref());
        let risen = after.map(|it| it.term) > before.map(|it| it.term);
        if entry.wanted.decision.is_none() {
            entry.wanted.decision = decision.filter(|_| risen);
        }
        self.drive_task(id);
    }

    /// The fault of a drill is over: what was measured is kept before the end is waited for.
    pub(super) fn task_drilled(&mut self, id: TaskId, outage: Outage) {
        let Some(entry) = self.tasks.entries.get_mut(&id) else { return };
        let set = ReplicaSetName::parse(&entry.wanted.replicaset).ok();
        let term = set.as_ref().and_then(|set| self.arbiter.master_of(set)).map_or(0, |(it, _)| it.term.0);
        let decision = set.and_then(|set| self.decisions.get(&set).cloned());
        let (took_us, budget_us) = (outage.took.0, outage.budget.0);
        tracing::info!(task = id.0, took = %outage.took, budget = %outage.budget, "the fault of a drill is over");
        entry.wanted.decision = decision;
        if let Some(drill) = &mut entry.wanted.drill {
            drill.outage = Some(DrillOutage { term, took_us, budget_us });
        }
        self.drive_task(id);
    }

    /// The last drill of each set whose fault was brought about.
    pub(super) fn last_drills(&self) -> BTreeMap<&str, LastDrill> {
        let known = self.tasks.drills.iter();
        known
            .filter_map(|(set, id)| Some((set.as_str(), self.tasks.entries.get(id)?.last_drill(*id)?)))
            .collect()
    }

    /// A person wants a task ended.
    pub(super) fn abort_asked(&mut self, id: TaskId, reply: Reply<()>) {
        if let Err(refused) = self.active_epoch() {
            let _ = reply.send(Err(refused));
            return;
        }
        let Some(entry) = self.tasks.entries.get_mut(&id) else {
            let refused = if self.tasks.others.contains(&id) {
                let why = format!("task {id} was asked for by a later version, and is not understood here");
                Refused::new(RefusedKind::NotPossible, why, "ask a coordinator of that version")
            } else {
                let why = format!("there is no task {id}");
                Refused::new(RefusedKind::NotFound, why, "list them with: batonctl task")
            };
            let _ = reply.send(Err(refused));
            return;
        };
        if entry.wanted.has_ended() {
            let _ = reply.send(Err(ended(id)));
            return;
        }
        entry.aborts.push(reply);
        match entry.wanted.state {
            State::Planned => {
                let why = "before it began".to_owned();
                entry.end(State::Aborted, Outcome { why, ..Outcome::default() }, unix_millis());
            }
            State::Running if !entry.begun => {
                // Nothing was done yet, and nothing will be: what was to begin it is overwritten.
                let why = "before it began".to_owned();
                entry.end(State::Aborted, Outcome { why, ..Outcome::default() }, unix_millis());
            }
            State::Running if entry.abort_fed => {
                for reply in std::mem::take(&mut entry.aborts) {
                    let _ = reply.send(Ok(()));
                }
            }
            State::Running => entry.wanted.abort_asked = true,
            State::Done | State::Failed | State::Aborted => {}
        }
        self.drive_task(id);
    }

    /// What became of the wish to abort one that is under way.
    pub(super) fn abort_answered(&mut self, id: TaskId, answer: Result<(), String>) {
        let Some(entry) = self.tasks.entries.get_mut(&id) else { return };
        let aborts = std::mem::take(&mut entry.aborts);
        if answer.is_err() && !entry.wanted.has_ended() {
            entry.wanted.abort_asked = false;
            entry.abort_fed = false;
        }
        for reply in aborts {
            let refused = |why: String| {
                let why = format!("task {id} cannot be aborted any more: {why}");
                let what_to_do = format!("see how it ends with: batonctl task {id} --wait");
                Refused::new(RefusedKind::NotPossible, why, what_to_do)
            };
            let _ = reply.send(answer.clone().map_err(refused));
        }
        self.drive_task(id);
    }

    /// What the provider keeps, after a takeover; what of it the machine is to go on with.
    pub(super) fn read_tasks(&mut self, stored: BTreeMap<TaskId, StoredTask>, epoch: Epoch) -> Vec<Resumed> {
        self.drop_tasks();
        let now = unix_millis();
        let mut view = TasksView::new();
        let mut resumed = Vec::new();
        for stored in stored.into_values() {
            let id = stored.id;
            self.tasks.last = self.tasks.last.max(id.0);
            let read = TaskRecord::from_json(&stored.body).map(|it| Entry::read(stored.version, it));
            let Some(mut entry) = read else {
                self.tasks.others.insert(id);
                view.insert(id.0, Arc::new(not_understood(&stored)));
                continue;
            };
            if let Some(task) = entry.take_over(id, epoch.generation, now) {
                tracing::info!(task = id.0, set = %task.replicaset, "goes on with what an earlier arbiter began");
                resumed.push(task);
            }
            view.insert(id.0, Arc::new(entry.shown(id)));
            self.tasks.entries.insert(id, entry);
            self.tasks.index(id);
        }
        self.tasks.view.send_replace(Arc::new(view));
        resumed
    }

    /// Writes what the takeover has changed, after the machine has read its part.
    pub(super) fn settle_tasks(&mut self) {
        let open = |(id, entry): (&TaskId, &Entry)| (!entry.is_settled()).then_some(*id);
        for id in self.tasks.entries.iter().filter_map(open).collect::<Vec<_>>() {
            self.drive_task(id);
        }
    }

    /// The lock is another's: so are the tasks.
    pub(super) fn drop_tasks(&mut self) {
        self.tasks.writes.cancel();
        self.tasks.writes = CancellationToken::new();
        self.tasks.entries.clear();
        self.tasks.others.clear();
        self.tasks.running.clear();
        self.tasks.planned.clear();
        self.tasks.drills.clear();
        self.tasks.view.send_replace(Arc::default());
    }

    /// Begins what is planned for now.
    pub(super) fn start_due(&mut self) {
        let now = unix_millis();
        let due: Vec<(TaskId, u64)> =
            self.tasks.planned.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*id, *at)).collect();
        for (id, at) in due {
            let Some(mut record) = self.tasks.entries.get(&id).map(|entry| entry.wanted.clone()) else {
                continue;
            };
            let begun = self.begin(&mut record, now);
            let Some(entry) = self.tasks.entries.get_mut(&id) else { continue };
            match begun {
                _ if entry.has_missed(at, now) => {}
                Ok(()) => {
                    entry.wanted = record;
                    entry.waits_for.clear();
                }
                Err(refused) if entry.waits_for == refused.message => continue,
                Err(refused) => entry.waits_for = refused.message,
            }
            self.drive_task(id);
        }
    }

    /// Notes how far those under way have come.
    pub(super) fn observe_tasks(&mut self) {
        if self.tasks.running.is_empty() {
            return;
        }
        let now = unix_millis();
        for id in self.tasks.running.clone() {
            let Some(entry) = self.tasks.entries.get_mut(&id) else { continue };
            let Ok(set) = ReplicaSetName::parse(&entry.wanted.replicaset) else { continue };
            let view = self.arbiter.task_of(&set).filter(|view| view.task == id);
            if view.is_some_and(|view| entry.phase(view.phase.name(), now)) {
                self.tasks.publish(id);
            }
        }
    }
}

fn rails_refused(set: &ReplicaSetName, why: String, rails: &[Rail]) -> Refused {
    let message = format!("a drill of {set} is not dared: {why}");
    let what_to_do = "every guard rail is shown by the same command with --dry-run";
    let refused = Refused::new(RefusedKind::NotPossible, message, what_to_do);
    let broken = rails.iter().filter(|rail| !rail.holds);
    broken.fold(refused, |refused, rail| refused.with_fact(rail.name, &rail.seen))
}

fn ended(id: TaskId) -> Refused {
    let why = format!("task {id} has ended already");
    Refused::new(RefusedKind::NotPossible, why, format!("see how with: batonctl task {id}"))
}
