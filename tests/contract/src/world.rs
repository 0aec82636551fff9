//! One state provider of each kind, made for a test and gone after it.

use crate::etcd::Etcd;
use crate::raw::Raw;
use crate::route::Route;
use crate::stateboard::Stateboard;
use baton_board::{Durable, Limits};
use baton_core::ids::{ClusterName, Version};
use baton_core::record::Settings;
use baton_core::rules::Rules;
use baton_core::time::{Span, Time};
use baton_core::timing::Timing;
use baton_provider::etcd::{EtcdOptions, EtcdProvider};
use baton_provider::memory::{Faults, MemoryBoard};
use baton_provider::password::Password;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{Identity, StateProvider, identity_of};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const CLUSTER: &str = "orders";
pub(crate) const SECRET: &str = "open sesame";

/// A lease so long that nothing of a test expires by itself.
pub const LONG: Span = Span::from_secs(30);
/// A lease whose lock outlives what a busy machine does in between, and can still be waited for.
pub const MIDDLE: Span = Span::from_secs(4);
/// A lease so short that its lock can be waited for.
pub const SHORT: Span = Span::from_millis(300);

/// How long a client waits for an answer where nothing is to go wrong.
const PATIENT: Duration = Duration::from_secs(10);
/// How long a client waits where the answer will not come.
const IMPATIENT: Duration = Duration::from_millis(1_500);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Which provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The board in memory.
    Memory,
    /// A stateboard inside this process.
    Embedded,
    /// A stateboard's own process.
    Stateboard,
    /// One etcd process.
    Etcd1,
    /// Three etcd processes.
    Etcd3,
}

/// What a world is to be, where it is not as all others are.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The lease of its first settings.
    pub lease_ttl: Span,
    /// The password that it asks for, if any: of anybody, or of the user `baton` (etcd).
    pub password: Option<&'static str>,
    /// Whether strangers are refused.
    pub check_identity: bool,
    /// How many may wait for the lock.
    pub candidates: usize,
    /// Whether its members can be cut off from each other.
    pub roads: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let candidates = Limits::default().waiting;
        Self { lease_ttl: LONG, password: None, check_identity: true, candidates, roads: false }
    }
}

impl Plan {
    fn limits(&self) -> Limits {
        Limits { waiting: self.candidates, ..Limits::default() }
    }
}

/// A provider.
pub struct World {
    kind: Kind,
    plan: Plan,
    settings: Settings,
    backend: Backend,
}

enum Backend {
    Memory(MemoryBoard),
    Embedded {
        folder: TempDir,
        address: SocketAddr,
        running: Option<Running>,
    },
    Stateboard(Stateboard),
    /// `own` is `None` where the processes are shared with other tests, each with a prefix of its own.
    Etcd {
        own: Option<Etcd>,
        members: Vec<SocketAddr>,
        prefix: String,
    },
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

impl World {
    /// A fresh one with this lease. No faults: its processes may be shared with other tests.
    pub async fn new(kind: Kind, lease_ttl: Span) -> Self {
        static ONE: OnceCell<Etcd> = OnceCell::const_new();
        static THREE: OnceCell<Etcd> = OnceCell::const_new();
        let shared = match kind {
            Kind::Etcd1 => ONE.get_or_init(|| Etcd::new(1, false)).await,
            Kind::Etcd3 => THREE.get_or_init(|| Etcd::new(3, false)).await,
            Kind::Memory | Kind::Embedded | Kind::Stateboard => return Self::alone(kind, lease_ttl).await,
        };
        let plan = Plan { lease_ttl, ..Plan::default() };
        let members = shared.members.iter().map(|it| it.clients).collect();
        Self::of_etcd(kind, plan, None, members).await
    }

    /// A fresh one with this lease, whose processes belong to the test alone.
    pub async fn alone(kind: Kind, lease_ttl: Span) -> Self {
        Self::planned(kind, Plan { lease_ttl, ..Plan::default() }).await
    }

