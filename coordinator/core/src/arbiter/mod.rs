//! The arbiter: the one active decider of a cluster. It grants leases to recorded masters, and when the evidence allows
//! it, replaces one. Dispatch only; the rules are in the files beside this one.
//!
//! It must not know: how the provider keeps records, how guards are reached, what time of day it is.

mod bootstrap;
mod direct;
mod drill;
mod evidence;
mod expelled;
mod forced;
mod forecast;
mod forgotten;
mod insync;
mod io;
mod issues;
mod listing;
mod lock;
mod observe;
mod pause;
mod policy;
mod quorum;
mod rails;
mod reach;
mod removal;
mod restored;
pub mod select;
mod set;
mod straggling;
mod succession;
mod switchover;
mod task;
#[cfg(test)]
mod tests;
mod view;
mod wishes;

pub use drill::Outage;
pub use forecast::{Fate, Forecast, Loss};
pub use io::{Action, Forcing, Input, RelayId, Resumed, SessionId, TaskId, TaskState, WriteOutcome};
pub use issues::{Issue, Norms, Severity, issues_of};
pub use rails::{DrillAsked, Fault, Ground, Rail, broken, rails_of};
pub use task::{TaskPhase, TaskView};
pub use view::{MasterState, MemberView, SetView};

use crate::ids::{CoordinatorName, Epoch, InstanceName, OpId, ReplicaSetName};
use crate::record::Settings;
use crate::rules::{Rule, Rules};
use crate::time::Time;
use crate::timing::Timing;
use lock::Lock;
use set::SetState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What an arbiter is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Who decides.
    pub coordinator: CoordinatorName,
    /// What new data identities are drawn from.
    pub seed: u64,
    /// Which rules are kept (all, outside tests).
    pub rules: Rules,
}

/// The machine. Drive it as the crate's contract says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arbiter {
    config: Config,
    settings: Settings,
    timing: Timing,
    /// From when on everybody may be expected to beat at the pace of these settings.
    paced_from: Time,
    lock: Option<Lock>,
    /// In boxes: each look takes one out, to have it in hand beside the rest, and puts it back.
    sets: BTreeMap<ReplicaSetName, Box<SetState>>,
    /// Which set a guarded name belongs to.
    homes: BTreeMap<InstanceName, ReplicaSetName>,
    /// What people said of single members.
    said: BTreeMap<InstanceName, set::Said>,
    /// When each set wants to be looked at again.
    alarms: BTreeSet<(Time, ReplicaSetName)>,
    /// Which set each write under way is of.
    writes: BTreeMap<OpId, ReplicaSetName>,
    last_op: u64,
    /// When somebody was appointed in the last minute, by nobody's wish.
    recent: VecDeque<Time>,
    /// The wall clock and our own, read together; for what people are told, and for what has to outlive us.
    wall: Option<(Time, u64)>,
    /// There were too many of them; ended by a person.
    tripped: bool,
    /// The set whose master is being moved by the arbiter's own wish.
    wishing: Option<ReplicaSetName>,
    reach: reach::Reach,
    listings: listing::Listings,
    actions: VecDeque<Action>,
}

impl Arbiter {
    /// An arbiter without the lock: it listens, and decides nothing.
    ///
    /// # Errors
    /// The settings are not safe together.
    pub fn new(config: Config, settings: Settings) -> Result<Self, crate::timing::BadTiming> {
        let timing = Timing::new(&settings)?;
        Ok(Self::with_timing(config, settings, timing))
    }

    /// The same with a timing that was made by hand (models).
    #[must_use]
    pub fn with_timing(config: Config, settings: Settings, timing: Timing) -> Self {
        let timing = config.rules.timed(timing);
        Self {
            config,
            settings,
            timing,
            paced_from: Time::default(),
            lock: None,
            sets: BTreeMap::new(),
            homes: BTreeMap::new(),
            said: BTreeMap::new(),
            alarms: BTreeSet::new(),
            writes: BTreeMap::new(),
            last_op: 0,
            recent: VecDeque::new(),
            wall: None,
            tripped: false,
            wishing: None,
            reach: reach::Reach::default(),
            listings: listing::Listings::default(),
            actions: VecDeque::new(),
        }
    }

