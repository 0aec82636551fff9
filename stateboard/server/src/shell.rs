//! The machine's home: one thread owns the board and its storage, takes events in order, commits what has piled up with
//! one sync, and only then lets the answers go. Waiting for the disk on this thread costs nobody anything: no answer
//! may leave before the sync in any case.

use crate::feed::{Feed, Follower};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::reads::LastRead;
use crate::storage::{
    Backup, CommitError, Restoration, RestoreError, Room, Storage, check_room, keep_backup,
};
use baton_board::{
    Action, Board, Durable, Input, Limits as Kept, Persist, Refusal, RefusalReason, Reply, Request,
    RequestId, SessionId, SessionMessage, Update, WatchStart,
};
use baton_core::ids::Revision;
use baton_core::record::MovePhase;
use baton_core::time::{Span, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::codegen::Bytes;

/// Events taken before a commit: a batch is what piled up during the last sync, at most this.
const BATCH_MAX: usize = 64;
/// Places beyond those, for stopping.
const QUEUE_SPARE: usize = 8;
/// Messages that a session may be behind. It has one renewal under way at a time.
const SESSION_QUEUE: usize = 16;
/// What a candidate is told where there is no room for a new epoch.
pub(crate) const DISK_FULL: &str = "the stateboard's disk is full: the lock cannot change hands";

/// An event with its place in the queue.
type Queued = (Event, Option<OwnedSemaphorePermit>);

/// What the thread is told.
enum Event {
    Open { session: SessionId, messages: mpsc::Sender<SessionMessage>, input: Input },
    Input(Input),
    Ask { request: Request, reply: oneshot::Sender<Result<Reply, Rejected>> },
    Watch { after: Option<Revision>, place: OwnedSemaphorePermit, started: oneshot::Sender<Watching> },
    Restore { backup: Box<Backup>, restored: oneshot::Sender<Result<Restoration, RestoreError>> },
    Stop,
}

/// A watch as it begins, and its updates from there.
pub(crate) struct Watching {
    pub(crate) start: WatchStart,
    pub(crate) updates: Follower,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The stateboard is stopping.
    Stopping,
    /// So many requests wait for the board already.
    Busy(usize),
    /// So many watch already.
    Watchers(usize),
    /// There is no room on the disk for a change.
    DiskFull,
}

/// The way to the thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shell {
    events: SyncSender<Queued>,
    /// Places in the queue. Each event holds one until it is taken, and each session one more for its end, so that the
    /// end of a session always finds a place.
    places: Arc<Semaphore>,
    requests_max: usize,
    watchers: Arc<Semaphore>,
    watchers_max: usize,
    sessions: Arc<AtomicU64>,
    feed: Arc<Feed>,
    last_read: Arc<LastRead<Bytes>>,
}

/// One candidate's place: dropping it closes the session.
pub(crate) struct SessionHandle {
    shell: Shell,
    session: SessionId,
    /// For the event of its end.
    place: Option<OwnedSemaphorePermit>,
}

impl Shell {
    /// Starts the thread. It ends after [`Shell::stop`], or when every handle is gone. To be called on the runtime.
    pub(crate) fn start(
        durable: Durable,
        storage: Storage,
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (events, queue) = sync_channel(limits.requests + QUEUE_SPARE);
        let feed = Feed::new(durable.revision, limits.watcher_lag);
        tokio::spawn(Arc::clone(&feed).wake_readers());
        let kept = limits.kept.clone();
        let keeper = Keeper::new(durable, kept, storage, metrics, Arc::clone(&feed), end_at_once);
        let last_read = Arc::clone(&keeper.last_read);
        let run = move || keeper.run(&queue);
        let thread = std::thread::Builder::new().name("board".into()).spawn(run)?;
        let shell = Self {
            events,
            places: Arc::new(Semaphore::new(limits.requests)),
            requests_max: limits.requests,
            watchers: Arc::new(Semaphore::new(limits.watchers)),
            watchers_max: limits.watchers,
            sessions: Arc::new(AtomicU64::new(0)),
            feed,
            last_read,
        };
        Ok((shell, thread))
    }

    /// Whether it was told to stop, so that streams end for that reason.
    pub(crate) fn is_stopping(&self) -> bool {
        self.feed.is_stopped()
    }

