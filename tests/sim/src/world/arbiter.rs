//! One coordinator that runs an arbiter: the real machine, its clock, and its session with the board.
//!
//! It must not know what the machine decides.

use super::agenda::Deadline;
use super::clock::Clock;
use super::net::Body;
use super::provider::BOARD;
use super::tasks::{AfterTask, KeptTask};
use super::{Due, World};
use baton_board::{
    AppointOutcome, Candidate, Input as BoardInput, LockSecret, LockToken, Reply, Request, RequestId, Resume,
    SessionMessage,
};
use baton_core::arbiter::{Action, Arbiter, Config, Input, SessionId, TaskId, WriteOutcome};
use baton_core::ids::{CoordinatorName, Endpoint, OpId};
use baton_core::message::ToGuard;
use baton_core::record::Member;
use baton_core::rules::{Rule, Rules};
use baton_core::time::{Span, Time};
use std::collections::BTreeMap;

/// What a request to the board was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Load,
    Write(OpId),
    Member(Box<Member>),
    /// A task was kept; then this is fed.
    Task(TaskId, AfterTask),
    Forgotten,
}

/// One arbiter and its process.
#[derive(Clone, Debug)]
pub struct ArbiterNode {
    /// Its name.
    pub name: String,
    /// The machine; `None` while the process is gone.
    pub machine: Option<Arbiter>,
    /// Its clock.
    pub clock: Clock,
    /// Stopped, to be continued.
    pub frozen: bool,
    /// What came in meanwhile.
    pub backlog: Vec<Due>,
    /// Counts the processes.
    pub run: u64,
    /// Its connection to the board.
    session: Option<baton_board::SessionId>,
    pub(super) token: Option<LockToken>,
    /// The lock was granted and not confirmed by a first renewal yet: the predecessor bound, on its clock.
    granted: Option<Time>,
    next_renewal: Option<Time>,
    asked: BTreeMap<RequestId, Purpose>,
    /// What operators asked for, as it is kept by the board.
    pub(super) tasks: BTreeMap<TaskId, KeptTask>,
    /// It does not renew and lets its lock run out (its threads that do are stuck).
    pub no_renewals: bool,
    /// Not before this is it given a tick again: a broken rule may leave a deadline in the past.
    not_before: u64,
    /// Until when it was told to wait for those who held the lock before; by its clock.
    pub(super) bound: Time,
}

impl ArbiterNode {
    pub(super) fn new(name: &str, local: u64) -> Self {
        Self {
            name: name.to_owned(),
            machine: None,
            clock: Clock::new(local),
            frozen: false,
            backlog: Vec::new(),
            run: 0,
            session: None,
            token: None,
            granted: None,
            next_renewal: None,
            asked: BTreeMap::new(),
            tasks: BTreeMap::new(),
            no_renewals: false,
            not_before: 0,
            bound: Time::default(),
        }
    }

    /// When something is to be done without anything coming in.
    pub(super) fn deadline(&self, now: u64) -> Deadline {
        let Some(machine) = self.machine.as_ref().filter(|_| !self.frozen) else { return Deadline::NEVER };
        let own = Deadline::of(&self.clock, now, machine.next_deadline());
        own.or(Deadline::of(&self.clock, now, self.next_renewal)).not_before(self.not_before)
    }

    /// How often it renews its lock, by the settings that it knows.
    fn lock_renew(&self) -> Span {
        self.machine.as_ref().map_or(Span::from_millis(100), |machine| machine.timing().lock_renew)
    }

    /// Whether it may decide now, by its own knowledge.
    #[must_use]
    pub fn is_active(&self, now: u64) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.is_active(self.clock.read(now)))
    }
}

/// What two clocks of any world may differ by in such a time, at most.
fn drift(span: Span, rules: Rules) -> Span {
    if rules.keep(Rule::KeepMargin) { Span(span.0.div_ceil(100).max(1)) } else { Span::ZERO }
}

