//! The state provider in memory: the stateboard's own machine without a process, a disk or a network, with switches
//! for what those do wrong. For tests and simulations; it keeps nothing.

use crate::error::{ProviderError, unless_moving};
use crate::{LockGrant, LockSession, Renewal, StateProvider, WatchEvent, WatchStream};
use async_trait::async_trait;
use baton_board::{
    Action, AppointOutcome, Board, Candidate, Durable, Identity, Input, Limits, LockSecret, LockToken, Reply,
    Request, RequestId, Resume, SessionId, SessionMessage, SettingsOutcome, Snapshot, Status, TaskOutcome,
    Update, WatchStart, WriteOutcome,
};
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision, TaskId, Version};
use baton_core::record::{Change, HistoryEntry, Member, Move, Settings};
use baton_core::task::StoredTask;
use baton_core::time::{Span, Time};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// Updates that a watcher may be behind before its stream is closed.
const WATCH_QUEUE: usize = 1_024;

/// Messages that a session may be behind before its connection is broken.
const SESSION_QUEUE: usize = 64;

/// What goes wrong between a caller and the board. All off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Requests do not arrive: `NotApplied`.
    pub refuse: bool,
    /// Requests are carried out and their answers are lost: `Unknown`.
    pub drop_answers: bool,
    /// Requests take so long to arrive.
    pub delay: Option<Duration>,
}

/// The clock of a board in memory.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// The board and its connections. Providers are its clients.
#[derive(Clone)]
pub struct MemoryBoard(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    clock: Clock,
}

struct Inner {
    board: Board,
    /// What a disk would hold.
    durable: Durable,
    limits: Limits,
    faults: Faults,
    sessions: BTreeMap<SessionId, mpsc::Sender<SessionMessage>>,
    replies: BTreeMap<RequestId, Reply>,
    watchers: Vec<mpsc::Sender<Result<WatchEvent, ProviderError>>>,
    next_id: u64,
    /// Raised by a restart: connections of an earlier life are broken.
    life: u64,
}

impl MemoryBoard {
    /// A board that was never used, on the machine's own monotonic clock.
    #[must_use]
    pub fn new(identity: Identity, settings: Settings) -> Self {
        // Not `Instant` of the standard library: a test that pauses tokio's clock pauses the board with it.
        let start = tokio::time::Instant::now();
        let clock = move || Time(0) + Span::from_duration(start.elapsed());
        Self::with(Durable::genesis(identity, settings), Limits::default(), Arc::new(clock))
    }

    /// A board with contents, limits and clock of the caller's. The clock must not go back.
    #[must_use]
    pub fn with(durable: Durable, limits: Limits, clock: Clock) -> Self {
        let board = Board::new(clock(), durable.clone(), limits.clone());
        Self(Arc::new(Shared {
            inner: Mutex::new(Inner {
                board,
                durable,
                limits,
                faults: Faults::default(),
                sessions: BTreeMap::new(),
                replies: BTreeMap::new(),
                watchers: Vec::new(),
                next_id: 0,
                life: 0,
            }),
            clock,
        }))
    }

    /// A client that shows `identity`.
    #[must_use]
    pub fn client(&self, identity: Identity) -> MemoryProvider {
        MemoryProvider { board: self.clone(), identity }
    }

    /// From now on, for every client.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Kills the board and starts it again from what is durable: connections break, renewals are forgotten.
    pub fn restart(&self) {
        let mut inner = self.lock();
        inner.life += 1;
        inner.sessions.clear();
        inner.replies.clear();
        inner.watchers.clear();
        inner.board = Board::new((self.0.clock)(), inner.durable.clone(), inner.limits.clone());
    }

    /// What a disk would hold.
    #[must_use]
    pub fn durable(&self) -> Durable {
        self.lock().durable.clone()
    }

    /// Puts another state in the place of everything, as a restore does: connections and watches end.
    pub fn replace(&self, durable: Durable) {
        self.lock().durable = durable;
        self.restart();
    }