    /// What a read may be answered with, without the thread.
    pub(crate) fn last_read(&self) -> &LastRead<Bytes> {
        &self.last_read
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Rejected> {
        let place = self.place()?;
        let (reply, answered) = oneshot::channel();
        self.send(Event::Ask { request, reply }, place)?;
        answered.await.map_err(|_| Rejected::Stopping)?
    }

    /// Puts a backup in the place of everything. All sessions and watches end.
    pub(crate) async fn restore(
        &self,
        backup: Backup,
    ) -> Result<Result<Restoration, RestoreError>, Rejected> {
        let place = self.place()?;
        let (restored, answered) = oneshot::channel();
        self.send(Event::Restore { backup: Box::new(backup), restored }, place)?;
        answered.await.map_err(|_| Rejected::Stopping)
    }

    pub(crate) async fn watch(&self, after: Option<Revision>) -> Result<Watching, Rejected> {
        let place = self.place()?;
        let watcher = Arc::clone(&self.watchers).try_acquire_owned();
        let watcher = watcher.map_err(|_| Rejected::Watchers(self.watchers_max))?;
        let (started, answered) = oneshot::channel();
        self.send(Event::Watch { after, place: watcher, started }, place)?;
        answered.await.map_err(|_| Rejected::Stopping)
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
        self.feed.stop();
        // A thread that is gone has stopped; a queue without a spare place has been told already.
        let _ = self.events.try_send((Event::Stop, None));
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Rejected> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| Rejected::Busy(self.requests_max))
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

/// After a commit that failed what is on the disk is unknown, so nothing that could be said would be known to be true.
/// The file is of no more use to this process: what a failed sync did not write may count as written from then on.
fn end_at_once(error: &CommitError) {
    tracing::error!(%error, "stopping at once: the state is read again at the next start");
    std::process::exit(crate::EXIT_STORAGE);
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
    limits: Kept,
    storage: Storage,
    room: Room,
    metrics: Arc<Metrics>,
    feed: Arc<Feed>,
    last_read: Arc<LastRead<Bytes>>,
    /// What is done about a commit that failed; nothing is answered after it.
    failed: fn(&CommitError),
    /// What the next commit takes.
    persists: Vec<Persist>,
    sessions: BTreeMap<SessionId, mpsc::Sender<SessionMessage>>,
    replies: BTreeMap<RequestId, oneshot::Sender<Result<Reply, Rejected>>>,
    watching: BTreeMap<RequestId, (oneshot::Sender<Watching>, OwnedSemaphorePermit)>,
    next_request: u64,
}

impl Keeper {
    fn new(
        durable: Durable,
        limits: Kept,
        storage: Storage,
        metrics: Arc<Metrics>,
        feed: Arc<Feed>,
        failed: fn(&CommitError),
    ) -> Self {
        Self {
            board: Board::new(now(), durable, limits.clone()),
            limits,
            room: Room::new(storage.path()),
            storage,
            metrics,
            feed,
            last_read: Arc::default(),
            failed,
            persists: Vec::new(),
            sessions: BTreeMap::new(),
            replies: BTreeMap::new(),
            watching: BTreeMap::new(),
            next_request: 0,
        }
    }

    fn run(mut self, queue: &Receiver<Queued>) {
        while let Some(first) = self.next_event(queue) {
            if !self.batch(first, queue) {
                return;
            }
            self.measure();
        }
    }

    /// Takes `first` and what has piled up behind it, and commits. Whether to go on.
    fn batch(&mut self, first: Event, queue: &Receiver<Queued>) -> bool {
        let mut go_on = self.take(first);
        for _ in 1..BATCH_MAX {
            if !go_on {
                break;
            }
            match queue.try_recv() {
                // Its place is free before its answer goes: whoever has been answered may need it for the next request.
                Ok((event, place)) => {
                    drop(place);
                    go_on = self.take(event);
                }
                Err(_) => break,
            }
        }
        self.commit() && go_on
    }

    /// The counts that change with almost everything; cheap, and once for a batch.
    fn measure(&self) {
        let (records, members, waiting) = self.board.counts();
        self.metrics.kept(records, members, waiting);
        self.metrics.sessions(self.sessions.len());
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
                if self.admits(&input) {
                    self.sessions.insert(session, messages);
                    self.step(input);
                } else {
                    let refusal =
                        Refusal { reason: RefusalReason::Limit, replicaset: None, detail: DISK_FULL.into() };
                    // Fresh, so there is room; whoever went away needs no answer.
                    let _ = messages.try_send(SessionMessage::Refused(refusal));
                }
            }
            Event::Ask { request, reply } => {
                let id = self.fresh_request();
                let input = Input::Request { id, request };
                if self.admits(&input) {
                    self.replies.insert(id, reply);
                    self.step(input);
                } else {
                    let _ = reply.send(Err(Rejected::DiskFull));
                }
            }
            Event::Restore { backup, restored } => return self.restore(*backup, restored),
            Event::Watch { after, place, started } => {
                let id = self.fresh_request();
                self.watching.insert(id, (started, place));
                self.step(Input::Request { id, request: Request::Watch { after } });
            }
        }
        true
    }