impl World {
    /// A process for this arbiter, without the lock.
    pub fn start_arbiter(&mut self, name: &str) {
        let config = Config {
            coordinator: CoordinatorName::parse(name).expect("stories use good names"),
            seed: 7,
            rules: self.rules,
        };
        let (settings, _) = self.read_settings(name);
        let Some(node) = self.arbiters.get_mut(name) else { return };
        node.run += 1;
        node.machine = Arbiter::new(config, settings).ok();
        node.frozen = false;
        node.backlog.clear();
        self.start_contender(name);
        self.connect_board(name);
    }

    /// Its process ends: its connections close.
    pub fn crash_arbiter(&mut self, name: &str) {
        let Some(node) = self.arbiters.get_mut(name) else { return };
        let session = node.session.take();
        *node = ArbiterNode { clock: node.clock, run: node.run, ..ArbiterNode::new(name, 0) };
        if let Some(session) = session {
            self.board_closed(session);
        }
        self.arbiter_gone(name);
    }

    /// Stops an arbiter's process, or lets it go on with what came in meanwhile.
    pub fn freeze_arbiter(&mut self, name: &str, frozen: bool) {
        let Some(node) = self.arbiters.get_mut(name) else { return };
        node.frozen = frozen;
        if !frozen {
            for due in std::mem::take(&mut node.backlog) {
                self.after(0, due);
            }
        }
    }

    fn connect_board(&mut self, name: &str) {
        let resumes = self.arbiters.get(name).is_some_and(|node| node.token.is_some());
        if let Some(from) = self.campaign_from(name).filter(|_| !resumes) {
            return self.campaign_at(name, from);
        }
        self.last_session += 1;
        let session = baton_board::SessionId(self.last_session);
        let Some(node) = self.arbiters.get_mut(name) else { return };
        let old = node.session.replace(session);
        node.next_renewal = None;
        node.granted = None;
        let coordinator = CoordinatorName::parse(name).expect("stories use good names");
        let candidate = Candidate { coordinator, address: Endpoint(name.into()) };
        let resume = node.token.map(|token| Resume { token, only: false });
        let secret = LockSecret(u128::from(session.0));
        if let Some(old) = old {
            self.board_closed(old);
        }
        let input = BoardInput::Campaign { session, candidate, resume, secret };
        if self.net.is_open(name, BOARD) {
            self.send(name, BOARD, Body::ToBoard(Box::new(input)));
        }
        let run = self.arbiters.get(name).map_or(0, |node| node.run);
        self.after(self.timing.lock_renew.0, Due::CampaignAgain { arbiter: name.to_owned(), run, session });
    }

    /// The board did not answer a campaign, perhaps because it never heard it: once more.
    pub(super) fn campaign_again(&mut self, name: &str, run: u64, session: baton_board::SessionId) {
        let Some(node) = self.arbiters.get(name) else { return };
        let waits = node.run == run && node.session == Some(session) && node.machine.is_some();
        if waits && node.next_renewal.is_none() && node.granted.is_none() {
            self.board_closed(session);
            self.connect_board(name);
        }
    }

    pub(super) fn provider_connection_lost(&mut self, name: &str) {
        let Some(node) = self.arbiters.get_mut(name) else { return };
        let session = node.session.take();
        node.next_renewal = None;
        node.granted = None;
        let runs = node.machine.is_some();
        if let Some(session) = session {
            self.board_closed(session);
        }
        if runs {
            self.connect_board(name);
        }
    }

    /// The arbiter gives its lock up, and says how long its last grant lives.
    pub fn resign(&mut self, name: &str) {
        let now = self.now;
        let Some(node) = self.arbiters.get_mut(name) else { return };
        let (Some(session), Some(machine)) = (node.session.take(), node.machine.as_ref()) else { return };
        let last_grant_remaining = machine.last_grant_until().since(node.clock.read(now));
        node.token = None;
        node.next_renewal = None;
        self.send(name, BOARD, Body::ToBoard(Box::new(BoardInput::Resign { session, last_grant_remaining })));
        if self.weather.is_some() {
            // Where the word of it is lost, the board still notices that the connection is gone.
            self.after(self.timing.lease_ttl.0, Due::SessionGone(session));
        }
        self.arbiter_step(name, Input::LockLost);
        let run = self.arbiters.get(name).map_or(0, |node| node.run);
        // Behind whoever waits in line.
        self.after(100_000, Due::Rejoin { arbiter: name.to_owned(), run });
    }

