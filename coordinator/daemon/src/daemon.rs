//! The daemon put together: provider, guards, link, arbiter, directory, each with its task, and the order in which they
//! start and stop. It decides nothing.

use crate::arbiter_shell;
use crate::clock;
use crate::config::{Config, EngineKind as ConfiguredKind, InstanceConfig, ProviderConfig};
use crate::directory::DirectoryService;
use crate::guard_shell;
use crate::http;
use crate::link::host::{Guarded, HostLink};
use crate::link::service::CoordinationService;
use crate::metrics::Metrics;
use crate::operator::{self, OperatorCommand, OperatorService, Refused, RefusedKind};
use crate::view::{self, ClusterView, ViewPublishers, Views};
use anyhow::Context as _;
use baton_client::status::ClusterStatus;
use baton_core::record::Settings;
use baton_core::timing::Timing;
use baton_engine::EngineKind;
use baton_engine::redis::Redis;
use baton_proto::v1;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{FatalError, Item, LockView, ProviderError, StateProvider, WatchEvent};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// Most beats of all local guards that wait for the link.
const BEATS_MAX: usize = 4_096;
/// Streams that one connection may have open.
const STREAMS_MAX: u32 = 4_096;
/// How long the tasks may take to end once the shutdown has come.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a request to the provider may take before the lease is known.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// The ports, bound before anything else starts, so that a port in use is the first thing that is said.
pub struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
    health: BTreeMap<baton_core::ids::InstanceName, TcpListener>,
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

/// Runs the daemon until `shutdown`: masters of this host hand over, the arbiter gives its lock up, streams end.
/// Engines go on under their deadmen. `ready` is called once everything serves.
///
/// # Errors
/// What keeps it from starting, or what a listener said.
pub async fn run(
    config: Config,
    listeners: Listeners,
    program: PathBuf,
    shutdown: CancellationToken,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let Listeners { grpc, http: http_listener, health } = listeners;
    let address = config.advertised(grpc.local_addr()?);
    let provider = provider(&config, &shutdown).await?;
    let settings = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        settings = first_settings(&provider) => settings?,
    };
    let timing = Timing::new(&settings).context("the settings in the provider are not safe together")?;
    let metrics = Arc::new(Metrics::default());
    let status = ClusterStatus {
        cluster: config.identity.cluster.to_string(),
        answered_by: config.name.to_string(),
        issues: config.issues.clone(),
        ..ClusterStatus::default()
    };
    let sets = config.instances.values().map(|instance| (instance.name.clone(), instance.replicaset.clone()));
    let (publishers, views) =
        view::channels(ClusterView::new(status, settings.clone()), sets, Arc::new(clock::now));
    let lock = follow_lock(Arc::clone(&provider), shutdown.clone());
    let (events, event_queue) = mpsc::channel(arbiter_shell::EVENTS_MAX);
    let (commands, command_queue) = operator::channel();
    let (ended, mut all_ended) = mpsc::channel::<()>(1);

    let ViewPublishers { masters, cluster, locals } = publishers;
    let (beats, beat_queue) = mpsc::channel(BEATS_MAX);
    let guards_stop = CancellationToken::new();
    let mut parts = GuardParts { config: &config, timing: &timing, provider: &provider, program, beats, metrics: &metrics };
    let (guards, mut guard_tasks) = parts.start(locals, &guards_stop)?;
    drop(parts);
    let link = HostLink {
        config: Arc::clone(&config),
        timing: timing.clone(),
        guards,
        beats: beat_queue,
        lock: lock.clone(),
        masters,
    };
    let link_stop = CancellationToken::new();
    let link = tokio::spawn(link.run(link_stop.clone()));

    let arbiter_stop = CancellationToken::new();
    let arbiter = if config.arbiter_enabled {
        let parts = arbiter_shell::Parts {
            config: Arc::clone(&config),
            address,
            settings,
            provider: Arc::clone(&provider),
            cluster,
            lock: lock.clone(),
            metrics: Arc::clone(&metrics),
        };
        let events = events.clone();
        Some(arbiter_shell::start(parts, event_queue, events, command_queue, arbiter_stop.clone())?)
    } else {
        drop(event_queue);
        tokio::spawn(refuse_all(command_queue));
        None
    };
    let serve_stop = CancellationToken::new();
    let coordination =
        config.arbiter_enabled.then(|| CoordinationService::new(Arc::clone(&config), events, lock));
    let services = Services { config: &config, views: &views, metrics: &metrics, commands, coordination };
    let grpc = tokio::spawn(services.serve(grpc, serve_stop.clone()).await?);
    let web = serve_http(&config, &views, &metrics, http_listener, health, &serve_stop, &ended);
    drop(ended);
    ready();

    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        served = grpc => Some(served),
    };
    tracing::info!("stopping: local masters hand over, engines go on under their deadmen");
    guards_stop.cancel();
    let drained = tokio::time::timeout(DRAIN, async {
        while guard_tasks.join_next().await.is_some() {}
        arbiter_stop.cancel();
        if let Some(arbiter) = arbiter {
            let _ = arbiter.await;
        }
        link_stop.cancel();
        let _ = link.await;
        serve_stop.cancel();
        all_ended.recv().await;
    });
    if drained.await.is_err() {
        tracing::warn!("not everything ended within {DRAIN:?}");
    }
    drop(web);
    match failed {
        None => Ok(()),
        Some(served) => served?.context("the gRPC port failed"),
    }
}

