//! The shell of the arbiter: one task that owns the machine. It decides nothing. The lock, the writes and the streams
//! are tasks of their own that answer with events.

mod commands;
mod fence;
mod issues;
pub mod lock;
mod moving;
mod publish;
mod reach;
mod removal;
mod settings;
mod status;
mod tasks;
mod told;
mod writes;

pub use told::Aside;

use crate::clock;
use crate::config::Config;
use crate::link::wire::peer::{RelayAnswer, Relayed};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::operator::{OperatorCommand, Reply};
use crate::report;
use crate::surroundings;
use crate::view::{ClusterView, TasksView};
use baton_client::decision::DecisionRecord;
use baton_core::arbiter::{
    Action, Arbiter, Config as ArbiterConfig, Input, RelayId, SessionId, TaskId, WriteOutcome,
};
use baton_core::ids::{Epoch, InstanceName, OpId, ReplicaSetName, Term, Version};
use baton_core::message::{Beat, Hello, ToGuard};
use baton_core::time::Time;
use baton_proto::v1;
use baton_provider::switching::MovingView;
use baton_provider::{LockToken, LockView, Snapshot, StateProvider};
use publish::Sessions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tasks::Tasks;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Most events that wait for the arbiter. A queue that is full slows the streams down, not the machine.
pub const EVENTS_MAX: usize = 4_096;

/// Most events that are taken before what they left is sent. What comes together goes together: one message a host, and
/// one map of masters for all of them, however many sets a lost host had.
const BATCH_MAX: usize = 64;

/// Everything that can wake the arbiter's shell.
#[derive(Debug)]
pub enum Event {
    /// The lock is ours.
    LockAcquired {
        /// What every write shows.
        token: LockToken,
        /// See [`Input::LockAcquired`].
        valid_until: Time,
        /// See [`Input::LockAcquired`].
        predecessor_bound: Time,
    },
    /// It was renewed.
    LockRenewed {
        /// See [`Input::LockRenewed`].
        valid_until: Time,
    },
    /// It is another's.
    LockLost,
    /// It is to be given up.
    GiveUpLock {
        /// Until when the last grant lives, once nothing is granted any more.
        reply: oneshot::Sender<Time>,
    },
    /// The read after the takeover.
    Loaded {
        /// In which epoch it was asked for.
        epoch: Epoch,
        /// What was read.
        snapshot: Box<Snapshot>,
    },
    /// A write ended.
    Written {
        /// Which.
        op: OpId,
        /// How.
        outcome: WriteOutcome,
    },
    /// A write of an operator's task ended.
    TaskKept {
        /// In which epoch it was asked for.
        epoch: Epoch,
        /// Which task.
        task: TaskId,
        /// Its version now, or why it is not kept.
        outcome: Result<Version, String>,
    },
    /// A host wants to attach.
    Attached {
        /// Its stream.
        session: SessionId,
        /// Its guards.
        guards: Vec<Hello>,
        /// Where its coordinator is reached.
        address: String,
        /// Where it is answered.
        out: mpsc::Sender<Result<v1::ToHost, Status>>,
        /// Whether it may.
        admitted: oneshot::Sender<bool>,
    },
    /// A member passes another guard's beat on.
    Relayed {
        /// Whose, by whom, and what.
        relayed: Box<Relayed>,
        /// Where it is answered; dropped where this is not the active arbiter.
        reply: oneshot::Sender<RelayAnswer>,
    },
    /// A host reports.
    Beats {
        /// Its stream.
        session: SessionId,
        /// The reports.
        beats: Vec<Beat>,
        /// What people may want to know of the host.
        aside: Aside,
    },
    /// Whether a host reaches the provider that a move leads to.
    NextProvider {
        /// Its stream.
        session: SessionId,
        /// Which move.
        move_id: u64,
        /// Why not; empty where it does.
        problem: String,
    },
    /// The fence command has ended.
    Fenced {
        /// Of which set.
        replicaset: ReplicaSetName,
        /// At which term.
        term: Term,
        /// Whether the holder is surely off.
        confirmed: bool,
    },
    /// A member is surely in the provider's list.
    Listed(Box<baton_core::record::Member>),
    /// A member was removed from the provider's list.
    MemberRemoved {
        /// Its set.
        replicaset: ReplicaSetName,
        /// Who.
        instance: InstanceName,
    },
    /// A host's stream ended.
    Detached {
        /// Its stream.
        session: SessionId,
    },
}

