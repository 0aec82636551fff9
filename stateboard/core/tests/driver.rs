//! A shell for tests: holds back what is persisted until told, keeps what a disk would keep, and can crash.

use baton_board::{
    Action, AppointOutcome, Board, Candidate, Durable, Identity, Input, Limits, LockSecret, LockToken,
    Persist, Reply, Request, RequestId, Resume, SessionId, SessionMessage, Update,
};
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{Change, Record, Settings};
use baton_core::time::{Span, Time};
use std::sync::Arc;

pub const LEASE: Span = Span::from_secs(4);
pub const LOCK: Span = Span::from_secs(5);

pub struct Driver {
    pub board: Board,
    pub now: Time,
    /// What the disk holds.
    pub disk: Durable,
    /// What was asked to be made durable and is not yet.
    pub waiting: Vec<Persist>,
    /// Whether the disk takes everything at once.
    pub prompt: bool,
    pub told: Vec<(SessionId, SessionMessage)>,
    pub replies: Vec<(RequestId, Reply)>,
    pub published: Vec<Update>,
    next_request: u64,
    next_secret: u128,
}

pub fn genesis() -> Durable {
    let identity = Identity { cluster: ClusterName::parse("orders").expect("a name"), secret_hash: [7; 32] };
    Durable::genesis(identity, Settings { lease_ttl: LEASE, ..Settings::default() })
}

pub fn candidate(name: &str) -> Candidate {
    Candidate {
        coordinator: CoordinatorName::parse(name).expect("a name"),
        address: Endpoint(Arc::from("10.0.0.1:4402")),
    }
}

pub fn record(term: u64, version: u64, master: &str, epoch: Epoch) -> Record {
    let name = |text| InstanceName::parse(text).expect("a name");
    Record {
        replicaset: ReplicaSetName::parse("orders-1").expect("a name"),
        term: Term(term),
        version: Version(version),
        master: Some(name(master)),
        endpoint: None,
        incarnation: None,
        start: Position::Unknown,
        in_sync: [name("a1"), name("a2")].into(),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: None,
        pinned: None,
        forced: false,
        reason: String::new(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch,
        term_generation: 1,
        at_unix_millis: 0,
    }
}

impl Driver {
    pub fn new() -> Self {
        Self::of(Board::new(Time(0), genesis(), Limits::default()))
    }

    pub fn of(board: Board) -> Self {
        Self {
            board,
            now: Time(0),
            disk: genesis(),
            waiting: Vec::new(),
            prompt: true,
            told: Vec::new(),
            replies: Vec::new(),
            published: Vec::new(),
            next_request: 0,
            next_secret: 100,
        }
    }

    pub fn step(&mut self, input: Input) {
        self.board.step(self.now, input);
        self.drain();
        if self.prompt {
            self.persist_all();
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.board.pop_action() {
            match action {
                Action::Persist(persist) => self.waiting.push(persist),
                Action::Session { session, message } => self.told.push((session, message)),
                Action::Reply { id, reply } => self.replies.push((id, reply)),
                Action::Publish(update) => self.published.push(update),
            }
        }
    }

    /// The disk takes the oldest writes, in one commit.
    pub fn persist(&mut self, count: usize) {
        let batch: Vec<Persist> = self.waiting.drain(..count).collect();
        let Some(last) = batch.last().map(|persist| persist.op) else { return };
        for persist in batch {
            self.disk.revision = persist.revision;
            for write in persist.writes {
                self.disk.apply(write);
            }
        }
        self.board.step(self.now, Input::Persisted(last));
        self.drain();
    }

    pub fn persist_all(&mut self) {
        while !self.waiting.is_empty() {
            self.persist(self.waiting.len());
        }
    }

    /// Time passes; deadlines are honoured on the way.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(deadline) = self.board.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.step(Input::Tick);
        }
        self.now = end;
    }

    /// The process dies: what is not on the disk is gone, and so is every connection.
    pub fn crash(&mut self) {
        self.waiting.clear();
        self.board = Board::new(self.now, self.disk.clone(), Limits::default());
    }

    pub fn campaign(&mut self, session: u64, name: &str, resume: Option<Resume>) {
        self.next_secret += 1;
        let secret = LockSecret(self.next_secret);
        self.step(Input::Campaign {
            session: SessionId(session),
            candidate: candidate(name),
            resume,
            secret,
        });
    }

    pub fn renew(&mut self, session: u64) {
        self.step(Input::Renew { session: SessionId(session) });
    }

    pub fn close(&mut self, session: u64) {
        self.step(Input::Closed { session: SessionId(session) });
    }

    pub fn resign(&mut self, session: u64, last_grant_remaining: Span) {
        self.step(Input::Resign { session: SessionId(session), last_grant_remaining });
    }

    /// What this session was told last.
    pub fn last_told(&self, session: u64) -> Option<&SessionMessage> {
        self.told.iter().rev().find(|(to, _)| *to == SessionId(session)).map(|(_, message)| message)
    }

    /// The grant of this session: its token and bound.
    pub fn grant(&self, session: u64) -> Option<(LockToken, Span)> {
        self.told.iter().rev().find_map(|(to, message)| match message {
            SessionMessage::Granted { token, predecessor_bound, .. } if *to == SessionId(session) => {
                Some((*token, *predecessor_bound))
            }
            _ => None,
        })
    }

    pub fn ask(&mut self, request: Request) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.step(Input::Request { id, request });
        id
    }

    pub fn reply(&self, id: RequestId) -> Option<&Reply> {
        self.replies.iter().find(|(of, _)| *of == id).map(|(_, reply)| reply)
    }

    pub fn appoint(&mut self, token: LockToken, record: Record) -> RequestId {
        let expected = (record.version.0 > 1).then(|| Version(record.version.0 - 1));
        let changes = vec![Change { expected, record, decision: "{}".into() }];
        self.ask(Request::Appoint { token, changes })
    }

    pub fn applied(&self, id: RequestId) -> bool {
        matches!(self.reply(id), Some(Reply::Appointed(AppointOutcome::Applied(_))))
    }
}
