//! The daemon put together: provider, guards, link, arbiter, directory, each with its task, and the order in which they
//! start and stop. It decides nothing.

mod ending;
mod serving;

use self::ending::Running;
use self::serving::{Services, publish_lock, refuse_all, serve_http};
use crate::arbiter_shell;
use crate::clock;
use crate::config::Config;
use crate::contender;
use crate::engines;
use crate::guard_shell;
use crate::link::host::{Guarded, HostLink};
use crate::link::peers::Peers;
use crate::link::service::CoordinationService;
use crate::live::{self, Followed, Live};
use crate::metrics::Metrics;
use crate::notes::{self, Notes};
use crate::operator;
use crate::provider;
use crate::view::{self, ClusterView, TasksView, ViewPublishers, Views};
use anyhow::Context as _;
use baton_client::status::ClusterStatus;
use baton_core::ids::InstanceName;
use baton_core::message::Beat;
use baton_core::time::Time;
use baton_provider::switching::{MovingView, SwitchingProvider};
use baton_provider::{LockView, ProviderError, StateProvider};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

/// Most beats of all local guards that wait for the link.
const BEATS_MAX: usize = 4_096;
/// The ports, bound before anything else starts, so that a port in use is the first thing that is said.
pub struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
    health: BTreeMap<InstanceName, TcpListener>,
}

impl Listeners {
    /// Where guards, routers and operators connect: for whoever let the kernel choose the port.
    ///
    /// # Errors
    /// The system's.
    pub fn grpc_address(&self) -> std::io::Result<SocketAddr> {
        self.grpc.local_addr()
    }
}

/// Binds what the configuration says.
///
/// # Errors
/// Which key cannot be listened on, and why.
pub async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let listen = async |key: &str, address| {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {key} = {address}"))
    };
    let mut health = BTreeMap::new();
    for (name, instance) in &config.instances {
        if let Some(address) = instance.health_listen {
            health.insert(name.clone(), listen("instance.health_listen", address).await?);
        }
    }
    Ok(Listeners {
        grpc: listen("coordinator.listen", config.listen).await?,
        http: listen("coordinator.http_listen", config.http_listen).await?,
        health,
    })
}

/// What all parts share.
struct Common {
    config: Arc<Config>,
    provider: Arc<dyn StateProvider>,
    live: watch::Receiver<Arc<Live>>,
    metrics: Arc<Metrics>,
    lock: watch::Receiver<Option<LockView>>,
    moving: watch::Receiver<MovingView>,
    notes: Notes,
}

/// When the daemon is to end, and how.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// It is to end.
    pub asked: CancellationToken,
    /// And nobody comes after it soon: rights are given up, whatever `keep_engine` says. Cancelled before `asked` is.
    pub for_good: CancellationToken,
}

impl From<CancellationToken> for Shutdown {
    fn from(asked: CancellationToken) -> Self {
        Self { asked, for_good: CancellationToken::new() }
    }
}

/// Runs the daemon until `shutdown`: masters of this host give their terms up, the arbiter gives its lock up, streams end.
/// Engines go on under their deadmen. With `keep_engine` rights go on too, and are left to the next process. `ready` is
/// called once everything serves.
///
/// # Errors
/// What keeps it from starting, or what a listener said.
pub async fn run(
    config: Config,
    listeners: Listeners,
    program: PathBuf,
    shutdown: impl Into<Shutdown>,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    // An embedded stateboard outlives everything that writes to it: a hand-over is a write.
    let board_stop = CancellationToken::new();
    let _board_ends = board_stop.clone().drop_guard();
    let provider = provider::open(&config, board_stop).await?;
    let Listeners { grpc, http, health } = listeners;
    let address = grpc.local_addr()?;
    let grpc = tonic::transport::server::TcpIncoming::from(grpc).with_nodelay(Some(true));
    let doors = Doors { provider, address, grpc, web: Some((http, health)) };
    run_on(doors, config, program, shutdown, ready).await
}

/// What a daemon reaches its provider by, and is reached by itself.
pub struct Doors<I> {
    /// The provider.
    pub provider: SwitchingProvider,
    /// Where `grpc` is reached.
    pub address: SocketAddr,
    /// The connections of guards, routers and operators.
    pub grpc: I,
    /// The ports of `http_listen` and, by instance, of `health_listen`; none where nobody asks them.
    pub web: Option<(TcpListener, BTreeMap<InstanceName, TcpListener>)>,
}

