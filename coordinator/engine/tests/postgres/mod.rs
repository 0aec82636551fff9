//! The PostgreSQL engine against real servers, two or three where it takes them. They need another system user than root: as root they
//! run as `postgres`, which the Debian package brings.

mod engine;
mod home;
mod slots;

use crate::contract::{self, contract, free_port, id, marked};
use crate::support::{KillOnDrop, PATIENCE, gone, signal, until};
use baton_core::engine::{DataState, EngineCommand, EngineOutcome, Probe};
use baton_core::ids::{Endpoint, Term};
use baton_core::position::Position;
use baton_engine::postgres::{Options, Postgres};
use baton_engine::{ConnectError, EngineConnection, EngineKind, WriteCheck};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres::NoTls;

const PASSWORD: &str = "se:cr\\et'";

/// What an operator gives the coordinator's user, and no more.
const GRANTS: &str = include_str!("../../../../deploy/postgres/grants.sql");

/// The roles' passwords, and a client's role.
const ROLES: &str = "ALTER ROLE baton PASSWORD 'se:cr\\et''';
CREATE ROLE app LOGIN PASSWORD 'app';
GRANT CREATE ON SCHEMA public TO app;
GRANT pg_checkpoint TO app;
GRANT EXECUTE ON FUNCTION pg_switch_wal() TO app;
";

/// The server's programs, of the latest version that is there.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed");
    let mut found: Vec<_> = versions.flatten().map(|entry| entry.path().join("bin").join(name)).collect();
    found.sort();
    found.into_iter().rfind(|path| path.exists()).expect("postgresql is installed")
}

/// A command as a user that PostgreSQL runs under.
fn as_user(words: &[String]) -> Vec<String> {
    let prefix: &[&str] = if rustix::process::geteuid().is_root() {
        &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    } else {
        &[]
    };
    prefix.iter().map(|word| (*word).to_owned()).chain(words.iter().cloned()).collect()
}

fn run(words: &[String], input: Option<&Path>) {
    let words = as_user(words);
    let stdin = input.map_or_else(Stdio::null, |file| fs::File::open(file).expect("readable").into());
    let output = Command::new(&words[0]).args(&words[1..]).stdin(stdin).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("ERROR"), "{words:?}: {said}");
}

/// A folder of that user.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    if rustix::process::geteuid().is_root() {
        let given =
            Command::new("chown").arg("postgres:").arg(folder.path()).status().expect("chown is there");
        assert!(given.success());
    }
    folder
}

/// An empty data directory with the roles, made once and copied: copies are of one history, as clones are.
fn template() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = folder();
        let data = folder.path().join("data").display().to_string();
        let auth = ["-N", "-k", "-U", "postgres", "--auth-host=scram-sha-256", "--auth-local=trust"];
        let initdb = [program("initdb").display().to_string(), "-D".into(), data.clone()];
        run(&initdb.into_iter().chain(auth.map(str::to_owned)).collect::<Vec<_>>(), None);
        let grants = folder.path().join("grants.sql");
        fs::write(&grants, [GRANTS, ROLES].concat().replace(";\n", ";\n\n")).expect("writable");
        let single = ["--single", "-j", "-D", &data, "postgres"].map(str::to_owned);
        let single: Vec<_> = [program("postgres").display().to_string()].into_iter().chain(single).collect();
        run(&single, Some(&grants));
        folder
    });
    made.path()
}

struct Server {
    dir: TempDir,
    port: u16,
    process: Option<(std::process::Child, KillOnDrop)>,
    kind: Postgres,
    options: Options,
    /// Where its programs are, if not where the package has them.
    tools: Option<PathBuf>,
    /// It syncs what it confirms, which takes time.
    synced: bool,
    /// More of its settings.
    settings: Vec<&'static str>,
}

impl Server {
    async fn fenced(name: &str) -> Self {
        let mut server = Self::new(name);
        server.start_fenced();
        server.wait().await;
        server
    }

    fn new(name: &str) -> Self {
        let server = Self::without_data(name);
        let from = template().join("data");
        let copied = Command::new("cp").arg("-a").arg(from).arg(server.data()).status().expect("cp is there");
        assert!(copied.success());
        server
    }

