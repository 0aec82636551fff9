//! Redis processes without anybody who coordinates them, and a directory that says what a test wants it to say.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use baton_proto::v1::directory_server::{Directory, DirectoryServer};
use baton_proto::v1::{
    AcknowledgeRequest, AcknowledgeResponse, Epoch, GetMastersRequest, MasterEntry, MastersChange,
    WatchMastersRequest,
};
use chaos::cluster::ports::Ports;
use chaos::cluster::process::Process;
use chaos::workload::history::Instance;
use chaos::workload::link::Reply;
use chaos::workload::resp;
use futures_util::StreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status};

/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The set's name in all tests.
pub const SET: &str = "orders";

/// One Redis, ended with its value.
pub struct Redis {
    /// Its name.
    pub instance: Instance,
    /// Where it listens.
    pub endpoint: String,
    /// Its process.
    pub process: Process,
    _folder: TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill();
    }
}

static SEED: AtomicU64 = AtomicU64::new(1);

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start(instance: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let seed = SEED.fetch_add(1, Ordering::SeqCst) + u64::from(std::process::id()) * 1_000;
        let port = Ports::default().free(&mut StdRng::seed_from_u64(seed)).expect("a free port");
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--repl-diskless-sync-delay").arg("0").current_dir(folder.path());
        let process = Process::start(command, &folder.path().join("log")).expect("redis-server is installed");
        let endpoint = format!("127.0.0.1:{port}");
        let redis = Self { instance: instance.into(), endpoint, process, _folder: folder };
        eventually("an answer of Redis", async || matches!(redis.try_ask(&["PING"]).await, Ok(Reply::Yes)))
            .await;
        redis
    }

    async fn try_ask(&self, words: &[&str]) -> std::io::Result<Reply> {
        let (mut asker, mut listener) = resp::connect(&self.endpoint, Duration::from_secs(1)).await?;
        asker.ask(&resp::request(words)).await?;
        tokio::time::timeout(PATIENCE, listener.reply()).await.map_err(std::io::Error::other)?
    }

    /// A command that must succeed.
    pub async fn ask(&self, words: &[&str]) -> Reply {
        self.try_ask(words).await.expect("it answers")
    }

    /// Makes it follow another one.
    pub async fn follow(&self, master: &Self) {
        let (host, port) = master.endpoint.split_once(':').expect("host:port");
        assert_eq!(self.ask(&["REPLICAOF", host, port]).await, Reply::Yes);
    }

    /// Makes it a master.
    pub async fn lead(&self) {
        assert_eq!(self.ask(&["REPLICAOF", "NO", "ONE"]).await, Reply::Yes);
    }
}

/// Polls until it holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not come about");
        tokio::task::yield_now().await;
    }
}

/// A directory that says what it is told to say.
pub struct StubDirectory {
    /// Where it listens.
    pub address: String,
    change: watch::Sender<MastersChange>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for StubDirectory {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl StubDirectory {
    /// Starts one that names nobody.
    pub async fn start() -> Self {
        let (change, said) = watch::channel(MastersChange { snapshot: true, ..MastersChange::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let service = DirectoryServer::new(Served(said));
        let incoming = TcpListenerStream::new(listener);
        let server = tokio::spawn(async move {
            let served =
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
            served.await.expect("the stub serves until it is dropped");
        });
        Self { address, change, server }
    }

    /// Names an active master.
    pub fn say(&self, term: u64, master: &Redis) {
        self.change.send_modify(|change| {
            change.epoch = Some(Epoch { generation: 1, number: 1 });
            change.revision += 1;
            change.masters = vec![MasterEntry {
                replicaset: SET.to_owned(),
                term,
                master: master.instance.to_string(),
                endpoint: master.endpoint.clone(),
                state: "active".to_owned(),
            }];
        });
    }
}

struct Served(watch::Receiver<MastersChange>);

#[tonic::async_trait]
impl Directory for Served {
    async fn get_masters(&self, _: Request<GetMastersRequest>) -> Result<Response<MastersChange>, Status> {
        Ok(Response::new(self.0.borrow().clone()))
    }

    type WatchMastersStream = futures_util::stream::BoxStream<'static, Result<MastersChange, Status>>;

    async fn watch_masters(
        &self,
        _: Request<WatchMastersRequest>,
    ) -> Result<Response<Self::WatchMastersStream>, Status> {
        Ok(Response::new(WatchStream::new(self.0.clone()).map(Ok).boxed()))
    }

    async fn acknowledge(
        &self,
        _: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        Ok(Response::new(AcknowledgeResponse::default()))
    }
}
