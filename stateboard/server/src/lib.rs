//! The stateboard as a process, or inside another one: gRPC over the pure board, with durable storage.
//!
//! [`open`] reads the file, [`Stateboard::serve`] answers on listeners that the caller has bound, until its shutdown.
//! The coordinator runs the same two where its provider is embedded.

pub mod config;
mod direct;
mod doors;
mod embedded;
mod fault;
mod feed;
mod gate;
mod http;
mod keeping;
mod limits;
mod listener;
mod metrics;
mod names;
mod reads;
mod ready;
mod service;
mod shell;
pub mod storage;

pub use embedded::{EmbedError, Embedded, embed};
pub use limits::Limits as OuterLimits;

use baton_board::{Durable, Identity, Limits};
use baton_core::record::Settings;
use baton_proto::v1;
use baton_provider::files::Followed;
use baton_provider::password::Accepted;
use direct::Direct;
use doors::Doors;
use gate::{Gate, Rules};
use keeping::Keeping;
use metrics::Metrics;
use rustls::ServerConfig;
use service::Service;
use shell::Shell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use storage::{OpenError, Storage};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use v1::stateboard_server::StateboardServer;

/// Exit code after a sync that failed.
pub const EXIT_STORAGE: i32 = 70;
/// Largest response: a snapshot of the default limits fits.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Streams beyond the limit that a connection may open only to be told so: a client that keeps to what HTTP/2 announces
/// would otherwise wait for ever and never learn why.
const STREAMS_SPARE: usize = 64;
/// How often an idle connection is pinged, and how long the answer may take: a candidate whose host vanished must not
/// stand in line for ever.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long requests under way may take to end once the shutdown has come.
const DRAIN: Duration = Duration::from_secs(5);

/// What a stateboard needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose it is.
    pub identity: Identity,
    /// Where its file is.
    pub data_dir: PathBuf,
    /// The settings that a new file begins with.
    pub seed_settings: Settings,
    /// How much it keeps and takes.
    pub limits: Limits,
}

/// Why serving ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport.
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A listener.
    #[error("a listener failed: {0}")]
    Listener(#[from] std::io::Error),
    /// The descriptors that reflection serves.
    #[error("the descriptors cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What stands between the board and whoever connects. The default takes everybody, without TLS.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// TLS for gRPC.
    pub tls: Option<Arc<Followed<Arc<ServerConfig>>>>,
    /// The passwords that are taken; `None` where none is asked for.
    pub passwords: Option<Arc<Followed<Arc<Accepted>>>>,
    /// How much is taken. What the board keeps is in [`Options::limits`].
    pub limits: OuterLimits,
    /// Whether clients of another cluster, or with another secret, are let in. For moving to another secret.
    pub any_identity: bool,
}

/// A stateboard whose file is open.
pub struct Stateboard {
    storage: Storage,
    durable: Durable,
    limits: Limits,
    outside: Outside,
    identity: Arc<Identity>,
}

/// Opens the file. Blocks while it reads: call it before serving, not on a busy runtime.
///
/// # Errors
/// [`OpenError`] names the file and what to do; nothing was changed then.
pub fn open(options: Options) -> Result<Stateboard, OpenError> {
    let Options { identity, data_dir, seed_settings, limits } = options;
    let (storage, durable) = Storage::open(&data_dir, &identity, &seed_settings)?;
    tracing::info!(
        directory = %data_dir.display(),
        revision = %durable.revision,
        epoch = %durable.lock.epoch,
        records = durable.records.len(),
        "the state is read"
    );
    let limits = room_for(&durable, limits);
    Ok(Stateboard { storage, durable, limits, outside: Outside::default(), identity: Arc::new(identity) })
}

/// What is there already was taken under higher limits and stays; only more of it is refused.
fn room_for(durable: &Durable, mut limits: Limits) -> Limits {
    for (name, limit, there) in [
        ("records", &mut limits.records, durable.records.len()),
        ("members", &mut limits.members, durable.members.len()),
        ("tasks", &mut limits.tasks, durable.tasks.len()),
    ] {
        if *limit < there {
            tracing::warn!("there are {there} {name}, more than the limit {limit}: no new ones are taken");
            *limit = there;
        }
    }
    limits
}

