//! The stateboard as a process, or inside another one: gRPC over the pure board, with durable storage.
//!
//! [`open`] reads the file, [`Stateboard::serve`] answers on listeners that the caller has bound, until its shutdown.
//! The coordinator runs the same two where its provider is embedded.

pub mod config;
mod embedded;
mod http;
mod keeping;
mod metrics;
mod service;
mod shell;
pub mod storage;

pub use embedded::{EmbedError, Embedded, embed};

use baton_board::{Identity, Limits};
use baton_core::record::Settings;
use baton_proto::v1;
use keeping::Keeping;
use metrics::Metrics;
use service::Service;
use shell::Shell;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use storage::{OpenError, Storage};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use v1::stateboard_server::StateboardServer;

/// Exit code after a sync that failed.
pub const EXIT_STORAGE: i32 = 70;
/// Largest request: a full one of the default limits fits.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest response: a snapshot of the default limits fits.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Streams that one connection may have open.
const STREAMS_MAX: u32 = 4_096;
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

/// A stateboard whose file is open.
pub struct Stateboard {
    shell: Shell,
    thread: JoinHandle<()>,
    metrics: Arc<Metrics>,
    identity: Arc<Identity>,
    keeping: Keeping,
}

/// Opens the file and starts the board. Blocks while it reads: call it before serving, not on a busy runtime.
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
    let metrics = Arc::new(Metrics::new());
    metrics.revision(durable.revision);
    let archive = storage.archive();
    let file = storage.path().to_owned();
    let (shell, thread) = Shell::start(durable, limits.clone(), storage, Arc::clone(&metrics))
        .map_err(|error| OpenError::Io { path: data_dir, error })?;
    let keeping = Keeping::new(shell.clone(), archive, file, limits);
    Ok(Stateboard { shell, thread, metrics, identity: Arc::new(identity), keeping })
}

impl Stateboard {
    /// Answers on `listener`, and health and metrics on `http` where it is given, until `shutdown`. Everything that
    /// was answered is durable; what is under way at the shutdown is answered or refused within five seconds.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        http: Option<TcpListener>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let web = http.map(|listener| {
            let router = http::router(self.shell.clone(), Arc::clone(&self.metrics));
            let stop = shutdown.clone().cancelled_owned();
            tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stop).await })
        });
        let result = self.serve_grpc(listener, &shutdown).await;
        shutdown.cancel();
        self.shell.stop();
        if let Some(web) = web {
            // Metrics of a stateboard that is going are nobody's concern.
            web.abort();
        }
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the board's thread panicked");
        }
        result
    }

    async fn serve_grpc(
        &self,
        listener: TcpListener,
        shutdown: &CancellationToken,
    ) -> Result<(), ServeError> {
        let service = Service {
            shell: self.shell.clone(),
            identity: Arc::clone(&self.identity),
            keeping: Arc::new(self.keeping.clone()),
        };
        let stateboard = StateboardServer::new(service)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX);
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
        let server = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_EVERY))
            .add_service(health)
            .add_service(reflection)
            .add_service(stateboard)
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop);
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