    /// A fresh one as it is planned, whose processes belong to the test alone.
    pub async fn planned(kind: Kind, plan: Plan) -> Self {
        let settings =
            Settings { lease_ttl: plan.lease_ttl, longest_lease: plan.lease_ttl, ..Settings::default() };
        let backend = match kind {
            Kind::Memory => {
                let start = Instant::now();
                let clock = move || Time(0) + Span::from_duration(start.elapsed());
                let durable = Durable::genesis(Self::identity(), settings.clone());
                Backend::Memory(MemoryBoard::with(durable, plan.limits(), Arc::new(clock)))
            }
            Kind::Embedded => {
                let folder = tempfile::tempdir().expect("a directory");
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("bound");
                let running = Some(embed(&folder, listener, &settings, &plan).await);
                Backend::Embedded { folder, address, running }
            }
            Kind::Stateboard => Backend::Stateboard(Stateboard::new(&settings, &plan).await),
            Kind::Etcd1 | Kind::Etcd3 => {
                let etcd = Etcd::new(if kind == Kind::Etcd1 { 1 } else { 3 }, plan.roads).await;
                let members = etcd.members.iter().map(|it| it.clients).collect();
                if let Some(password) = plan.password {
                    etcd.protect(password).await;
                }
                return Self::of_etcd(kind, plan, Some(etcd), members).await;
            }
        };
        Self { kind, plan, settings, backend }
    }

    async fn of_etcd(kind: Kind, plan: Plan, own: Option<Etcd>, members: Vec<SocketAddr>) -> Self {
        static PREFIXES: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("/world-{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
        let settings =
            Settings { lease_ttl: plan.lease_ttl, longest_lease: plan.lease_ttl, ..Settings::default() };
        let world = Self { kind, plan, settings, backend: Backend::Etcd { own, members, prefix } };
        world.client().join().await.expect("a fresh etcd");
        world
    }

    /// Which provider it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The settings that it began with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How long a lock with `settings` lives here: etcd counts in whole seconds, two at least.
    ///
    /// # Panics
    /// When the settings are not safe.
    #[must_use]
    pub fn lock_ttl_of(&self, settings: &Settings) -> Span {
        let ttl = Timing::new(settings).expect("they are safe").lock_ttl;
        match self.kind {
            Kind::Memory | Kind::Embedded | Kind::Stateboard => ttl,
            Kind::Etcd1 | Kind::Etcd3 => {
                Span::from_secs(ttl.as_millis().div_ceil(1_000)).max(Span::from_secs(2))
            }
        }
    }

    /// How long a lock lives here.
    #[must_use]
    pub fn lock_ttl(&self) -> Span {
        self.lock_ttl_of(&self.settings)
    }

    /// The identity of the provider's cluster.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn identity() -> Identity {
        identity_of(ClusterName::parse(CLUSTER).expect("a name"), SECRET)
    }

    /// A client.
    #[must_use]
    pub fn client(&self) -> Arc<dyn StateProvider> {
        self.client_of(Self::identity())
    }

    /// A client of any cluster.
    #[must_use]
    pub fn client_of(&self, identity: Identity) -> Arc<dyn StateProvider> {
        self.connect(&self.addresses(), identity, PATIENT)
    }

    /// A client that knows one node only.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn client_of_node(&self, node: usize) -> Arc<dyn StateProvider> {
        self.client_of_node_as(node, Self::identity())
    }

