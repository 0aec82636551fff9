//! The state provider of a world: the stateboard's own machine, its disk, and what it answers.
//!
//! It must not know arbiters or guards, only sessions and requests.

use super::net::Body;
use super::{Due, World};
use baton_board::{
    Action, AppointOutcome, Board, Durable, Identity, Input, Item, Limits, LockView, Persist, Reply, Request,
    RequestId, SessionId, SessionMessage, Write,
};
use baton_core::ids::{ClusterName, Epoch};
use baton_core::record::{MovePhase, Record, Settings};
use baton_core::rules::Rules;
use baton_core::time::Time;
use baton_oracle::{Seen, i6};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The provider's host.
pub const BOARD: &str = "board";

/// How the next write is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextWrite {
    /// As any other.
    Ordinary,
    /// It is applied, and its answer is lost.
    LoseAnswer,
    /// It is lost on the way, and so is its answer.
    LoseRequest,
    /// It stays on the way and arrives when it is let through.
    Delay,
}

/// The board and what surrounds it.
#[derive(Clone, Debug)]
pub struct Provider {
    board: Option<Box<Board>>,
    /// What its disk holds.
    pub durable: Durable,
    /// Which arbiter each session is of.
    sessions: BTreeMap<SessionId, String>,
    /// Connections that are over: what was still under way over them reaches nobody.
    closed: BTreeSet<SessionId>,
    /// When the renewals of each session were sent that are not answered: the board answers them in their order.
    renewals: BTreeMap<SessionId, VecDeque<Time>>,
    asked: BTreeMap<RequestId, String>,
    /// Guards' reads under way: whose, of which run.
    reads: BTreeMap<RequestId, (String, u64)>,
    last_read: u64,
    /// What happens to the next write.
    pub next_write: NextWrite,
    /// Answers that will not be given.
    muted: Vec<RequestId>,
    /// A write that is still on its way.
    delayed: Option<(String, Input)>,
    /// What its lock looked like to everybody, last.
    pub(super) lock: LockView,
    /// Counts its processes.
    run: u64,
    /// What its process asked the disk for, and what is not durable yet.
    unsynced: VecDeque<Persist>,
    /// A copy of what its disk held at some moment.
    pub backup: Option<Box<Durable>>,
    /// What its disk held when it was lost.
    lost: Option<Box<Durable>>,
}

impl Provider {
    /// An empty board.
    #[must_use]
    pub fn new(settings: Settings, rules: Rules) -> Self {
        let cluster = ClusterName::parse("story").expect("a good name");
        let durable = Durable::genesis(Identity { cluster, secret_hash: [0; 32] }, settings);
        Self {
            board: Some(new_board(0, durable.clone(), rules)),
            lock: LockView { epoch: durable.lock.epoch, holder: None, bid: None },
            durable,
            sessions: BTreeMap::new(),
            closed: BTreeSet::new(),
            renewals: BTreeMap::new(),
            asked: BTreeMap::new(),
            reads: BTreeMap::new(),
            // Far above the arbiters' numbers.
            last_read: 1 << 40,
            next_write: NextWrite::Ordinary,
            muted: Vec::new(),
            delayed: None,
            backup: None,
            lost: None,
            run: 0,
            unsynced: VecDeque::new(),
        }
    }

    /// A number for a request that is no arbiter's.
    pub(super) fn next_id(&mut self) -> RequestId {
        self.last_read += 1;
        RequestId(self.last_read)
    }

    /// When the board must be given a tick.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.board.as_ref()?.next_deadline().map(|time| time.0)
    }

    /// Whether its process is there.
    pub(super) fn is_up(&self) -> bool {
        self.board.is_some()
    }

    /// Whether it has lost what it held.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// The durable record.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.durable.records.values().next()
    }

    /// The epoch of the lock.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.durable.lock.epoch
    }
}

fn new_board(now: u64, durable: Durable, rules: Rules) -> Box<Board> {
    Box::new(Board::new(Time(now), durable, Limits::default()).with_rules(rules))
}

impl World {
    /// The board's process ends; its disk stays.
    pub fn stop_provider(&mut self) {
        self.provider.board = None;
        self.provider.run += 1;
        // What was not synced may be on the disk all the same, in the order in which it was written.
        let unsynced = std::mem::take(&mut self.provider.unsynced);
        let kept = self.weather.as_mut().map_or(0, |weather| weather.kept_of(unsynced.len()));
        for persist in unsynced.into_iter().take(kept) {
            self.board_persists(persist);
        }
        self.provider.asked.clear();
        self.provider.renewals.clear();
        self.provider.reads.clear();
        let sessions = std::mem::take(&mut self.provider.sessions);
        self.provider.closed.extend(sessions.keys());
        for arbiter in sessions.into_values().collect::<BTreeSet<_>>() {
            self.provider_connection_lost(&arbiter);
        }
    }