/// The provider that the configuration names. An embedded stateboard serves this daemon's own port on loopback.
async fn provider(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<Arc<dyn StateProvider>> {
    let endpoints = match &config.provider {
        ProviderConfig::Stateboard { endpoints } => endpoints.clone(),
        ProviderConfig::Embedded { data_dir } => {
            let options = baton_stateboard::Options {
                identity: config.identity.clone(),
                data_dir: data_dir.clone(),
                seed_settings: Settings::default(),
                limits: baton_board::Limits::default(),
            };
            let board = tokio::task::spawn_blocking(move || baton_stateboard::open(options)).await??;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let endpoint = format!("http://{}", listener.local_addr()?);
            let stop = shutdown.clone();
            tokio::spawn(async move {
                if let Err(error) = board.serve(listener, None, stop).await {
                    tracing::error!(%error, "the embedded stateboard failed");
                }
            });
            vec![endpoint]
        }
    };
    let identity = config.identity.clone();
    let options = StateboardOptions { endpoints, identity, request_timeout: FIRST_TIMEOUT };
    Ok(Arc::new(StateboardProvider::new(options)?))
}

/// Waits for the provider and reads the cluster's settings: without them no lease is known.
async fn first_settings(provider: &Arc<dyn StateProvider>) -> anyhow::Result<Settings> {
    let mut told = false;
    loop {
        match provider.read().await {
            Ok(snapshot) => return Ok(snapshot.settings),
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

/// Follows who holds the lock.
fn follow_lock(
    provider: Arc<dyn StateProvider>,
    stop: CancellationToken,
) -> watch::Receiver<Option<LockView>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            error = watch_lock(provider, &sender) => {
                tracing::error!(%error, "the state provider cannot be watched any more");
            }
        }
        // Kept open: readers must not take the end of the watch for a change.
        stop.cancelled().await;
        drop(sender);
    });
    receiver
}

async fn watch_lock(
    provider: Arc<dyn StateProvider>,
    sender: &watch::Sender<Option<LockView>>,
) -> ProviderError {
    let mut stream = match provider.watch(None).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    while let Some(event) = stream.next().await {
        match event {
            Ok(WatchEvent::Snapshot(snapshot)) => {
                sender.send_if_modified(|known| known.replace(snapshot.lock.clone()) != Some(snapshot.lock));
            }
            Ok(WatchEvent::Update(update)) => {
                for item in update.items {
                    if let Item::Lock(lock) = item {
                        sender.send_replace(Some(lock));
                    }
                }
            }
            Err(error) => return error,
        }
    }
    ProviderError::Fatal(FatalError::Protocol("the watch ended".to_owned()))
}

