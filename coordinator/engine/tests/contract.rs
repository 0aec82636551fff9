//! What every engine owes its guard, asked of a real server of each kind: it starts fenced, is promoted, fenced, cut off and made to
//! follow, tells its position and whose data it has, and says what stands in the way of a connection.
//!
//! An engine's own suite has what only that engine does.

use crate::support::{PATIENCE, gone, signal, until};
use baton_core::engine::{DataState, EngineCommand, EngineOutcome, Probe};
use baton_core::ids::{DataId, Endpoint, Term};
use baton_core::position::Position;
use baton_engine::{ConnectError, EngineConnection, EngineKind, WriteCheck};
use rustix::process::Signal;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// A real server that is fenced when it starts; its processes end with it.
pub(crate) trait Server: Sized {
    /// The password of the coordinator's user.
    const PASSWORD: &'static str;

    /// One that was just made. It runs, and nobody has written to it.
    async fn made(name: &str) -> Self;
    /// As a coordinator reaches it: here, with this password.
    fn kind_at(&self, endpoint: &Endpoint, password: Option<&str>) -> Box<dyn EngineKind>;
    /// Where it listens.
    fn endpoint(&self) -> Endpoint;
    /// Its main process.
    fn pid(&self) -> u32;
    /// Its processes end in no order.
    fn kill(&mut self);
    /// It is started again, as a deadman starts it.
    async fn start(&mut self);
    /// Whatever would answer over the connections that there are.
    async fn processes(&self) -> Vec<u32>;
    /// Somebody makes it writable who knows nothing of a guard.
    async fn open_by_hand(&mut self);
    /// A client writes a number.
    async fn write(&self, number: u32) -> Result<(), String>;
    /// How many numbers a client reads.
    async fn count(&self) -> usize;

    fn kind(&self) -> Box<dyn EngineKind> {
        self.kind_at(&self.endpoint(), Some(Self::PASSWORD))
    }

    async fn connect(&self) -> Box<dyn EngineConnection> {
        self.kind().connect(PATIENCE).await.expect("connected")
    }

    async fn run(&self, command: EngineCommand) -> Probe {
        match self.connect().await.execute(&command, PATIENCE).await {
            EngineOutcome::Done(probe) => probe,
            other => panic!("{command:?}: {other:?}"),
        }
    }

    async fn probe(&self) -> Probe {
        self.run(EngineCommand::Probe).await
    }

    async fn promote(&self, term: u64) -> Probe {
        self.run(EngineCommand::Promote { term: Term(term), data_id: id(), ack_quorum: 0 }).await
    }

    /// It follows `master`, and the link is up.
    async fn follow(&self, master: &Self) -> Probe {
        self.run(EngineCommand::Follow { endpoint: master.endpoint() }).await;
        until("a link", || async { Some(self.probe().await).filter(|probe| probe.link_up) }).await
    }

    /// It holds so much.
    async fn holds(&self, position: Position) -> Probe {
        let held = || async { Some(self.probe().await).filter(|probe| probe.position.holds(&position)) };
        until("a position", held).await
    }

    /// Clients read so many numbers. (What it holds it may not show at once.)
    async fn shows(&self, count: usize) {
        until("what was written", || async { (self.count().await == count).then_some(()) }).await;
    }
}

pub(crate) fn id() -> DataId {
    DataId("orders-1".into())
}

pub(crate) fn marked(term: u64) -> DataState {
    DataState::Marked { id: id(), term: Term(term) }
}

/// A port that is free now, below the range that the kernel gives to clients; processes of one test run begin elsewhere each.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 11_000 + u16::try_from(std::process::id() % 100).expect("below 100") * 200;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 200;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A master at term 1 with a number, and two replicas that have it.
async fn three<S: Server>() -> (S, S, S) {
    let (a, b, c) = (S::made("a1").await, S::made("a2").await, S::made("a3").await);
    a.promote(1).await;
    a.write(1).await.expect("a master takes writes");
    for replica in [&b, &c] {
        replica.follow(&a).await;
        replica.shows(1).await;
    }
    (a, b, c)
}