/// What the shell is made from.
pub struct Parts {
    /// The daemon's configuration.
    pub config: Arc<Config>,
    /// Where others reach this coordinator.
    pub address: String,
    /// The settings that hold.
    pub live: watch::Receiver<Arc<Live>>,
    /// The provider.
    pub provider: Arc<dyn StateProvider>,
    /// What people see.
    pub cluster: watch::Sender<Arc<ClusterView>>,
    /// What operators asked for.
    pub tasks: watch::Sender<Arc<TasksView>>,
    /// Who holds the lock.
    pub lock: watch::Receiver<Option<LockView>>,
    /// Where the state moves.
    pub moving: watch::Receiver<MovingView>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// From when on the lock may be campaigned for, where another's bid has its chance first.
    pub campaign_from: watch::Receiver<Option<Time>>,
}

struct Shell {
    parts: Parts,
    arbiter: Arbiter,
    token: Option<LockToken>,
    known: settings::Known,
    sessions: Sessions,
    hosts: moving::Hosts,
    told: told::Told,
    events: mpsc::Sender<Event>,
    tasks: Tasks,
    /// The relayed beat that is being answered.
    relaying: Option<oneshot::Sender<RelayAnswer>>,
    publish: BTreeSet<ReplicaSetName>,
    /// The last decision of each set as it was told, with its own time.
    decisions: BTreeMap<ReplicaSetName, DecisionRecord>,
    status: status::Pace,
    /// Who waits for the removal of a set.
    removals: BTreeMap<ReplicaSetName, Reply<()>>,
    /// The epoch whose lock is to be given up.
    give_up: watch::Sender<Option<Epoch>>,
}