    /// Hands over what has expired by the clock. Needed only where the clock is the caller's own.
    pub fn tick(&self) {
        self.feed(Input::Tick);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere while the lock was held has failed that test already.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The board, and the time read while nobody else can step it: time must not go back between two steps.
    fn enter(&self) -> (MutexGuard<'_, Inner>, Time) {
        let inner = self.lock();
        let now = (self.0.clock)();
        (inner, now)
    }

    fn feed(&self, input: Input) {
        let (mut inner, now) = self.enter();
        inner.feed(now, input);
    }

    fn next_deadline(&self) -> Option<Span> {
        let deadline = self.lock().board.next_deadline()?;
        Some(deadline.since((self.0.clock)()))
    }
}

impl Inner {
    fn feed(&mut self, now: Time, input: Input) {
        self.board.step(now, input);
        while let Some(action) = self.board.pop_action() {
            match action {
                Action::Persist(persist) => {
                    self.durable.revision = persist.revision;
                    persist.writes.into_iter().for_each(|write| self.durable.apply(write));
                    self.board.step(now, Input::Persisted(persist.op));
                }
                Action::Session { session, message } => {
                    let sent = self.sessions.get(&session).map(|sender| sender.try_send(message));
                    if sent.is_some_and(|sent| sent.is_err()) {
                        // Gone, or not listening: its connection is broken, as a server would break it.
                        self.sessions.remove(&session);
                    }
                }
                Action::Reply { id, reply } => {
                    self.replies.insert(id, reply);
                }
                Action::Publish(update) => self.publish(&update),
            }
        }
    }

