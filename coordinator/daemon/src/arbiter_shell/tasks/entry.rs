//! One task as the arbiter's shell knows it: what is to be kept, what is kept, and how people see it. Values only; who
//! writes and who is told is decided elsewhere.

use crate::operator::{RefusedKind, Reply};
use baton_client::drill::{DrillOutage, DrillRecord, LastDrill};
use baton_client::status::rfc3339;
use baton_client::task::{Kind, Outcome, PhaseBegan, State, TaskRecord};
use baton_core::arbiter::{DrillAsked, Fault, Forcing, Resumed, TaskId, TaskState};
use baton_core::ids::{InstanceName, ReplicaSetName, Term, Version};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use baton_proto::v1;
use baton_proto::v1::operator_task::State as Shown;
use std::collections::{BTreeMap, BTreeSet};

/// How late a planned task may begin.
const LATE_MAX_MS: u64 = 10 * 60 * 1_000;

/// A task of this version.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is to be kept.
    pub(super) wanted: TaskRecord,
    /// What surely is.
    pub(super) kept: Option<(Version, TaskRecord)>,
    /// What is being written.
    pub(super) writing: Option<TaskRecord>,
    /// The machine has it.
    pub(super) begun: bool,
    /// The machine knows that it is aborted.
    pub(super) abort_fed: bool,
    /// The provider refuses to keep it: it is shown as it is wanted, and forgotten with the lock.
    pub(super) given_up: bool,
    /// Who waits for the end of an abort's beginning.
    pub(super) aborts: Vec<Reply<()>>,
    /// Phases that were seen and are not kept before the end.
    pub(super) phases: Vec<PhaseBegan>,
    /// Why one that is due has not begun.
    pub(super) waits_for: String,
}

/// What is to be done about a task whose wanted state is kept.
pub(super) enum Next {
    Begin,
    Abort,
    /// It has ended.
    Over,
    Nothing,
}

impl Entry {
    pub(super) fn new(wanted: TaskRecord) -> Self {
        Self {
            wanted,
            kept: None,
            writing: None,
            begun: false,
            abort_fed: false,
            given_up: false,
            aborts: Vec::new(),
            phases: Vec::new(),
            waits_for: String::new(),
        }
    }

    /// As it was read after a takeover.
    pub(super) fn read(version: Version, record: TaskRecord) -> Self {
        Self { kept: Some((version, record.clone())), ..Self::new(record) }
    }

    pub(super) fn is_settled(&self) -> bool {
        let kept = self.kept.as_ref().is_some_and(|(_, kept)| *kept == self.wanted);
        (kept || self.given_up) && self.writing.is_none()
    }

    pub(super) fn next(&self) -> Next {
        match self.wanted.state {
            State::Running if !self.begun => Next::Begin,
            State::Running if self.wanted.abort_asked && !self.abort_fed => Next::Abort,
            State::Planned | State::Running => Next::Nothing,
            State::Done | State::Failed | State::Aborted => Next::Over,
        }
    }

    pub(super) fn end(&mut self, state: State, outcome: Outcome, now: u64) {
        self.wanted.state = state;
        self.wanted.outcome = Some(outcome);
        self.wanted.phases.append(&mut self.phases);
        let name = match state {
            State::Done => "done",
            State::Aborted => "aborted",
            State::Failed | State::Planned | State::Running => "failed",
        };
        self.wanted.phases.push(PhaseBegan { name: name.to_owned(), at_unix_millis: now });
        self.waits_for.clear();
    }

    fn fail(&mut self, why: String, kind: RefusedKind, now: u64) {
        let reason = kind.reason().to_owned();
        self.end(State::Failed, Outcome { why, reason, ..Outcome::default() }, now);
    }