/// The same on what is already open.
///
/// # Errors
/// As [`run`].
pub async fn run_on<I, S>(
    doors: Doors<I>,
    config: Config,
    program: PathBuf,
    shutdown: impl Into<Shutdown>,
    ready: impl FnOnce(),
) -> anyhow::Result<()>
where
    I: Stream<Item = std::io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Connected<ConnectInfo: Clone + Send + Sync> + Unpin + Send + 'static,
{
    let Shutdown { asked: shutdown, for_good } = shutdown.into();
    if !config.keep_engine {
        for_good.cancel();
    }
    let Doors { provider, address, grpc, web } = doors;
    let Some(common) = prepare(Arc::new(config), provider, &shutdown).await? else { return Ok(()) };
    let address = common.config.advertised(address);
    let (ViewPublishers { masters, cluster, tasks, locals }, views) = channels(&common);
    let (events, event_queue) = mpsc::channel(arbiter_shell::EVENTS_MAX);
    let (commands, command_queue) = operator::channel();
    let (ended, served) = mpsc::channel::<()>(1);

    let guards_stop = CancellationToken::new();
    let (beats, beat_queue) = mpsc::channel(BEATS_MAX);
    let peers = Arc::new(Peers::new(Arc::clone(&common.config), common.live.clone()));
    let (guarded, guards) = start_guards(&common, program, beats, locals, &peers, (&guards_stop, &for_good))?;
    let inboxes = guarded.iter().map(|(name, guarded)| (name.clone(), guarded.inbox.clone())).collect();
    let (knocks, campaign_from, _contender_ends) = common.start_contender(&address, &peers);
    let link = common.link(address.clone(), peers, guarded, beat_queue, masters);
    let link_stop = CancellationToken::new();
    let (link, _link_ends) = (tokio::spawn(link.run(link_stop.clone())), link_stop.drop_guard());

    let arbiter_stop = CancellationToken::new();
    let arbiter = if common.config.arbiter_enabled {
        let parts = common.arbiter_parts(address, cluster, tasks, campaign_from);
        Some(arbiter_shell::start(parts, event_queue, events.clone(), command_queue, arbiter_stop.clone())?)
    } else {
        drop(event_queue);
        tokio::spawn(refuse_all(command_queue));
        tokio::spawn(publish_lock(common.lock.clone(), cluster));
        None
    };
    let serve_stop = CancellationToken::new();
    let events = common.config.arbiter_enabled.then_some(events);
    let coordination =
        CoordinationService::new(Arc::clone(&common.config), events, inboxes, common.lock.clone(), knocks);
    let services = Services { common: &common, views: &views, commands, coordination };
    let mut grpc = tokio::spawn(services.serve(grpc, serve_stop.clone()).await?);
    if let Some((http, health)) = web {
        serve_http(&common, &views, http, health, &serve_stop, &ended);
    }
    drop(ended);
    ready();

    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        served = &mut grpc => Some(served),
    };
    let running = Running { guards, guards_stop, link, arbiter, arbiter_stop, serve_stop, served };
    if for_good.is_cancelled() {
        running.drain(&views, &common.live).await;
    } else {
        running.hand_over().await;
    }
    match failed {
        None => Ok(()),
        Some(served) => served?.context("the gRPC port failed"),
    }
}

/// Waits for the cluster's settings; `None` where the shutdown comes first.
async fn prepare(
    config: Arc<Config>,
    provider: SwitchingProvider,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Common>> {
    let moving = provider.view();
    let provider: Arc<dyn StateProvider> = Arc::new(provider);
    let live = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(None),
        settings = first_settings(&provider) => settings?,
    };
    let Followed { lock, live } = live::follow(Arc::clone(&provider), live);
    let notes = Notes::default();
    notes::watch::of_configuration(&notes, &config);
    tokio::spawn(notes::watch::certificates(notes.clone(), Arc::clone(&config), shutdown.clone()));
    Ok(Some(Common { config, provider, live, metrics: Arc::new(Metrics::default()), lock, moving, notes }))
}

fn channels(common: &Common) -> (ViewPublishers, Views) {
    let config = &common.config;
    let status = ClusterStatus {
        cluster: config.identity.cluster.to_string(),
        answered_by: config.name.to_string(),
        issues: config.issues.clone(),
        ..ClusterStatus::default()
    };
    let sets = config.instances.values().map(|instance| (instance.name.clone(), instance.replicaset.clone()));
    view::channels(
        ClusterView::new(status, common.live.borrow().settings.clone()),
        sets,
        Arc::new(clock::now),
    )
}

