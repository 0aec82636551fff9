//! The coordinator's side of a deadman: find it or start it, ask it, hear its events, notice its death. It decides
//! nothing: when to arm, and what the loss of a deadman means, is the guard's.

use super::protocol::{
    Answer, Ask, EngineProcess, Event, LINE_BYTES_MAX, PROTOCOL, Refusal, Request, Say, Status,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

/// Most requests under way, and most events not yet taken; a coordinator beyond either has lost its deadman.
const QUEUE_MAX: usize = 256;
/// How often a deadman that was just started is tried.
const ATTACH_INTERVAL: Duration = Duration::from_millis(2);

/// How to start a deadman.
#[derive(Clone, Debug)]
pub struct Spawn {
    /// The program; the daemon's own binary (`/proc/self/exe`).
    pub program: PathBuf,
    /// Its arguments up to where the deadman's own begin (`["deadman"]`).
    pub arguments: Vec<String>,
    /// The arguments that make the same program run `exec::main` (`["engine-exec"]`).
    pub exec_arguments: Vec<String>,
    /// The instance, unique on this host; part of the cgroup's name.
    pub instance: String,
    /// The directory of the instance; it exists.
    pub dir: PathBuf,
}

/// What the deadman's connection brings besides answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something happened.
    Event(Event),
    /// The deadman is gone or no longer ours; no notice follows. If the process died, the engine died with it (an
    /// adopted one did not): attach again to be sure.
    Lost(String),
}

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No deadman listens, or none could be started.
    #[error("no deadman at {socket}: {what}")]
    Missing {
        /// Where.
        socket: String,
        /// What the system said.
        what: String,
    },
    /// The connection broke; the outcome of the request is not known.
    #[error("the deadman is lost: {0}")]
    Lost(String),
    /// No answer in time; the outcome of the request is not known.
    #[error("the deadman did not answer within {0:?}")]
    TimedOut(Duration),
    /// It would not.
    #[error("the deadman refused: {what}")]
    Refused {
        /// Why.
        reason: Refusal,
        /// In words.
        what: String,
    },
    /// It answered something else than was asked.
    #[error("the deadman answered nonsense: {0}")]
    Nonsense(String),
}

type Pending = BTreeMap<u64, oneshot::Sender<Answer>>;

#[derive(Debug)]
struct Shared {
    next_id: AtomicU64,
    /// `None` once the connection is lost: whoever comes later must not wait for an answer.
    pending: Mutex<Option<Pending>>,
    lines: mpsc::Sender<Vec<u8>>,
    timeout: Duration,
}

/// A connection to a deadman. Cheap to clone; requests of several tasks are answered in order. When the last clone is
/// dropped the connection is closed, which leaves the engine and the deadline as they are.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What [`Client::attach`] brings.
#[derive(Debug)]
pub struct Attached {
    /// For requests.
    pub client: Client,
    /// Events from now on, and at the end why there are no more.
    pub notices: mpsc::Receiver<Notice>,
    /// How things were when this connection was taken over. Events that came before it are in it.
    pub status: Status,
}

impl Client {
    /// Connects to the deadman of this directory, superseding an older coordinator. `timeout` bounds this and each
    /// later request.
    ///
    /// # Errors
    /// [`ClientError::Missing`] where none listens.
    pub async fn attach(dir: &Path, timeout: Duration) -> Result<Attached, ClientError> {
        let socket = super::socket_path(dir);
        let missing = |what: String| ClientError::Missing { socket: socket.display().to_string(), what };
        let deadline = Instant::now() + timeout;
        let stream = timeout_at(deadline, UnixStream::connect(&socket))
            .await
            .map_err(|_| missing(format!("no connection within {timeout:?}")))?
            .map_err(|error| missing(error.to_string()))?;
        let (read, write) = stream.into_split();
        let (lines, line_queue) = mpsc::channel(QUEUE_MAX);
        let (notices_in, notices) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::new(Shared {
            next_id: AtomicU64::new(1),
            pending: Mutex::new(Some(Pending::new())),
            lines,
            timeout,
        });
        tokio::spawn(write_lines(write, line_queue));
        // The reader must not keep the client alive: it ends when the last clone is gone and the writer hangs up.
        tokio::spawn(read_lines(read, Arc::downgrade(&shared), notices_in));
        let client = Self { shared };
        match client.ask(Ask::Hello { protocol: PROTOCOL }).await? {
            Answer::Status { status } => Ok(Attached { client, notices, status }),
            other => Err(nonsense(&other)),
        }
    }

