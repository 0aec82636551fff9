//! One state provider of each kind, made for one test and gone after it.

use baton_board::Limits;
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{Change, Member, Record, Settings};
use baton_core::time::Span;
use baton_provider::memory::MemoryBoard;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{Candidate, Identity, StateProvider, identity_of};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Which provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In memory.
    Memory,
    /// A stateboard's server with its file and a client over loopback.
    Stateboard,
}

/// A provider.
pub struct World {
    backend: Backend,
    settings: Settings,
}

enum Backend {
    Memory(MemoryBoard),
    Stateboard { directory: TempDir, address: SocketAddr, running: Option<Running> },
}

struct Running {
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// History lines kept for a set in every world.
pub const HISTORY: usize = 4;

fn limits() -> Limits {
    Limits { history_per_set: HISTORY, ..Limits::default() }
}

impl World {
    /// A fresh one with this lease.
    pub async fn new(kind: Kind, lease_ttl: Span) -> Self {
        let settings = Settings { lease_ttl, ..Settings::default() };
        let backend = match kind {
            Kind::Memory => {
                let start = std::time::Instant::now();
                let clock = move || baton_core::time::Time(0) + Span::from_duration(start.elapsed());
                let durable = baton_board::Durable::genesis(Self::identity(), settings.clone());
                Backend::Memory(MemoryBoard::with(durable, limits(), Arc::new(clock)))
            }
            Kind::Stateboard => {
                let directory = tempfile::tempdir().expect("a directory");
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("bound");
                let running = Some(serve(&directory, listener, &settings));
                Backend::Stateboard { directory, address, running }
            }
        };
        Self { backend, settings }
    }

    /// The identity of the provider's cluster.
    pub fn identity() -> Identity {
        identity_of(ClusterName::parse("orders").expect("a name"), "open sesame")
    }

    /// A client.
    pub fn client(&self) -> Arc<dyn StateProvider> {
        self.client_of(Self::identity())
    }

    /// A client of any cluster.
    pub fn client_of(&self, identity: Identity) -> Arc<dyn StateProvider> {
        match &self.backend {
            Backend::Memory(board) => Arc::new(board.client(identity)),
            Backend::Stateboard { .. } => self.impatient_client(identity, Duration::from_secs(10)),
        }
    }

    fn impatient_client(&self, identity: Identity, request_timeout: Duration) -> Arc<dyn StateProvider> {
        let Backend::Stateboard { address, .. } = &self.backend else {
            unreachable!("only a stateboard has a network")
        };
        let endpoints = vec![format!("http://{address}")];
        let options = StateboardOptions { endpoints, identity, request_timeout };
        Arc::new(StateboardProvider::new(options).expect("a good endpoint"))
    }

    /// A client that never hears an answer. What it asks for is done, or not.
    pub fn deaf_client(&self) -> Arc<dyn StateProvider> {
        match &self.backend {
            Backend::Memory(board) => {
                let faults = baton_provider::memory::Faults { drop_answers: true, ..Default::default() };
                board.set_faults(faults);
                Arc::new(board.client(Self::identity()))
            }
            Backend::Stateboard { .. } => self.impatient_client(Self::identity(), Duration::from_micros(300)),
        }
    }

    /// Ends what [`World::deaf_client`] began.
    pub fn hear_again(&self) {
        if let Backend::Memory(board) = &self.backend {
            board.set_faults(baton_provider::memory::Faults::default());
        }
    }

    /// Stops the provider and starts it again from what is durable, on the same address.
    pub async fn restart(&mut self) {
        let settings = self.settings.clone();
        match &mut self.backend {
            Backend::Memory(board) => board.restart(),
            Backend::Stateboard { directory, address, running } => {
                let mut old = running.take().expect("it runs");
                old.shutdown.cancel();
                (&mut old.server).await.expect("the server did not panic");
                let listener = TcpListener::bind(*address).await.expect("the port is ours again");
                *running = Some(serve(directory, listener, &settings));
            }
        }
    }
}

fn serve(directory: &TempDir, listener: TcpListener, settings: &Settings) -> Running {
    let options = baton_stateboard::Options {
        identity: World::identity(),
        data_dir: directory.path().to_owned(),
        seed_settings: settings.clone(),
        limits: limits(),
    };
    let stateboard = baton_stateboard::open(options).expect("our own directory");
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let server = tokio::spawn(async move {
        stateboard.serve(listener, None, stop).await.expect("the server works");
    });
    Running { shutdown, server }
}

/// Waits for what must come; far longer than it can take on a busy machine.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it came in time")
}

/// An instance.
pub fn name(text: &str) -> InstanceName {
    InstanceName::parse(text).expect("a name")
}

/// A candidate.
pub fn candidate(text: &str) -> Candidate {
    Candidate {
        coordinator: CoordinatorName::parse(text).expect("a name"),
        address: Endpoint(Arc::from(format!("{text}:4402"))),
    }
}

/// A record of `set` with `master` in sync with a1, a2 and a3.
pub fn record(set: &str, term: u64, version: u64, master: &str, epoch: Epoch) -> Record {
    Record {
        replicaset: ReplicaSetName::parse(set).expect("a name"),
        term: Term(term),
        version: Version(version),
        master: Some(name(master)),
        endpoint: Some(Endpoint(Arc::from("10.0.0.1:6379"))),
        incarnation: None,
        start: Position::at(term, 0),
        in_sync: ["a1", "a2", "a3"].map(name).into(),
        ack_quorum: 0,
        data_id: None,
        pinned: false,
        reason: "a test".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch,
        at_unix_millis: 1,
    }
}

/// The change that makes `record` from the version before it.
pub fn change(record: Record) -> Change {
    let expected = (record.version.0 > 1).then(|| Version(record.version.0 - 1));
    let decision = format!("{{\"term\":{}}}", record.term);
    Change { expected, record, decision }
}

/// A member of `set`.
pub fn member(set: &str, instance: &str) -> Member {
    Member {
        instance: name(instance),
        replicaset: ReplicaSetName::parse(set).expect("a name"),
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        endpoint: Endpoint(Arc::from("10.0.0.1:6379")),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 3,
        version: Version(0),
    }
}
