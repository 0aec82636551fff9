//! The guard's end of its deadman: finds or starts it, makes sure that no deadline of an older guard is left, carries
//! requests out in order, and tells what happens to the engine.

use super::hand_over::LeftBehind;
use super::{Event, Parts, last_words};
use baton_core::guard::Input;
use baton_core::ids::OpId;
use baton_core::time::Time;
use baton_engine::EngineKind;
use baton_engine::deadman::protocol::{EngineProcess, Event as Happened, Refusal, Status};
use baton_engine::deadman::{Attached, Client, ClientError, Notice, Spawn};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How long a deadman may take to answer. It works on no disk and holds no lock: this is scheduling only.
const ANSWER: Duration = Duration::from_secs(5);
/// How long to wait before a deadman that is gone is started again.
const AGAIN: Duration = Duration::from_millis(20);
/// Most requests that wait.
const ASKS_MAX: usize = 64;

/// What the guard asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Start,
    Arm {
        op: OpId,
        deadline: Time,
    },
    Disarm,
    Kill,
    /// To say when everything asked for before was carried out.
    Tell(oneshot::Sender<()>),
    /// How things are after that; nothing is answered where the deadman does not say, or kills the engine.
    LookBehind(oneshot::Sender<LeftBehind>),
}

/// What the engine's worker needs of the deadman.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) asks: mpsc::Sender<Ask>,
    /// The connection while there is one.
    pub(super) client: watch::Receiver<Option<Client>>,
}

struct Worker {
    instance: String,
    supervised: bool,
    spawn: Spawn,
    process: EngineProcess,
    events: mpsc::Sender<Event>,
    client: watch::Sender<Option<Client>>,
    run: Option<u64>,
    /// What the process before has left, until the first deadman is found.
    left: Option<LeftBehind>,
}

/// The engine that an earlier process of this run has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// It runs, in the hands of the same deadman with the same deadline.
    AsItWasLeft,
    /// This run of it has ended, or is ending, under the same deadman.
    Ended(u64),
    /// None was left, or nobody knows.
    Unknown,
}