    fn without_data(name: &str) -> Self {
        let (dir, port) = (folder(), free_port());
        let to = dir.path().join("data");
        let password_file = dir.path().join("password");
        fs::write(&password_file, format!("{PASSWORD}\n")).expect("writable");
        let options = options(port, &to, Some(password_file), name);
        Self {
            dir,
            port,
            process: None,
            kind: Postgres::new(options.clone()),
            options,
            tools: None,
            synced: false,
            settings: Vec::new(),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self) -> Vec<String> {
        let data = self.data().display().to_string();
        let server = self.tools.as_ref().map_or_else(|| program("postgres"), |tools| tools.join("postgres"));
        let mut words = vec![server.display().to_string(), "-D".into(), data];
        let port = format!("port={}", self.port);
        let fsync = if self.synced { "fsync=on" } else { "fsync=off" };
        let settings = [fsync, "unix_socket_directories=", "listen_addresses=127.0.0.1", &port];
        let settings = settings.iter().chain(&self.settings);
        words.extend(settings.flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        as_user(&words)
    }

    fn start_fenced(&mut self) {
        let command = self.kind.fenced_command(&self.command());
        self.start(&command);
    }

    fn start(&mut self, command: &[String]) {
        let log = fs::File::create(self.dir.path().join("log")).expect("writable");
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let kill = KillOnDrop(child.id());
        self.process = Some((child, kill));
    }

    async fn wait(&self) {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while let Err(error) = self.kind.connect(PATIENCE).await {
            assert!(tokio::time::Instant::now() < give_up, "no server: {error}\n{}", self.log());
            ticks.tick().await;
        }
    }

    /// What this run has said.
    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).expect("readable")).into_owned()
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    /// It ends with all its processes and in no order, as the deadman ends it.
    fn kill(&mut self) {
        let (mut child, kill) = self.process.take().expect("it runs");
        signal(kill.0, Signal::QUIT);
        child.wait().expect("reaped");
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint(format!("127.0.0.1:{}", self.port).into())
    }

    async fn connect(&self) -> Box<dyn EngineConnection> {
        self.kind.connect(PATIENCE).await.expect("connected")
    }

    async fn outcome(&self, command: EngineCommand) -> EngineOutcome {
        self.connect().await.execute(&command, PATIENCE).await
    }

    async fn run(&self, command: EngineCommand) -> Probe {
        match self.outcome(command.clone()).await {
            EngineOutcome::Done(probe) => probe,
            other => panic!("{command:?}: {other:?}"),
        }
    }

    async fn probe(&self) -> Probe {
        self.run(EngineCommand::Probe).await
    }

    async fn promote(&self, term: u64, ack_quorum: u32) -> Probe {
        self.run(EngineCommand::Promote { term: Term(term), data_id: id(), ack_quorum }).await
    }

    /// Follows `master` and waits until the link is up.
    async fn follow(&self, master: &Self) -> Probe {
        self.run(EngineCommand::Follow { endpoint: master.endpoint() }).await;
        let linked = || async { Some(self.probe().await).filter(|probe| probe.link_up) };
        until("a link", linked).await
    }

    /// Told to follow, which it cannot as it is: it ends once, and is started again as the deadman would. Why it cannot.
    async fn ends_to_follow(&mut self, master: &Self) -> String {
        let answered = self.outcome(EngineCommand::Follow { endpoint: master.endpoint() }).await;
        let EngineOutcome::Refused(why) = answered else { panic!("{answered:?}") };
        assert!(why.contains("next start"), "{why}");
        gone(self.pid()).await;
        self.kill();
        self.start_fenced();
        why
    }