    /// Takes one input in. `now` never goes back, and was read after the input was received.
    pub fn step(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => {}
            Input::LockAcquired { epoch, valid_until, predecessor_bound } => {
                self.lock_acquired(now, epoch, valid_until, predecessor_bound);
            }
            Input::LockRenewed { valid_until } => self.lock_renewed(now, valid_until),
            Input::LockLost => self.lock_lost(),
            Input::Loaded { records, members, settings, tasks, unix_millis } => {
                self.loaded(now, records, members, *settings, tasks, unix_millis);
            }
            Input::Settings { settings, unix_millis } => self.settings_changed(now, *settings, unix_millis),
            Input::Pause { replicaset, pin } => self.pause_asked(now, &replicaset, pin),
            Input::Resume { replicaset } => self.resume_asked(now, replicaset),
            Input::Failover { task, replicaset, target, timeout, forcing } => {
                self.failover_asked(now, task, replicaset, target, timeout, forcing);
            }
            Input::Fenced { replicaset, term, confirmed } => {
                self.fenced(now, &replicaset, term, confirmed);
            }
            Input::RemoveSet { replicaset } => self.remove_asked(now, &replicaset),
            Input::MemberRemoved { replicaset, instance } => self.member_removed(&replicaset, &instance),
            Input::Listed(member) => self.listed(&member),
            Input::Attached { session, guards } => self.attached(now, session, guards),
            Input::Detached { session } => self.detached(now, session),
            Input::Beat { session, beat } => self.beat(now, session, *beat),
            Input::Relayed { relay, by, hello, beat } => self.relayed(now, relay, by, *hello, *beat),
            Input::Written { op, outcome } => self.written(now, op, outcome),
            Input::Switchover { task, replicaset, target, timeout } => {
                self.switchover_asked(now, task, replicaset, target, timeout);
            }
            Input::Drill { task, replicaset, asked, timeout } => {
                self.drill_asked(now, task, &replicaset, asked, timeout);
            }
            Input::Abort { task } => self.abort_asked(now, task),
            Input::Bid(bid) => self.bid_seen(now, bid),
        }
        self.ring(now);
    }

    /// The next action, in order.
    pub fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Arbiter::step`] must be called again, at the latest, with [`Input::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.lock.as_ref()?;
        let alarm = self.alarms.first().map(|(at, _)| *at);
        alarm.into_iter().chain(self.reach.look_at).chain(self.listings.due()).min()
    }

    /// The epoch of the lock that it holds, if it does.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.lock.as_ref().map(|lock| lock.epoch)
    }

    /// The timings in force.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Until when the last grant that was given lives, on this node's clock: what a release has to tell.
    #[must_use]
    pub fn last_grant_until(&self) -> Time {
        self.sets.values().map(|set| set.leased_until).max().unwrap_or_default()
    }

    /// Looks at every set whose time has come.
    fn ring(&mut self, now: Time) {
        let due: Vec<_> = self.alarms.iter().take_while(|(at, _)| *at <= now).cloned().collect();
        if !self.is_active(now) {
            // Every set is looked at when the lock is renewed; an alarm that stays would wake us again and again until then.
            for (at, name) in due {
                self.alarms.remove(&(at, name.clone()));
                self.set_mut(&name).alarm = None;
            }
            self.reach.look_at = self.reach.look_at.filter(|at| *at > now);
            self.list_later(now);
            return;
        }
        for (_, name) in due {
            self.drive(now, &name);
        }
        if self.reach.look_at.is_some_and(|at| at <= now) {
            self.look_at_reach(now);
        }
        self.list_again(now);
    }

    fn drive_all(&mut self, now: Time) {
        let names: Vec<_> = self.sets.keys().cloned().collect();
        for name in names {
            self.drive(now, &name);
        }
    }

    /// Looks at one set: what is known decides, never the event that made us look.
    fn drive(&mut self, now: Time, name: &ReplicaSetName) {
        if !self.is_active(now) {
            return;
        }
        let Some(mut set) = self.sets.remove(name) else { return };
        if let Some(alarm) = set.alarm.take() {
            self.alarms.remove(&(alarm, name.clone()));
        }
        let before = set.publication();
        self.turn_away(now, &mut set);
        if set.pending.is_none() {
            match set.record.as_ref().map(|record| record.master.is_some()) {
                // Of a life that the provider forgot.
                None | Some(false) if set.evidence.is_some() => self.succeed(now, &mut set),
                None => self.bootstrap(now, &mut set),
                Some(true) if self.is_held(&set) => self.settle_restored(now, &mut set),
                Some(true) => self.succeed_or_maintain(now, &mut set),
                // A tombstone: the set was removed, and its term is kept for whoever comes under its name.
                Some(false) if set.guards.is_empty() => {}
                Some(false) => self.bootstrap(now, &mut set),
            }
        }
        set.held = self.is_held(&set);
        set.unsettled = !set.has_master() && set.evidence.is_none() && self.forgotten_master(&set).is_some();
        self.retry_pending(now, &mut set);
        self.direct(now, &mut set);
        if set.publication() != before {
            self.push(Action::Publish(name.clone()));
        }
        self.count_if_silent(now, &set);
        set.alarm = self.alarm_of(now, &set);
        if let Some(alarm) = set.alarm {
            self.alarms.insert((alarm, name.clone()));
        }
        self.sets.insert(name.clone(), set);
    }

    fn succeed_or_maintain(&mut self, now: Time, set: &mut SetState) {
        self.look_for_evidence(now, set);
        if set.evidence.is_some() {
            self.succeed(now, set);
            self.drive_drill(now, set);
        } else {
            self.confirm(now, set);
            self.drive_switchover(now, set);
            self.drive_drill(now, set);
            self.ask_for_fence(now, set);
            self.maintain_pin(now, set);
            self.forget_failovers(now, set);
            self.wish(now, set);
            self.maintain_in_sync(now, set);
        }
    }

    fn push(&mut self, action: Action) {
        // Nobody waits for what the arbiter does by its own wish.
        if matches!(action, Action::Task { task, .. } if task == wishes::OWN) {
            return;
        }
        self.actions.push_back(action);
    }

    fn next_op(&mut self) -> OpId {
        self.last_op += 1;
        OpId(self.last_op)
    }

    fn keep(&self, rule: Rule) -> bool {
        self.config.rules.keep(rule)
    }
}

