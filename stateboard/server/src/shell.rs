//! The machine's home: one thread owns the board and its storage, takes events in order, commits what has piled up with
//! one sync, and only then lets the answers go. Waiting for the disk on this thread costs nobody anything: no answer
//! may leave before the sync in any case.

use crate::metrics::Metrics;
use crate::storage::Storage;
use baton_board::{
    Action, Board, Input, Persist, Reply, Request, RequestId, SessionId, SessionMessage, Update, WatchStart,
};
use baton_core::ids::Revision;
use baton_core::time::{Span, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Events taken before a commit: a batch is what piled up during the last sync, at most this.
const BATCH_MAX: usize = 64;
/// Places in the queue. Each event holds one until it is taken, and each session one more for its end, so that the
/// end of a session always finds a place.
const QUEUE: usize = 8_192;
/// Places beyond those, for stopping.
const QUEUE_SPARE: usize = 8;
/// Messages that a session may be behind. It has one renewal under way at a time.
const SESSION_QUEUE: usize = 16;
/// Updates that a watcher may be behind before it is dropped (it then resumes).
const WATCH_QUEUE: usize = 1_024;
/// Watchers at a time.
const WATCHERS_MAX: usize = 4_096;

/// An event with its place in the queue.
type Queued = (Event, Option<OwnedSemaphorePermit>);

/// What the thread is told.
enum Event {
    Open { session: SessionId, messages: mpsc::Sender<SessionMessage>, input: Input },
    Input(Input),
    Ask { request: Request, reply: oneshot::Sender<Reply> },
    Watch { after: Option<Revision>, started: oneshot::Sender<Watching> },
    Stop,
}

/// A watch as it begins, and its updates from there.
pub(crate) struct Watching {
    pub(crate) start: WatchStart,
    pub(crate) updates: mpsc::Receiver<Arc<Update>>,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The stateboard is stopping.
    Stopping,
    /// Too much is under way.
    Busy,
}

/// The way to the thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shell {
    events: SyncSender<Queued>,
    places: Arc<Semaphore>,
    sessions: Arc<AtomicU64>,
}

/// One candidate's place: dropping it closes the session.
pub(crate) struct SessionHandle {
    shell: Shell,
    session: SessionId,
    /// For the event of its end.
    place: Option<OwnedSemaphorePermit>,
}

impl Shell {
    /// Starts the thread. It ends after [`Shell::stop`], or when every handle is gone.
    pub(crate) fn start(
        board: impl FnOnce(Time) -> Board,
        storage: Storage,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (events, queue) = sync_channel(QUEUE + QUEUE_SPARE);
        let keeper = Keeper {
            board: board(now()),
            storage,
            metrics,
            persists: Vec::new(),
            sessions: BTreeMap::new(),
            replies: BTreeMap::new(),
            watching: BTreeMap::new(),
            watchers: Vec::new(),
            next_request: 0,
        };
        let thread = std::thread::Builder::new().name("board".into()).spawn(move || keeper.run(&queue))?;
        let shell =
            Self { events, places: Arc::new(Semaphore::new(QUEUE)), sessions: Arc::new(AtomicU64::new(0)) };
        Ok((shell, thread))
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Rejected> {
        let place = self.place()?;
        let (reply, answered) = oneshot::channel();
        self.send(Event::Ask { request, reply }, place)?;
        answered.await.map_err(|_| Rejected::Stopping)
    }

    pub(crate) async fn watch(&self, after: Option<Revision>) -> Result<Watching, Rejected> {
        let place = self.place()?;
        let (started, answered) = oneshot::channel();
        self.send(Event::Watch { after, started }, place)?;
        // Too many watchers, or stopping: both drop the sender.
        answered.await.map_err(|_| Rejected::Busy)
    }

    /// Opens a session with its campaign.
    pub(crate) fn open(
        &self,
        campaign: impl FnOnce(SessionId) -> Input,
    ) -> Result<(SessionHandle, mpsc::Receiver<SessionMessage>), Rejected> {
        let (place, last_place) = (self.place()?, self.place()?);
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (messages, queue) = mpsc::channel(SESSION_QUEUE);
        let input = campaign(session);
        self.send(Event::Open { session, messages, input }, place)?;
        Ok((SessionHandle { shell: self.clone(), session, place: Some(last_place) }, queue))
    }

    /// Stops the thread: sessions and watches end, and what comes after is refused.
    pub(crate) fn stop(&self) {
        // A thread that is gone has stopped; a queue without a spare place has been told already.
        let _ = self.events.try_send((Event::Stop, None));
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Rejected> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| Rejected::Busy)
    }

    /// Never finds the queue full, since the event has its place.
    fn send(&self, event: Event, place: OwnedSemaphorePermit) -> Result<(), Rejected> {
        self.events.try_send((event, Some(place))).map_err(|_| Rejected::Stopping)
    }
}

impl SessionHandle {
    /// Waits for a place in the queue, so that a candidate that sends without end is slowed down by it.
    pub(crate) async fn renew(&self) -> Result<(), Rejected> {
        self.send(Input::Renew { session: self.session }).await
    }