    /// It is back, with what its disk held.
    pub fn start_provider(&mut self) {
        let durable = self.provider.durable.clone();
        let holder = durable.lock.holder.as_ref().map(|(candidate, _)| candidate.clone());
        self.provider.lock = LockView { epoch: durable.lock.epoch, holder, bid: None };
        self.provider.board = Some(new_board(self.now, durable, self.rules));
    }

    /// It is back, where it was away.
    pub fn start_provider_if_down(&mut self) {
        if self.provider.board.is_none() {
            self.start_provider();
            // What became durable as it ended is news to everybody: their watches go on from what they have seen.
            if self.provider.durable.settings.version != self.settings.version {
                self.spread_settings();
            }
        }
    }

    /// The disk is put back to an earlier copy, as a restore from a backup would; the generation rises.
    pub fn restore_provider(&mut self, backup: Durable) {
        self.stop_provider();
        let (over, millis) = (&self.provider.durable, self.unix_millis());
        self.provider.durable = backup.restored_over(Some(over), 0, millis, millis);
        self.start_provider();
        self.spread_settings();
        self.spread_lock();
    }

    /// The disk has nothing any more, and the board begins anew on it. (With the settings of before, as somebody would set it up.)
    /// Not while the state moves, nor twice, nor where somebody's memory is lost too: those who are left may be too few to
    /// be waited for.
    pub fn lose_provider(&mut self) -> bool {
        let held = &self.provider.durable;
        let known = held.records.is_empty() || self.nodes.values().all(|node| node.disk.highest_term.0 > 0);
        if self.provider.lost.is_some() || held.settings.moving.is_some() || !known {
            return false;
        }
        let empty = Durable::genesis(held.identity.clone(), held.settings.clone());
        self.stop_provider();
        self.say(BOARD, "has lost everything");
        self.observe(Seen::OtherState);
        self.provider.lost = Some(Box::new(std::mem::replace(&mut self.provider.durable, empty)));
        self.start_provider();
        self.spread_lock();
        true
    }

    /// What was lost is put back, by hand where nobody can have heeded what came of it meanwhile; else as a restore does.
    pub fn put_provider_back(&mut self) {
        let Some(lost) = self.provider.lost.take() else { return };
        self.stop_provider();
        let over = &self.provider.durable;
        let heeded = over.lock.epoch > lost.lock.epoch || !over.records.is_empty();
        let millis = self.unix_millis();
        self.provider.durable =
            if heeded { lost.restored_over(Some(over), 0, millis, millis) } else { *lost };
        self.say(BOARD, "has what it had lost");
        self.observe(Seen::OtherState);
        self.start_provider();
        self.spread_settings();
        self.spread_lock();
    }

    /// An answer is the answer to one renewal. Counted from a later one that was lost on its way, it would tell of a lock that nobody
    /// gave (seed 20016262).
    pub(super) fn board_hears_renewal(&mut self, from: &str, session: SessionId, sent: Time) {
        if self.provider.board.is_some() && !self.provider.closed.contains(&session) {
            self.provider.renewals.entry(session).or_default().push_back(sent);
        }
        self.board_hears(from, Input::Renew { session });
    }

    pub(super) fn board_hears(&mut self, from: &str, input: Input) {
        if self.provider.board.is_none() {
            return;
        }
        match &input {
            Input::Campaign { session, .. } | Input::Renew { session } | Input::Resign { session, .. }
                if self.provider.closed.contains(session) =>
            {
                return;
            }
            Input::Campaign { session, .. } => {
                self.provider.sessions.insert(*session, from.to_owned());
            }
            Input::Request { id, request } => {
                self.provider.asked.insert(*id, from.to_owned());
                if matches!(request, Request::Appoint { .. }) && self.treat_write(from, *id, &input) {
                    return;
                }
            }
            _ => {}
        }
        self.board_step(input);
    }

    /// Whether the write does not arrive now.
    fn treat_write(&mut self, from: &str, id: RequestId, input: &Input) -> bool {
        match std::mem::replace(&mut self.provider.next_write, NextWrite::Ordinary) {
            NextWrite::Ordinary => false,
            NextWrite::LoseAnswer => {
                self.provider.muted.push(id);
                false
            }
            NextWrite::LoseRequest => true,
            NextWrite::Delay => {
                self.provider.delayed = Some((from.to_owned(), input.clone()));
                true
            }
        }
    }

    /// The delayed write arrives at last, long after its sender stopped waiting.
    pub fn let_write_through(&mut self) {
        if let Some((_, input)) = self.provider.delayed.take() {
            self.say(BOARD, "an old write arrives");
            self.board_step(input);
        }
    }

    pub(super) fn board_reads(&mut self, from: &str, run: u64) {
        let id = self.provider.next_id();
        self.provider.reads.insert(id, (from.to_owned(), run));
        self.board_step(Input::Request { id, request: Request::Read });
    }