/// Starts the shell; it ends when `stop` is cancelled, after it has given the lock up.
///
/// # Errors
/// The settings are not safe together.
pub fn start(
    parts: Parts,
    queue: mpsc::Receiver<Event>,
    events: mpsc::Sender<Event>,
    commands: mpsc::Receiver<OperatorCommand>,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, baton_core::timing::BadTiming> {
    let config = ArbiterConfig {
        coordinator: parts.config.name.clone(),
        seed: surroundings::chance(),
        rules: crate::kept::rules(),
    };
    let live = Arc::clone(&parts.live.borrow());
    let arbiter = Arbiter::new(config, live.settings.clone())?;
    let lock_stop = CancellationToken::new();
    let (give_up, to_give_up) = watch::channel(None);
    let resign = lock::spawn(&parts, events.clone(), to_give_up, lock_stop.clone());
    let tasks = Tasks::new(parts.tasks.clone());
    let shell = Shell {
        parts,
        arbiter,
        token: None,
        known: settings::Known::new(&live),
        sessions: Sessions::default(),
        hosts: moving::Hosts::default(),
        told: told::Told::default(),
        events,
        tasks,
        relaying: None,
        publish: BTreeSet::new(),
        decisions: BTreeMap::new(),
        status: status::Pace::default(),
        removals: BTreeMap::new(),
        give_up,
    };
    Ok(tokio::spawn(async move {
        let last_grant = shell.run(queue, commands, stop).await;
        lock_stop.cancel();
        // The lock's task gives it up, with what is left of the last grant, and ends.
        let _ = resign.send(last_grant);
        resign.closed().await;
    }))
}

impl Shell {
    /// Runs until stopped; until when the last grant lives.
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Event>,
        mut commands: mpsc::Receiver<OperatorCommand>,
        stop: CancellationToken,
    ) -> Time {
        let (mut lock, mut moving) = (self.parts.lock.clone(), self.parts.moving.clone());
        let mut live = self.parts.live.clone();
        live.mark_changed();
        self.status.touch();
        loop {
            let deadline = self.arbiter.next_deadline();
            let alarm = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock::instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            let due = self.tasks.due_in();
            let planned = async {
                match due {
                    Some(span) => tokio::time::sleep(span).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.arbiter.last_grant_until(),
                // Rare, and before everything that is decided by them.
                Ok(()) = live.changed() => self.learn(),
                event = queue.recv() => {
                    let Some(event) = event else { return self.arbiter.last_grant_until() };
                    self.take(event);
                    for event in std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH_MAX - 1) {
                        self.take(event);
                    }
                }
                Some(command) = commands.recv() => self.command(command),
                () = alarm => self.step(Input::Tick),
                () = planned => self.start_due(),
                // Whoever is not the arbiter still has to say who is.
                Ok(()) = lock.changed() => self.lock_changed(&lock.borrow_and_update().clone()),
                Ok(()) = moving.changed() => self.status.touch(),
                () = self.status.due() => {}
                () = tokio::time::sleep_until(self.sessions.publish_from()), if !self.publish.is_empty() => {}
            }
            self.flush();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::LockAcquired { token, valid_until, predecessor_bound } => {
                let epoch = token.epoch;
                tracing::info!(%epoch, "this coordinator is the active arbiter");
                self.token = Some(token);
                self.step(Input::LockAcquired { epoch, valid_until, predecessor_bound });
            }
            Event::LockRenewed { valid_until } => self.step(Input::LockRenewed { valid_until }),
            Event::LockLost => self.lock_lost(),
            Event::GiveUpLock { reply } => {
                self.lock_lost();
                // Nothing is granted after this: the machine has no lock any more.
                let _ = reply.send(self.arbiter.last_grant_until());
            }
            Event::Loaded { epoch, snapshot } => self.loaded(epoch, *snapshot),
            Event::Fenced { replicaset, term, confirmed } => {
                self.step(Input::Fenced { replicaset, term, confirmed });
            }
            Event::Written { op, outcome } => self.step(Input::Written { op, outcome }),
            Event::TaskKept { epoch, task, outcome } => {
                self.task_kept(epoch, task, outcome);
                // The status of a set tells of its last drill.
                self.status.touch();
            }
            Event::Attached { session, guards, address, out, admitted } => {
                let active = self.token.is_some();
                if admitted.send(active).is_ok() && active {
                    self.sessions.add(session, out);
                    self.hosts.add(session, &guards);
                    self.told.add(session, &guards);
                    self.sessions.introduce(session, &guards, &address);
                    self.step(Input::Attached { session, guards });
                }
            }
            Event::Beats { session, beats, aside } => {
                self.told.said(session, aside);
                for beat in beats {
                    self.step(Input::Beat { session, beat: Box::new(beat) });
                }
            }
            Event::Relayed { relayed, reply } => {
                let Relayed { by, hello, beat } = *relayed;
                self.relaying = Some(reply);
                let (hello, beat) = (Box::new(hello), Box::new(beat));
                self.step(Input::Relayed { relay: RelayId(0), by, hello, beat });
                // Not answered: not ours to answer, and the caller is told so.
                self.relaying = None;
            }
            Event::NextProvider { session, move_id, problem } => {
                self.hosts.said(session, move_id, problem);
                self.status.touch();
            }
            Event::Listed(member) => self.step(Input::Listed(member)),
            Event::MemberRemoved { replicaset, instance } => {
                self.step(Input::MemberRemoved { replicaset, instance });
            }
            Event::Detached { session } => {
                self.sessions.remove(session);
                self.hosts.remove(session);
                self.told.remove(session);
                self.step(Input::Detached { session });
            }
        }
    }

    fn loaded(&mut self, epoch: Epoch, snapshot: Snapshot) {
        if self.arbiter.epoch() != Some(epoch) {
            return;
        }
        self.has_read(snapshot.lock.epoch.generation, &snapshot.settings);
        let tasks = self.read_tasks(snapshot.tasks, epoch);
        self.publish.extend(snapshot.records.keys().cloned());
        self.step(Input::Loaded {
            records: snapshot.records.into_values().collect(),
            members: snapshot.members.into_values().collect(),
            settings: Box::new(snapshot.settings),
            tasks,
            unix_millis: writes::unix_millis(),
        });
        self.settle_tasks();
        self.learn();
    }

    fn lock_lost(&mut self) {
        tracing::warn!("this coordinator is no longer the arbiter");
        self.token = None;
        self.decisions.clear();
        // Whoever waits is told that the outcome is not known.
        self.removals.clear();
        self.sessions.clear();
        self.hosts.clear();
        self.told.clear();
        self.step(Input::LockLost);
        self.drop_tasks();
    }

    fn step(&mut self, input: Input) {
        self.arbiter.step(clock::now(), input);
        // A beat that is answered by a grant alone shows people nothing new but its own age.
        let mut news = false;
        while let Some(action) = self.arbiter.pop_action() {
            news |= !matches!(action, Action::Send { message: ToGuard::Grant(_), .. });
            self.execute(action);
        }
        self.observe_tasks();
        if news {
            self.status.touch();
        } else {
            self.status.age();
        }
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::Load => {
                let Some(token) = self.token else { return };
                tokio::spawn(writes::load(
                    Arc::clone(&self.parts.provider),
                    token.epoch,
                    self.events.clone(),
                ));
            }
            Action::Write { op, expected, record, decision } => {
                let Some(token) = self.token else { return };
                let decision =
                    decision.map(|decision| report::decision_record(&decision, &self.parts.config.name));
                let write = writes::Write { op, token, expected, record: *record, decision };
                let timeout = self.arbiter.timing().request_timeout.as_duration();
                let metrics = Arc::clone(&self.parts.metrics);
                let provider = Arc::clone(&self.parts.provider);
                tokio::spawn(writes::write(provider, write, timeout, metrics, self.events.clone()));
            }
            Action::PutMember(member) => {
                let Some(token) = self.token else { return };
                let provider = Arc::clone(&self.parts.provider);
                let timeout = self.arbiter.timing().request_timeout.as_duration();
                tokio::spawn(writes::put_member(provider, token, member, timeout, self.events.clone()));
            }
            Action::Send { session, instance, message } => self.send(session, &instance, &message),
            Action::AnswerRelay { epoch, well, grant, .. } => {
                if let Some(reply) = self.relaying.take() {
                    let _ = reply.send(RelayAnswer { epoch, well, grant });
                }
            }
            Action::Decided(decision) => {
                report::decided(&decision, &self.parts.metrics);
                let record = report::decision_record(&decision, &self.parts.config.name);
                self.decisions.insert(decision.replicaset.clone(), record);
            }
            Action::RemovalAnswered { replicaset, answer } => self.removal_answered(&replicaset, answer),
            Action::Bid { expected, hears } => self.bid(expected, hears),
            Action::GiveUp { to, hears, heard, listed } => self.give_up(&to, hears, heard, listed),
            Action::Publish(set) => {
                self.publish.insert(set);
            }
            Action::Task { task, state } => self.task_moved(task, state),
            Action::Drilled { task, outage } => self.task_drilled(task, outage),
            Action::AbortAnswered { task, answer } => self.abort_answered(task, answer),
            Action::Fence { replicaset, term, instance } => self.fence(replicaset, term, instance),
            Action::TurnedAway { instance } => {
                tracing::warn!(%instance, "it was expelled, and its coordinator still runs: it was told to stand down");
                self.told.turned_away(instance, tokio::time::Instant::now());
            }
            Action::NameUsedTwice { instance } => {
                tracing::error!(%instance, "two guards use this name: the newcomer was told to stand down");
                self.told.used_twice(instance, tokio::time::Instant::now());
            }
        }
    }

    fn fence(&mut self, replicaset: ReplicaSetName, term: Term, instance: InstanceName) {
        let Some(command) = self.known.settings.fence_command.clone() else { return };
        let view = self.arbiter.set_view(clock::now(), &replicaset);
        let member = view.into_iter().flat_map(|view| view.members).find(|it| it.listed.instance == instance);
        let Some(member) = member.map(|member| member.listed) else { return };
        tokio::spawn(fence::run(command, member, term, self.events.clone()));
    }

    fn send(&mut self, session: SessionId, instance: &InstanceName, message: &ToGuard) {
        self.sessions.push(session, instance, message);
    }

    /// Sends what the steps left: messages, the map of masters, the status.
    fn flush(&mut self) {
        for session in self.sessions.flush() {
            self.hosts.remove(session);
            self.told.remove(session);
            // It comes back, with everything; its beats in the queue are nobody's.
            self.arbiter.step(clock::now(), Input::Detached { session });
        }
        if !self.publish.is_empty() && tokio::time::Instant::now() >= self.sessions.publish_from() {
            let changed = std::mem::take(&mut self.publish);
            self.sessions.publish(&self.arbiter, &changed);
        }
        if self.status.take_due() {
            let told = self.told.issues(tokio::time::Instant::now());
            let mut view =
                status::cluster_view(&self.arbiter, &self.parts, &self.known.settings, &self.decisions, told);
            let drills = self.last_drills();
            for set in &mut view.status.replicasets {
                set.last_drill = drills.get(set.replicaset.as_str()).cloned();
            }
            let moving = self.parts.moving.borrow().clone();
            view.status.moving = self.hosts.status(&moving);
            self.parts.metrics.hosts_attached(self.sessions.len());
            self.parts.cluster.send_replace(Arc::new(view));
            self.status.published();
        }
    }
}
