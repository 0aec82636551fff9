//! The client of routers against real directory servers that are killed, restarted, late, wrong or elsewhere.

use baton_client::{Client, ClientOptions, Master, MasterState, refusal};
use baton_proto::v1::directory_server::{Directory, DirectoryServer};
use baton_proto::v1::{
    AcknowledgeRequest, AcknowledgeResponse, Epoch, GetMastersRequest, MasterEntry, MastersChange, Refusal,
    WatchMastersRequest,
};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status};

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Service {
    /// The whole map, sent again whole at each change; `None` refuses and points to `elsewhere`.
    map: Option<watch::Receiver<MastersChange>>,
    elsewhere: String,
    acknowledged: Arc<Mutex<Vec<(String, u64)>>>,
}

#[tonic::async_trait]
impl Directory for Service {
    async fn get_masters(&self, _: Request<GetMastersRequest>) -> Result<Response<MastersChange>, Status> {
        Err(Status::unimplemented("no router asks it"))
    }

    type WatchMastersStream = Pin<Box<dyn Stream<Item = Result<MastersChange, Status>> + Send>>;

    async fn watch_masters(
        &self,
        request: Request<WatchMastersRequest>,
    ) -> Result<Response<Self::WatchMastersStream>, Status> {
        let Some(map) = self.map.clone() else {
            let detail = Refusal { active_arbiter: self.elsewhere.clone(), ..Refusal::default() };
            return Err(refusal::to_status(Code::FailedPrecondition, "not here", &detail));
        };
        let request = request.into_inner();
        let after = (request.after_epoch, request.after_revision);
        let news = WatchStream::new(map).filter(move |change| (change.epoch, change.revision) != after);
        Ok(Response::new(Box::pin(news.map(Ok))))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        let request = request.into_inner();
        self.acknowledged.lock().expect("no test panics with it").push((request.router, request.revision));
        Ok(Response::new(AcknowledgeResponse::default()))
    }
}

/// A port of this process: nobody else is given it while it is held, neither to listen nor to connect from.
fn port(number: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("the kernel can");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], number))).expect("it is free, or ours");
    socket
}

/// A coordinator in a runtime of its own, so that it can die like a process: connections and all.
struct Server {
    runtime: Option<tokio::runtime::Runtime>,
    address: SocketAddr,
    map: watch::Sender<MastersChange>,
    acknowledged: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Server {
    fn start(number: u16, map: MastersChange) -> Self {
        let (map_in, map) = watch::channel(map);
        Self::serve(number, map_in, Some(map), String::new())
    }

    fn start_redirecting(elsewhere: String) -> Self {
        Self::serve(0, watch::channel(MastersChange::default()).0, None, elsewhere)
    }

    fn serve(
        number: u16,
        map_in: watch::Sender<MastersChange>,
        map: Option<watch::Receiver<MastersChange>>,
        elsewhere: String,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let acknowledged = Arc::default();
        let service = Service { map, elsewhere, acknowledged: Arc::clone(&acknowledged) };
        let (bound_in, bound) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let listener = port(number).listen(64).expect("nobody else listens there");
            bound_in.send(listener.local_addr().expect("bound")).expect("the test waits");
            let server = tonic::transport::Server::builder().add_service(DirectoryServer::new(service));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it listens");
        });
        let address = bound.recv_timeout(DEADLINE).expect("it starts");
        Self { runtime: Some(runtime), address, map: map_in, acknowledged }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // To its end, so that it listens no more. (A thread that runs tasks may not wait for a runtime.)
        let ended = std::thread::spawn(move || runtime.shutdown_timeout(DEADLINE)).join();
        assert!(ended.is_ok() || std::thread::panicking(), "the runtime ends");
    }
}

fn map(revision: u64, term: u64, master: &str) -> MastersChange {
    MastersChange {
        epoch: Some(Epoch { generation: 1, number: 1 }),
        revision,
        snapshot: true,
        masters: vec![MasterEntry {
            replicaset: "orders-1".into(),
            term,
            master: master.into(),
            endpoint: format!("{master}:6379"),
            state: "active".into(),
        }],
    }
}

fn options(servers: &[&Server]) -> ClientOptions {
    ClientOptions {
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..ClientOptions::new(servers.iter().map(|server| server.address.to_string()))
    }
}

async fn expect_term(client: &mut Client, term: u64) -> Master {
    let wanted = client.wait_for("orders-1", |master| master.term == term);
    tokio::time::timeout(DEADLINE, wanted).await.expect("the term comes")
}

/// Polls what has no notification.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_router_learns_of_each_change_and_says_so() {
    let server = Server::start(0, map(1, 7, "a2"));
    let mut client = Client::start(ClientOptions { router: Some("router-1".into()), ..options(&[&server]) })
        .expect("good");
    assert_eq!(client.master("orders-1"), None, "nothing is known before the first answer");
    let master = expect_term(&mut client, 7).await;
    assert_eq!((master.instance.as_str(), master.endpoint.as_str()), ("a2", "a2:6379"));
    assert_eq!(master.state, MasterState::Active);
    server.map.send_replace(map(2, 8, "a1"));
    assert_eq!(expect_term(&mut client, 8).await.instance, "a1");
    let acknowledged = Arc::clone(&server.acknowledged);
    eventually("the second revision is acknowledged", || {
        acknowledged.lock().expect("whole").contains(&("router-1".to_owned(), 2))
    })
    .await;
}

#[tokio::test]
async fn what_was_known_outlives_the_coordinator_and_the_watch_comes_back() {
    let held = port(0);
    let number = held.local_addr().expect("bound").port();
    let first = Server::start(number, map(1, 7, "a2"));
    let mut client = Client::start(options(&[&first])).expect("good");
    expect_term(&mut client, 7).await;
    drop(first);
    eventually("the loss is seen", || client.connected_to().is_none()).await;
    assert_eq!(client.master("orders-1").map(|master| master.instance).as_deref(), Some("a2"));
    let _second = Server::start(number, map(9, 8, "a3"));
    assert_eq!(expect_term(&mut client, 8).await.instance, "a3");
}

#[tokio::test]
async fn a_coordinator_that_is_behind_is_not_believed() {
    let first = Server::start(0, map(5, 7, "a2"));
    let behind = Server::start(0, map(3, 6, "a1"));
    let mut client = Client::start(options(&[&first, &behind])).expect("good");
    expect_term(&mut client, 7).await;
    let behind_address = format!("http://{}", behind.address);
    drop(first);
    eventually("the other one is followed", || client.connected_to().as_ref() == Some(&behind_address)).await;
    // It catches up: only then there is news, and in between the higher term stood.
    behind.map.send_replace(map(4, 6, "a3"));
    behind.map.send_replace(map(6, 8, "a3"));
    tokio::time::timeout(DEADLINE, async {
        loop {
            let master = client.master("orders-1").expect("it was known before");
            assert_ne!(master.term, 6, "it went back");
            if master.term == 8 {
                return;
            }
            client.changed().await;
        }
    })
    .await
    .expect("it catches up");
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let there = Server::start(0, map(1, 7, "a2"));
    let here = Server::start_redirecting(there.address.to_string());
    let mut client = Client::start(options(&[&here])).expect("good");
    expect_term(&mut client, 7).await;
    assert_eq!(client.connected_to(), Some(format!("http://{}", there.address)));
}

#[tokio::test]
async fn no_address_is_an_error_at_once() {
    assert!(Client::start(ClientOptions::new(Vec::<String>::new())).is_err());
    assert!(Client::start(ClientOptions::new(["nonsense"])).is_err());
}
