//! A hand-filled coordinator: views, a clock that the test moves, and servers on ports that the kernel chose.

use baton_client::MasterState;
use baton_client::status::{ArbiterStatus, ClusterStatus, MemberStatus, ReplicaSetStatus};
use baton_coordinator::directory::DirectoryService;
use baton_coordinator::http::{HttpState, health_router, router, serve};
use baton_coordinator::metrics::Metrics;
use baton_coordinator::operator::{OperatorCommand, OperatorService};
use baton_coordinator::view::{
    ClusterView, LocalRole, LocalView, MasterView, MastersView, ViewPublishers, Views, channels,
};
use baton_core::ids::{ClusterName, Endpoint, Epoch, InstanceName, ReplicaSetName, Revision, Term, Version};
use baton_core::message::Health;
use baton_core::position::Position;
use baton_core::record::Settings;
use baton_core::time::Time;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;

pub fn cluster() -> ClusterName {
    ClusterName::parse("orders").expect("a name")
}

pub fn instance(name: &str) -> InstanceName {
    InstanceName::parse(name).expect("a name")
}

pub fn set(name: &str) -> ReplicaSetName {
    ReplicaSetName::parse(name).expect("a name")
}

pub struct Fake {
    pub publishers: ViewPublishers,
    pub views: Views,
    pub metrics: Arc<Metrics>,
    pub now: Arc<AtomicU64>,
    servers: JoinSet<()>,
}

impl Fake {
    pub fn new(name: &str, instances: &[&str]) -> Self {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let read = Arc::clone(&now);
        let clock = Arc::new(move || Time(read.load(Ordering::SeqCst)));
        let status =
            ClusterStatus { cluster: "orders".into(), answered_by: name.into(), ..ClusterStatus::default() };
        let locals = instances.iter().map(|name| (instance(name), set("orders-1")));
        let (publishers, views) = channels(ClusterView::new(status, Settings::default()), locals, clock);
        Self { publishers, views, metrics: Arc::default(), now, servers: JoinSet::new() }
    }

    pub async fn http(&mut self) -> SocketAddr {
        let app = router(HttpState::new(self.views.clone(), Arc::clone(&self.metrics), true));
        self.serve_http(app).await
    }

    pub async fn health_http(&mut self, name: &str) -> SocketAddr {
        let state = HttpState::new(self.views.clone(), Arc::clone(&self.metrics), true);
        self.serve_http(health_router(state, instance(name))).await
    }

    async fn serve_http(&mut self, app: axum::Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        self.servers.spawn(async move {
            serve(listener, app, std::future::pending()).await.expect("it listens");
        });
        address
    }

    /// The operators' service, and the end where the arbiter's shell would be.
    pub async fn operator(&mut self) -> (SocketAddr, mpsc::Receiver<OperatorCommand>) {
        let (commands, received) = baton_coordinator::operator::channel();
        let service = OperatorService::new(cluster(), self.views.clone(), commands);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        self.servers.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service.into_server());
            server.serve_with_incoming(incoming).await.expect("it listens");
        });
        (address, received)
    }

    /// The routers' service, and what it knows of them.
    pub async fn directory(&mut self) -> (SocketAddr, DirectoryService) {
        let service = DirectoryService::new(cluster(), self.views.clone(), Arc::clone(&self.metrics));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let kept = service.clone();
        self.servers.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service.into_server());
            server.serve_with_incoming(incoming).await.expect("it listens");
        });
        (address, kept)
    }

    pub fn publish_masters(&self, revision: u64, masters: &[(&str, u64, &str)]) {
        let one = |&(name, term, master): &(&str, u64, &str)| {
            let view = MasterView {
                term: Term(term),
                version: Version(1),
                master: Some(instance(master)),
                endpoint: Some(Endpoint(format!("{master}:6379").into())),
                state: MasterState::Active,
            };
            (set(name), view)
        };
        self.publishers.masters.send_replace(Arc::new(MastersView {
            epoch: Epoch { generation: 1, number: 12 },
            revision: Revision(revision),
            masters: masters.iter().map(one).collect(),
        }));
    }

    pub fn publish_local(&self, name: &str, change: impl FnOnce(&mut LocalView)) {
        self.publishers.locals[&instance(name)].send_modify(change);
    }

    pub fn publish_status(&self, change: impl FnOnce(&mut ClusterStatus)) {
        let mut status = self.publishers.cluster.borrow().status.clone();
        change(&mut status);
        self.publishers.cluster.send_replace(Arc::new(ClusterView::new(status, Settings::default())));
    }

    /// As the active arbiter would publish a set of two.
    pub fn make_active(&self) {
        self.publish_status(|status| {
            status.arbiter = ArbiterStatus {
                active_here: true,
                coordinator: Some(status.answered_by.clone()),
                epoch: Some("1.12".into()),
                lock_valid_ms: Some(3_000),
                ..ArbiterStatus::default()
            };
            let member = |name: &str, role: &str| MemberStatus {
                instance: name.into(),
                role: role.into(),
                health: "up".into(),
                position: "7:100".into(),
                beat_age_ms: Some(5),
                ..MemberStatus::default()
            };
            status.replicasets = vec![ReplicaSetStatus {
                replicaset: "orders-1".into(),
                state: "active".into(),
                phase: "steady".into(),
                members: vec![member("a1", "master"), member("a2", "replica")],
                issues: vec!["a3 was never heard".into()],
                ..ReplicaSetStatus::default()
            }];
        });
    }
}

/// A master with a right until `until` microseconds.
pub fn lead(until: u64) -> impl FnOnce(&mut LocalView) {
    move |view| {
        view.role = LocalRole::Master;
        view.term = Term(7);
        view.writable = true;
        view.right_until = Some(Time(until));
        view.health = Health::Up;
        view.position = Position::at(7, 100);
    }
}

/// One request over a connection of its own: the status code and the body.
pub async fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let text = format!("{method} {path} HTTP/1.1\r\nhost: baton\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("it takes requests");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (code, body.to_owned())
}

pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "GET", path).await
}
