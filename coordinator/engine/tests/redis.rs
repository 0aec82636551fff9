//! The Redis engine against real servers, three where it takes three.

use crate::contract::{self, contract, free_port, id, marked};
use crate::support::{KillOnDrop, PATIENCE, until};
use baton_core::engine::{DataState, EngineCommand, EngineOutcome, Probe};
use baton_core::ids::{DataId, Endpoint, Term};
use baton_core::position::Position;
use baton_engine::redis::Redis;
use baton_engine::{ConnectError, EngineConnection, EngineKind, WriteCheck};
use std::fs;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server under its own directory; it can be stopped and started again.
struct Server {
    dir: TempDir,
    port: u16,
    options: Vec<String>,
    password: Option<&'static str>,
    process: Option<(std::process::Child, KillOnDrop)>,
    kind: Redis,
}

impl Server {
    /// Starts one behind the boot-time fence.
    async fn fenced(options: &[&str]) -> Self {
        let mut server = Self::new(options);
        server.start_fenced();
        server.wait().await;
        server
    }

    fn new(options: &[&str]) -> Self {
        let (dir, port) = (TempDir::new().expect("a directory"), free_port());
        let options = options.iter().map(|word| (*word).to_owned()).collect();
        let kind = Redis::new(format!("127.0.0.1:{port}"), None);
        Self { dir, port, options, password: None, process: None, kind }
    }

    fn redis_at(&self, endpoint: &Endpoint, password: Option<&str>) -> Redis {
        let file = password.map(|password| {
            let file = self.dir.path().join(format!("password-{password}"));
            fs::write(&file, format!("{password}\n")).expect("written");
            file
        });
        Redis::new(endpoint.0.to_string(), file)
    }

    fn command(&self) -> Vec<String> {
        let fixed = [
            "redis-server".to_owned(),
            "--port".into(),
            self.port.to_string(),
            "--dir".into(),
            self.dir.path().display().to_string(),
            "--save".into(),
            String::new(),
            "--repl-diskless-sync-delay".into(),
            "0".into(),
        ];
        fixed.into_iter().chain(self.options.iter().cloned()).collect()
    }

    fn start_fenced(&mut self) {
        let command = self.kind.fenced_command(&self.command());
        self.start(&command);
    }

    fn start(&mut self, command: &[String]) {
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let kill = KillOnDrop(child.id());
        self.process = Some((child, kill));
    }