struct GuardParts<'a> {
    config: &'a Arc<Config>,
    timing: &'a Timing,
    provider: &'a Arc<dyn StateProvider>,
    program: PathBuf,
    beats: mpsc::Sender<baton_core::message::Beat>,
    metrics: &'a Arc<Metrics>,
}

type Guards = BTreeMap<baton_core::ids::InstanceName, Guarded>;

impl GuardParts<'_> {
    fn start(
        &mut self,
        mut locals: BTreeMap<baton_core::ids::InstanceName, watch::Sender<view::LocalView>>,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Guards, tokio::task::JoinSet<()>)> {
        let mut guards = BTreeMap::new();
        let mut tasks = tokio::task::JoinSet::new();
        for (name, instance) in &self.config.instances {
            let Some(view) = locals.remove(name) else { continue };
            let parts = guard_shell::Parts {
                instance: instance.clone(),
                coordinator: self.config.name.clone(),
                state_dir: self.config.state_dir.clone(),
                timing: self.timing.clone(),
                provider: Arc::clone(self.provider),
                kind: engine_kind(instance),
                program: self.program.clone(),
                beats: self.beats.clone(),
                view,
                metrics: Arc::clone(self.metrics),
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
        let beats = self.beats.clone();
        let open = stop.clone();
        tokio::spawn(async move {
            open.cancelled().await;
            drop(beats);
        });
        Ok((guards, tasks))
    }
}

fn engine_kind(instance: &InstanceConfig) -> Arc<dyn EngineKind> {
    let engine = &instance.engine;
    match engine.kind {
        ConfiguredKind::Redis => Arc::new(Redis::new(engine.connect.to_string(), engine.password_file.clone())),
    }
}

struct Services<'a> {
    config: &'a Arc<Config>,
    views: &'a Views,
    metrics: &'a Arc<Metrics>,
    commands: mpsc::Sender<OperatorCommand>,
    coordination: Option<CoordinationService>,
}

impl Services<'_> {
    async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> anyhow::Result<impl Future<Output = Result<(), tonic::transport::Error>> + use<>> {
        let cluster = self.config.identity.cluster.clone();
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .build_v1()?;
        let directory = self.config.directory_enabled.then(|| {
            DirectoryService::new(cluster.clone(), self.views.clone(), Arc::clone(self.metrics)).into_server()
        });
        let operator = OperatorService::new(cluster, self.views.clone(), self.commands).into_server();
        let router = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .add_service(health_service)
            .add_service(reflection)
            .add_service(operator)
            .add_optional_service(directory)
            .add_optional_service(self.coordination.map(CoordinationService::into_server));
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        Ok(router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()))
    }
}

fn serve_http(
    config: &Config,
    views: &Views,
    metrics: &Arc<Metrics>,
    listener: TcpListener,
    health: BTreeMap<baton_core::ids::InstanceName, TcpListener>,
    stop: &CancellationToken,
    ended: &mpsc::Sender<()>,
) -> Vec<JoinHandle<()>> {
    let state = http::HttpState::new(views.clone(), Arc::clone(metrics), config.directory_enabled);
    let mut ports = vec![(listener, http::router(state.clone()))];
    for (name, listener) in health {
        ports.push((listener, http::health_router(state.clone(), name)));
    }
    let serve = |(listener, router)| {
        let (stop, ended) = (stop.clone(), ended.clone());
        tokio::spawn(async move {
            if let Err(error) = http::serve(listener, router, stop.cancelled_owned()).await {
                tracing::error!(%error, "an HTTP port failed");
            }
            drop(ended);
        })
    };
    ports.into_iter().map(serve).collect()
}

/// Where the arbiter is off, its commands are refused.
async fn refuse_all(mut commands: mpsc::Receiver<OperatorCommand>) {
    let refused = || Refused::new(RefusedKind::NotActiveArbiter, "the arbiter is off on this coordinator", "");
    while let Some(command) = commands.recv().await {
        match command {
            OperatorCommand::Switchover { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::History { reply, .. } => drop(reply.send(Err(refused()))),
        }
    }
}