    /// After a takeover, with what was read: what the machine is to go on with. What was asked for before the provider went
    /// back to a backup is not gone on with: it may have been done long ago.
    pub(super) fn take_over(&mut self, id: TaskId, generation: u64, now: u64) -> Option<Resumed> {
        if !self.wanted.has_ended() && self.wanted.generation < generation {
            let why = "the state provider was restored from a backup since: ask for it again".to_owned();
            self.fail(why, RefusedKind::NotPossible, now);
        }
        if self.wanted.state != State::Running {
            return None;
        }
        let resumed = self.resumed(id);
        match &resumed {
            Some(task) => {
                self.phase("taken_up", now);
                (self.begun, self.abort_fed) = (true, task.aborted);
            }
            None => {
                self.fail("what it says cannot be understood".to_owned(), RefusedKind::NotPossible, now);
            }
        }
        resumed
    }

    /// Ends one that was planned for `at` and could not begin in all the time that it may be late.
    pub(super) fn has_missed(&mut self, at: u64, now: u64) -> bool {
        let missed = now.saturating_sub(at) > LATE_MAX_MS;
        if missed {
            let waited = std::mem::take(&mut self.waits_for);
            let waited = if waited.is_empty() { "no arbiter was active".to_owned() } else { waited };
            let why = format!("it missed its time by more than 10 minutes: {waited}");
            self.fail(why, RefusedKind::NotPossible, now);
        }
        missed
    }

    /// What the machine says of it.
    pub(super) fn moved(&mut self, state: TaskState, now: u64) {
        let before = self.wanted.before.as_ref().map_or(0, |before| before.term);
        let outage = self.wanted.drill.as_ref().and_then(|drill| drill.outage);
        let state = match (state, outage) {
            // Measured by an earlier arbiter.
            (TaskState::Done { master, term }, Some(outage)) if !outage.is_within() => {
                let (took, budget) = (Span(outage.took_us), Span(outage.budget_us));
                let why = format!(
                    "over budget: writes were refused for up to {took}, and {budget} is the worst case"
                );
                TaskState::Failed { why, master: Some(master), term }
            }
            (state, _) => state,
        };
        match state {
            TaskState::Running => {}
            TaskState::Done { master, term } => {
                let outcome =
                    Outcome { master: Some(master.to_string()), term: term.0, ..Outcome::default() };
                self.end(State::Done, outcome, now);
            }
            TaskState::Aborted { master, term } => {
                let outcome =
                    Outcome { master: Some(master.to_string()), term: term.0, ..Outcome::default() };
                self.end(State::Aborted, outcome, now);
            }
            TaskState::Failed { why, master, term } => {
                let kind = match term.0 > before {
                    _ if outage.is_some_and(|outage| !outage.is_within()) => RefusedKind::OverBudget,
                    true => RefusedKind::TimedOut,
                    false => RefusedKind::NotPossible,
                };
                let master = master.map(|master| master.to_string());
                let outcome = Outcome { master, term: term.0, why, reason: kind.reason().to_owned() };
                self.end(State::Failed, outcome, now);
            }
        }
    }

    /// Notes a phase where it is another than the last; whether it is.
    pub(super) fn phase(&mut self, name: &str, now: u64) -> bool {
        let last = self.phases.last().or(self.wanted.phases.last());
        let news = last.is_none_or(|last| last.name != name);
        if news {
            self.phases.push(PhaseBegan { name: name.to_owned(), at_unix_millis: now });
        }
        news
    }

    /// For the machine that goes on with it; `None` where its names are none.
    pub(super) fn resumed(&self, task: TaskId) -> Option<Resumed> {
        let before = self.wanted.before.as_ref()?;
        let name = |text: &String| InstanceName::parse(text).ok();
        Some(Resumed {
            task,
            replicaset: ReplicaSetName::parse(&self.wanted.replicaset).ok()?,
            target: match &self.wanted.to {
                Some(target) => Some(name(target)?),
                None => None,
            },
            old_master: name(&before.master)?,
            term_before: Term(before.term),
            timeout: Span::from_millis(self.wanted.timeout_ms),
            aborted: self.wanted.abort_asked,
            drill: match (self.wanted.kind, &self.wanted.drill) {
                (Kind::Drill, drill) => Some(drill_asked(drill.as_ref()?)?),
                (Kind::Switchover | Kind::Failover, _) => None,
            },
            forced: (self.wanted.kind == Kind::Failover)
                .then_some(Forcing { fence: self.wanted.fence, others_off: self.wanted.others_off }),
        })
    }

