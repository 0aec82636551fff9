//! The recorded history: what was sent to whom and when, and what came back. The checkers are functions of it; nothing
//! here judges.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A moment on this process's monotonic clock, in microseconds since the history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// What lies between an earlier moment and this one; nothing if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment that is so much earlier; the beginning if there is none.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }
}

/// Whole microseconds; more than half a million years are cut off.
#[must_use]
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The name of an instance, cheap to copy into every operation.
pub type Instance = Arc<str>;

/// Who wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Author {
    /// The client that follows the directory.
    Writer,
    /// The client that writes to one instance whatever the directory says.
    Prober,
}

/// How a write ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The engine said yes.
    Acknowledged(Moment),
    /// The engine said no, or the request never left.
    Refused(Moment),
    /// Nothing came back: it may have happened.
    Unknown(Moment),
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who wrote.
    pub author: Author,
    /// Unique and rising for the writer; rising per instance for a prober.
    pub sequence: u64,
    /// Who was asked.
    pub instance: Instance,
    /// Taken before the request was handed to the kernel.
    pub sent: Moment,
    /// What came of it.
    pub outcome: Outcome,
}

impl Operation {
    /// When the acknowledgement was received, if there was one.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Moment> {
        match self.outcome {
            Outcome::Acknowledged(at) => Some(at),
            Outcome::Refused(_) | Outcome::Unknown(_) => None,
        }
    }
}

/// A term and its master, as the directory or the recorded history named them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// The term.
    pub term: u64,
    /// Its master.
    pub master: Instance,
    /// The earliest moment at which the appointment may have been made.
    pub known_from: Moment,
}

/// A stay of the writer with one run of one engine: one connection, never taken up again.
pub type Session = u64;

/// A write of the writer that the engine acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// See [`Operation::sequence`].
    pub sequence: u64,
    /// The stay in which it was acknowledged.
    pub session: Session,
}

/// Everything that the checkers need, since the run began or since the last attempt.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order in which they ended, those of the present attempt.
    pub operations: Vec<Operation>,
    /// All writes of the writer that were acknowledged since the run began.
    pub written: Vec<Written>,
    /// For each stay of the writer the highest sequence that a replica had confirmed.
    pub confirmed: BTreeMap<Session, u64>,
    /// All terms heard of since the run began.
    pub reigns: BTreeMap<u64, Reign>,
    /// What the directory said, in the order in which it came.
    pub notices: Vec<Notice>,
}

/// One change of the directory as it reached this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it was received.
    pub at: Moment,
    /// The term.
    pub term: u64,
    /// Its master; empty if there is none.
    pub master: Instance,
    /// `appointed`, `active` or `none`.
    pub state: String,
}

/// The shared pen: cheap to clone, one lock, held for a push.
#[derive(Clone)]
pub struct Recorder {
    origin: Instant,
    origin_unix: Duration,
    history: Arc<Mutex<History>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recorder").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// An empty history that begins now.
    #[must_use]
    pub fn new() -> Self {
        let origin_unix =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { origin: Instant::now(), origin_unix, history: Arc::default() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(micros(self.origin.elapsed()))
    }

    /// The moment of a wall clock's milliseconds since 1970 on this very machine, as far as that clock was not set.
    #[must_use]
    pub fn moment_of_unix_millis(&self, unix_millis: u64) -> Moment {
        Moment(micros(Duration::from_millis(unix_millis).saturating_sub(self.origin_unix)))
    }

    /// Adds an ended write.
    pub fn record(&self, operation: Operation) {
        self.lock().operations.push(operation);
    }

    /// Adds an ended write of the writer, with its stay.
    pub fn record_written(&self, operation: Operation, session: Session) {
        let mut history = self.lock();
        if operation.acknowledged().is_some() {
            history.written.push(Written { sequence: operation.sequence, session });
        }
        history.operations.push(operation);
    }

    /// All writes of a stay up to this one were confirmed.
    pub fn confirm(&self, session: Session, sequence: u64) {
        let mut history = self.lock();
        let highest = history.confirmed.entry(session).or_default();
        *highest = sequence.max(*highest);
    }

    /// The directory said something. Its term begins, at the latest, now.
    pub fn notice(&self, notice: Notice) {
        if !notice.master.is_empty() {
            self.reign(Reign { term: notice.term, master: notice.master.clone(), known_from: notice.at });
        }
        self.lock().notices.push(notice);
    }

    /// A term and its master; the earliest knowledge of it stays.
    pub fn reign(&self, reign: Reign) {
        let mut history = self.lock();
        let known = history.reigns.entry(reign.term).or_insert_with(|| reign.clone());
        known.known_from = known.known_from.min(reign.known_from);
    }

    /// A look at the history; keep it short, the writers wait.
    pub fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the operations and notices out, and leaves what belongs to the whole run.
    #[must_use]
    pub fn take_attempt(&self) -> History {
        let mut history = self.lock();
        let operations = std::mem::take(&mut history.operations);
        let notices = std::mem::take(&mut history.notices);
        History {
            operations,
            notices,
            written: history.written.clone(),
            confirmed: history.confirmed.clone(),
            reigns: history.reigns.clone(),
        }
    }
}