impl Stateboard {
    /// With TLS, passwords and limits as given.
    #[must_use]
    pub fn behind(mut self, outside: Outside) -> Self {
        self.outside = outside;
        self
    }

    /// The settings that are in force now, for what has to be compared with them before serving.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.durable.settings
    }

    /// Answers on `listener`, and health and metrics on `http` where it is given, until `shutdown`. Everything that
    /// was answered is durable; what is under way at the shutdown is answered or refused within five seconds, and
    /// streams end with the reason `stopping`.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        http: Option<TcpListener>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Self { storage, durable, limits, outside, identity } = self;
        let metrics = Arc::new(Metrics::new());
        metrics.revision(durable.revision);
        let outer = OuterLimits { kept: limits.clone(), ..outside.limits.clone() };
        let (archive, file) = (storage.archive(), storage.path().to_owned());
        let (shell, thread) = Shell::start(durable, storage, &outer, Arc::clone(&metrics))?;
        let keeping = Keeping::new(shell.clone(), archive, file, limits);
        let web = http.map(|listener| {
            let router = http::router(shell.clone(), Arc::clone(&metrics));
            let stop = shutdown.clone().cancelled_owned();
            tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stop).await })
        });
        let any_identity = outside.any_identity;
        let port = Port { shell: shell.clone(), identity, any_identity, keeping, tls: outside.tls };
        let rules = Rules { limits: outer, passwords: outside.passwords, metrics };
        let result = port.serve(listener, Arc::new(rules), &shutdown).await;
        shutdown.cancel();
        shell.stop();
        if let Some(web) = web {
            // Metrics of a stateboard that is going are nobody's concern.
            web.abort();
        }
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the board's thread panicked");
        }
        result
    }
}

/// The gRPC port.
struct Port {
    shell: Shell,
    identity: Arc<Identity>,
    any_identity: bool,
    keeping: Keeping,
    tls: Option<Arc<Followed<Arc<ServerConfig>>>>,
}

impl Port {
    async fn serve(
        self,
        listener: TcpListener,
        rules: Arc<Rules>,
        shutdown: &CancellationToken,
    ) -> Result<(), ServeError> {
        let limits = &rules.limits;
        let service = Arc::new(Service {
            shell: self.shell.clone(),
            identity: Arc::clone(&self.identity),
            any_identity: self.any_identity,
            limits: Arc::new(limits.clone()),
            keeping: Arc::new(self.keeping),
        });
        let others = StateboardServer::from_arc(Arc::clone(&service))
            .max_decoding_message_size(limits.message_bytes)
            .max_encoding_message_size(RESPONSE_BYTES_MAX);
        let stateboard = Direct { service, others };
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .build_v1()?;
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<StateboardServer<Service>>().await;
        let stop = {
            let (shell, shutdown) = (self.shell.clone(), shutdown.clone());
            async move {
                shutdown.cancelled().await;
                // Ends the streams; without it the server would wait for them.
                shell.stop();
            }
        };
        let streams = u32::try_from(limits.streams_per_connection + STREAMS_SPARE).unwrap_or(u32::MAX);
        let headers = u32::try_from(limits.header_bytes).unwrap_or(u32::MAX);
        let incoming = listener::incoming(listener, self.tls, limits, Arc::clone(&rules.metrics));
        let doors = Doors::new(
            Gate::guarded(stateboard, &rules),
            Gate::open(health, &rules),
            Gate::open(reflection, &rules),
        );
        let server = Server::builder()
            .max_concurrent_streams(streams)
            .http2_max_header_list_size(headers)
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_EVERY))
            .serve_with_incoming_shutdown(doors, incoming, stop);
        let drained = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            biased;
            result = server => Ok(result?),
            () = drained => Ok(()),
        }
    }
}