    /// As people see it: an ending only once it is kept.
    pub(super) fn shown(&self, id: TaskId) -> v1::OperatorTask {
        let settled = self.is_settled();
        let record = match &self.kept {
            Some((_, kept)) if !settled => kept,
            Some(_) | None => &self.wanted,
        };
        let state = match record.state {
            State::Planned => Shown::Planned,
            State::Running => Shown::Running,
            State::Done => Shown::Done,
            State::Failed => Shown::Failed,
            State::Aborted => Shown::Aborted,
        };
        let outcome = record.outcome.clone().unwrap_or_default();
        let phases = record.phases.iter().chain(&self.phases);
        let before = record.before.as_ref();
        v1::OperatorTask {
            id: id.0,
            state: state.into(),
            replicaset: record.replicaset.clone(),
            term_before: before.map_or(0, |before| before.term),
            term_after: outcome.term,
            master: outcome.master.clone().unwrap_or_default(),
            decision: record.decision.as_ref().map(|decision| decision.to_json()).unwrap_or_default(),
            refusal: (record.state == State::Failed).then(|| refusal(&outcome)),
            kind: record.kind.name().to_owned(),
            to: record.to.clone().unwrap_or_default(),
            old_master: before.map(|before| before.master.clone()).unwrap_or_default(),
            timeout_us: record.timeout_ms.saturating_mul(1_000),
            asked_by: record.asked_by.clone().unwrap_or_default(),
            created_at_unix_millis: record.created_at_unix_millis,
            start_at_unix_millis: record.start_at_unix_millis,
            deadline_unix_millis: record.deadline_unix_millis,
            phases: phases
                .map(|it| v1::TaskPhase { name: it.name.clone(), at_unix_millis: it.at_unix_millis })
                .collect(),
            abort_asked: record.abort_asked,
            waits_for: self.waits_for.clone(),
            body: String::new(),
            drill: record.drill.as_ref().map(drill_to_wire),
        }
    }

    /// The set of a drill that struck and whose end is kept.
    pub(super) fn drilled_set(&self) -> Option<String> {
        let (_, kept) = self.kept.as_ref()?;
        let (before, after) = (kept.before.as_ref()?.term, kept.outcome.as_ref()?.term);
        let struck = kept.drill.as_ref()?.outage.is_some() || after > before;
        (kept.has_ended() && struck).then(|| kept.replicaset.clone())
    }

    /// As people see it in the status of its set.
    pub(super) fn last_drill(&self, id: TaskId) -> Option<LastDrill> {
        let (_, kept) = self.kept.as_ref()?;
        let (drill, outcome, end) = (kept.drill.as_ref()?, kept.outcome.as_ref()?, kept.phases.last()?);
        Some(LastDrill {
            task: id.0,
            fault: drill.fault.clone(),
            state: end.name.clone(),
            at: rfc3339(end.at_unix_millis),
            outage: drill.outage,
            why: outcome.why.clone(),
        })
    }
}

/// A drill as it is kept.
pub(super) fn drill_record(asked: &DrillAsked) -> DrillRecord {
    let DrillAsked { fault, spares, accept_loss, back } = *asked;
    DrillRecord { fault: fault.name().to_owned(), spares, accept_loss, back, outage: None }
}

/// A drill for the machine; `None` where it was written by a later version.
pub(super) fn drill_asked(record: &DrillRecord) -> Option<DrillAsked> {
    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == record.fault)?;
    let DrillRecord { spares, accept_loss, back, .. } = *record;
    Some(DrillAsked { fault, spares, accept_loss, back })
}

fn drill_to_wire(drill: &DrillRecord) -> v1::TaskDrill {
    v1::TaskDrill {
        fault: drill.fault.clone(),
        spares: drill.spares,
        accept_loss: drill.accept_loss,
        back: drill.back,
        outage: drill.outage.map(DrillOutage::to_wire),
    }
}