    pub(crate) async fn resign(&self, last_grant_remaining: Span) -> Result<(), Rejected> {
        self.send(Input::Resign { session: self.session, last_grant_remaining }).await
    }

    async fn send(&self, input: Input) -> Result<(), Rejected> {
        let place = Arc::clone(&self.shell.places).acquire_owned().await.map_err(|_| Rejected::Stopping)?;
        self.shell.send(Event::Input(input), place)
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        let end = Event::Input(Input::Closed { session: self.session });
        if let Some(place) = self.place.take() {
            // A thread that is gone has closed every session.
            let _ = self.shell.send(end, place);
        }
    }
}

/// Microseconds of CLOCK_BOOTTIME: a lock runs out while the host sleeps, too.
fn now() -> Time {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(clock.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(clock.tv_nsec).unwrap_or(0);
    Time(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000))
}

struct Keeper {
    board: Board,
    storage: Storage,
    metrics: Arc<Metrics>,
    /// What the next commit takes.
    persists: Vec<Persist>,
    sessions: BTreeMap<SessionId, mpsc::Sender<SessionMessage>>,
    replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    watching: BTreeMap<RequestId, oneshot::Sender<Watching>>,
    watchers: Vec<mpsc::Sender<Arc<Update>>>,
    next_request: u64,
}

impl Keeper {
    fn run(mut self, queue: &Receiver<Queued>) {
        while let Some(first) = self.next_event(queue) {
            let mut stop = !self.take(first);
            for _ in 1..BATCH_MAX {
                if stop {
                    break;
                }
                match queue.try_recv() {
                    Ok((event, _)) => stop = !self.take(event),
                    Err(_) => break,
                }
            }
            self.commit();
            if stop {
                return;
            }
        }
    }

    /// Waits for an event or the board's deadline. `None` where nobody can send any more.
    fn next_event(&self, queue: &Receiver<Queued>) -> Option<Event> {
        let Some(deadline) = self.board.next_deadline() else {
            return queue.recv().ok().map(|(event, _)| event);
        };
        match queue.recv_timeout(deadline.since(now()).as_duration()) {
            Ok((event, _)) => Some(event),
            Err(RecvTimeoutError::Timeout) => Some(Event::Input(Input::Tick)),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Whether to go on.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Stop => return false,
            Event::Input(input) => {
                if let Input::Closed { session } = &input {
                    self.sessions.remove(session);
                }
                self.step(input);
            }
            Event::Open { session, messages, input } => {
                self.sessions.insert(session, messages);
                self.step(input);
            }
            Event::Ask { request, reply } => {
                let id = self.fresh_request();
                self.replies.insert(id, reply);
                self.step(Input::Request { id, request });
            }
            Event::Watch { after, started } => {
                let id = self.fresh_request();
                self.watching.insert(id, started);
                self.step(Input::Request { id, request: Request::Watch { after } });
            }
        }
        true
    }

    fn fresh_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn step(&mut self, input: Input) {
        self.board.step(now(), input);
        while let Some(action) = self.board.pop_action() {
            match action {
                Action::Persist(persist) => self.persists.push(persist),
                Action::Session { session, message } => self.tell(session, message),
                Action::Reply { id, reply } => self.reply(id, reply),
                Action::Publish(update) => self.publish(update),
            }
        }
    }

    /// Makes durable what the events of this batch changed, which sets their answers free.
    fn commit(&mut self) {
        let Some(last) = self.persists.last().map(|persist| persist.op) else { return };
        let start = std::time::Instant::now();
        if let Err(error) = self.storage.commit(&self.persists) {
            // What is on the disk is unknown now, so nothing that could be said would be known to be true.
            tracing::error!(%error, "stopping at once: the state is read again at the next start");
            std::process::exit(crate::EXIT_STORAGE);
        }
        self.metrics.committed(self.persists.len(), start.elapsed());
        self.persists.clear();
        self.step(Input::Persisted(last));
    }

    fn tell(&mut self, session: SessionId, message: SessionMessage) {
        let Some(messages) = self.sessions.get(&session) else { return };
        if messages.try_send(message).is_err() {
            // The stream's end makes the service close the session.
            self.sessions.remove(&session);
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply) {
        if let Reply::Watching(start) = reply {
            let Some(started) = self.watching.remove(&id) else { return };
            self.watchers.retain(|watcher| !watcher.is_closed());
            if self.watchers.len() >= WATCHERS_MAX {
                return;
            }
            let (watcher, updates) = mpsc::channel(WATCH_QUEUE);
            if started.send(Watching { start, updates }).is_ok() {
                self.watchers.push(watcher);
            }
        } else if let Some(waiting) = self.replies.remove(&id) {
            // Whoever went away needs no answer.
            let _ = waiting.send(reply);
        }
    }

    fn publish(&mut self, update: Update) {
        self.metrics.revision(update.revision);
        let update = Arc::new(update);
        self.watchers.retain(|watcher| watcher.try_send(Arc::clone(&update)).is_ok());
    }
}