    async fn wait(&self) {
        until("a server", || async { self.kind.connect(PATIENCE).await.ok() }).await;
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    fn kill(&mut self) {
        let (mut child, kill) = self.process.take().expect("it runs");
        drop(kill);
        child.wait().expect("reaped");
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint(format!("127.0.0.1:{}", self.port).into())
    }

    async fn connect(&self) -> Box<dyn EngineConnection> {
        self.kind.connect(PATIENCE).await.expect("connected")
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

    /// Follows `master` and waits until the link is up.
    async fn follow(&self, master: &Self) -> Probe {
        self.run(EngineCommand::Follow { endpoint: master.endpoint() }).await;
        let linked = || async { Some(self.probe().await).filter(|probe| probe.link_up) };
        until("a link", linked).await
    }

    /// What a client gets for one line.
    async fn client(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("connected");
        if let Some(password) = self.password {
            stream.write_all(format!("AUTH {password}\r\n").as_bytes()).await.expect("written");
            let mut granted = [0; 5];
            stream.read_exact(&mut granted).await.expect("an answer");
            assert_eq!(&granted, b"+OK\r\n");
        }
        stream.write_all(format!("{line}\r\n").as_bytes()).await.expect("written");
        let mut answer = vec![0; 65_536];
        let length = stream.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    async fn full_copies(&self) -> String {
        let stats = self.client("INFO stats").await;
        stats.lines().find(|line| line.starts_with("sync_full:")).expect("counted").trim().to_owned()
    }
}

impl contract::Server for Server {
    const PASSWORD: &'static str = "s3cret";

    async fn made(_name: &str) -> Self {
        let kept = ["--appendonly", "yes", "--appendfsync", "always", "--requirepass", Self::PASSWORD];
        let mut server = Self::new(&kept);
        server.password = Some(Self::PASSWORD);
        server.kind = server.redis_at(&server.endpoint(), Some(Self::PASSWORD));
        server.start_fenced();
        server.wait().await;
        server
    }

    fn kind_at(&self, endpoint: &Endpoint, password: Option<&str>) -> Box<dyn EngineKind> {
        Box::new(self.redis_at(endpoint, password))
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint()
    }

    fn pid(&self) -> u32 {
        self.pid()
    }

    fn kill(&mut self) {
        self.kill();
    }

    async fn start(&mut self) {
        self.start_fenced();
        self.wait().await;
    }

    async fn processes(&self) -> Vec<u32> {
        vec![self.pid()]
    }

    async fn open_by_hand(&mut self) {
        assert_eq!(self.client("REPLICAOF NO ONE").await, "+OK\r\n");
    }

    async fn write(&self, number: u32) -> Result<(), String> {
        let answer = self.client(&format!("RPUSH numbers {number}")).await;
        if answer.starts_with(':') { Ok(()) } else { Err(answer) }
    }

    async fn count(&self) -> usize {
        let answer = self.client("LLEN numbers").await;
        answer.trim_start_matches(':').trim_end().parse().expect("a number")
    }
}

contract! { Server }

/// A master at term 1 with two replicas that hold everything.
async fn three() -> (Server, Server, Server) {
    let (a, b, c) = (Server::fenced(&[]).await, Server::fenced(&[]).await, Server::fenced(&[]).await);
    a.promote(1).await;
    assert_eq!(a.client("SET x 1").await, "+OK\r\n");
    b.follow(&a).await;
    c.follow(&a).await;
    (a, b, c)
}

#[tokio::test]
async fn it_starts_fenced_whatever_its_configuration_says() {
    let mut server = Server::new(&[]);
    let file = server.dir.path().join("redis.conf");
    let text = "replicaof 192.0.2.1 6379\nreplica-read-only no\nreplica-serve-stale-data no\ndaemonize yes\n";
    fs::write(&file, text).expect("written");
    let mut command = server.command();
    command.insert(1, file.display().to_string());
    let command = server.kind.fenced_command(&command);
    server.start(&command);
    server.wait().await;
    let probe = server.probe().await;
    assert_eq!((probe.writable, probe.follows, probe.data), (false, None, DataState::Empty));
    assert!(server.client("SET x 1").await.starts_with("-READONLY"));
    assert_eq!(server.connect().await.process_id(), Some(server.pid()), "it did not leave its parent");
}

#[tokio::test]
async fn a_fence_stops_writes_and_offset_and_keeps_reads_and_replicas() {
    let (a, b, c) = three().await;
    a.client("SET y 1").await;
    let fenced = a.run(EngineCommand::Fence).await;
    assert_eq!((fenced.writable, fenced.follows.clone()), (false, None));
    assert_eq!(fenced.data, marked(1));
    assert!(a.client("SET z 1").await.starts_with("-READONLY"));
    assert_eq!(a.client("GET y").await, "$1\r\n1\r\n");
    for replica in [&b, &c] {
        let drained =
            || async { Some(replica.probe().await).filter(|probe| probe.position == fenced.position) };
        let probe = until("the rest of the data", drained).await;
        assert!(probe.link_up && probe.follows == Some(a.endpoint()));
    }
    let caught_up = || async { Some(a.probe().await).filter(|probe| probe.replicas_caught_up == 2) };
    assert_eq!(until("both acknowledgements", caught_up).await.position, fenced.position);
}

#[tokio::test]
async fn a_failover_by_severing_costs_no_full_copy() {
    let (mut a, b, c) = three().await;
    a.client("SET y 1").await;
    let held = || async { (b.client("GET y").await == "$1\r\n1\r\n").then_some(()) };
    until("replication", held).await;
    a.kill();
    for replica in [&b, &c] {
        let severed = replica.run(EngineCommand::Fence).await;
        assert_eq!((severed.follows, severed.link_up, severed.data), (None, false, marked(1)));
    }
    let promoted = b.promote(2).await;
    assert_eq!(promoted.data, marked(2));
    assert_eq!(b.full_copies().await, "sync_full:0");
    let linked = c.follow(&b).await;
    assert_eq!(linked.follows, Some(b.endpoint()));
    assert_eq!(b.full_copies().await, "sync_full:0");
    let marked_too = || async { Some(c.probe().await).filter(|probe| probe.data == marked(2)) };
    until("the new term's mark", marked_too).await;
}

#[tokio::test]
async fn empty_foreign_and_damaged_marks_are_told_apart() {
    let server = Server::fenced(&[]).await;
    let empty = server.probe().await;
    assert_eq!((empty.data, empty.position.term()), (DataState::Empty, Some(Term(0))));
    server.client("REPLICAOF NO ONE").await;
    server.client("SET x 1").await;
    assert_eq!(server.probe().await.data, DataState::Unmarked);
    server.client("SET baton:identity nonsense").await;
    assert_eq!(server.probe().await.data, DataState::Unmarked);
    server.client("DEL baton:identity").await;
    server.client("LPUSH baton:identity 1").await;
    assert_eq!(server.probe().await.data, DataState::Unmarked);
    server.client("DEL baton:identity").await;
    server.client("SET baton:identity \"4 other\"").await;
    let foreign = DataState::Marked { id: DataId("other".into()), term: Term(4) };
    assert_eq!(server.probe().await.data, foreign);
}

#[tokio::test]
async fn a_users_flushall_does_not_take_the_identity() {
    let (a, b, _c) = three().await;
    assert!(matches!(a.connect().await.check_write(PATIENCE).await, WriteCheck::Done(_)));
    assert_eq!(a.client("FLUSHALL").await, "+OK\r\n");
    assert_eq!(a.probe().await.data, marked(1));
    let flushed = || async { Some(b.probe().await).filter(|probe| probe.data == DataState::Empty) };
    until("the flush at a replica", flushed).await;
    assert!(matches!(a.connect().await.check_write(PATIENCE).await, WriteCheck::Done(_)));
    assert_eq!(a.client("GET baton:identity").await, "$10\r\n1 orders-1\r\n");
    let restored = || async { Some(b.probe().await).filter(|probe| probe.data == marked(1)) };
    until("the mark at a replica", restored).await;
}

#[tokio::test]
async fn the_write_check_is_refused_where_nothing_may_be_written() {
    let server = Server::fenced(&[]).await;
    let refused = server.connect().await.check_write(PATIENCE).await;
    assert!(matches!(refused, WriteCheck::Refused(_)), "{refused:?}");
    server.client("REPLICAOF NO ONE").await;
    let unmarked = server.connect().await.check_write(PATIENCE).await;
    assert!(matches!(&unmarked, WriteCheck::Refused(what) if what.contains("NOMARK")), "{unmarked:?}");
    assert_eq!(server.probe().await.data, DataState::Empty, "the check left nothing behind");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_named() {
    // Its own default, ten thousand above, lies among the ports that the kernel gives to clients.
    let bus = free_port().to_string();
    let mut cluster = Server::new(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    cluster.start(&cluster.command());
    let found = || async {
        cluster
            .kind
            .connect(PATIENCE)
            .await
            .err()
            .filter(|error| !matches!(error, ConnectError::Missing { .. }))
    };
    let mode = until("the cluster node", found).await;
    assert!(matches!(mode, ConnectError::WrongMode { .. }), "{mode:?}");
}

#[tokio::test]
async fn a_replica_that_takes_a_copy_holds_nothing() {
    let (a, b) = (Server::fenced(&["--rdb-key-save-delay", "20000"]).await, Server::fenced(&[]).await);
    a.promote(1).await;
    a.client("DEBUG POPULATE 2000").await;
    let started = b.run(EngineCommand::Follow { endpoint: a.endpoint() }).await;
    assert!(!started.link_up && !started.writable);
    let copying = || async { Some(b.probe().await).filter(|probe| probe.position == Position::Unknown) };
    let probe = until("a copy under way", copying).await;
    assert_eq!((probe.data, probe.link_up), (DataState::Empty, false));
    assert_eq!(probe.follows, Some(a.endpoint()));
}

#[tokio::test]
async fn a_promotion_whose_mark_is_refused_is_taken_back() {
    let server = Server::fenced(&["--min-replicas-to-write", "1"]).await;
    let command = EngineCommand::Promote { term: Term(1), data_id: id(), ack_quorum: 0 };
    let outcome = server.connect().await.execute(&command, PATIENCE).await;
    assert!(matches!(&outcome, EngineOutcome::Refused(what) if what.contains("NOREPLICAS")), "{outcome:?}");
    let probe = server.probe().await;
    assert_eq!((probe.writable, probe.follows, probe.data), (false, None, DataState::Empty));
}

#[tokio::test]
async fn a_sentinel_that_watches_is_seen() {
    let server = Server::fenced(&[]).await;
    let mut connection = server.kind.connect(PATIENCE).await.expect("it runs");
    assert_eq!(connection.other_manager(PATIENCE).await, None);
    // As a Sentinel does: a name, and a subscription.
    let mut sentinel = TcpStream::connect(("127.0.0.1", server.port)).await.expect("it listens");
    let words = "CLIENT SETNAME sentinel-0123abcd-pubsub\r\nSUBSCRIBE __sentinel__:hello\r\n";
    sentinel.write_all(words.as_bytes()).await.expect("it takes requests");
    let mut answer = vec![0; 64];
    while !String::from_utf8_lossy(&answer).contains("__sentinel__:hello") {
        let read = sentinel.read(&mut answer).await.expect("it answers");
        assert!(read > 0, "it hung up");
    }
    let seen = connection.other_manager(PATIENCE).await.expect("it is seen");
    let from = sentinel.local_addr().expect("connected");
    assert_eq!(seen, format!("a Redis Sentinel watches it (from {from}) and may change its master"));
    assert!(!connection.is_closed());
}