    /// Whether it waited in line, in vain so far, and does so no more.
    pub(super) fn leave_line(&mut self, name: &str) -> bool {
        let Some(node) = self.arbiters.get_mut(name).filter(|node| node.token.is_none()) else {
            return false;
        };
        let session = node.session.take();
        if let Some(session) = session {
            self.board_closed(session);
        }
        session.is_some()
    }

    pub(super) fn rejoin(&mut self, name: &str, run: u64) {
        let waits = |node: &ArbiterNode| node.run == run && node.machine.is_some() && node.session.is_none();
        if self.arbiters.get(name).is_some_and(waits) {
            self.connect_board(name);
        }
    }

    pub(super) fn arbiter_tick(&mut self, name: &str) {
        let now = self.now;
        let Some(node) = self.arbiters.get_mut(name) else { return };
        let local = node.clock.read(now);
        if node.next_renewal.is_some_and(|at| local >= at) {
            node.next_renewal = Some(local + node.lock_renew());
            if let Some(session) = node.session.filter(|_| !node.no_renewals) {
                self.send(name, BOARD, Body::Renew(session, local));
            }
        }
        self.arbiter_step(name, Input::Tick);
        if let Some(node) = self.arbiters.get_mut(name) {
            let overdue = node.deadline(now).at <= now;
            node.not_before = if overdue { now + 1_000 } else { 0 };
        }
    }

    pub(super) fn arbiter_hears_board(
        &mut self,
        name: &str,
        from: baton_board::SessionId,
        message: SessionMessage,
        sent: Option<Time>,
    ) {
        let now = self.now;
        // What was under way over a connection that is closed reaches nobody.
        let Some(node) = self.arbiters.get_mut(name).filter(|node| node.session == Some(from)) else {
            return;
        };
        let local = node.clock.read(now);
        match message {
            SessionMessage::Granted { token, ttl, predecessor_bound, .. } => {
                node.token = Some(token);
                // Nothing to wait for needs no margin.
                let margin = if predecessor_bound == Span::ZERO {
                    Span::ZERO
                } else {
                    drift(predecessor_bound.max(ttl), self.rules)
                };
                node.granted = Some(local + predecessor_bound + margin);
                node.next_renewal = Some(local + node.lock_renew());
                let session = node.session;
                if let Some(session) = session {
                    self.send(name, BOARD, Body::Renew(session, local));
                }
            }
            SessionMessage::Renewed { ttl } => {
                let Some(sent) = sent else { return };
                let valid_until = (sent + ttl).back(drift(ttl, self.rules));
                let Some(token) = node.token else { return };
                match node.granted.take() {
                    Some(predecessor_bound) => {
                        let known = node.machine.as_ref().and_then(Arbiter::epoch);
                        if known != Some(token.epoch) {
                            node.bound = predecessor_bound;
                        }
                        let wait = predecessor_bound.since(local);
                        let epoch = token.epoch;
                        let text = if wait == Span::ZERO {
                            format!("has the lock, epoch {epoch}")
                        } else {
                            format!("has the lock, epoch {epoch}; an earlier one may be believed for {wait}")
                        };
                        self.say(name, &text);
                        self.arbiter_step(
                            name,
                            Input::LockAcquired { epoch, valid_until, predecessor_bound },
                        );
                        self.attach_all();
                    }
                    None => self.arbiter_step(name, Input::LockRenewed { valid_until }),
                }
            }
            SessionMessage::Lost { current } => {
                node.token = None;
                node.next_renewal = None;
                self.say(name, format_args!("lost the lock to epoch {current}"));
                self.arbiter_step(name, Input::LockLost);
                self.connect_board(name);
            }
            SessionMessage::Resigned => {}
            SessionMessage::Refused(refusal) => self.say(name, format_args!("may not campaign: {refusal}")),
        }
    }

