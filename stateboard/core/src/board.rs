//! The machine: takes inputs apart, holds back what is not durable yet. Which rule applies is decided in the files
//! beside this one.

use crate::identity::Identity;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::message::{Action, Input, Persist, Reply, Request, RequestId, Write};
use crate::state::{Durable, Restored, Snapshot, Status};
use crate::watch::{Item, Update, UpdateLog, WatchStart};
use baton_core::ids::{InstanceName, OpId, ReplicaSetName, Revision, TaskId};
use baton_core::record::{HistoryEntry, Member, Record, Settings};
use baton_core::rules::{Rule, Rules};
use baton_core::task::StoredTask;
use baton_core::time::Time;
use baton_core::timing::Timing;
use std::collections::{BTreeMap, VecDeque};

/// The stateboard's state machine. See the crate's contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Board {
    pub(crate) now: Time,
    pub(crate) identity: Identity,
    pub(crate) limits: Limits,
    pub(crate) revision: Revision,
    pub(crate) lock: Lock,
    pub(crate) records: BTreeMap<ReplicaSetName, Record>,
    pub(crate) members: BTreeMap<(ReplicaSetName, InstanceName), Member>,
    pub(crate) settings: Settings,
    pub(crate) tasks: BTreeMap<TaskId, StoredTask>,
    pub(crate) history: BTreeMap<ReplicaSetName, VecDeque<HistoryEntry>>,
    restored: Option<Restored>,
    updates: UpdateLog,
    actions: VecDeque<Action>,
    /// What waits for an operation to be durable, in order.
    held: VecDeque<(OpId, Action)>,
    /// The first and the last operation that are not durable yet.
    outstanding: Option<(OpId, OpId)>,
    rules: Rules,
}

impl Board {
    /// The board as storage gave it back, started at `now`.
    #[must_use]
    pub fn new(now: Time, durable: Durable, limits: Limits) -> Self {
        let mut lock = durable.lock;
        // A fresh board has given no ttl yet: its settings decide the first, which the first hand-over makes durable.
        let settings = &durable.settings;
        if let Ok(timing) =
            Timing::derive(settings.lease_ttl, settings.stall_timeout, settings.clock_drift_ppm)
        {
            lock.longest_ttl = lock.longest_ttl.max(timing.lock_ttl);
        }
        Self {
            now,
            identity: durable.identity,
            updates: UpdateLog::new(durable.revision, limits.updates_kept),
            limits,
            revision: durable.revision,
            lock: Lock::restarted(lock, now),
            records: durable.records,
            members: durable.members,
            settings: durable.settings,
            tasks: durable.tasks,
            history: durable.history,
            restored: durable.restored,
            actions: VecDeque::new(),
            held: VecDeque::new(),
            outstanding: None,
            rules: Rules::default(),
        }
    }