fn refusal(outcome: &Outcome) -> v1::Refusal {
    let master = outcome.master.clone().unwrap_or_else(|| "nobody".to_owned());
    let mut facts: std::collections::HashMap<String, String> = [
        ("message".to_owned(), outcome.why.clone()),
        ("master".to_owned(), master),
        ("term".to_owned(), outcome.term.to_string()),
    ]
    .into();
    facts.retain(|name, value| !(value.is_empty() || name != "message" && outcome.term == 0));
    v1::Refusal {
        reason: outcome.reason.clone(),
        facts,
        what_to_do: "look at the members with: batonctl status".to_owned(),
        active_arbiter: String::new(),
    }
}

/// A task that a later version wrote, as it is.
pub(super) fn not_understood(stored: &StoredTask) -> v1::OperatorTask {
    v1::OperatorTask {
        id: stored.id.0,
        state: Shown::NotUnderstood.into(),
        body: stored.body.clone(),
        ..v1::OperatorTask::default()
    }
}

/// How many tasks may stand beside a new one. The provider keeps 1,000; those whose removal failed come back.
pub(super) const KEPT_MAX: usize = 900;

/// The oldest that have ended and have to go, so that one more can be kept. The last drill of each set stays the longest:
/// when it was is worth more than what became of any other.
pub(super) fn surplus(
    entries: &BTreeMap<TaskId, Entry>,
    drills: &BTreeMap<String, TaskId>,
    all: usize,
) -> Vec<TaskId> {
    let too_many = (all + 1).saturating_sub(KEPT_MAX);
    let ended = entries.iter().filter(|(_, entry)| entry.wanted.has_ended() && entry.is_settled());
    let last: BTreeSet<TaskId> = drills.values().copied().collect();
    let (drills, others): (Vec<TaskId>, Vec<TaskId>) =
        ended.map(|(id, _)| *id).partition(|id| last.contains(id));
    others.into_iter().chain(drills).take(too_many).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_client::task::{Before, FORMAT};

    pub(super) fn record(state: State) -> TaskRecord {
        TaskRecord {
            format: FORMAT,
            kind: Kind::Switchover,
            fence: false,
            others_off: false,
            state,
            replicaset: "orders-1".into(),
            to: None,
            timeout_ms: 2_000,
            asked_by: None,
            created_at_unix_millis: 1,
            start_at_unix_millis: None,
            generation: 1,
            before: Some(Before { master: "a1".into(), term: 6 }),
            deadline_unix_millis: None,
            abort_asked: false,
            phases: Vec::new(),
            outcome: None,
            drill: None,
            decision: None,
        }
    }

    #[test]
    fn an_ending_is_shown_only_once_it_is_kept() {
        let mut entry = Entry::read(Version(1), record(State::Running));
        let state = |entry: &Entry| entry.shown(TaskId(7)).state();
        entry.phase("relinquish", 5);
        entry.moved(TaskState::Failed { why: "it was late".into(), master: None, term: Term(6) }, 9);
        assert_eq!(state(&entry), Shown::Running, "another arbiter may still do it");
        entry.kept = Some((Version(2), entry.wanted.clone()));
        let shown = entry.shown(TaskId(7));
        assert_eq!(shown.state(), Shown::Failed);
        let phases: Vec<_> = shown.phases.iter().map(|it| (it.name.as_str(), it.at_unix_millis)).collect();
        assert_eq!(phases, [("relinquish", 5), ("failed", 9)]);
        assert_eq!(shown.refusal.expect("it says why").facts["message"], "it was late");
    }

    #[test]
    fn what_was_asked_for_before_a_restore_is_not_gone_on_with() {
        let running = || Entry::read(Version(1), record(State::Running));
        let mut known = running();
        let resumed = known.take_over(TaskId(7), 1, 9).expect("of this generation");
        assert_eq!((resumed.term_before, resumed.old_master.as_str()), (Term(6), "a1"));
        assert!(known.begun && !known.abort_fed);
        let mut old = running();
        assert_eq!(old.take_over(TaskId(7), 2, 9), None);
        assert_eq!(old.wanted.state, State::Failed);
        let mut planned = Entry::read(Version(1), TaskRecord { before: None, ..record(State::Planned) });
        assert_eq!(planned.take_over(TaskId(7), 1, 9), None);
        assert_eq!(planned.wanted.state, State::Planned, "its time will come");
        assert_eq!(planned.take_over(TaskId(7), 2, 9), None);
        assert_eq!(planned.wanted.state, State::Failed);
        let mut damaged = Entry::read(Version(1), TaskRecord { before: None, ..record(State::Running) });
        assert_eq!(damaged.take_over(TaskId(7), 1, 9), None);
        assert_eq!(damaged.wanted.state, State::Failed, "from where it began nobody knows");
    }

    #[test]
    fn a_planned_one_is_up_to_ten_minutes_late() {
        let mut planned = Entry::read(Version(1), record(State::Planned));
        planned.waits_for = "a2 is not in the in-sync set".into();
        assert!(!planned.has_missed(1_000, 601_000));
        assert_eq!(planned.wanted.state, State::Planned);
        assert!(planned.has_missed(1_000, 601_001));
        let why = planned.wanted.outcome.map(|outcome| outcome.why).unwrap_or_default();
        assert_eq!(why, "it missed its time by more than 10 minutes: a2 is not in the in-sync set");
    }

    #[test]
    fn the_oldest_that_have_ended_make_room() {
        let mut entries: BTreeMap<TaskId, Entry> =
            (1..=900).map(|id| (TaskId(id), Entry::read(Version(1), record(State::Done)))).collect();
        entries.insert(TaskId(1), Entry::read(Version(1), record(State::Planned)));
        let none = BTreeMap::new();
        assert_eq!(surplus(&entries, &none, 900), [TaskId(2)]);
        assert_eq!(surplus(&entries, &none, 899), []);
        let drills = BTreeMap::from([("orders-1".to_owned(), TaskId(2))]);
        assert_eq!(surplus(&entries, &drills, 900), [TaskId(3)], "a set's last drill stays");
        let mut ending = Entry::read(Version(1), record(State::Running));
        ending.wanted.state = State::Done;
        entries.insert(TaskId(2), ending);
        assert_eq!(surplus(&entries, &none, 901), [TaskId(3), TaskId(4)], "one that is being kept stays");
    }

    fn drill(took_us: u64) -> TaskRecord {
        let outage = Some(DrillOutage { term: 7, took_us, budget_us: 10 });
        let asked = DrillAsked { fault: Fault::KillEngine, spares: 2, accept_loss: true, back: false };
        let drill = Some(DrillRecord { outage, ..drill_record(&asked) });
        assert_eq!(drill.as_ref().and_then(drill_asked), Some(asked));
        TaskRecord { kind: Kind::Drill, drill, ..record(State::Running) }
    }

    #[test]
    fn a_drill_that_another_arbiter_measured_is_over_budget_all_the_same() {
        for (took, state, reason) in [(10, State::Done, ""), (11, State::Failed, "over_budget")] {
            let mut entry = Entry::read(Version(1), drill(took));
            assert!(entry.take_over(TaskId(7), 1, 9).is_some_and(|resumed| resumed.drill.is_some()));
            let master = InstanceName::parse("a2").expect("a good name");
            entry.moved(TaskState::Done { master, term: Term(7) }, 9);
            let outcome = entry.wanted.outcome.clone().unwrap_or_default();
            assert_eq!((entry.wanted.state, outcome.reason.as_str()), (state, reason), "{took}");
            assert_eq!(entry.drilled_set(), None, "its end is not kept yet");
            entry.kept = Some((Version(2), entry.wanted.clone()));
            assert_eq!(entry.drilled_set().as_deref(), Some("orders-1"));
            let last = entry.last_drill(TaskId(7)).expect("it struck");
            assert_eq!(
                (last.task, last.fault.as_str(), last.outage.map(|it| it.took_us)),
                (7, "kill_engine", Some(took))
            );
        }
        let mut unknown = drill(1);
        unknown.drill.as_mut().expect("it is one").fault = "flood".to_owned();
        let mut later = Entry::read(Version(1), unknown);
        assert_eq!(later.take_over(TaskId(7), 1, 9), None, "a later version's fault is not guessed at");
        assert_eq!(later.wanted.state, State::Failed);
    }
}
