//! One member: the real guard, with a disk, a deadman and an engine that answer after a given time, or at once.
//!
//! It must not know what the guard decides.

use crate::engine::Engines;
use crate::reads;
use baton_coordinator::clock;
use baton_coordinator::guard_shell::FromLink;
use baton_core::engine::{EngineCommand, EngineOutcome, Probe};
use baton_core::guard::{Action, Guard, Input};
use baton_core::ids::{Endpoint, OpId, ReplicaSetName};
use baton_core::message::Beat;
use baton_core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long what is acted takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// An engine to carry out a command and answer it.
    pub engine: Duration,
    /// A disk to make a guard's state durable.
    pub disk: Duration,
}

/// What the members of a process came to, counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) beats: AtomicU64,
    pub(crate) promotions: AtomicU64,
    pub(crate) two_writable: AtomicU64,
    pub(crate) promises_asked: AtomicU64,
    pub(crate) killed: AtomicU64,
}

/// What a test does to a member.
#[derive(Debug)]
pub(crate) enum Order {
    /// Its engine ends.
    EndEngine,
}

/// Something that comes in later.
#[derive(Debug)]
enum Due {
    Input(Box<Input>),
    /// The engine hears it, and answers.
    Command(OpId, EngineCommand),
    /// There is a connection to the engine.
    Connected(Probe),
}

pub(crate) struct Member {
    pub(crate) guard: Guard,
    pub(crate) replicaset: ReplicaSetName,
    pub(crate) endpoint: Endpoint,
    pub(crate) engines: Arc<Engines>,
    pub(crate) beats: mpsc::Sender<Beat>,
    pub(crate) reads: mpsc::Sender<reads::Ask>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) pace: Pace,
    armed: bool,
    /// By when, then by the order in which they were put here.
    due: BTreeMap<(Time, u64), Due>,
    last_due: u64,
    /// The deadman's one deadline.
    deadline: Option<Time>,
    reading: Option<oneshot::Receiver<reads::ReadOfSet>>,
}

/// What a member is made from.
pub(crate) struct Parts {
    pub(crate) guard: Guard,
    pub(crate) replicaset: ReplicaSetName,
    pub(crate) endpoint: Endpoint,
    pub(crate) engines: Arc<Engines>,
    pub(crate) beats: mpsc::Sender<Beat>,
    pub(crate) reads: mpsc::Sender<reads::Ask>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) pace: Pace,
    /// Whether the deadman does what it is told.
    pub(crate) armed: bool,
}

/// What wakes a member from outside.
pub(crate) struct Inboxes {
    pub(crate) link: mpsc::Receiver<FromLink>,
    pub(crate) orders: mpsc::Receiver<Order>,
    /// Whether its host stands still.
    pub(crate) frozen: watch::Receiver<bool>,
}

