//! A stateboard process for a test, killed when it is dropped.

use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{Change, Record};
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{Candidate, identity_of};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Board {
    pub data_dir: PathBuf,
    pub listen: String,
    pub http: String,
    /// Further arguments.
    pub arguments: Vec<String>,
    process: Option<Child>,
}

/// A free port below the range from which clients' own ports are drawn.
fn free_port() -> u16 {
    let mut port = 20_000 + u16::try_from(std::process::id() % 8_000).expect("below 8,000");
    loop {
        port += 1;
        static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
        let mut taken = TAKEN.lock().expect("no test panics while it holds this");
        if !taken.contains(&port) && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.push(port);
            return port;
        }
    }
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton-stateboard"));
    command.env_remove("BATON_CONFIG").env("RUST_LOG", "info").stdin(Stdio::null());
    command
}

impl Board {
    pub fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[])
    }

    /// With further arguments.
    pub fn start_with(directory: &Path, arguments: &[&str]) -> Self {
        let mut board = Self {
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            data_dir: directory.join("data"),
            listen: format!("127.0.0.1:{}", free_port()),
            http: format!("127.0.0.1:{}", free_port()),
            process: None,
        };
        board.start_again();
        board
    }

    pub fn command(&self) -> Command {
        let mut command = command();
        command.args(["--cluster", "orders", "--listen", &self.listen, "--http-listen", &self.http]);
        command.arg("--data-dir").arg(&self.data_dir).args(&self.arguments);
        command
    }

    pub fn start_again(&mut self) {
        self.process = Some(self.command().stderr(Stdio::null()).spawn().expect("the program is built"));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it is ours");
        process.wait().expect("it is ours");
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        let start = Instant::now();
        loop {
            if let Some(status) = process.try_wait().expect("it is ours") {
                return status;
            }
            if start.elapsed() > PATIENCE {
                process.kill().expect("it is ours");
                process.wait().expect("it is ours");
                panic!("SIGTERM did not end it");
            }
            std::thread::yield_now();
        }
    }

    pub fn options(&self) -> StateboardOptions {
        let identity = identity_of(ClusterName::parse("orders").expect("a name"), "");
        StateboardOptions::new(vec![self.listen.clone()], identity, PATIENCE)
    }

    /// Waits until the port is open.
    pub fn wait(&mut self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(&self.listen).is_err() {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            assert!(ended.is_none(), "it ended: {ended:?}");
            assert!(start.elapsed() < PATIENCE, "it did not start");
            std::thread::yield_now();
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    pub fn client(&self) -> StateboardProvider {
        StateboardProvider::new(self.options()).expect("a good endpoint")
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub fn candidate() -> Candidate {
    Candidate {
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        address: Endpoint(Arc::from("127.0.0.1:4402")),
    }
}

pub fn change(set: &str, term: u64, epoch: Epoch) -> Change {
    let master = InstanceName::parse("a1").expect("a name");
    let record = Record {
        replicaset: ReplicaSetName::parse(set).expect("a name"),
        term: Term(term),
        version: Version(term),
        master: Some(master.clone()),
        endpoint: None,
        incarnation: None,
        start: Position::Unknown,
        in_sync: [master].into(),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: None,
        pinned: None,
        forced: false,
        reason: "a test".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch,
        term_generation: 1,
        at_unix_millis: 0,
    };
    Change { expected: (term > 1).then(|| Version(term - 1)), record, decision: "{}".into() }
}