    pub(super) fn board_closed(&mut self, session: SessionId) {
        self.provider.sessions.remove(&session);
        self.provider.renewals.remove(&session);
        self.provider.closed.insert(session);
        self.board_step(Input::Closed { session });
    }

    /// The disk is done with what it was asked for first.
    pub(super) fn board_saved(&mut self, run: u64) {
        if run == self.provider.run
            && let Some(persist) = self.provider.unsynced.pop_front()
        {
            let op = persist.op;
            self.board_persists(persist);
            self.board_step(Input::Persisted(op));
        }
    }

    pub(super) fn board_step(&mut self, input: Input) {
        let now = Time(self.now);
        let Some(mut board) = self.provider.board.take() else { return };
        board.step(now, input);
        while let Some(action) = board.pop_action() {
            match action {
                Action::Persist(persist) if self.weather.is_none() => {
                    let op = persist.op;
                    self.board_persists(persist);
                    board.step(now, Input::Persisted(op));
                }
                Action::Persist(persist) => {
                    self.provider.unsynced.push_back(persist);
                    let micros = self.disk_micros(0);
                    self.after(micros, Due::BoardDisk(self.provider.run));
                }
                Action::Session { session, message } => {
                    if let SessionMessage::Granted { predecessor_bound, resumed: false, .. } = &message {
                        self.watch_bound(*predecessor_bound);
                    }
                    let renewed = matches!(message, SessionMessage::Renewed { .. });
                    let sent = self.provider.renewals.get_mut(&session).filter(|_| renewed);
                    let sent = sent.and_then(VecDeque::pop_front);
                    if let Some(arbiter) = self.provider.sessions.get(&session).cloned() {
                        self.send(BOARD, &arbiter, Body::FromBoard(session, message, sent));
                    }
                }
                Action::Reply { id, reply } => self.board_replies(id, reply),
                Action::Publish(update) => {
                    if update.items.iter().any(|item| matches!(item, Item::Settings(_))) {
                        self.spread_settings();
                    }
                    let lock = update.items.into_iter().rev().find_map(|item| match item {
                        Item::Lock(view) => Some(view),
                        _ => None,
                    });
                    if let Some(view) = lock {
                        self.provider.lock = view;
                        self.spread_lock();
                    }
                }
            }
        }
        self.provider.board = Some(board);
    }

    fn board_replies(&mut self, id: RequestId, reply: Reply) {
        if let Some((guard, run)) = self.provider.reads.remove(&id) {
            if let Reply::Snapshot(snapshot) = reply {
                self.send(BOARD, &guard, Body::HasRead(run, snapshot));
            }
            return;
        }
        if let Reply::Appointed(outcome) = &reply {
            let text = match outcome {
                AppointOutcome::Applied(_) => None,
                AppointOutcome::Conflict(_) => Some("refuses the write: another version is there".to_owned()),
                AppointOutcome::StaleEpoch(current) => {
                    Some(format!("refuses the write: the epoch is {current}"))
                }
                AppointOutcome::Refused(refusal) => Some(format!("refuses the write: {refusal}")),
            };
            if let Some(text) = text {
                self.say(BOARD, &text);
            }
        }
        let Some(arbiter) = self.provider.asked.remove(&id) else { return };
        if self.provider.muted.contains(&id) {
            self.say(BOARD, "its answer is lost");
            return;
        }
        self.send(BOARD, &arbiter, Body::Answer(id, Box::new(reply)));
    }

    fn board_persists(&mut self, persist: Persist) {
        let durable = &mut self.provider.durable;
        let left = durable.settings.phase() == Some(MovePhase::Moved);
        durable.revision = persist.revision;
        let mut records = Vec::new();
        let mut before = None;
        for write in persist.writes {
            match &write {
                Write::Record(record) => {
                    before = durable.records.get(&record.replicaset).cloned();
                    records.push(record.clone());
                }
                // Nobody here asks for the past.
                Write::History(_) | Write::HistoryDropped { .. } => continue,
                Write::Lock(_)
                | Write::Member(_)
                | Write::MemberRemoved { .. }
                | Write::Settings(_)
                | Write::Task(_)
                | Write::TaskRemoved(_) => {}
            }
            durable.apply(write);
        }
        let current = durable.lock.epoch;
        if !records.is_empty() {
            self.check(i6::check_left(left));
            self.watch_promises();
            self.watch_needs();
        }
        if let (Some(before), Some(after)) = (before, records.last()) {
            self.watch_replaced(&before, after);
        }
        for record in records {
            let members: Vec<_> = record.in_sync.iter().map(ToString::to_string).collect();
            let master = record.master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
            self.say(
                BOARD,
                format_args!(
                    "records v{}: term {} of {master}, start {}, in sync {} ({})",
                    record.version,
                    record.term,
                    record.start,
                    members.join(","),
                    record.reason
                ),
            );
            self.clients_see_record(&record);
            self.observe(Seen::Recorded { record, current });
        }
    }
}