    /// Connects to the deadman of this directory; starts one where none runs.
    ///
    /// # Errors
    /// [`ClientError::Missing`] where none runs and none could be started within `timeout`.
    pub async fn attach_or_spawn(spawn: &Spawn, timeout: Duration) -> Result<Attached, ClientError> {
        let missing = |what: String| ClientError::Missing {
            socket: super::socket_path(&spawn.dir).display().to_string(),
            what,
        };
        let deadline = Instant::now() + timeout;
        let mut child: Option<oneshot::Receiver<std::io::Result<ExitStatus>>> = None;
        loop {
            match Self::attach(&spawn.dir, timeout).await {
                // Lost in the greeting: it accepted the connection in the moment of its death.
                Err(ClientError::Missing { .. } | ClientError::Lost(_)) if Instant::now() < deadline => {}
                other => return other,
            }
            match child.as_mut().map(oneshot::Receiver::try_recv) {
                None => child = Some(start(spawn).map_err(missing)?),
                // The one before it is not quite gone: it still has the lock.
                Some(Ok(Ok(status))) if status.code() == Some(i32::from(super::server::EXIT_HELD)) => {
                    child = None
                }
                Some(Ok(ended)) => {
                    let log = spawn.dir.join("deadman.log");
                    return Err(missing(format!("it ended at once ({ended:?}); see {}", log.display())));
                }
                Some(Err(_)) => {}
            }
            sleep(ATTACH_INTERVAL).await;
        }
    }

    /// How things are.
    ///
    /// # Errors
    /// See [`ClientError`]; so for all requests.
    pub async fn status(&self) -> Result<Status, ClientError> {
        match self.ask(Ask::Status).await? {
            Answer::Status { status } => Ok(status),
            other => Err(nonsense(&other)),
        }
    }

    /// Starts an engine; answers its main process and the number of its run.
    ///
    /// # Errors
    /// Refused with [`Refusal::EngineHeld`] until an earlier one has wholly ended.
    pub async fn start(&self, engine: EngineProcess) -> Result<(u32, u64), ClientError> {
        self.started(Ask::Start { engine }).await
    }

    /// Holds an engine that runs already (see [`Ask::Adopt`]).
    ///
    /// # Errors
    /// Refused where there is no such process.
    pub async fn adopt(&self, pid: u32) -> Result<(u32, u64), ClientError> {
        self.started(Ask::Adopt { pid }).await
    }

    async fn started(&self, ask: Ask) -> Result<(u32, u64), ClientError> {
        match self.ask(ask).await? {
            Answer::Started { pid, run } => Ok((pid, run)),
            other => Err(nonsense(&other)),
        }
    }

    /// Kills the engine; [`Event::EngineEnded`] follows when it is wholly gone.
    ///
    /// # Errors
    /// Refused with [`Refusal::NoEngine`] where none is held.
    pub async fn kill(&self) -> Result<(), ClientError> {
        match self.ask(Ask::Kill).await? {
            Answer::Killing => Ok(()),
            other => Err(nonsense(&other)),
        }
    }

    /// Has run `run` of the engine killed at `deadline_us` (CLOCK_BOOTTIME). When this answers, the kernel's timer is
    /// set: only then may the engine become writable.
    ///
    /// # Errors
    /// Refused where another run is held, or the moment is past; an earlier deadline stays then.
    pub async fn arm(&self, run: u64, deadline_us: u64) -> Result<(), ClientError> {
        match self.ask(Ask::Arm { run, deadline_us }).await? {
            Answer::Armed { deadline_us: set } if set == deadline_us => Ok(()),
            other => Err(nonsense(&other)),
        }
    }