pub(crate) async fn what_was_just_made_is_fenced_and_empty<S: Server>() {
    let server = S::made("a1").await;
    let probe = server.probe().await;
    assert_eq!((probe.writable, probe.follows, probe.data), (false, None, DataState::Empty));
    assert!(server.write(1).await.is_err());
    let check = server.connect().await.check_write(PATIENCE).await;
    assert!(matches!(check, WriteCheck::Refused(_)), "{check:?}");
}

pub(crate) async fn promotion_marks_and_opens<S: Server>() {
    let server = S::made("a1").await;
    let promoted = server.promote(7).await;
    assert_eq!((promoted.writable, promoted.data), (true, marked(7)));
    assert_eq!(promoted.position.term(), Some(Term(7)));
    server.write(1).await.expect("a master takes writes");
    let check = server.connect().await.check_write(PATIENCE).await;
    assert!(matches!(check, WriteCheck::Done(_)), "{check:?}");
}

pub(crate) async fn whatever_it_was_it_starts_fenced<S: Server>() {
    let mut server = S::made("a1").await;
    server.promote(3).await;
    server.write(1).await.expect("a master takes writes");
    let before = server.probe().await;
    server.kill();
    server.start().await;
    let after = server.probe().await;
    assert_eq!((after.writable, after.follows, after.data), (false, None, marked(3)));
    assert_ne!(after.run, before.run);
    server.shows(1).await;
    assert!(server.write(2).await.is_err());
}

pub(crate) async fn a_fenced_master_takes_no_writes_and_others_get_all_of_it<S: Server>() {
    let (a, b, c) = three::<S>().await;
    a.write(2).await.expect("a master takes writes");
    let fenced = a.run(EngineCommand::Fence).await;
    assert_eq!((fenced.writable, fenced.follows, fenced.data), (false, None, marked(1)));
    assert!(a.write(3).await.is_err());
    for replica in [&b, &c] {
        replica.holds(fenced.position).await;
        replica.shows(2).await;
    }
}

pub(crate) async fn whoever_is_cut_off_stands_still<S: Server>() {
    let (a, b, c) = three::<S>().await;
    let cut = b.run(EngineCommand::Fence).await;
    assert_eq!((cut.follows, cut.link_up, cut.writable), (None, false, false));
    a.write(2).await.expect("a master takes writes");
    c.shows(2).await;
    let ahead = c.probe().await.position;
    assert!(ahead.holds(&cut.position) && !cut.position.holds(&ahead));
    assert_eq!((b.probe().await.position, b.count().await), (cut.position, 1));
    let fenced = a.run(EngineCommand::Fence).await.position;
    b.promote(2).await;
    assert!(b.probe().await.position.holds(&fenced), "a later term is ahead of any position");
}

pub(crate) async fn a_failover_loses_nothing_and_restarts_nobody<S: Server>() {
    let (mut a, b, c) = three::<S>().await;
    a.write(2).await.expect("a master takes writes");
    let last = a.probe().await.position;
    b.holds(last).await;
    a.kill();
    let cut = [b.run(EngineCommand::Fence).await, c.run(EngineCommand::Fence).await];
    for probe in &cut {
        assert_eq!((&probe.follows, probe.link_up, &probe.data), (&None, false, &marked(1)));
    }
    let promoted = b.promote(2).await;
    assert_eq!((promoted.data, &promoted.run), (marked(2), &cut[0].run));
    b.write(3).await.expect("a master takes writes");
    let linked = c.follow(&b).await;
    assert_eq!((linked.follows, linked.run), (Some(b.endpoint()), cut[1].run.clone()));
    c.shows(3).await;
    until("the mark of the term", || async { (c.probe().await.data == marked(2)).then_some(()) }).await;
}