pub(super) fn spawn(
    parts: &Parts,
    dir: &Path,
    left: Option<LeftBehind>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Held {
    let (asks, queue) = mpsc::channel(ASKS_MAX);
    let (client, clients) = watch::channel(None);
    let command = &parts.instance.engine.command;
    let worker = Worker {
        instance: parts.instance.name.to_string(),
        supervised: !command.is_empty(),
        spawn: Spawn {
            program: parts.program.clone(),
            arguments: vec!["deadman".into()],
            exec_arguments: vec!["engine-exec".into()],
            instance: parts.instance.name.to_string(),
            dir: dir.to_owned(),
        },
        process: process(
            &parts.kind,
            command,
            &parts.instance.engine.log_file,
            &parts.instance.engine.data_dir,
        ),
        events,
        client,
        run: None,
        left,
    };
    tokio::spawn(worker.work(queue, stop));
    Held { asks, client: clients }
}

fn process(
    kind: &Arc<dyn EngineKind>,
    command: &[String],
    log_file: &Path,
    data_dir: &Option<PathBuf>,
) -> EngineProcess {
    EngineProcess {
        argv: kind.fenced_command(command),
        env: Vec::new(),
        cwd: data_dir.as_ref().map(|dir| kind.folders(dir).working.display().to_string()),
        log_file: log_file.display().to_string(),
        log_bytes_max: 0,
    }
}

impl Worker {
    async fn work(mut self, mut queue: mpsc::Receiver<Ask>, stop: CancellationToken) {
        loop {
            let attached = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                attached = Client::attach_or_spawn(&self.spawn, ANSWER) => attached,
            };
            match attached {
                Ok(attached) => {
                    if self.serve(attached, &mut queue, &stop).await.is_none() {
                        return;
                    }
                    self.client.send_replace(None);
                    self.tell(Event::Machine(Input::DeadmanLost)).await;
                }
                Err(error) => tracing::error!(instance = self.instance, %error, "no deadman"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Serves one connection until it is lost; `None` when the daemon stops.
    async fn serve(
        &mut self,
        attached: Attached,
        queue: &mut mpsc::Receiver<Ask>,
        stop: &CancellationToken,
    ) -> Option<()> {
        let Attached { client, mut notices, status } = attached;
        for weakness in &status.weaknesses {
            tracing::warn!(instance = self.instance, "the deadman is weaker than it could be: {weakness}");
        }
        if let Err(error) = self.settle(&client, status, &mut notices).await {
            tracing::error!(instance = self.instance, %error, "the deadman is of no use");
            return Some(());
        }
        self.client.send_replace(Some(client.clone()));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                notice = notices.recv() => match notice {
                    Some(Notice::Event(happened)) => self.happened(happened).await,
                    Some(Notice::Lost(why)) => {
                        tracing::error!(instance = self.instance, why, "the deadman is lost");
                        return Some(());
                    }
                    None => return Some(()),
                },
                ask = queue.recv() => self.carry_out(&client, ask?).await,
            }
        }
    }

    /// What became of the engine that the process before has left. Another deadman than it had, or this one with another run
    /// or deadline, is the loss of the deadman: nobody knows what happened meanwhile.
    async fn find(&mut self, status: &Status) -> Found {
        let Some((left, engine)) = self.left.take().and_then(|left| Some((left, left.engine?))) else {
            return Found::Unknown;
        };
        if LeftBehind::of(status) == Some(left) {
            return Found::AsItWasLeft;
        }
        let ours = status.deadman_pid == left.deadman_pid;
        let killing = status.engine.as_ref().is_some_and(|held| held.killing && held.run == engine.run);
        let ended = status.engine.is_none()
            && status
                .last_ended
                .as_ref()
                .is_some_and(|last| (last.run, last.pid) == (engine.run, engine.pid));
        if ours && (killing || ended) {
            return Found::Ended(engine.run);
        }
        let instance = &self.instance;
        tracing::error!(
            instance,
            "the deadman is not as the process before has left it: giving its right up"
        );
        self.tell(Event::Machine(Input::DeadmanLost)).await;
        Found::Unknown
    }

    /// Makes sure that nothing of an older guard is left: its deadline means that the engine may be writable, and only
    /// the engine's end settles that.
    async fn settle(
        &mut self,
        client: &Client,
        mut status: Status,
        notices: &mut mpsc::Receiver<Notice>,
    ) -> Result<(), ClientError> {
        let found = self.find(&status).await;
        while status.armed_us.is_some() && found != Found::AsItWasLeft
            || status.engine.is_none() && !status.clean && self.supervised
            || status.engine.as_ref().is_some_and(|engine| engine.killing)
        {
            if status.armed_us.is_some() {
                tracing::warn!(
                    instance = self.instance,
                    "the engine of an earlier run may be writable: killing it"
                );
                match client.kill().await {
                    // It has ended since the status was told: the next one says so.
                    Ok(()) | Err(ClientError::Refused { reason: Refusal::NoEngine, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            status = client.status().await?;
            // What happened meanwhile is in the status.
            while let Ok(notice) = notices.try_recv() {
                if let Notice::Lost(why) = notice {
                    return Err(ClientError::Lost(why));
                }
            }
        }
        self.tell(Event::Machine(Input::DeadmanUp)).await;
        match (status.engine, found) {
            (Some(held), _) => {
                self.run = Some(held.run);
                self.tell(Event::RunStarted(held.run)).await;
            }
            (None, Found::Ended(run)) => {
                self.run = None;
                self.tell(Event::RunEnded(run)).await;
            }
            (None, _) if self.supervised => {
                let ended = self.run.take().unwrap_or(0);
                self.tell(Event::RunEnded(ended)).await;
            }
            (None, _) => {}
        }
        Ok(())
    }

    async fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::EngineStarted { run, .. } => {
                self.run = Some(run);
                self.tell(Event::RunStarted(run)).await;
            }
            Happened::EngineEnded { ended } => {
                tracing::warn!(
                    instance = self.instance, pid = ended.pid, exit = ?ended.exit, cause = ?ended.cause,
                    "the engine ended"
                );
                if self.supervised && last_words::say_why(&ended) {
                    last_words::tell(self.instance.clone(), ended.pid, (&*self.process.log_file).into());
                }
                self.run = None;
                self.tell(Event::RunEnded(ended.run)).await;
            }
            Happened::EngineEnding { exit, .. } => {
                tracing::warn!(
                    instance = self.instance,
                    ?exit,
                    "the engine's main process ended, others are left"
                );
            }
            Happened::Superseded => {
                tracing::error!(instance = self.instance, "another daemon took the deadman")
            }
        }
    }

    async fn carry_out(&mut self, client: &Client, ask: Ask) {
        let done = match ask {
            Ask::Start => match client.start(self.process.clone()).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    let ended = self.run.unwrap_or(0);
                    if !matches!(error, ClientError::Refused { .. }) || self.run.is_none() {
                        self.tell(Event::RunEnded(ended)).await;
                    }
                    Err(error)
                }
            },
            Ask::Arm { op, deadline } => match self.run {
                None => return,
                Some(run) => match client.arm(run, deadline.0).await {
                    Ok(()) => {
                        self.tell(Event::Machine(Input::Armed(op))).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            },
            Ask::Disarm => client.disarm().await,
            Ask::LookBehind(done) => match client.status().await {
                Ok(status) => {
                    if let Some(left) = LeftBehind::of(&status) {
                        // Whoever does not wait any more needs to hear nothing.
                        let _ = done.send(left);
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Ask::Tell(done) => {
                // Whoever does not wait any more needs to hear nothing.
                let _ = done.send(());
                Ok(())
            }
            Ask::Kill => client.kill().await,
        };
        match done {
            // It ended a moment before, of which the guard hears anyway.
            Ok(()) | Err(ClientError::Refused { reason: Refusal::NoEngine, .. }) => {}
            Err(error) => {
                tracing::warn!(instance = self.instance, %error, "the deadman did not do what it was asked for");
            }
        }
    }

    async fn tell(&self, event: Event) {
        // A guard that has ended needs to hear nothing.
        let _ = self.events.send(event).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand_over::LeftEngine;
    use super::*;
    use baton_engine::deadman::protocol::{Cause, Ended, Exit, Held as HeldEngine, Hold, PROTOCOL};

    const LEFT: LeftBehind = LeftBehind {
        deadman_pid: 10,
        engine: Some(LeftEngine { run: 2, pid: 11, started_us: 12 }),
        armed_us: Some(99),
    };

    fn worker() -> (Worker, mpsc::Receiver<Event>) {
        let (events, queue) = mpsc::channel(4);
        let spawn = Spawn {
            program: PathBuf::new(),
            arguments: Vec::new(),
            exec_arguments: Vec::new(),
            instance: "a1".into(),
            dir: PathBuf::new(),
        };
        let worker = Worker {
            instance: "a1".into(),
            supervised: true,
            spawn,
            process: EngineProcess::default(),
            events,
            client: watch::Sender::new(None),
            run: None,
            left: Some(LEFT),
        };
        (worker, queue)
    }

    fn as_left() -> Status {
        let engine = HeldEngine { run: 2, pid: 11, started_us: 12, hold: Hold::ProcessTree, killing: false };
        Status {
            protocol: PROTOCOL,
            deadman_pid: 10,
            engine: Some(engine),
            armed_us: Some(99),
            last_ended: None,
            clean: false,
            weaknesses: Vec::new(),
        }
    }

    fn ended(run: u64) -> Status {
        let last =
            Ended { run, pid: 11, exit: Exit::Signal(9), cause: Cause::Deadline, at_us: 100, wholly: true };
        Status { engine: None, armed_us: None, last_ended: Some(last), clean: true, ..as_left() }
    }

    #[tokio::test]
    async fn whatever_is_not_as_it_was_left_is_the_loss_of_the_deadman() {
        let other = |change: fn(&mut HeldEngine)| {
            let mut status = as_left();
            status.engine.iter_mut().for_each(change);
            status
        };
        for (what, status, found, lost) in [
            ("the same", as_left(), Found::AsItWasLeft, false),
            ("being killed", other(|held| held.killing = true), Found::Ended(2), false),
            ("ended", ended(2), Found::Ended(2), false),
            ("another deadline", Status { armed_us: Some(98), ..as_left() }, Found::Unknown, true),
            ("no deadline", Status { armed_us: None, ..as_left() }, Found::Unknown, true),
            ("another run", other(|held| held.run = 3), Found::Unknown, true),
            ("another process", other(|held| held.pid = 13), Found::Unknown, true),
            ("another run that ended", ended(3), Found::Unknown, true),
            ("another deadman", Status { deadman_pid: 14, ..ended(2) }, Found::Unknown, true),
        ] {
            let (mut worker, mut queue) = worker();
            assert_eq!(worker.find(&status).await, found, "{what}");
            let told = matches!(queue.try_recv(), Ok(Event::Machine(Input::DeadmanLost)));
            assert_eq!(told, lost, "{what}");
            assert_eq!(worker.find(&as_left()).await, Found::Unknown, "only the first deadman was left");
        }
    }
}
