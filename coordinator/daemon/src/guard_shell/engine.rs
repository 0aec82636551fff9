//! The guard's connection to its engine: made to the very engine that the deadman holds, commands in order, each sent
//! once. The check of the write path goes on beside it, over a connection of its own (`write_path.rs`).

use super::deadman::Held;
use super::{Event, Parts, write_path};
use crate::notes::{self, Notes};
use baton_core::engine::{EngineCommand, EngineOutcome, Probe};
use baton_core::guard::Input;
use baton_core::ids::OpId;
use baton_engine::disk::DiskProbe;
use baton_engine::{ConnectError, EngineConnection, EngineKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two attempts, while the engine starts.
const AGAIN: Duration = Duration::from_millis(10);
/// After so long without a connection it is said why.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// Most commands that wait.
const ASKS_MAX: usize = 16;

/// One command.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) op: OpId,
    pub(super) command: EngineCommand,
    pub(super) within: Duration,
}

struct Worker {
    instance: String,
    supervised: bool,
    kind: Arc<dyn EngineKind>,
    held: Held,
    runs: watch::Receiver<Option<u64>>,
    events: mpsc::Sender<Event>,
    notes: Notes,
    /// The order that was refused last, and why; `None`: another one was carried out since.
    refused: Option<(&'static str, String)>,
}

pub(super) fn spawn(
    parts: &Parts,
    held: Held,
    runs: watch::Receiver<Option<u64>>,
    writables: watch::Receiver<bool>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> mpsc::Sender<Ask> {
    let (asks, queue) = mpsc::channel(ASKS_MAX);
    let data_dir = parts.instance.engine.data_dir.as_deref();
    let checker = write_path::Checker {
        kind: Arc::clone(&parts.kind),
        disk: data_dir.map(|dir| DiskProbe::new(&parts.kind.folders(dir).probed)),
        live: parts.live.clone(),
        runs: runs.clone(),
        writables,
        events: events.clone(),
    };
    let worker = Worker {
        instance: parts.instance.name.to_string(),
        supervised: !parts.instance.engine.command.is_empty(),
        kind: Arc::clone(&parts.kind),
        held,
        runs,
        events,
        notes: parts.notes.clone(),
        refused: None,
    };
    let kind = Arc::clone(&parts.kind);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = worker.work(queue) => {}
            () = checker.run() => {}
            () = kind.tend() => {}
        }
    });
    asks
}

/// Whether it answers, and a person must act before it can be used. One that is down is told of by the beat.
fn is_unusable(error: &ConnectError) -> bool {
    match error {
        ConnectError::Missing { .. } | ConnectError::TimedOut { .. } | ConnectError::Loading { .. } => false,
        ConnectError::PasswordFile { .. }
        | ConnectError::PasswordNeeded { .. }
        | ConnectError::PasswordRefused { .. }
        | ConnectError::Forbidden { .. }
        | ConnectError::TooOld { .. }
        | ConnectError::WrongMode { .. }
        | ConnectError::Overridden { .. }
        | ConnectError::NotThisKind { .. } => true,
    }
}

impl Worker {
    async fn work(mut self, mut queue: mpsc::Receiver<Ask>) {
        loop {
            let Some((run, connection, probe)) = self.connect(&mut queue).await else { return };
            self.tell(run, Input::EngineConnected(probe)).await;
            if self.serve(run, connection, &mut queue).await.is_none() {
                return;
            }
            self.tell(run, Input::EngineDisconnected).await;
        }
    }