    /// The same, keeping these rules: all of them, outside tests.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    pub(crate) fn keep(&self, rule: Rule) -> bool {
        self.rules.keep(rule)
    }

    /// Whose board it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The revision that the machine has reached; what of it is not durable yet has been told to nobody.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether this input may change what is durable, so that whoever has no room for a change can refuse it before.
    /// What only ends something (a renewal, a resignation, the end of a connection) is never refused.
    #[must_use]
    pub fn may_write(&self, input: &Input) -> bool {
        match input {
            Input::Campaign { resume, .. } => {
                !resume.is_some_and(|resume| resume.only || self.lock.is_current(resume.token))
            }
            Input::Request { request, .. } => match request {
                Request::Appoint { .. }
                | Request::PutMember { .. }
                | Request::RemoveMember { .. }
                | Request::PutSettings { .. }
                | Request::PutTask { .. }
                | Request::RemoveTask { .. }
                | Request::PutBid { .. }
                | Request::PutMove { .. } => true,
                Request::Read | Request::Watch { .. } | Request::History { .. } | Request::Status => false,
            },
            Input::Renew { .. }
            | Input::Resign { .. }
            | Input::Closed { .. }
            | Input::Persisted(_)
            | Input::Tick => false,
        }
    }

    /// Records, members, and candidates in line; for whoever counts.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let status = self.status();
        (status.records, status.members, status.waiting)
    }

    /// One input, received at or before `now`.
    pub fn step(&mut self, now: Time, input: Input) {
        assert!(now >= self.now, "time never goes back");
        self.now = now;
        match input {
            Input::Campaign { session, candidate, resume, secret } => {
                self.campaign(session, candidate, resume, secret);
            }
            Input::Renew { session } => self.renew(session),
            Input::Resign { session, last_grant_remaining } => self.resign(session, last_grant_remaining),
            Input::Closed { session } => self.closed(session),
            Input::Request { id, request } => self.request(id, request),
            Input::Persisted(op) => self.persisted(op),
            Input::Tick => {}
        }
        self.hand_over();
        self.check();
    }

    /// When the shell must feed [`Input::Tick`] at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        // Where nobody is given the lock, its end is no reason to wake up.
        if self.standstill().is_some() {
            return None;
        }
        self.lock.next_deadline()
    }

    /// The next action; the shell pops until there is none.
    pub fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn request(&mut self, id: RequestId, request: Request) {
        let reply = match request {
            Request::Appoint { token, changes } => Reply::Appointed(self.appoint(token, changes)),
            Request::Read => Reply::Snapshot(Box::new(self.snapshot())),
            Request::Watch { after } => Reply::Watching(self.watch(after)),
            Request::PutMember { token, member } => Reply::Written(self.put_member(token, *member)),
            Request::RemoveMember { token, replicaset, instance } => {
                Reply::Written(self.remove_member(token, replicaset, instance))
            }
            Request::PutSettings { expected, settings } => {
                Reply::Settings(self.put_settings(expected, *settings))
            }
            Request::PutMove { expected, moving } => Reply::Settings(self.put_move(expected, moving)),
            Request::PutTask { token, expected, task } => Reply::Task(self.put_task(token, expected, *task)),
            Request::RemoveTask { token, id } => Reply::Written(self.remove_task(token, id)),
            Request::PutBid { epoch, expected, bid } => {
                Reply::Written(self.put_bid(epoch, expected, bid.map(|bid| *bid)))
            }
            Request::History { replicaset, limit } => Reply::History(self.past(&replicaset, limit)),
            Request::Status => Reply::Status(Box::new(self.status())),
        };
        self.emit(Action::Reply { id, reply });
    }

    fn watch(&self, after: Option<Revision>) -> WatchStart {
        after
            .and_then(|after| self.updates.after(after))
            .map_or_else(|| WatchStart::Snapshot(Box::new(self.snapshot())), WatchStart::Updates)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            lock: self.lock.view(),
            records: self.records.clone(),
            members: self.members.clone(),
            settings: self.settings.clone(),
            tasks: self.tasks.clone(),
        }
    }

    fn status(&self) -> Status {
        let count = |length: usize| u64::try_from(length).expect("lengths fit 64 bits");
        Status {
            revision: self.revision,
            lock: self.lock.view(),
            waiting: count(self.lock.waiting()),
            records: count(self.records.len()),
            members: count(self.members.len()),
            restored: self.restored,
        }
    }

    /// Makes one atomic change: the revision rises, the writes go out now, what watchers see once they are durable.
    pub(crate) fn commit(&mut self, writes: Vec<Write>, items: Vec<Item>) {
        self.revision = Revision(self.revision.0 + 1);
        let (first, op) = match self.outstanding {
            None => (OpId(0), OpId(0)),
            Some((first, last)) => (first, OpId(last.0 + 1)),
        };
        self.outstanding = Some((first, op));
        self.actions.push_back(Action::Persist(Persist { op, revision: self.revision, writes }));
        let update = Update { revision: self.revision, items };
        self.updates.push(update.clone());
        self.emit(Action::Publish(update));
    }

    /// Sends an action as soon as everything that was committed before it is durable.
    pub(crate) fn emit(&mut self, action: Action) {
        match self.outstanding {
            Some((_, last)) if self.keep(Rule::SyncBeforeAnswer) => {
                self.held.push_back((last, action));
            }
            Some(_) | None => self.actions.push_back(action),
        }
    }

    fn persisted(&mut self, op: OpId) {
        let (first, last) = self.outstanding.expect("only an operation that was emitted can be persisted");
        assert!(first <= op && op <= last, "operations become durable in order");
        while self.held.front().is_some_and(|(awaited, _)| *awaited <= op) {
            self.actions.extend(self.held.pop_front().map(|(_, action)| action));
        }
        self.outstanding = (op < last).then(|| (OpId(op.0 + 1), last));
    }

    /// What must hold after every step.
    fn check(&self) {
        assert!(self.outstanding.is_some() || self.held.is_empty(), "nothing waits for what is durable");
        assert!(self.records.len() <= self.limits.records, "the limits hold");
        assert!(self.members.len() <= self.limits.members, "the limits hold");
        assert!(self.tasks.len() <= self.limits.tasks, "the limits hold");
    }
}
