//! The shell of one guard: one task that owns the machine, feeds it what its workers hear and carries its actions out.
//! It decides nothing. The workers (deadman, engine, disk, provider) are tasks of their own, so that none of them can
//! delay a step.
//!
//! No `.await` stands between reading the clock and the step, and every queue is bounded.

mod deadman;
mod disk;
mod engine;
mod fences;
mod hand_over;
mod last_words;
mod leave;
mod manager;
mod peers;
mod prepare;
mod provider;
mod write_path;

use crate::clock;
use crate::config::InstanceConfig;
use crate::link::peers::Peers;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::notes::{self, Notes};
use crate::report;
use crate::view::{LocalRole, LocalView};
use baton_core::engine::EngineCommand;
use baton_core::guard::{Action, Config as GuardConfig, Guard, Input, Note};
use baton_core::ids::{ClusterName, CoordinatorName, Incarnation, InstanceName};
use baton_core::message::{Beat, Hello, ToGuard};
use baton_core::time::Span;
use baton_core::timing::Timing;
use baton_engine::EngineKind;
use baton_engine::files::{FileError, InstanceDir};
use baton_provider::StateProvider;
pub use leave::Gate;
pub use peers::Question;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Most events that wait for a guard.
const EVENTS_MAX: usize = 256;

/// What a guard's shell is made from.
pub struct Parts {
    /// The instance as configured.
    pub instance: InstanceConfig,
    /// The daemon's name.
    pub coordinator: CoordinatorName,
    /// What must survive a restart.
    pub state_dir: PathBuf,
    /// The settings that hold.
    pub live: watch::Receiver<Arc<Live>>,
    /// Where the other members are asked.
    pub peers: Arc<Peers>,
    /// The provider, for the read at the start.
    pub provider: Arc<dyn StateProvider>,
    /// The engine's adapter.
    pub kind: Arc<dyn EngineKind>,
    /// This program, which also is the deadman.
    pub program: PathBuf,
    /// Where beats go.
    pub beats: mpsc::Sender<Beat>,
    /// What the health endpoints show.
    pub view: watch::Sender<LocalView>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What people should know.
    pub notes: Notes,
    /// A stop gives the right up; otherwise it is left to the next process.
    pub for_good: CancellationToken,
    /// By which the guards of this host hand over together.
    pub gate: Arc<Gate>,
    /// The cluster's name.
    pub cluster: ClusterName,
}

/// What the link to the arbiter tells a guard.
#[derive(Debug)]
pub enum FromLink {
    /// There is a stream.
    Attached,
    /// There is none.
    Detached,
    /// The arbiter spoke.
    Message(ToGuard),
    /// Another guard asks for a promise.
    Asked(Question),
}

/// Everything that can wake a guard's shell.
#[derive(Debug)]
enum Event {
    Machine(Input),
    /// From the engine's worker, about one run as the deadman numbers it.
    OfRun(u64, Input),
    /// From the deadman's worker.
    RunStarted(u64),
    RunEnded(u64),
}

/// A guard's end of the link, and what the host says of it when it attaches.
pub struct Handle {
    /// Where the link tells it.
    pub inbox: mpsc::Sender<FromLink>,
    /// For the host's hello.
    pub hello: Hello,
    /// Ends when the shell has ended.
    pub task: tokio::task::JoinHandle<()>,
}

struct Shell {
    name: InstanceName,
    guard: Guard,
    parts: Parts,
    events: mpsc::Sender<Event>,
    deadman: mpsc::Sender<deadman::Ask>,
    engine: mpsc::Sender<engine::Ask>,
    disk: mpsc::Sender<disk::Ask>,
    /// Which run of the engine is held; what is heard of any other is nothing.
    run: watch::Sender<Option<u64>>,
    writable: watch::Sender<bool>,
    desk: peers::PeerDesk,
    fences: fences::Fences,
    /// How many hand-overs were taken in this home.
    taken: u64,
}