impl Member {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { guard, replicaset, endpoint, engines, beats, reads, counts, pace, armed } = parts;
        Self {
            guard,
            replicaset,
            endpoint,
            engines,
            beats,
            reads,
            counts,
            pace,
            armed,
            due: BTreeMap::new(),
            last_due: 0,
            deadline: None,
            reading: None,
        }
    }

    /// Runs until the link, or whoever gives the orders, has ended.
    pub(crate) async fn run(mut self, mut inboxes: Inboxes) {
        self.drain();
        self.step(Input::DeadmanUp);
        self.step(Input::EngineEnded);
        loop {
            let alarm = clock::instant_of(self.next());
            let read = async {
                match &mut self.reading {
                    Some(reading) => reading.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = inboxes.frozen.changed() => {
                    if changed.is_err() || !self.stand_still(&mut inboxes.frozen).await {
                        return;
                    }
                }
                order = inboxes.orders.recv() => match order {
                    Some(Order::EndEngine) => self.end_engine(),
                    None => return,
                },
                message = inboxes.link.recv() => match message {
                    Some(message) => self.hear(message),
                    None => return,
                },
                read = read => {
                    self.reading = None;
                    let Ok((record, epoch)) = read else { return };
                    self.step(Input::ProviderRead { record, epoch });
                }
                // tidy: waits because the guard's deadlines are in real time
                () = tokio::time::sleep_until(alarm) => {}
            }
            self.tick();
        }
    }

    /// While the host stands still nothing is done; what comes in waits. Whether it went on.
    async fn stand_still(&mut self, frozen: &mut watch::Receiver<bool>) -> bool {
        self.engines.freeze(&self.endpoint, *frozen.borrow_and_update());
        let thawed = frozen.wait_for(|frozen| !frozen).await.is_ok();
        // Before anything else runs on the host: the deadman is scheduled above the engine.
        self.deadman(clock::now());
        self.engines.freeze(&self.endpoint, false);
        thawed
    }

    fn hear(&mut self, message: FromLink) {
        match message {
            FromLink::Attached => self.step(Input::Attached),
            FromLink::Detached => self.step(Input::Detached),
            FromLink::Message(message) => self.step(Input::FromArbiter(message)),
            // Nobody reaches an acted host. Whoever asked is not answered, which is a refusal.
            FromLink::Asked(_) => {}
        }
    }

    /// When something is to be done without anything coming in.
    fn next(&self) -> Time {
        let due = self.due.keys().next().map(|(at, _)| *at);
        let far = clock::now() + baton_core::time::Span::from_secs(3_600);
        [self.guard.next_deadline(), due, self.deadline].into_iter().flatten().min().unwrap_or(far)
    }

    /// Everything whose time has come.
    fn tick(&mut self) {
        self.deadman(clock::now());
        while let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= clock::now()) {
            match first.remove() {
                Due::Input(input) => self.step(*input),
                Due::Command(op, command) => self.command(op, &command),
                Due::Connected(probe) => self.step(Input::EngineConnected(probe)),
            }
        }
        if self.guard.next_deadline().is_some_and(|at| at <= clock::now()) {
            self.step(Input::Tick);
        }
    }

    fn deadman(&mut self, now: Time) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.deadline = None;
            self.counts.killed.fetch_add(1, Ordering::Relaxed);
            self.end_engine();
        }
    }

    fn end_engine(&mut self) {
        if self.engines.end(&self.endpoint) {
            // The connection went with it.
            self.due.retain(|_, due| matches!(due, Due::Input(_)));
            self.after(Duration::ZERO, Due::Input(Box::new(Input::EngineEnded)));
        }
    }

    fn command(&mut self, op: OpId, command: &EngineCommand) {
        let Some((probe, two_writable)) = self.engines.obey(&self.endpoint, command) else { return };
        if matches!(command, EngineCommand::Promote { .. }) {
            self.counts.promotions.fetch_add(1, Ordering::Relaxed);
        }
        self.counts.two_writable.fetch_add(u64::from(two_writable), Ordering::Relaxed);
        self.step(Input::EngineDone { op, outcome: EngineOutcome::Done(probe) });
    }

    fn step(&mut self, input: Input) {
        self.guard.step(clock::now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.guard.pop_action() {
            self.execute(action);
        }
    }

    fn after(&mut self, span: Duration, due: Due) {
        self.last_due += 1;
        let at = clock::now() + baton_core::time::Span::from_duration(span);
        self.due.insert((at, self.last_due), due);
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::ReadProvider => {
                let (reply, answer) = oneshot::channel();
                // A full queue would be one of more guards than the plan has.
                if self.reads.try_send(reads::Ask { replicaset: self.replicaset.clone(), reply }).is_ok() {
                    self.reading = Some(answer);
                }
            }
            Action::Persist { op, .. } => {
                self.after(self.pace.disk, Due::Input(Box::new(Input::Persisted(op))))
            }
            Action::Beat(beat) => {
                self.counts.beats.fetch_add(1, Ordering::Relaxed);
                // As the daemon's own guards do: the next beat says everything again.
                let _ = self.beats.try_send(*beat);
            }
            Action::Engine { op, command, .. } => self.after(self.pace.engine, Due::Command(op, command)),
            Action::Arm { op, deadline } => {
                self.deadline = self.armed.then_some(deadline);
                self.after(Duration::ZERO, Due::Input(Box::new(Input::Armed(op))));
            }
            Action::Disarm => self.deadline = None,
            Action::KillEngine => self.end_engine(),
            Action::StartEngine => {
                if let Some(probe) = self.engines.start(&self.endpoint) {
                    self.after(self.pace.engine, Due::Connected(probe));
                }
            }
            Action::Ask { .. } => {
                self.counts.promises_asked.fetch_add(1, Ordering::Relaxed);
            }
            Action::Answer { .. } | Action::Relay { .. } | Action::StandDown | Action::Note(_) => {}
        }
    }
}