/// It comes home with a number that nobody else has.
pub(crate) async fn an_old_master_comes_home_to_the_new_history<S: Server>() {
    let (mut a, b, _c) = three::<S>().await;
    b.run(EngineCommand::Fence).await;
    a.write(2).await.expect("it knows of nothing");
    a.kill();
    b.promote(2).await;
    b.write(3).await.expect("a master takes writes");
    b.write(4).await.expect("a master takes writes");
    a.start().await;
    let order = EngineCommand::Follow { endpoint: b.endpoint() };
    if let EngineOutcome::Refused(_) = a.connect().await.execute(&order, PATIENCE).await {
        // What it has to do first is done as it starts.
        gone(a.pid()).await;
        a.kill();
        a.start().await;
    }
    a.follow(&b).await;
    a.shows(3).await;
    until("the mark of the term", || async { (a.probe().await.data == marked(2)).then_some(()) }).await;
    assert!(!a.probe().await.writable);
}

pub(crate) async fn data_is_told_apart_from_none<S: Server>() {
    let mut server = S::made("a1").await;
    server.open_by_hand().await;
    let opened = server.probe().await;
    assert_eq!((opened.writable, opened.data), (true, DataState::Empty));
    server.write(1).await.expect("somebody's hand opened it");
    assert_eq!(server.probe().await.data, DataState::Unmarked);
}

pub(crate) async fn passwords_are_told_apart<S: Server>() {
    let server = S::made("a1").await;
    let with = |password| server.kind_at(&server.endpoint(), password);
    let none = with(None).connect(PATIENCE).await.err();
    assert!(matches!(none, Some(ConnectError::PasswordNeeded { .. })), "{none:?}");
    let wrong = with(Some("wrong")).connect(PATIENCE).await.err();
    assert!(matches!(wrong, Some(ConnectError::PasswordRefused { .. })), "{wrong:?}");
    with(Some(S::PASSWORD)).connect(PATIENCE).await.expect("it is the right one");
}

pub(crate) async fn nobody_and_a_stranger_are_named<S: Server>() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = S::made("a1").await;
    let at = |port: u16| server.kind_at(&Endpoint(format!("127.0.0.1:{port}").into()), Some(S::PASSWORD));
    let missing = at(free_port()).connect(PATIENCE).await.err();
    assert!(matches!(missing, Some(ConnectError::Missing { .. })), "{missing:?}");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        // Until it has had enough.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let strange = at(port).connect(Duration::from_secs(2)).await.err();
    let named = matches!(strange, Some(ConnectError::NotThisKind { .. } | ConnectError::TimedOut { .. }));
    assert!(named, "{strange:?}");
}

pub(crate) async fn of_a_stopped_one_every_outcome_is_unknown<S: Server>() {
    let server = S::made("a1").await;
    server.promote(1).await;
    let mut connection = server.connect().await;
    let stopped = server.processes().await;
    for pid in &stopped {
        signal(*pid, Signal::STOP);
    }
    let outcome = connection.execute(&EngineCommand::Fence, Duration::from_millis(300)).await;
    assert!(matches!(outcome, EngineOutcome::Unknown(_)), "{outcome:?}");
    assert!(connection.is_closed());
    let refused = server.kind().connect(Duration::from_millis(300)).await.err();
    assert!(matches!(refused, Some(ConnectError::TimedOut { .. })), "{refused:?}");
    for pid in stopped {
        signal(pid, Signal::CONT);
    }
    let later = connection.execute(&EngineCommand::Probe, PATIENCE).await;
    assert!(matches!(later, EngineOutcome::Unknown(_)), "what is closed stays closed: {later:?}");
    assert!(matches!(connection.check_write(PATIENCE).await, WriteCheck::Unknown(_)));
}

/// The whole of it for one kind of server.
macro_rules! contract {
    ($server:ty: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::contract::$name::<$server>().await;
            }
        )*
    };
    ($server:ty) => {
        crate::contract::contract! { $server:
            what_was_just_made_is_fenced_and_empty,
            promotion_marks_and_opens,
            whatever_it_was_it_starts_fenced,
            a_fenced_master_takes_no_writes_and_others_get_all_of_it,
            whoever_is_cut_off_stands_still,
            a_failover_loses_nothing_and_restarts_nobody,
            an_old_master_comes_home_to_the_new_history,
            data_is_told_apart_from_none,
            passwords_are_told_apart,
            nobody_and_a_stranger_are_named,
            of_a_stopped_one_every_outcome_is_unknown,
        }
    };
}
pub(crate) use contract;