/// Starts the guard of one instance.
///
/// # Errors
/// [`FileError`]: its directory is locked by another daemon, or its state file cannot be used.
pub fn start(parts: Parts, stop: CancellationToken) -> Result<Handle, FileError> {
    let name = parts.instance.name.clone();
    let dir = InstanceDir::lock(&parts.state_dir, name.as_str())?;
    let supervised = !parts.instance.engine.command.is_empty();
    let owner = hand_over::Owner {
        cluster: parts.cluster.clone(),
        instance: name.clone(),
        replicaset: parts.instance.replicaset.clone(),
        supervised,
    };
    let mut start = disk::begin(&dir, &owner)?;
    let live = Arc::clone(&parts.live.borrow());
    let config = GuardConfig {
        instance: name.clone(),
        replicaset: parts.instance.replicaset.clone(),
        incarnation: start.incarnation,
        supervised,
        failsafe: live.settings.failsafe,
        timing: live.timing.clone(),
        rules: crate::kept::rules(),
    };
    let hello = hello(&parts, start.incarnation);
    let left = start.left.take();
    let behind = left.as_ref().map(|left| left.behind);
    let mut guard = match left {
        Some(left) => {
            tracing::info!(instance = %name, "goes on from the hand-over of the process before");
            Guard::resume(clock::now(), config, left.handed)
        }
        None => Guard::new(clock::now(), config, start.saved.clone(), start.same_boot),
    };
    guard.beat_at(beat_phase(&parts.coordinator, &live.timing));
    let (events, queue) = mpsc::channel(EVENTS_MAX);
    let (inbox, link) = mpsc::channel(EVENTS_MAX);
    let (run, runs) = watch::channel(None);
    let (writable, writables) = watch::channel(false);
    // Not a child of `stop`: the workers are what carries out the fence with which a stopping guard ends.
    let workers = CancellationToken::new();
    let held = deadman::spawn(&parts, dir.path(), behind, events.clone(), workers.clone());
    let engine = engine::spawn(&parts, held.clone(), runs, writables, events.clone(), workers.clone());
    manager::spawn(&parts, workers.clone());
    let taken = start.taken();
    let disk = disk::spawn(dir, owner, start, events.clone());
    let desk = peers::PeerDesk::new(hello.clone(), Arc::clone(&parts.peers), events.clone());
    let shell = Shell {
        name,
        guard,
        parts,
        events,
        deadman: held.asks,
        engine,
        disk,
        run,
        writable,
        desk,
        fences: fences::Fences::default(),
        taken,
    };
    let task = tokio::spawn(shell.run(queue, link, stop, workers));
    Ok(Handle { inbox, hello, task })
}

/// When the guards of a host beat, within their period: together, so that one message carries what they say, and each host
/// at a moment of its own, so that an arbiter does not hear thousands of them at once.
#[must_use]
pub fn beat_phase(host: &CoordinatorName, timing: &Timing) -> Span {
    // Spread by the name: any function would do that tells neighbours apart.
    let spread = host.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    });
    Span(spread % timing.beat_replica.0.max(1))
}

fn hello(parts: &Parts, incarnation: Incarnation) -> Hello {
    let instance = &parts.instance;
    Hello {
        instance: instance.name.clone(),
        replicaset: instance.replicaset.clone(),
        incarnation,
        coordinator: parts.coordinator.clone(),
        endpoint: instance.engine.endpoint.clone(),
        zone: instance.zone.clone(),
        priority: instance.priority,
        electable: instance.electable,
        bootstrap_members: instance.bootstrap_members,
        supervised: !instance.engine.command.is_empty(),
    }
}

