//! What all clients that go where the directory sends them have in common: whom to ask now, when to leave, and the pen with
//! which they write down what they saw. It must not know what they ask.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::engine::{self, Answer, Session};
use super::follow::Master;
use crate::cli::EngineKind;
use crate::evidence::clock::Clock;
use crate::evidence::{Lines, Micros, Operation, Outcome};

/// How long a connection may take to come up: longer than a slow network's round trip.
pub const CONNECT: Duration = Duration::from_millis(300);
/// How long a client waits for one answer before it takes a new connection.
pub const PATIENCE: Duration = Duration::from_millis(400);
/// The same where the engine is asked whether a replica has it: it waits up to half a second itself.
pub const CONFIRM_PATIENCE: Duration = Duration::from_millis(900);

/// A client's pen: cheap to clone, each line whole.
#[derive(Clone, Debug)]
pub struct Pen {
    /// The run's clock.
    pub clock: Clock,
    client: Arc<str>,
    lines: Arc<Mutex<Lines<Operation>>>,
}

impl Pen {
    /// For one client.
    #[must_use]
    pub fn new(client: &str, clock: Clock, lines: Lines<Operation>) -> Self {
        Self { clock, client: client.into(), lines: Arc::new(Mutex::new(lines)) }
    }

    /// The client's name.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    /// Writes a line.
    ///
    /// # Errors
    /// The disk is full or failing.
    pub fn note(&self, operation: &Operation) -> io::Result<()> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).write(operation)
    }
}

/// The values of one client: rising, and none is another client's.
#[derive(Debug)]
pub struct Values {
    next: u64,
}

/// Bits of a value that count within one client; so many that no run uses them up, and so few that a value with its client's
/// number is exact in every reader of JSON (2^53).
const COUNT_BITS: u32 = 40;
/// Highest number of a client.
pub const CLIENT_MAX: u64 = (1 << (53 - COUNT_BITS)) - 1;

impl Values {
    /// Of the client with this number, from 1 to [`CLIENT_MAX`].
    #[must_use]
    pub fn of(client: u64) -> Self {
        Self { next: client.min(CLIENT_MAX) << COUNT_BITS }
    }

    /// One that was not used before.
    pub fn draw(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Whom to ask, and when to leave.
#[derive(Clone, Debug)]
pub struct Router {
    /// What the directory says.
    pub directory: watch::Receiver<Option<Master>>,
    /// True once the client is to end.
    pub stop: watch::Receiver<bool>,
    /// The database.
    pub engine: EngineKind,
    /// Whether commits wait for replicas.
    pub sync: bool,
}

impl Router {
    /// The master, as soon as there is one; `None` when the client is to end.
    pub async fn master(&mut self) -> Option<Master> {
        loop {
            if self.stopped() {
                return None;
            }
            if let Some(master) = self.directory.borrow_and_update().clone() {
                return Some(master);
            }
            tokio::select! {
                changed = self.directory.changed() => changed.ok()?,
                _ = self.stop.changed() => return None,
            }
        }
    }

    /// Whether the client is to end.
    #[must_use]
    pub fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Whether the directory still names this master at this term.
    #[must_use]
    pub fn still(&self, master: &Master) -> bool {
        self.directory.borrow().as_ref().is_some_and(|named| same(named, master))
    }

    /// Does the work unless the directory names another master before it is done: then there is no use in waiting for this one.
    pub async fn unless_moved<T>(&mut self, master: &Master, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = self.directory.wait_for(|named| named.as_ref().is_some_and(|named| !same(named, master))) => None,
        }
    }

    /// A connection to the master.
    ///
    /// # Errors
    /// It is not there.
    pub async fn connect(&self, master: &Master) -> io::Result<Box<dyn Session>> {
        engine::connect(self.engine, &master.endpoint, CONNECT).await
    }
}

/// The same master turning from `appointed` to `active` is no move.
fn same(one: &Master, other: &Master) -> bool {
    one.term == other.term && one.endpoint == other.endpoint
}

/// An answer within `limit`; later it is unknown.
pub async fn within<T>(limit: Duration, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
    match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Answer::Unknown(format!("no answer within {limit:?}")),
    }
}

/// How a line ends: the moment, the outcome, what was said.
pub fn ending<T>(answer: &Answer<T>, now: Micros) -> (Option<Micros>, Outcome, Option<String>) {
    match answer {
        Answer::Yes(_) => (Some(now), Outcome::Ok, None),
        Answer::No(refusal) => (Some(now), Outcome::Failed, Some(refusal.clone())),
        Answer::Unknown(why) => (None, Outcome::Unknown, Some(why.clone())),
    }
}

/// What is said of a request whose master was replaced before it answered.
pub fn moved<T>() -> Answer<T> {
    Answer::Unknown("the directory named another master before it answered".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_two_clients_never_meet_and_are_exact_in_json() {
        let (mut one, mut two) = (Values::of(1), Values::of(2));
        assert_eq!(one.draw() + 1, one.draw());
        assert!(two.draw() - one.draw() > 1 << 39);
        let highest = Values::of(CLIENT_MAX + 7).draw();
        assert!(highest < 1 << 53 && highest > CLIENT_MAX << COUNT_BITS);
    }

    fn master(term: u64, active: bool) -> Master {
        Master { term, instance: "a1".into(), endpoint: format!("10.0.0.{term}:6379"), active }
    }

    #[tokio::test]
    async fn a_client_leaves_when_another_master_is_named_and_not_when_its_own_is_confirmed() {
        let (named, directory) = watch::channel(None);
        let (end, stop) = watch::channel(false);
        let mut router = Router { directory, stop, engine: EngineKind::Redis, sync: true };
        named.send(Some(master(1, false))).expect("the router listens");
        let first = router.master().await.expect("one was named");
        named.send(Some(master(1, true))).expect("the router listens");
        assert_eq!(router.unless_moved(&first, std::future::ready(3)).await, Some(3));
        assert!(router.still(&first));
        named.send(Some(master(2, false))).expect("the router listens");
        assert_eq!(router.unless_moved(&first, std::future::pending::<()>()).await, None);
        assert!(!router.still(&first));
        end.send(true).expect("the router listens");
        assert_eq!(router.master().await, None);
    }
}