#[cfg(feature = "model")]
impl Arbiter {
    /// Moves every time of this machine `by` back, so that states that differ only by when they are fold into one.
    pub fn rebase(&mut self, by: crate::time::Span) {
        if let Some(lock) = &mut self.lock {
            lock.rebase(by);
        }
        for set in self.sets.values_mut() {
            set.rebase(by);
        }
        self.paced_from = self.paced_from.folded(by);
        self.wall = self.wall.map(|(at, millis)| (at.folded(by), millis));
        self.reach.rebase(by);
        self.listings.rebase(by);
        self.alarms = self.alarms.iter().map(|(at, name)| (at.folded(by), name.clone())).collect();
    }

    /// The operation that was asked for last.
    #[must_use]
    pub fn last_op(&self) -> OpId {
        OpId(self.last_op)
    }

    /// Lowers every operation's number by `by`, for the same reason. Whoever calls it does the same to every answer
    /// that is still to come; none of those may be of `by` or below.
    pub fn rebase_ops(&mut self, by: OpId) {
        let lower = |op: OpId| OpId(op.0.saturating_sub(by.0));
        self.last_op = self.last_op.saturating_sub(by.0);
        self.writes =
            std::mem::take(&mut self.writes).into_iter().map(|(op, set)| (lower(op), set)).collect();
        for pending in self.sets.values_mut().filter_map(|set| set.pending.as_mut()) {
            pending.op = lower(pending.op);
        }
    }

    /// Forgets what is kept for people only (decisions, how long each phase took): no rule reads it, and every run of
    /// the same steps at another pace would be another state.
    pub fn forget_stories(&mut self) {
        for set in self.sets.values_mut() {
            set.forget_stories();
        }
        self.recent.clear();
    }
}
