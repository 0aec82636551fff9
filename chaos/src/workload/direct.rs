//! The client that tries every node: it writes to each instance on a connection of its own, whatever the directory says and without
//! waiting for answers. So it sees an old master that accepts, and it has requests in the queue of a frozen engine when that
//! wakes. It overwrites one key for each instance, which no other client reads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::history::Instance;
use super::link::{self, Asker, Listener, Reply, Request};
use super::router::{CONNECT, Pen};
use crate::cli::EngineKind;
use crate::evidence::{Asked, Micros, Operation, Outcome};

/// Most requests without an answer; above it the client waits.
const OUTSTANDING_MAX: usize = 8_192;
/// How long to wait before an engine that is not there is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// Longest time that one line of refusals stands for: what a crash of the suite may cost.
const FOLDED_MAX_US: Micros = 500_000;
/// How long an engine may be silent before a new connection is tried: after a cut the system itself would take minutes.
const GIVE_UP_US: Micros = 3_000_000;
const GIVE_UP: Duration = Duration::from_micros(GIVE_UP_US);
/// How long answers are waited for at the end: as long as one that still comes may take.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// Writes to all instances until told to end.
///
/// # Errors
/// A line cannot be written.
pub async fn run(
    engine: EngineKind,
    instances: &[(Instance, String)],
    pen: &Pen,
    pace: Duration,
    stop: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (instance, endpoint) in instances {
        let node = Node {
            engine,
            instance: instance.clone(),
            endpoint: endpoint.clone(),
            pen: pen.clone(),
            pace,
            stop: stop.clone(),
            value: 0,
            session: 0,
            folded: None,
        };
        tasks.spawn(node.run());
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

struct Node {
    engine: EngineKind,
    instance: Instance,
    endpoint: String,
    pen: Pen,
    pace: Duration,
    stop: watch::Receiver<bool>,
    value: u64,
    session: u64,
    folded: Option<Operation>,
}

/// Why nothing more is sent on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It is gone.
    Broken,
    /// Nobody has answered on it for too long.
    Silent,
    /// There is nothing more to be heard on it.
    Answered,
}

/// What came of one request.
struct Ended {
    value: u64,
    sent: Micros,
    done: Option<Micros>,
    outcome: Outcome,
    error: Option<String>,
}

impl Node {
    async fn run(mut self) -> anyhow::Result<()> {
        while !*self.stop.borrow() {
            self.session += 1;
            let sent = self.pen.now();
            match link::connect(self.engine, &self.endpoint, CONNECT).await {
                Ok((asker, listener)) => self.write_on(asker, listener).await?,
                Err(error) => {
                    self.value += 1;
                    let (value, done) = (self.value, Some(self.pen.now()));
                    let error = Some(format!("cannot connect: {error}"));
                    self.note(Ended { value, sent, done, outcome: Outcome::Failed, error })?;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                _ = self.stop.changed() => {}
            }
        }
        self.unfold()
    }

    /// Until the connection is gone or the client is to end. What then has no answer is unknown.
    async fn write_on(&mut self, mut asker: Asker, mut listener: Listener) -> anyhow::Result<()> {
        let outstanding: Mutex<VecDeque<(u64, Micros)>> = Mutex::default();
        let queue = || outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        let (pen, mut stop, pace) = (self.pen.clone(), self.stop.clone(), self.pace);
        let (first, key) = (self.value, format!("chaos:direct-{}", self.instance));
        let written = AtomicU64::new(first);
        let ask = async {
            let mut value = first;
            let mut pace = interval(pace);
            pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                pace.tick().await;
                let (waiting, oldest) = {
                    let queue = queue();
                    (queue.len(), queue.front().map(|(_, sent)| *sent))
                };
                if oldest.is_some_and(|sent| pen.now().saturating_sub(sent) > GIVE_UP_US) {
                    return Left::Silent;
                }
                if waiting >= OUTSTANDING_MAX {
                    continue;
                }
                value += 1;
                written.store(value, Ordering::SeqCst);
                let request = [Request::Set { key: &key, value }];
                // Noted before it leaves: the answer may be here before `ask` has returned.
                queue().push_back((value, pen.now()));
                // After a cut the queue of the system itself is full before anybody is silent for too long.
                match tokio::time::timeout(GIVE_UP, asker.ask(&request)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Left::Broken,
                    Err(_) => return Left::Silent,
                }
            }
        };
        let listen = async {
            while let Ok(reply) = listener.reply().await {
                let done = Some(self.pen.now());
                let Some((value, sent)) = queue().pop_front() else { return Ok(()) };
                let (outcome, error) = match reply {
                    Reply::Yes | Reply::Number(_) => (Outcome::Ok, None),
                    Reply::No(refusal) => (Outcome::Failed, Some(refusal)),
                };
                self.note(Ended { value, sent, done, outcome, error })?;
            }
            anyhow::Ok(())
        };
        {
            tokio::pin!(listen);
            let left = tokio::select! {
                biased;
                ended = &mut listen => {
                    ended?;
                    Left::Answered
                }
                left = ask => left,
                _ = stop.wait_for(|stop| *stop) => Left::Broken,
            };
            // Nothing more is sent, but answers may still be on their way.
            let answers_come = left == Left::Broken;
            if answers_come && let Ok(ended) = tokio::time::timeout(LAST_ANSWERS, &mut listen).await {
                ended?;
            }
        }
        self.leave(&written, outstanding)
    }

    /// Writes down what was left without an answer.
    fn leave(
        &mut self,
        written: &AtomicU64,
        outstanding: Mutex<VecDeque<(u64, Micros)>>,
    ) -> anyhow::Result<()> {
        self.value = written.load(Ordering::SeqCst);
        for (value, sent) in outstanding.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let error = Some("the connection ended without an answer".to_owned());
            self.note(Ended { value, sent, done: None, outcome: Outcome::Unknown, error })?;
        }
        Ok(())
    }

    /// Replicas refuse all day: refusals in a row become one line.
    fn note(&mut self, ended: Ended) -> anyhow::Result<()> {
        let operation = Operation {
            client: self.pen.client().to_owned(),
            op: Asked::DirectWrite,
            key: format!("direct-{}", self.instance),
            value: Some(ended.value),
            read: None,
            instance: self.instance.to_string(),
            term: None,
            session: self.session,
            sent_us: ended.sent,
            done_us: ended.done,
            outcome: ended.outcome,
            error: ended.error,
            times: 1,
        };
        if operation.outcome != Outcome::Failed {
            self.unfold()?;
            self.pen.note(&operation)?;
            return Ok(());
        }
        if let Some(folded) = self.folded.as_mut().filter(|folded| folds(folded, &operation)) {
            folded.times += 1;
            folded.done_us = operation.done_us;
            return Ok(());
        }
        self.unfold()?;
        self.folded = Some(operation);
        Ok(())
    }

    fn unfold(&mut self) -> anyhow::Result<()> {
        if let Some(folded) = self.folded.take() {
            self.pen.note(&folded)?;
        }
        Ok(())
    }
}

fn folds(folded: &Operation, next: &Operation) -> bool {
    folded.error == next.error && next.end().saturating_sub(folded.sent_us) <= FOLDED_MAX_US
}