    fn admits(&mut self, input: &Input) -> bool {
        !self.board.may_write(input) || self.room.admits(input)
    }

    /// Begins anew with what the backup holds. Whether to go on.
    fn restore(
        &mut self,
        backup: Backup,
        restored: oneshot::Sender<Result<Restoration, RestoreError>>,
    ) -> bool {
        // What was asked before is answered before.
        if !self.commit() {
            return false;
        }
        let (durable, restoration) = match self.prepare_restore(backup) {
            Ok(prepared) => prepared,
            Err(error) => {
                let _ = restored.send(Err(error));
                return true;
            }
        };
        if let Err(error) = self.storage.replace(&durable) {
            (self.failed)(&error);
            return false;
        }
        tracing::warn!(
            arriving = durable.settings.phase() == Some(MovePhase::Arriving),
            revision = %restoration.revision,
            generation = restoration.generation,
            backup_revision = %restoration.restored.backup_revision,
            "restored from a backup"
        );
        self.metrics.revision(durable.revision);
        self.last_read.count();
        self.feed.restart(durable.revision);
        self.board = Board::new(now(), durable, self.limits.clone());
        // They are of another life. Whoever comes back learns what is true now.
        self.sessions.clear();
        let _ = restored.send(Ok(restoration));
        true
    }

    fn prepare_restore(&self, backup: Backup) -> Result<(Durable, Restoration), RestoreError> {
        let over = self.storage.read()?;
        check_room(self.storage.path(), backup.bytes)?;
        let (durable, restored) = backup.over(Some(&over))?;
        // An earlier run's copy of what is at the other end is nothing to be kept.
        let nothing = over.is_empty() || over.settings.phase() == Some(MovePhase::Arriving);
        let kept_as = if nothing { None } else { Some(keep_backup(&self.storage, &over)?) };
        let restoration = Restoration::of(&durable, restored, kept_as);
        Ok((durable, restoration))
    }

    fn fresh_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn step(&mut self, input: Input) {
        let reads = matches!(input, Input::Request { request: Request::Read, .. });
        if !reads {
            self.last_read.count();
        }
        self.board.step(now(), input);
        let actions: Vec<Action> = std::iter::from_fn(|| self.board.pop_action()).collect();
        // Time goes on with a read, too, and a lock that has run out may change hands by it.
        if reads && actions.iter().any(|action| !matches!(action, Action::Reply { .. })) {
            self.last_read.count();
        }
        for action in actions {
            match action {
                Action::Persist(persist) => self.persists.push(persist),
                Action::Session { session, message } => self.tell(session, message),
                Action::Reply { id, reply } => self.reply(id, reply),
                Action::Publish(update) => self.publish(update),
            }
        }
    }

    /// Makes durable what the events of this batch changed, which sets their answers free. `false` where that failed,
    /// after which nothing may be answered.
    fn commit(&mut self) -> bool {
        self.room.committed();
        let Some(last) = self.persists.last().map(|persist| persist.op) else { return true };
        let start = std::time::Instant::now();
        if let Err(error) = self.storage.commit(&self.persists) {
            (self.failed)(&error);
            return false;
        }
        self.metrics.committed(self.persists.len(), start.elapsed());
        self.persists.clear();
        self.step(Input::Persisted(last));
        self.feed.ring();
        true
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
            let Some((started, place)) = self.watching.remove(&id) else { return };
            // From the last published revision on: the start covers all before.
            let updates = self.feed.follow(Arc::clone(&self.metrics), place);
            // Whoever went away needs no watch.
            let _ = started.send(Watching { start, updates });
        } else if let Some(waiting) = self.replies.remove(&id) {
            // Whoever went away needs no answer.
            let _ = waiting.send(Ok(reply));
        }
    }

    fn publish(&mut self, update: Update) {
        self.metrics.revision(update.revision);
        self.feed.publish(update);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // However the thread ends: nobody may wait for updates that cannot come.
        self.feed.stop();
    }
}

#[cfg(test)]
mod power_loss;
