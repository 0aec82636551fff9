//! What goes into the board and what comes out. Closed enums: the shell matches every case.

use crate::lock::{Candidate, LockSecret, LockToken};
use crate::outcome::{AppointOutcome, Refusal, SettingsOutcome, TaskOutcome, WriteOutcome};
use crate::state::{DurableLock, Snapshot, Status};
use crate::watch::{Update, WatchStart};
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, InstanceName, OpId, ReplicaSetName, Revision, TaskId, Term, Version};
use baton_core::record::{Change, HistoryEntry, Member, Move, Record, Settings};
use baton_core::task::StoredTask;
use baton_core::time::Span;

/// One connection of a candidate. The shell's number; unique while the connection is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// One request that waits for its reply. The shell's number; unique while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What a candidate held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resume {
    /// Its epoch and secret.
    pub token: LockToken,
    /// Whether it wants its own epoch or nothing; otherwise it waits in line where it cannot resume.
    pub only: bool,
}

/// What the shell feeds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A candidate wants the lock. Answered by [`SessionMessage::Granted`] when it is its turn.
    Campaign {
        /// Its connection.
        session: SessionId,
        /// Who.
        candidate: Candidate,
        /// What it held before.
        resume: Option<Resume>,
        /// Fresh randomness, used if an epoch is given.
        secret: LockSecret,
    },
    /// The holder renews.
    Renew {
        /// Its connection.
        session: SessionId,
    },
    /// The holder gives the lock up, or a waiter its place.
    Resign {
        /// Its connection.
        session: SessionId,
        /// How long the last grant that it gave still lives.
        last_grant_remaining: Span,
    },
    /// The connection ended.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// A request.
    Request {
        /// Its number.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// Everything up to this operation is durable.
    Persisted(OpId),
    /// A deadline has come.
    Tick,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Change records, all or none. Answered by [`Reply::Appointed`].
    Appoint {
        /// The asker's lock.
        token: LockToken,
        /// One for each set.
        changes: Vec<Change>,
    },
    /// Everything. Answered by [`Reply::Snapshot`].
    Read,
    /// Updates from now on. Answered by [`Reply::Watching`].
    Watch {
        /// The last revision that the watcher knows.
        after: Option<Revision>,
    },
    /// Add or change a member; its `version` is set here. Answered by [`Reply::Written`].
    PutMember {
        /// The asker's lock.
        token: LockToken,
        /// The member.
        member: Box<Member>,
    },
    /// Remove a member that is neither master nor in sync. Answered by [`Reply::Written`].
    RemoveMember {
        /// The asker's lock.
        token: LockToken,
        /// Its set.
        replicaset: ReplicaSetName,
        /// Its name.
        instance: InstanceName,
    },
    /// Replace the settings; their `version` is set here. Answered by [`Reply::Settings`].
    PutSettings {
        /// The version that must be there.
        expected: Version,
        /// The settings.
        settings: Box<Settings>,
    },
    /// One step of a move of the state. Answered by [`Reply::Settings`].
    PutMove {
        /// The version of the settings that must be there.
        expected: Version,
        /// Where this end stands then.
        moving: Option<Move>,
    },
    /// Add or change a task; its `version` is set here. Answered by [`Reply::Task`].
    PutTask {
        /// The asker's lock.
        token: LockToken,
        /// The version that must be there; `None`: there must be no such task.
        expected: Option<Version>,
        /// The task.
        task: Box<StoredTask>,
    },
    /// Forget a task. Answered by [`Reply::Written`].
    RemoveTask {
        /// The asker's lock.
        token: LockToken,
        /// Which.
        id: TaskId,
    },
    /// Put a call or a bid beside the lock, or take away what stands there. Answered by [`Reply::Written`].
    PutBid {
        /// In which epoch.
        epoch: Epoch,
        /// The number of what must stand there; 0: nothing.
        expected: u64,
        /// What shall; its `number` is set here.
        bid: Option<Box<Bid>>,
    },
    /// Past appointments, newest first. Answered by [`Reply::History`].
    History {
        /// Of which set.
        replicaset: ReplicaSetName,
        /// At most so many.
        limit: usize,
    },
    /// A glance. Answered by [`Reply::Status`].
    Status,
}

/// What the shell carries out, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make durable, then feed [`Input::Persisted`].
    Persist(Persist),
    /// Tell a candidate. Everything it rests on is durable.
    Session {
        /// Which.
        session: SessionId,
        /// What.
        message: SessionMessage,
    },
    /// Answer a request. Everything it rests on is durable.
    Reply {
        /// Which.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Tell every watcher. It is durable.
    Publish(Update),
}

/// One atomic write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persist {
    /// Its number; numbers start again whenever nothing is outstanding.
    pub op: OpId,
    /// The revision that it makes.
    pub revision: Revision,
    /// What to write.
    pub writes: Vec<Write>,
}

/// One thing to write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The lock.
    Lock(DurableLock),
    /// A record.
    Record(Box<Record>),
    /// A line of history; its key is the set and the term.
    History(Box<HistoryEntry>),
    /// A line of history that fell out of its bound.
    HistoryDropped {
        /// Its set.
        replicaset: ReplicaSetName,
        /// Its term.
        term: Term,
    },
    /// A member.
    Member(Box<Member>),
    /// A member that is gone.
    MemberRemoved {
        /// Its set.
        replicaset: ReplicaSetName,
        /// Its name.
        instance: InstanceName,
    },
    /// The settings.
    Settings(Box<Settings>),
    /// A task.
    Task(Box<StoredTask>),
    /// A task that is gone.
    TaskRemoved(TaskId),
}

/// What a candidate is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionMessage {
    /// The lock is yours.
    Granted {
        /// Your epoch and your secret.
        token: LockToken,
        /// For how long without a renewal, counted by the board from before this was sent. The holder does not know
        /// that moment, so it may count on nothing before its first renewal is answered.
        ttl: Span,
        /// How long to wait before an earlier holder can surely not believe in its lock any more.
        predecessor_bound: Span,
        /// Whether it is the epoch that you held before.
        resumed: bool,
    },
    /// Your lock lives on.
    Renewed {
        /// For how long, counted from before the renewal was sent.
        ttl: Span,
    },
    /// The lock is not yours.
    Lost {
        /// The epoch now.
        current: Epoch,
    },
    /// You gave it up.
    Resigned,
    /// You may not wait in line.
    Refused(Refusal),
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// To [`Request::Appoint`].
    Appointed(AppointOutcome),
    /// To [`Request::Read`].
    Snapshot(Box<Snapshot>),
    /// To [`Request::Watch`].
    Watching(WatchStart),
    /// To [`Request::PutMember`], [`Request::RemoveMember`], [`Request::RemoveTask`] and [`Request::PutBid`].
    Written(WriteOutcome),
    /// To [`Request::PutSettings`] and [`Request::PutMove`].
    Settings(SettingsOutcome),
    /// To [`Request::PutTask`].
    Task(TaskOutcome),
    /// To [`Request::History`].
    History(Vec<HistoryEntry>),
    /// To [`Request::Status`].
    Status(Box<Status>),
}