    /// Tries until there is a connection to the engine that the deadman holds. Commands that come meanwhile were asked
    /// over a connection that is gone: their outcome is unknown.
    async fn connect(
        &mut self,
        queue: &mut mpsc::Receiver<Ask>,
    ) -> Option<(u64, Box<dyn EngineConnection>, Probe)> {
        let since = Instant::now();
        let mut look_at = since + TELL_AFTER;
        let mut told = false;
        loop {
            while let Ok(ask) = queue.try_recv() {
                self.lost(ask.op).await;
            }
            match self.try_connect().await {
                Ok(Some(connected)) => {
                    self.notes.take_back(notes::ENGINE_UNUSABLE, &self.instance);
                    self.notes.take_back(notes::ENGINE_PREPARES, &self.instance);
                    return Some(connected);
                }
                Ok(None) => {}
                Err(error) if !told && since.elapsed() > TELL_AFTER => {
                    told = true;
                    if is_unusable(&error) {
                        let text = format!("{}: {error}", self.instance);
                        self.notes.put(notes::ENGINE_UNUSABLE, &self.instance, text, None);
                    }
                    tracing::warn!(instance = self.instance, %error, "no connection to the engine");
                }
                Err(_) => {}
            }
            if Instant::now() > look_at {
                self.tell_of_preparation().await;
                look_at = Instant::now() + CONNECT;
            }
            tokio::select! {
                biased;
                ask = queue.recv() => self.lost(ask?.op).await,
                _ = self.runs.changed() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// A copy may take hours, in which people want to know how far it is. (The disk that says it may hang.)
    async fn tell_of_preparation(&self) {
        match tokio::time::timeout(CONNECT, self.kind.doing()).await {
            Ok(Some(what)) => {
                let text = format!("{}: {what}", self.instance);
                self.notes.put(notes::ENGINE_PREPARES, &self.instance, text, None);
            }
            Ok(None) | Err(_) => self.notes.take_back(notes::ENGINE_PREPARES, &self.instance),
        }
    }

    async fn try_connect(&mut self) -> Result<Option<(u64, Box<dyn EngineConnection>, Probe)>, ConnectError> {
        let expected = *self.runs.borrow_and_update();
        if self.supervised && expected.is_none() {
            return Ok(None);
        }
        let mut connection = self.kind.connect(CONNECT).await?;
        let Some(client) = self.held.client.borrow().clone() else { return Ok(None) };
        let pid = connection.process_id();
        let run = match (expected, pid) {
            (Some(run), Some(pid)) => match client.holds(pid).await {
                Ok(true) => run,
                Ok(false) if self.supervised => {
                    let what = format!("process {pid} answers there, not the engine that was started");
                    return Err(ConnectError::NotThisKind { endpoint: self.instance.clone(), what });
                }
                Ok(false) | Err(_) => return Ok(None),
            },
            // Adopted: from now on the deadman holds this process.
            (None, Some(pid)) => match client.adopt(pid).await {
                Ok((_, run)) if self.announced(run).await => run,
                Ok(_) | Err(_) => return Ok(None),
            },
            (_, None) => return Ok(None),
        };
        let outcome = connection.execute(&EngineCommand::Probe, CONNECT).await;
        match outcome {
            EngineOutcome::Done(probe) if self.current(run) => Ok(Some((run, connection, probe))),
            _ => Ok(None),
        }
    }

    /// Whether the guard's shell has heard of a run that was just adopted. What it is told of a run before that it takes
    /// for news of another one, and the guard would never hear of this connection.
    async fn announced(&mut self, run: u64) -> bool {
        let heard = self.runs.wait_for(|known| *known == Some(run));
        matches!(tokio::time::timeout(CONNECT, heard).await, Ok(Ok(_)))
    }

    /// Whether the run is the one that is held now.
    fn current(&self, run: u64) -> bool {
        *self.runs.borrow() == Some(run)
    }

    /// Carries commands out until the connection is of no more use; `None` when nobody asks any more.
    async fn serve(
        &mut self,
        run: u64,
        mut connection: Box<dyn EngineConnection>,
        queue: &mut mpsc::Receiver<Ask>,
    ) -> Option<()> {
        loop {
            let ask = tokio::select! {
                biased;
                changed = self.runs.changed() => {
                    changed.ok()?;
                    if *self.runs.borrow() == Some(run) { continue }
                    return Some(());
                }
                ask = queue.recv() => ask?,
            };
            let outcome = connection.execute(&ask.command, ask.within).await;
            self.tell_of_refusal(&ask.command, &outcome);
            self.tell(run, Input::EngineDone { op: ask.op, outcome }).await;
            if connection.is_closed() {
                while let Ok(ask) = queue.try_recv() {
                    self.lost(ask.op).await;
                }
                return Some(());
            }
        }
    }

    /// The guard asks again for as long as it has to, and needs not know why it is refused: people do.
    fn tell_of_refusal(&mut self, command: &EngineCommand, outcome: &EngineOutcome) {
        let order = match command {
            EngineCommand::Probe => return,
            EngineCommand::Fence => "fence",
            EngineCommand::Promote { .. } => "promote",
            EngineCommand::Quorum { .. } => "wait for replicas",
            EngineCommand::Follow { .. } => "follow",
        };
        match outcome {
            EngineOutcome::Refused(why) => {
                let refused = Some((order, why.clone()));
                if self.refused != refused {
                    // No warning: a server that has to be made another one's copy first says so by refusing.
                    tracing::info!(instance = self.instance, order, why, "the engine refuses an order");
                    let text = format!("{}: {order}: {why}", self.instance);
                    self.notes.put(notes::ORDER_REFUSED, &self.instance, text, None);
                    self.refused = refused;
                }
            }
            EngineOutcome::Done(_) if self.refused.take().is_some() => {
                self.notes.take_back(notes::ORDER_REFUSED, &self.instance);
            }
            EngineOutcome::Done(_) | EngineOutcome::Unknown(_) => {}
        }
    }

    async fn lost(&self, op: OpId) {
        let outcome = EngineOutcome::Unknown("the connection is gone".into());
        let _ = self.events.send(Event::Machine(Input::EngineDone { op, outcome })).await;
    }

    async fn tell(&self, run: u64, input: Input) {
        let _ = self.events.send(Event::OfRun(run, input)).await;
    }
}