    /// The same, of any cluster.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn client_of_node_as(&self, node: usize, identity: Identity) -> Arc<dyn StateProvider> {
        let address = *self.addresses().get(node).expect("there is such a node");
        self.connect(&[address], identity, IMPATIENT)
    }

    /// A client that waits for no answer that does not come.
    #[must_use]
    pub fn impatient_client(&self) -> Arc<dyn StateProvider> {
        self.connect(&self.addresses(), Self::identity(), IMPATIENT)
    }

    /// An impatient client with roads of its own.
    pub async fn route(&self) -> Route {
        let identity = Self::identity();
        Route::new(&self.addresses(), |roads| self.connect(&roads, identity, IMPATIENT)).await
    }

    /// A client of etcd that keeps these rules, with roads of its own.
    ///
    /// # Panics
    /// Where the world is no etcd.
    pub async fn route_of_etcd(&self, rules: Rules) -> Route {
        let Backend::Etcd { prefix, .. } = &self.backend else {
            panic!("only etcd's provider has a rule to break")
        };
        let client = |roads: Vec<SocketAddr>| -> Arc<dyn StateProvider> {
            let endpoints = roads.iter().map(|address| format!("http://{address}")).collect();
            let options = EtcdOptions {
                prefix: prefix.clone(),
                rules,
                ..EtcdOptions::new(endpoints, Self::identity(), PATIENT)
            };
            Arc::new(EtcdProvider::new(options).expect("good endpoints"))
        };
        Route::new(&self.addresses(), client).await
    }

    /// Addresses of all nodes; none where there is no network.
    /// Where its servers are reached.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match &self.backend {
            Backend::Memory(_) => Vec::new(),
            Backend::Embedded { address, .. } => vec![*address],
            Backend::Stateboard(stateboard) => vec![stateboard.address],
            Backend::Etcd { members, .. } => members.clone(),
        }
    }

    fn connect(&self, to: &[SocketAddr], identity: Identity, patience: Duration) -> Arc<dyn StateProvider> {
        self.connect_with(to, identity, patience, self.plan.password)
    }

    /// A client that shows this password, or none.
    #[must_use]
    pub fn client_with(&self, password: Option<&str>) -> Arc<dyn StateProvider> {
        self.connect_with(&self.addresses(), Self::identity(), PATIENT, password)
    }

    fn connect_with(
        &self,
        to: &[SocketAddr],
        identity: Identity,
        patience: Duration,
        password: Option<&str>,
    ) -> Arc<dyn StateProvider> {
        let endpoints = to.iter().map(|address| format!("http://{address}")).collect();
        match &self.backend {
            Backend::Memory(board) => Arc::new(board.client(identity)),
            Backend::Embedded { .. } | Backend::Stateboard(_) => {
                let password = password.map(|text| Password::parse(text).expect("printable"));
                let options =
                    StateboardOptions { password, ..StateboardOptions::new(endpoints, identity, patience) };
                Arc::new(StateboardProvider::new(options).expect("good endpoints"))
            }
            Backend::Etcd { prefix, .. } => {
                let options = EtcdOptions {
                    prefix: prefix.clone(),
                    check_identity: self.plan.check_identity,
                    credentials: password
                        .map(|text| ("baton".to_owned(), Password::parse(text).expect("printable"))),
                    seed_settings: Settings { version: Version(0), ..self.settings.clone() },
                    ..EtcdOptions::new(endpoints, identity, patience)
                };
                Arc::new(EtcdProvider::new(options).expect("good endpoints"))
            }
        }
    }

    /// How many processes or servers it has.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.addresses().len()
    }

    /// SIGSTOP.
    pub fn freeze(&self, node: usize) {
        self.process(node).freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self, node: usize) {
        self.process(node).thaw();
    }

    fn process(&self, node: usize) -> &crate::process::Process {
        let process = match &self.backend {
            Backend::Stateboard(stateboard) => stateboard.process.as_ref(),
            Backend::Etcd { own: Some(etcd), .. } => {
                etcd.members.get(node).and_then(|it| it.process.as_ref())
            }
            Backend::Memory(_) | Backend::Embedded { .. } | Backend::Etcd { own: None, .. } => None,
        };
        process.expect("it is a process of this world, and runs")
    }

    /// SIGKILL.
    pub fn kill(&mut self, node: usize) {
        match &mut self.backend {
            Backend::Stateboard(stateboard) => stateboard.process = None,
            Backend::Etcd { own: Some(etcd), .. } => {
                etcd.members.get_mut(node).expect("there is such a node").process = None;
            }
            Backend::Memory(_) | Backend::Embedded { .. } | Backend::Etcd { own: None, .. } => {
                panic!("there is no process of this world")
            }
        }
    }

    /// Starts a node again from what is durable, and waits until it listens.
    pub async fn start(&mut self, node: usize) {
        match &mut self.backend {
            Backend::Stateboard(stateboard) => stateboard.start().await,
            Backend::Etcd { own: Some(etcd), .. } => etcd.start(node),
            Backend::Memory(_) | Backend::Embedded { .. } | Backend::Etcd { own: None, .. } => {
                panic!("there is no process of this world")
            }
        }
    }

    /// Waits until all that runs is well.
    pub async fn well(&self) {
        if let Backend::Etcd { own: Some(etcd), .. } = &self.backend {
            etcd.all_well().await;
        }
    }

    /// Kills the provider and starts it again from what is durable, on the same address.
    pub async fn restart(&mut self) {
        match &mut self.backend {
            Backend::Memory(board) => return board.restart(),
            Backend::Embedded { folder, address, running } => {
                let mut old = running.take().expect("it runs");
                old.shutdown.cancel();
                (&mut old.server).await.expect("the server did not panic");
                let listener = TcpListener::bind(*address).await.expect("the port is ours again");
                *running = Some(embed(folder, listener, &self.settings, &self.plan).await);
                return;
            }
            Backend::Stateboard(_) | Backend::Etcd { .. } => {}
        }
        let nodes = self.nodes();
        (0..nodes).for_each(|node| self.kill(node));
        for node in 0..nodes {
            self.start(node).await;
        }
        self.well().await;
    }

    /// The node that leads the others.
    pub async fn leader(&self) -> usize {
        self.etcd().leader().await
    }

    /// Cuts a node off from the others, though not from its clients.
    pub async fn isolate(&self, node: usize) {
        self.etcd().isolate(node).await;
    }

    /// Takes [`World::isolate`] back, and waits until all is well.
    pub async fn reunite(&self) {
        self.etcd().reunite();
        self.well().await;
    }

    /// Makes it forget every revision but the newest, as an administrator does.
    pub async fn compact(&self) {
        self.etcd().compact().await;
    }

    /// The keys of an etcd as a person sees them.
    ///
    /// # Panics
    /// When it is none.
    pub async fn raw(&self) -> Raw {
        let Backend::Etcd { members, prefix, .. } = &self.backend else { panic!("it is no etcd") };
        Raw::of(*members.first().expect("an etcd has members"), format!("{prefix}/{CLUSTER}/")).await
    }

    fn etcd(&self) -> &Etcd {
        match &self.backend {
            Backend::Etcd { own: Some(etcd), .. } => etcd,
            Backend::Memory(_) | Backend::Embedded { .. } | Backend::Stateboard(_) | Backend::Etcd { .. } => {
                panic!("it is no etcd of its own")
            }
        }
    }

    /// What a board in memory does wrong from now on.
    ///
    /// # Panics
    /// When it is none.
    pub fn set_faults(&self, faults: Faults) {
        match &self.backend {
            Backend::Memory(board) => board.set_faults(faults),
            Backend::Embedded { .. } | Backend::Stateboard(_) | Backend::Etcd { .. } => {
                panic!("only a board in memory has switches")
            }
        }
    }
}

async fn embed(folder: &TempDir, listener: TcpListener, settings: &Settings, plan: &Plan) -> Running {
    let options = baton_stateboard::Options {
        identity: World::identity(),
        data_dir: folder.path().to_owned(),
        seed_settings: settings.clone(),
        limits: plan.limits(),
    };
    let shutdown = CancellationToken::new();
    let embedded = baton_stateboard::embed(options, listener, PATIENT, shutdown.clone()).await;
    let server = embedded.expect("our own directory").server;
    let server = tokio::spawn(async move { server.await.expect("no panic").expect("the server works") });
    Running { shutdown, server }
}

/// Looks until `look` finds something.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(missing) => assert!(Instant::now() < deadline, "{what}: last seen: {missing}"),
        }
        tokio::time::sleep(PAUSE).await; // tidy: waits because the poll looks every 20 ms, with a deadline
    }
}