impl Common {
    fn link(
        &self,
        address: String,
        peers: Arc<Peers>,
        guarded: Guards,
        beats: mpsc::Receiver<Beat>,
        masters: watch::Sender<Arc<view::MastersView>>,
    ) -> HostLink {
        HostLink {
            config: Arc::clone(&self.config),
            live: self.live.clone(),
            address,
            peers,
            guards: guarded,
            beats,
            lock: self.lock.clone(),
            moving: self.moving.clone(),
            masters,
            notes: self.notes.clone(),
            told: None,
        }
    }

    fn arbiter_parts(
        &self,
        address: String,
        cluster: watch::Sender<Arc<ClusterView>>,
        tasks: watch::Sender<Arc<TasksView>>,
        campaign_from: watch::Receiver<Option<Time>>,
    ) -> arbiter_shell::Parts {
        arbiter_shell::Parts {
            config: Arc::clone(&self.config),
            address,
            live: self.live.clone(),
            provider: Arc::clone(&self.provider),
            cluster,
            tasks,
            lock: self.lock.clone(),
            moving: self.moving.clone(),
            metrics: Arc::clone(&self.metrics),
            campaign_from,
        }
    }

    /// Where its knocks are counted, and from when on this coordinator may campaign.
    fn start_contender(
        &self,
        address: &str,
        peers: &Arc<Peers>,
    ) -> (mpsc::Sender<contender::Knock>, watch::Receiver<Option<Time>>, DropGuard) {
        let stop = CancellationToken::new();
        let (knocks, queue) = mpsc::channel(contender::KNOCKS_MAX);
        let parts = contender::Parts {
            config: Arc::clone(&self.config),
            address: address.to_owned(),
            guards: u32::try_from(self.config.instances.len()).unwrap_or(u32::MAX),
            live: self.live.clone(),
            provider: Arc::clone(&self.provider),
            lock: self.lock.clone(),
            peers: Arc::clone(peers),
            knocks: queue,
        };
        (knocks, contender::start(parts, stop.clone()), stop.drop_guard())
    }
}

/// Waits for the provider and reads the cluster's settings: without them no lease is known.
async fn first_settings(provider: &Arc<dyn StateProvider>) -> anyhow::Result<Live> {
    let mut told = false;
    loop {
        match provider.read().await {
            Ok(snapshot) => {
                let live = Live::new(snapshot.lock.epoch.generation, snapshot.settings);
                return live.context("the settings in the provider are not safe together");
            }
            Err(ProviderError::Fatal(error)) => return Err(error.into()),
            Err(error) if !told => {
                told = true;
                tracing::warn!(%error, "waiting for the state provider");
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

type Guards = BTreeMap<InstanceName, Guarded>;

fn start_guards(
    common: &Common,
    program: PathBuf,
    beats: mpsc::Sender<Beat>,
    mut locals: BTreeMap<InstanceName, watch::Sender<view::LocalView>>,
    peers: &Arc<Peers>,
    (stop, for_good): (&CancellationToken, &CancellationToken),
) -> anyhow::Result<(Guards, tokio::task::JoinSet<()>)> {
    let mut guards = BTreeMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    let gate = Arc::new(guard_shell::Gate::new(common.config.instances.len()));
    for (name, instance) in &common.config.instances {
        let Some(view) = locals.remove(name) else { continue };
        let parts = guard_shell::Parts {
            instance: instance.clone(),
            coordinator: common.config.name.clone(),
            state_dir: common.config.state_dir.clone(),
            live: common.live.clone(),
            peers: Arc::clone(peers),
            provider: Arc::clone(&common.provider),
            kind: engines::engine_of(instance, &program),
            program: program.clone(),
            beats: beats.clone(),
            view,
            metrics: Arc::clone(&common.metrics),
            notes: common.notes.clone(),
            for_good: for_good.clone(),
            gate: Arc::clone(&gate),
            cluster: common.config.identity.cluster.clone(),
        };
        let handle = guard_shell::start(parts, stop.child_token())
            .with_context(|| format!("the guard of instance {name} cannot start"))?;
        guards.insert(name.clone(), Guarded { hello: handle.hello, inbox: handle.inbox });
        tasks.spawn(async move {
            if let Err(error) = handle.task.await {
                tracing::error!(%error, "a guard ended by a panic");
            }
        });
    }
    // A daemon without instances still follows the arbiter for its directory: the queue of beats must stay open.
    let open = stop.clone();
    tokio::spawn(async move {
        open.cancelled().await;
        drop(beats);
    });
    Ok((guards, tasks))
}
