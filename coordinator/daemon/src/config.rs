//! What one host's daemon is told: a file, overridden by the environment, overridden by flags, and checked as a whole.
//! A [`Config`] is complete and consistent; whatever is wrong with it is said at once, with place, key and rule.
//!
//! Architecture invariant: nothing here that two hosts could disagree about dangerously. Timings and policies are the
//! cluster's and live in the provider.

mod check;
mod instance;
mod overrides;
mod provider;

pub use overrides::Overrides;

use baton_board::Identity;
use baton_config::{Document, ENVIRONMENT_PREFIX, Origin, Problem, Problems};
use baton_core::ids::{CoordinatorName, Endpoint, InstanceName, ReplicaSetName, Zone};
use baton_core::record::Settings;
use baton_provider::password::Password;
use baton_provider::tls::TlsFiles;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the file is, unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/baton/coordinator.toml";

/// Everything that a daemon needs to know about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cluster's name with the hash of its secret.
    pub identity: Identity,
    /// The file with the secret, if there is one: only to look at who may read it.
    pub secret_file: Option<PathBuf>,
    /// Where the durable record is kept.
    pub provider: ProviderConfig,
    /// Where the record moves to, or came from: the other end of a move.
    pub next: Option<ProviderConfig>,
    /// The daemon's name among the coordinators.
    pub name: CoordinatorName,
    /// gRPC for guards, routers and operators.
    pub listen: SocketAddr,
    /// Health, JSON and metrics.
    pub http_listen: SocketAddr,
    /// How others reach `listen`, where it cannot be read from it; see [`Config::advertised`].
    pub advertise: Option<Endpoint>,
    /// What must survive a restart of the host's daemon.
    pub state_dir: PathBuf,
    /// Whether a stop leaves engines and rights to the next process.
    pub keep_engine: bool,
    /// Whether this daemon contends for the arbiter's lock.
    pub arbiter_enabled: bool,
    /// Whether it answers routers.
    pub directory_enabled: bool,
    /// The engines that it guards.
    pub instances: BTreeMap<InstanceName, InstanceConfig>,
    /// What is allowed but must be shown among the issues, in words.
    pub issues: Vec<String>,
}

/// Where the durable record is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderConfig {
    /// A stateboard process.
    Stateboard {
        /// `https://host:port`, `http://host:port` or `host:port`, at least one.
        endpoints: Vec<String>,
        /// The files for TLS to it; `None` without it.
        tls: Option<TlsFiles>,
        /// The password, where it asks for one.
        password: Option<Password>,
    },
    /// An etcd of one member or several.
    Etcd(Box<EtcdSection>),
    /// A stateboard inside this daemon.
    Embedded {
        /// Where it keeps its file.
        data_dir: PathBuf,
    },
}

/// How etcd is reached, and where in it the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSection {
    /// As a stateboard's, one for each member.
    pub endpoints: Vec<String>,
    /// The folder of all clusters: `/NAME`.
    pub prefix: String,
    /// User and password, where it asks for them.
    pub credentials: Option<(String, Password)>,
    /// The files for TLS to it; `None` without it.
    pub tls: Option<TlsFiles>,
    /// The settings of a cluster that etcd does not know yet.
    pub seed_settings: Settings,
}

/// One engine and its place in a replica set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceConfig {
    /// Its name.
    pub name: InstanceName,
    /// Its set.
    pub replicaset: ReplicaSetName,
    /// Where it stands.
    pub zone: Option<Zone>,
    /// Higher is preferred.
    pub priority: u32,
    /// Whether it may ever be appointed.
    pub electable: bool,
    /// How many members the set's first appointment waits for.
    pub bootstrap_members: u32,
    /// A port with the health endpoints of this instance alone.
    pub health_listen: Option<SocketAddr>,
    /// The engine itself.
    pub engine: EngineConfig,
}

/// How to reach and run an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// What it is.
    pub kind: EngineKind,
    /// What routers get.
    pub endpoint: Endpoint,
    /// Where the guard connects.
    pub connect: Endpoint,
    /// The file with its password; read by the engine's adapter when it connects, so that a changed one is picked up.
    pub password_file: Option<PathBuf>,
    /// The program and its arguments; empty for an engine that something else runs (adopted).
    pub command: Vec<String>,
    /// Where it keeps its data.
    pub data_dir: Option<PathBuf>,
    /// Where a supervised engine's output goes; `STATE_DIR/INSTANCE.log` if not given.
    pub log_file: PathBuf,
}

/// The engines that this version can run, with what only they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Redis or Valkey.
    Redis,
    /// PostgreSQL. Its data directory is always given.
    Postgres {
        /// By which name the guard logs in, and replicas at their master.
        user: String,
        /// Which database has the mark.
        database: String,
    },
}

impl Config {
    /// Reads the file, then the environment, then the flags, and checks the whole.
    ///
    /// # Errors
    /// All [`Problems`] at once.
    pub fn load(
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: &Overrides,
    ) -> Result<Self, Problems> {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            Problems(vec![Problem {
                origin: Origin::File { file: shown.as_str().into(), line: 0 },
                key: String::new(),
                value: None,
                rule: format!("cannot be read: {error}"),
            }])
        })?;
        Self::from_text(&shown, &text, environment, overrides)
    }

    /// The same from a text; `file` is only shown.
    ///
    /// # Errors
    /// All [`Problems`] at once.
    pub fn from_text(
        file: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: &Overrides,
    ) -> Result<Self, Problems> {
        let mut document = Document::parse(file, text);
        document.set_from_environment(ENVIRONMENT_PREFIX, environment);
        overrides.apply(&mut document);
        let config = check::check(&document);
        let problems = document.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(problems)),
        }
    }

    /// The address that others are told, once the port is bound: `advertise`, else what was bound, with this
    /// coordinator's name for a host where every address is listened on.
    #[must_use]
    pub fn advertised(&self, bound: SocketAddr) -> String {
        match &self.advertise {
            Some(advertise) => advertise.to_string(),
            None if bound.ip().is_unspecified() => format!("{}:{}", self.name, bound.port()),
            None => bound.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