    fn publish(&mut self, update: &Update) {
        self.watchers.retain(|watcher| watcher.try_send(Ok(WatchEvent::Update(update.clone()))).is_ok());
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// A client of a [`MemoryBoard`].
#[derive(Clone)]
pub struct MemoryProvider {
    board: MemoryBoard,
    identity: Identity,
}

impl MemoryProvider {
    /// The request without the fault switches, synchronously: for drivers that have no runtime.
    ///
    /// # Errors
    /// `Fatal` where the identity is another cluster's.
    pub fn call(&self, request: Request) -> Result<Reply, ProviderError> {
        let (mut inner, now) = self.board.enter();
        inner.board.identity().check(&self.identity).map_err(crate::FatalError::from)?;
        let id = RequestId(inner.fresh_id());
        inner.feed(now, Input::Request { id, request });
        let reply = inner.replies.remove(&id);
        Ok(reply.expect("memory is durable at once, so every reply is there after its step"))
    }

    async fn ask(&self, request: Request) -> Result<Reply, ProviderError> {
        let faults = self.board.lock().faults.clone();
        if let Some(delay) = faults.delay {
            tokio::time::sleep(delay).await;
        }
        if faults.refuse {
            return Err(ProviderError::NotApplied("the switch `refuse` is on".into()));
        }
        let reply = self.call(request)?;
        if faults.drop_answers {
            return Err(ProviderError::Unknown("the switch `drop_answers` is on".into()));
        }
        Ok(reply)
    }

    fn connect(&self, candidate: &Candidate, resume: Option<Resume>) -> Result<Connection, ProviderError> {
        let (mut inner, now) = self.board.enter();
        inner.board.identity().check(&self.identity).map_err(crate::FatalError::from)?;
        let session = SessionId(inner.fresh_id());
        let (sender, messages) = mpsc::channel(SESSION_QUEUE);
        inner.sessions.insert(session, sender);
        let life = inner.life;
        let secret = LockSecret(rand::random());
        inner.feed(now, Input::Campaign { session, candidate: candidate.clone(), resume, secret });
        Ok(Connection { board: self.board.clone(), session, life, messages })
    }
}

/// One candidate's connection; its end is the session's.
struct Connection {
    board: MemoryBoard,
    session: SessionId,
    life: u64,
    messages: mpsc::Receiver<SessionMessage>,
}

impl Connection {
    /// The next message; `None` where the connection is broken. Plays the board's timer while it waits.
    async fn next(&mut self) -> Option<SessionMessage> {
        loop {
            let deadline = self.board.next_deadline();
            let wait = async {
                match deadline {
                    // A clock of the caller's own may stand still, so a deadline of now must not spin.
                    Some(span) => tokio::time::sleep(span.as_duration().max(Duration::from_millis(1))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                message = self.messages.recv() => return message,
                () = wait => self.board.tick(),
                // Another session may bring a deadline that was not there when this one began to wait.
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    fn send(&self, input: Input) -> bool {
        let (mut inner, now) = self.board.enter();
        let alive = inner.life == self.life;
        if alive {
            inner.feed(now, input);
        }
        alive
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.send(Input::Closed { session: self.session });
        let mut inner = self.board.lock();
        if inner.life == self.life {
            inner.sessions.remove(&self.session);
        }
    }
}

struct MemorySession {
    provider: MemoryProvider,
    candidate: Candidate,
    grant: LockGrant,
    connection: Connection,
}

impl MemorySession {
    async fn renew_once(&mut self) -> Option<Renewal> {
        if !self.connection.send(Input::Renew { session: self.connection.session }) {
            return None;
        }
        loop {
            match self.connection.next().await? {
                SessionMessage::Renewed { ttl } => return Some(Renewal::Granted { ttl }),
                SessionMessage::Lost { current } => return Some(Renewal::Lost { current }),
                SessionMessage::Granted { .. } | SessionMessage::Resigned | SessionMessage::Refused(_) => {}
            }
        }
    }
}

#[async_trait]
impl LockSession for MemorySession {
    fn grant(&self) -> LockGrant {
        self.grant
    }

    async fn renew(&mut self) -> Result<Renewal, ProviderError> {
        let faults = self.provider.board.lock().faults.clone();
        if let Some(delay) = faults.delay {
            tokio::time::sleep(delay).await;
        }
        if faults.refuse {
            return Err(ProviderError::NotApplied("the switch `refuse` is on".into()));
        }
        loop {
            if let Some(renewal) = self.renew_once().await {
                if faults.drop_answers {
                    return Err(ProviderError::Unknown("the switch `drop_answers` is on".into()));
                }
                return Ok(renewal);
            }
            let resume = Resume { token: self.grant.token, only: true };
            self.connection = self.provider.connect(&self.candidate, Some(resume))?;
        }
    }

    async fn resign(mut self: Box<Self>, last_grant_remaining: Span) -> Result<(), ProviderError> {
        let session = self.connection.session;
        if self.connection.send(Input::Resign { session, last_grant_remaining }) {
            while let Some(message) = self.connection.next().await {
                if message == SessionMessage::Resigned {
                    return Ok(());
                }
            }
        }
        Err(ProviderError::NotApplied("the connection was broken before".into()))
    }
}

/// What [`crate::StateProvider`] is asked, answered with the variant that belongs to it.
macro_rules! expect_reply {
    ($reply:expr, $variant:ident) => {
        match $reply {
            Reply::$variant(answer) => Ok(answer),
            other => unreachable!("the board answers a request with its own kind of reply, not {other:?}"),
        }
    };
}

#[async_trait]
impl StateProvider for MemoryProvider {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn join(&self) -> Result<(), ProviderError> {
        self.ask(Request::Status).await.map(|_| ())
    }

    async fn campaign(
        &self,
        candidate: &Candidate,
        resume: Option<LockToken>,
    ) -> Result<Box<dyn LockSession>, ProviderError> {
        let resume = resume.map(|token| Resume { token, only: false });
        loop {
            let mut connection = self.connect(candidate, resume)?;
            while let Some(message) = connection.next().await {
                match message {
                    SessionMessage::Granted { token, ttl, predecessor_bound, resumed } => {
                        let grant = LockGrant { token, ttl, predecessor_bound, resumed };
                        let (provider, candidate) = (self.clone(), candidate.clone());
                        return Ok(Box::new(MemorySession { provider, candidate, grant, connection }));
                    }
                    SessionMessage::Refused(refusal) => {
                        return Err(ProviderError::NotApplied(refusal.to_string()));
                    }
                    SessionMessage::Renewed { .. }
                    | SessionMessage::Lost { .. }
                    | SessionMessage::Resigned => {}
                }
            }
        }
    }

    async fn appoint(&self, token: LockToken, changes: Vec<Change>) -> Result<AppointOutcome, ProviderError> {
        expect_reply!(self.ask(Request::Appoint { token, changes }).await?, Appointed).and_then(unless_moving)
    }

    async fn read(&self) -> Result<Snapshot, ProviderError> {
        expect_reply!(self.ask(Request::Read).await?, Snapshot).map(|snapshot| *snapshot)
    }

    async fn watch(&self, after: Option<Revision>) -> Result<WatchStream, ProviderError> {
        let provider = self.clone();
        let (sender, receiver) = mpsc::channel(1);
        // Checked here, so that a foreign cluster is told at once and not by the stream.
        self.call(Request::Status)?;
        tokio::spawn(follow(provider, after, sender));
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }

    async fn put_member(&self, token: LockToken, member: Member) -> Result<WriteOutcome, ProviderError> {
        let member = Box::new(member);
        expect_reply!(self.ask(Request::PutMember { token, member }).await?, Written).and_then(unless_moving)
    }

    async fn remove_member(
        &self,
        token: LockToken,
        replicaset: &ReplicaSetName,
        instance: &InstanceName,
    ) -> Result<WriteOutcome, ProviderError> {
        let (replicaset, instance) = (replicaset.clone(), instance.clone());
        expect_reply!(self.ask(Request::RemoveMember { token, replicaset, instance }).await?, Written)
            .and_then(unless_moving)
    }

    async fn put_settings(
        &self,
        expected: Version,
        settings: Settings,
    ) -> Result<SettingsOutcome, ProviderError> {
        let settings = Box::new(settings);
        expect_reply!(self.ask(Request::PutSettings { expected, settings }).await?, Settings)
            .and_then(unless_moving)
    }

    async fn put_move(
        &self,
        expected: Version,
        moving: Option<Move>,
    ) -> Result<SettingsOutcome, ProviderError> {
        expect_reply!(self.ask(Request::PutMove { expected, moving }).await?, Settings)
    }

    async fn put_task(
        &self,
        token: LockToken,
        expected: Option<Version>,
        task: StoredTask,
    ) -> Result<TaskOutcome, ProviderError> {
        let task = Box::new(task);
        expect_reply!(self.ask(Request::PutTask { token, expected, task }).await?, Task)
            .and_then(unless_moving)
    }

    async fn remove_task(&self, token: LockToken, id: TaskId) -> Result<WriteOutcome, ProviderError> {
        expect_reply!(self.ask(Request::RemoveTask { token, id }).await?, Written).and_then(unless_moving)
    }

    async fn put_bid(
        &self,
        epoch: Epoch,
        expected: u64,
        bid: Option<Bid>,
    ) -> Result<WriteOutcome, ProviderError> {
        let bid = bid.map(Box::new);
        expect_reply!(self.ask(Request::PutBid { epoch, expected, bid }).await?, Written)
            .and_then(unless_moving)
    }

    async fn history(
        &self,
        replicaset: &ReplicaSetName,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, ProviderError> {
        let replicaset = replicaset.clone();
        expect_reply!(self.ask(Request::History { replicaset, limit }).await?, History)
    }

    async fn status(&self) -> Result<Status, ProviderError> {
        expect_reply!(self.ask(Request::Status).await?, Status).map(|status| *status)
    }
}

/// Follows the board across restarts, as a watcher's own loop.
async fn follow(
    provider: MemoryProvider,
    mut after: Option<Revision>,
    out: mpsc::Sender<Result<WatchEvent, ProviderError>>,
) {
    while let Ok((start, mut updates)) = provider.subscribe(after) {
        for event in start {
            after = Some(revision_of(&event));
            if out.send(Ok(event)).await.is_err() {
                return;
            }
        }
        while let Some(event) = next_or_closed(&mut updates, &out).await {
            after = event.as_ref().ok().map(revision_of).or(after);
            if out.send(event).await.is_err() {
                return;
            }
        }
        if out.is_closed() {
            return;
        }
    }
}

async fn next_or_closed(
    updates: &mut ReceiverStream<Result<WatchEvent, ProviderError>>,
    out: &mpsc::Sender<Result<WatchEvent, ProviderError>>,
) -> Option<Result<WatchEvent, ProviderError>> {
    tokio::select! {
        biased;
        () = out.closed() => None,
        event = updates.next() => event,
    }
}

/// The revision that a watcher knows after an event.
pub(crate) fn revision_of(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Snapshot(snapshot) => snapshot.revision,
        WatchEvent::Update(update) => update.revision,
    }
}

type Updates = ReceiverStream<Result<WatchEvent, ProviderError>>;

impl MemoryProvider {
    /// The start of a watch and its updates from there, without anything between the two.
    fn subscribe(&self, after: Option<Revision>) -> Result<(Vec<WatchEvent>, Updates), ProviderError> {
        let (mut inner, now) = self.board.enter();
        inner.board.identity().check(&self.identity).map_err(crate::FatalError::from)?;
        let id = RequestId(inner.fresh_id());
        inner.feed(now, Input::Request { id, request: Request::Watch { after } });
        let start = match inner.replies.remove(&id) {
            Some(Reply::Watching(WatchStart::Snapshot(snapshot))) => vec![WatchEvent::Snapshot(snapshot)],
            Some(Reply::Watching(WatchStart::Updates(updates))) => {
                updates.into_iter().map(WatchEvent::Update).collect()
            }
            other => unreachable!("the board answers a watch with its start, not {other:?}"),
        };
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE);
        inner.watchers.push(sender);
        Ok((start, ReceiverStream::new(receiver)))
    }
}