impl Shell {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Event>,
        mut link: mpsc::Receiver<FromLink>,
        stop: CancellationToken,
        workers: CancellationToken,
    ) {
        let _workers_end = workers.drop_guard();
        let mut leave = leave::Leave::new(&self.parts.gate);
        let mut preparation = prepare::Preparation::new(&self.parts.kind, &self.name);
        let mut live = self.parts.live.clone();
        // What was learned since the start is no news only to the machine.
        live.mark_changed();
        self.act();
        loop {
            if leave.is_time(&self.guard) && self.hand_over().await {
                return;
            }
            let deadline = self.guard.next_deadline();
            let alarm = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock::instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            let ended = self.fences.due().and_then(|run| self.engine_ended(run));
            let input = tokio::select! {
                biased;
                input = std::future::ready(ended), if ended.is_some() => input,
                () = stop.cancelled(), if !leave.is_asked() && !preparation.is_leaving() => {
                    self.asked_to_end(&mut leave, &mut preparation)
                }
                then = preparation.finished() => match then {
                    prepare::Then::Hear(message) => Some(Input::FromArbiter(*message)),
                    prepare::Then::Leave => leave.asked(true, &self.parts.live.borrow().timing),
                },
                too_late = leave.waits() => {
                    if too_late { leave.give_up(&self.name, &self.guard) } else { None }
                }
                event = queue.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                message = link.recv() => match message {
                    Some(FromLink::Asked(question)) => self.desk.asked(question),
                    Some(FromLink::Attached) => Some(Input::Attached),
                    Some(FromLink::Detached) => Some(Input::Detached),
                    Some(FromLink::Message(message)) => preparation.heard(message, self.guard.may_write()),
                    None => break,
                },
                Ok(()) = live.changed() => {
                    let Live { timing, settings, .. } = &**live.borrow_and_update();
                    Some(Input::Settings { timing: Box::new(timing.clone()), failsafe: settings.failsafe })
                }
                () = alarm => Some(Input::Tick),
            };
            let Some(input) = input else { continue };
            self.guard.step(clock::now(), input);
            // Before the fence leaves: the check of the write path would take the engine's refusal for a fault.
            self.publish();
            self.act();
            if leave.is_stopping() && !self.guard.may_write() {
                break;
            }
        }
        self.settle_deadman().await;
    }

    /// The daemon ends; where that gives a right up, what makes the fence short comes first.
    fn asked_to_end(
        &self,
        leave: &mut leave::Leave,
        preparation: &mut prepare::Preparation,
    ) -> Option<Input> {
        let for_good = self.parts.for_good.is_cancelled();
        if for_good && preparation.holds_leaving(self.guard.may_write()) {
            return None;
        }
        leave.asked(for_good, &self.parts.live.borrow().timing)
    }

    /// Waits until the deadman has heard everything, the disarming at last: it would kill an engine that is fenced.
    async fn settle_deadman(&self) {
        let (done, heard) = oneshot::channel();
        self.ask_deadman(deadman::Ask::Tell(done));
        // Where it does not answer, its deadline does what it is there for.
        let patience = self.parts.live.borrow().timing.kill_budget.as_duration();
        let _ = tokio::time::timeout(patience, heard).await;
    }

    /// What an event means to the machine; `None` where it is about a run of the engine that is not there any more.
    fn take(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Machine(input) => {
                self.note_answer(&input);
                Some(input)
            }
            Event::OfRun(run, input) => {
                self.note_answer(&input);
                (*self.run.borrow() == Some(run)).then_some(input)
            }
            Event::RunStarted(run) => {
                self.run.send_replace(Some(run));
                self.parts.metrics.engine_started(&self.name);
                None
            }
            Event::RunEnded(run) => self.fences.ended(run).and_then(|run| self.engine_ended(run)),
        }
    }

    fn note_answer(&mut self, input: &Input) {
        if let Input::EngineDone { op, .. } = input {
            self.fences.answered(*op);
        }
    }

    fn engine_ended(&mut self, run: u64) -> Option<Input> {
        let known = *self.run.borrow();
        (known.is_none() || known == Some(run)).then(|| {
            self.run.send_replace(None);
            Input::EngineEnded
        })
    }

    fn act(&mut self) {
        while let Some(action) = self.guard.pop_action() {
            self.execute(action);
        }
    }

    /// One action. A full queue means a worker that hangs: for the engine and the deadman the machine hears of it as of
    /// any other request that was lost.
    fn execute(&mut self, action: Action) {
        match action {
            Action::ReadProvider => {
                let (provider, events) = (Arc::clone(&self.parts.provider), self.events.clone());
                tokio::spawn(provider::read(provider, self.parts.instance.replicaset.clone(), events));
            }
            Action::Persist { op, saved } => {
                if self.disk.try_send(disk::Ask::Persist { op, saved }).is_err() {
                    tracing::error!(instance = %self.name, "the state file is not written: the disk hangs");
                }
            }
            Action::Beat(beat) => {
                self.parts.metrics.beat_sent(&self.name);
                // A full queue is a link that hangs; the next beat says everything again.
                let _ = self.parts.beats.try_send(*beat);
            }
            Action::Engine { op, command, within } => {
                let is_fence = matches!(command, EngineCommand::Fence);
                if is_fence {
                    self.parts.metrics.fenced(&self.name, "asked");
                }
                let ask = engine::Ask { op, command, within: within.as_duration() };
                if self.engine.try_send(ask).is_err() {
                    tracing::error!(instance = %self.name, "too many commands wait for the engine");
                } else if is_fence {
                    self.fences.asked(op);
                }
            }
            Action::Arm { op, deadline } => {
                self.parts.metrics.deadman_armed(&self.name);
                self.ask_deadman(deadman::Ask::Arm { op, deadline });
            }
            Action::Disarm => self.ask_deadman(deadman::Ask::Disarm),
            Action::KillEngine => {
                self.parts.metrics.deadman_killed(&self.name);
                self.ask_deadman(deadman::Ask::Kill);
            }
            Action::StartEngine => self.ask_deadman(deadman::Ask::Start),
            Action::StandDown => {
                tracing::error!(instance = %self.name, "another guard has this name: standing down");
                self.ask_deadman(deadman::Ask::Kill);
            }
            Action::Ask { to, ask } => self.desk.ask(to, ask),
            Action::Answer { to, answer } => self.desk.answer(&to, *answer),
            Action::Relay { of, beat } => self.desk.relay(of, beat),
            Action::Note(note) => {
                if matches!(note, Note::Intruder) {
                    let text = format!(
                        "{}: its engine was found writable without a right, and was fenced",
                        self.name
                    );
                    let until = Some(tokio::time::Instant::now() + notes::FOR_ONCE);
                    self.parts.notes.put(notes::WRITABLE_BY_HAND, self.name.as_str(), text, until);
                }
                report::note(&self.name, &self.parts.instance.replicaset, &note);
            }
        }
    }

    fn ask_deadman(&self, ask: deadman::Ask) {
        if self.deadman.try_send(ask).is_err() {
            tracing::error!(instance = %self.name, "the deadman's queue is full");
        }
    }

    fn publish(&self) {
        let writable = self.guard.writable_at().is_some();
        self.writable.send_if_modified(|known| std::mem::replace(known, writable) != writable);
        let view = self.view();
        self.parts.view.send_if_modified(|known| {
            let changed = *known != view;
            *known = view;
            changed
        });
    }

    fn view(&self) -> LocalView {
        let right = self.guard.right_until();
        let probe = self.guard.last_probe();
        let role = match (self.guard.floor(), right, self.guard.follows()) {
            (None, _, _) => LocalRole::Starting,
            (Some(_), Some(_), _) if self.guard.writable_at().is_some() => LocalRole::Master,
            (Some(_), Some(_), _) => LocalRole::Candidate,
            (Some(_), None, Some(_)) => LocalRole::Replica,
            (Some(_), None, None) => LocalRole::Fenced,
        };
        LocalView {
            replicaset: self.parts.instance.replicaset.clone(),
            role,
            term: right.map_or(self.guard.highest_term(), |(term, _)| term),
            writable: self.guard.writable_at().is_some(),
            on_promises: self.guard.rests_on_promises(),
            // What clients may count on ends before the right does: the fence has to fit.
            right_until: self.guard.usable_until(),
            health: self.guard.health(),
            position: probe.map(|probe| probe.position).unwrap_or_default(),
            lag_bytes: None,
        }
    }
}
