//! The client that people care about: it follows the directory and writes a new key every two milliseconds to whoever is
//! master. Beside it, on a connection of its own, the confirmer asks the same engine how far a replica has it.
//!
//! Two things are measured apart. The *gap* is that of the engine's plain acknowledgements: with `WAIT` behind every
//! write it would also hold the time in which the first replica finds its new master. *Lost* counts what was promised: a
//! confirmation is a write and `WAIT 1` on the second connection; what the engine had acknowledged on the first one
//! before that write left lies before it in the engine's one stream, so a replica that has the later write has them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::follow::Master;
use super::history::{Author, Moment, Operation, Outcome, Recorder, Session};
use super::link::{self, Asker, Listener, Reply, Request};
use crate::cli::EngineKind;

/// Between two writes.
const PACE: Duration = Duration::from_millis(2);
/// How long the writer waits for one answer before it takes a new connection.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_millis(50);
/// Between two confirmations.
const CONFIRM_PACE: Duration = Duration::from_millis(5);
/// How long a confirmation is waited for.
const CONFIRM_WAIT: Duration = Duration::from_millis(500);

/// The running writer; it ends when this is dropped.
#[derive(Debug)]
pub struct Writer {
    _task: JoinSet<()>,
}

impl Writer {
    /// Starts to write to whoever `directory` names.
    #[must_use]
    pub fn start(
        engine: EngineKind,
        directory: watch::Receiver<Option<Master>>,
        recorder: &Recorder,
    ) -> Self {
        let mut task = JoinSet::new();
        task.spawn(write_for_ever(engine, directory, recorder.clone()));
        Self { _task: task }
    }
}

/// The key of a write.
#[must_use]
pub fn key(sequence: u64) -> String {
    format!("chaos:write:{sequence}")
}

/// Why a stay ended.
enum Leave {
    /// The directory named another master, or the same one anew.
    Redirected,
    /// The connection is of no more use.
    Broken,
    /// The program ends.
    Over,
}

struct State {
    engine: EngineKind,
    directory: watch::Receiver<Option<Master>>,
    recorder: Recorder,
    pace: Interval,
    sequence: u64,
    session: Session,
}

async fn write_for_ever(engine: EngineKind, directory: watch::Receiver<Option<Master>>, recorder: Recorder) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = State { engine, directory, recorder, pace, sequence: 0, session: 0 };
    loop {
        let Some(master) = state.directory.borrow_and_update().clone() else {
            if state.directory.changed().await.is_err() {
                return;
            }
            continue;
        };
        if matches!(state.stay(&master).await, Leave::Over) {
            return;
        }
    }
}

impl State {
    /// One connection to one master, with a confirmer beside it.
    async fn stay(&mut self, master: &Master) -> Leave {
        self.pace.tick().await;
        self.session += 1;
        let attempt = self.recorder.now();
        let connected = tokio::select! {
            biased;
            changed = self.directory.changed() => return redirected(&changed),
            connected = connect_both(self.engine, &master.endpoint) => connected,
        };
        let Ok(((asker, listener), confirmer)) = connected else {
            self.sequence += 1;
            let now = self.recorder.now();
            self.note(master, attempt, Outcome::Refused(now));
            return Leave::Broken;
        };
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut beside = JoinSet::new();
        beside.spawn(confirm_for_ever(confirmer, self.session, acknowledged.clone(), self.recorder.clone()));
        self.write_until_left(master, asker, listener, &acknowledged).await
    }

    async fn write_until_left(
        &mut self,
        master: &Master,
        mut asker: Asker,
        mut listener: Listener,
        acknowledged: &AtomicU64,
    ) -> Leave {
        loop {
            self.sequence += 1;
            let key = key(self.sequence);
            let request = [Request::Set { key: &key, value: self.sequence }];
            let sent = self.recorder.now();
            let exchange = timeout(PATIENCE, async {
                asker.ask(&request).await?;
                listener.reply().await
            });
            let answered = tokio::select! {
                biased;
                answered = exchange => answered,
                changed = moved(&mut self.directory, master) => {
                    let now = self.recorder.now();
                    self.note(master, sent, Outcome::Unknown(now));
                    return redirected(&changed);
                }
            };
            let now = self.recorder.now();
            match answered {
                Ok(Ok(Reply::No(_))) => self.note(master, sent, Outcome::Refused(now)),
                Ok(Ok(Reply::Yes | Reply::Number(_))) => {
                    acknowledged.store(self.sequence, Ordering::SeqCst);
                    self.note(master, sent, Outcome::Acknowledged(now));
                }
                Ok(Err(_)) | Err(_) => {
                    self.note(master, sent, Outcome::Unknown(now));
                    return Leave::Broken;
                }
            }
            tokio::select! {
                biased;
                changed = moved(&mut self.directory, master) => return redirected(&changed),
                _ = self.pace.tick() => {}
            }
        }
    }

    fn note(&self, master: &Master, sent: Moment, outcome: Outcome) {
        let operation = Operation {
            author: Author::Writer,
            sequence: self.sequence,
            instance: master.instance.clone(),
            sent,
            outcome,
        };
        self.recorder.record_written(operation, self.session);
    }
}

/// Until the directory names another term or endpoint; the same master turning from `appointed` to `active` is no move.
async fn moved(
    directory: &mut watch::Receiver<Option<Master>>,
    master: &Master,
) -> Result<(), watch::error::RecvError> {
    let elsewhere = |named: &Option<Master>| {
        named.as_ref().is_some_and(|named| named.term != master.term || named.endpoint != master.endpoint)
    };
    directory.wait_for(elsewhere).await.map(|_| ())
}

fn redirected(changed: &Result<(), watch::error::RecvError>) -> Leave {
    if changed.is_ok() { Leave::Redirected } else { Leave::Over }
}

/// The writer's connection and the confirmer's. Both are there before the first write: a confirmer that came later could
/// find the engine's next run, and take that one's replicas for a promise about writes of the run before.
async fn connect_both(
    engine: EngineKind,
    endpoint: &str,
) -> std::io::Result<((Asker, Listener), (Asker, Listener))> {
    tokio::try_join!(link::connect(engine, endpoint, CONNECT), link::connect(engine, endpoint, CONNECT))
}

/// Confirms what the stay has had acknowledged, as long as its own connection to the same run of the engine lives.
async fn confirm_for_ever(
    (mut asker, mut listener): (Asker, Listener),
    session: Session,
    acknowledged: Arc<AtomicU64>,
    recorder: Recorder,
) {
    let mut confirmed = 0;
    loop {
        let upto = acknowledged.load(Ordering::SeqCst);
        if upto > confirmed {
            let requests = [
                Request::Set { key: "chaos:confirm", value: upto },
                Request::Held { replicas: 1, within: CONFIRM_WAIT },
            ];
            if asker.ask(&requests).await.is_err() {
                return;
            }
            let (Ok(written), Ok(waited)) = (listener.reply().await, listener.reply().await) else { return };
            if written == Reply::Yes && matches!(waited, Reply::Number(replicas) if replicas >= 1) {
                recorder.confirm(session, upto);
                confirmed = upto;
            }
        }
        sleep(CONFIRM_PACE).await;
    }
}