    /// Forgets the deadline.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn disarm(&self) -> Result<(), ClientError> {
        match self.ask(Ask::Disarm).await? {
            Answer::Disarmed => Ok(()),
            other => Err(nonsense(&other)),
        }
    }

    /// Whether the process belongs to the engine that the deadman holds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn holds(&self, pid: u32) -> Result<bool, ClientError> {
        match self.ask(Ask::Holds { pid }).await? {
            Answer::Holds { held } => Ok(held),
            other => Err(nonsense(&other)),
        }
    }

    /// Ends the deadman, and the engine with it. The notices end when both are gone.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stop(&self) -> Result<(), ClientError> {
        match self.ask(Ask::Stop).await? {
            Answer::Stopping => Ok(()),
            other => Err(nonsense(&other)),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, ClientError> {
        let lost = || ClientError::Lost("the connection is closed".into());
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut line = serde_json::to_vec(&Request { id, ask })
            .map_err(|error| ClientError::Nonsense(error.to_string()))?;
        line.push(b'\n');
        let (answer_in, answer) = oneshot::channel();
        // The lock covers the queue too, so that requests leave in the order of their numbers.
        {
            let mut pending = lock(&self.shared.pending);
            let pending = pending.as_mut().ok_or_else(lost)?;
            self.shared.lines.try_send(line).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    ClientError::Lost("too many requests are under way".into())
                }
                mpsc::error::TrySendError::Closed(_) => lost(),
            })?;
            pending.insert(id, answer_in);
        }
        let answer = match tokio::time::timeout(self.shared.timeout, answer).await {
            Ok(answer) => answer.map_err(|_| lost())?,
            Err(_) => {
                if let Some(pending) = lock(&self.shared.pending).as_mut() {
                    pending.remove(&id);
                }
                return Err(ClientError::TimedOut(self.shared.timeout));
            }
        };
        match answer {
            Answer::Refused { reason, what } => Err(ClientError::Refused { reason, what }),
            other => Ok(other),
        }
    }
}

fn lock(pending: &Mutex<Option<Pending>>) -> std::sync::MutexGuard<'_, Option<Pending>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nonsense(answer: &Answer) -> ClientError {
    ClientError::Nonsense(format!("{answer:?}"))
}

/// Starts a deadman; the answer tells when it has ended. It is meant to outlive this coordinator: nothing kills it, and
/// the task only collects it.
fn start(spawn: &Spawn) -> Result<oneshot::Receiver<std::io::Result<ExitStatus>>, String> {
    let mut child = command(spawn)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", spawn.program.display()))?;
    let (ended_in, ended) = oneshot::channel();
    tokio::spawn(async move { ended_in.send(child.wait().await) });
    Ok(ended)
}

fn command(spawn: &Spawn) -> tokio::process::Command {
    // What it says when it cannot start; later it has nothing to say but to its coordinator.
    let log =
        std::fs::File::create(spawn.dir.join("deadman.log")).map_or_else(|_| Stdio::null(), Stdio::from);
    let mut command = tokio::process::Command::new(&spawn.program);
    command
        .args(&spawn.arguments)
        .arg("--instance")
        .arg(&spawn.instance)
        .arg("--dir")
        // The deadman works in `/`.
        .arg(std::path::absolute(&spawn.dir).unwrap_or_else(|_| spawn.dir.clone()))
        .arg("--")
        .args(&spawn.exec_arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(false);
    command
}

async fn write_lines(mut write: OwnedWriteHalf, mut lines: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        if write.write_all(&line).await.is_err() {
            // The reader sees the end of the connection as well and tells everybody.
            return;
        }
    }
}

async fn read_lines(read: OwnedReadHalf, shared: std::sync::Weak<Shared>, notices: mpsc::Sender<Notice>) {
    let mut read = BufReader::new(read);
    let why = loop {
        let mut line = Vec::new();
        match (&mut read).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await {
            Ok(0) => break "it closed the connection".to_owned(),
            Ok(_) if line.last() != Some(&b'\n') => break "a line ended early or is too long".to_owned(),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
        match serde_json::from_slice(&line) {
            Ok(Say::Answer { id, answer }) => {
                let waiting = shared.upgrade().and_then(|shared| {
                    lock(&shared.pending).as_mut().and_then(|pending| pending.remove(&id))
                });
                if let Some(waiting) = waiting {
                    // Whoever asked may have given up by now.
                    let _ = waiting.send(answer);
                }
            }
            Ok(Say::Event { event }) => {
                if let Err(mpsc::error::TrySendError::Full(_)) = notices.try_send(Notice::Event(event)) {
                    break "its events are not taken".to_owned();
                }
            }
            Err(error) => break format!("it sent what cannot be read: {error}"),
        }
    };
    if let Some(shared) = shared.upgrade() {
        // Dropping the senders wakes everybody who waits.
        lock(&shared.pending).take();
    }
    let _ = notices.send(Notice::Lost(why)).await;
}