    /// The numbers of processes that it says; only who is in pg_monitor sees those of others.
    async fn monitor(&self, asked: &str) -> Vec<u32> {
        let rows = self.as_baton(asked).await.expect("it answers");
        let pid = |message: &tokio_postgres::SimpleQueryMessage| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        };
        rows.iter().filter_map(pid).collect()
    }

    /// As the coordinator's role.
    async fn as_baton(
        &self,
        asked: &str,
    ) -> Result<Vec<tokio_postgres::SimpleQueryMessage>, tokio_postgres::Error> {
        let port = self.port;
        let line = format!("host=127.0.0.1 port={port} user=baton dbname=postgres application_name=test");
        let mut config: tokio_postgres::Config = line.parse().expect("it reads so");
        let (client, carrier) = config.password(PASSWORD).connect(NoTls).await?;
        let carrier = tokio::spawn(async move { drop(carrier.await) });
        let rows = client.simple_query(asked).await;
        carrier.abort();
        rows
    }

    /// Its log goes on far enough for what nobody needs to be removed.
    async fn forget_log(&self) {
        for _ in 0..4 {
            self.client("CREATE TABLE IF NOT EXISTS filler (i int); DROP TABLE filler")
                .await
                .expect("it takes writes");
            self.client("SELECT pg_switch_wal()").await.expect("a user was allowed to");
            self.client("CHECKPOINT").await.expect("a user was allowed to");
        }
    }

    /// What a client gets for its statements: the last row's first column, or the error.
    async fn client(&self, statements: &str) -> Result<String, String> {
        let line = format!("host=127.0.0.1 port={} user=app password=app dbname=postgres", self.port);
        let (client, carrier) =
            tokio_postgres::connect(&line, NoTls).await.map_err(|error| error.to_string())?;
        let carrier = tokio::spawn(async move { drop(carrier.await) });
        let answer = client.simple_query(statements).await;
        carrier.abort();
        let said =
            |error: tokio_postgres::Error| error.as_db_error().map_or(error.to_string(), ToString::to_string);
        let rows = answer.map_err(said)?;
        let last = rows.iter().rev().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(last.unwrap_or_default())
    }
}

impl contract::Server for Server {
    const PASSWORD: &'static str = PASSWORD;

    async fn made(name: &str) -> Self {
        Self::fenced(name).await
    }

    fn kind_at(&self, endpoint: &Endpoint, password: Option<&str>) -> Box<dyn EngineKind> {
        let file = password.map(|password| {
            let file = self.dir.path().join(format!("password-{}", password.len()));
            fs::write(&file, password).expect("writable");
            file
        });
        let options = options(self.port, &self.data(), file, &self.options.name);
        Box::new(Postgres::new(Options { address: endpoint.0.to_string(), ..options }))
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
        let backends = self.monitor("SELECT pid FROM pg_stat_activity WHERE usename = 'baton'").await;
        backends.into_iter().chain([self.pid()]).collect()
    }

    async fn open_by_hand(&mut self) {
        self.kill();
        fs::remove_file(self.data().join("standby.signal")).expect("it was a standby");
        let command = self.command();
        self.start(&command);
        self.wait().await;
    }

    async fn write(&self, number: u32) -> Result<(), String> {
        let text =
            format!("CREATE TABLE IF NOT EXISTS numbers (i int); INSERT INTO numbers VALUES ({number})");
        self.client(&text).await.map(drop)
    }

    async fn count(&self) -> usize {
        let read = self.client("SELECT count(*) FROM numbers").await;
        read.map_or(0, |count| count.parse().expect("a number"))
    }
}

contract! { Server }

fn options(port: u16, data: &Path, password_file: Option<PathBuf>, name: &str) -> Options {
    Options {
        address: format!("127.0.0.1:{port}"),
        user: "baton".into(),
        database: "postgres".into(),
        password_file,
        data_dir: data.to_owned(),
        name: name.into(),
        program: env!("CARGO_BIN_EXE_baton-deadman").into(),
    }
}

/// A master at term 1 with two replicas.
async fn three() -> (Server, Server, Server) {
    three_of(Server::fenced("a1").await).await
}

async fn three_of(a: Server) -> (Server, Server, Server) {
    let (b, c) = (Server::fenced("a2").await, Server::fenced("a3").await);
    a.promote(1, 0).await;
    b.follow(&a).await;
    c.follow(&a).await;
    // One that ends before it has the beginning of a timeline can read neither that nor the one before as it starts.
    let position = a.probe().await.position;
    holds(&b, position).await;
    holds(&c, position).await;
    (a, b, c)
}

/// Until a client reads it. What a standby holds it may not have replayed yet.
async fn reads(server: &Server, asked: &str, answer: &str) {
    let read = || async { (server.client(asked).await.as_deref() == Ok(answer)).then_some(()) };
    until("what a client reads", read).await;
}

async fn holds(server: &Server, position: Position) -> Probe {
    let held = || async { Some(server.probe().await).filter(|probe| probe.position.holds(&position)) };
    until("a position", held).await
}