    pub(super) fn arbiter_hears_answer(&mut self, name: &str, id: RequestId, reply: Reply) {
        let Some(node) = self.arbiters.get_mut(name) else { return };
        let Some(purpose) = node.asked.remove(&id) else { return };
        match (purpose, reply) {
            (Purpose::Load, Reply::Snapshot(snapshot)) => {
                let records = snapshot.records.into_values().collect();
                let members = snapshot.members.into_values().collect();
                let settings = Box::new(snapshot.settings);
                let tasks = self.tasks_to_take_up(name, snapshot.tasks);
                let unix_millis = self.unix_millis();
                self.arbiter_step(name, Input::Loaded { records, members, settings, tasks, unix_millis });
                self.attach_all();
            }
            (Purpose::Write(op), Reply::Appointed(outcome)) => {
                let outcome = match outcome {
                    AppointOutcome::Applied(_) => WriteOutcome::Applied,
                    AppointOutcome::Conflict(sets) => {
                        WriteOutcome::Conflict(sets.into_values().next().flatten().map(Box::new))
                    }
                    AppointOutcome::StaleEpoch(_) => WriteOutcome::StaleEpoch,
                    AppointOutcome::Refused(_) => WriteOutcome::NotApplied,
                };
                self.arbiter_step(name, Input::Written { op, outcome });
            }
            (Purpose::Task(task, after), Reply::Task(outcome)) => {
                self.task_kept(name, task, after, &outcome);
            }
            (Purpose::Member(member), Reply::Written(baton_board::WriteOutcome::Applied(_))) => {
                self.arbiter_step(name, Input::Listed(member));
            }
            (Purpose::Load | Purpose::Write(_) | Purpose::Member(_), _) => {}
            (Purpose::Task(..) | Purpose::Forgotten, _) => {}
        }
    }

    pub(super) fn request_timed_out(&mut self, name: &str, id: RequestId) {
        let Some(node) = self.arbiters.get_mut(name) else { return };
        match node.asked.remove(&id) {
            Some(Purpose::Write(op)) => {
                self.say(name, "does not know whether its write was applied");
                self.arbiter_step(name, Input::Written { op, outcome: WriteOutcome::Unknown });
            }
            Some(Purpose::Load) => self.ask_board(name, Purpose::Load, Request::Read),
            Some(Purpose::Task(task, after)) => self.keep_task(name, task, after),
            Some(Purpose::Member(_) | Purpose::Forgotten) | None => {}
        }
    }

    pub(super) fn ask_board(&mut self, name: &str, purpose: Purpose, request: Request) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let Some(node) = self.arbiters.get_mut(name) else { return };
        node.asked.insert(id, purpose);
        let run = node.run;
        self.send(name, BOARD, Body::ToBoard(Box::new(BoardInput::Request { id, request })));
        let within = self.timing.request_timeout.0;
        self.after(within, Due::RequestTimeout { arbiter: name.to_owned(), run, id });
    }

    pub(super) fn arbiter_step(&mut self, name: &str, input: Input) {
        let now = self.now;
        let accused = self.accused(name);
        let Some(node) = self.arbiters.get_mut(name) else { return };
        let local = node.clock.read(now);
        let token = node.token;
        let Some(machine) = &mut node.machine else { return };
        machine.step(local, input);
        let mut actions = Vec::new();
        while let Some(action) = machine.pop_action() {
            actions.push(action);
        }
        for action in actions {
            match &action {
                Action::Send { instance, message: ToGuard::Grant(grant), .. } => {
                    self.watch_grant(accused.as_ref(), instance, grant);
                }
                Action::Send { message: ToGuard::Directive(directive), .. } => {
                    self.watch_sever(name, directive);
                }
                _ => {}
            }
            self.arbiter_acts(name, token, action);
        }
    }

    /// Who decides now, by its own knowledge.
    #[must_use]
    pub fn active_arbiter(&self) -> Option<String> {
        let active = self.arbiters.values().filter(|node| !node.frozen && node.is_active(self.now));
        active.max_by_key(|node| node.machine.as_ref().and_then(Arbiter::epoch)).map(|node| node.name.clone())
    }

    pub(super) fn next_stream(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }
}
