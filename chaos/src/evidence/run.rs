//! What a run was, written before it begins, and how it ended, written last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Micros;

/// The version of all files of a run. Raised with every change of their shape; a reader refuses what is newer than itself.
pub const FORMAT: u32 = 1;

/// Whether commits wait for replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// What a replica has confirmed may not be lost.
    Sync,
    /// What only the master has acknowledged may be lost with it, within what is reported.
    Async,
}

impl Mode {
    /// As it stands in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

/// What the run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// See [`FORMAT`].
    pub format: u32,
    /// The scenario's name.
    pub scenario: String,
    /// What it is about, in a sentence or two.
    #[serde(default)]
    pub story: String,
    /// The database.
    pub engine: String,
    /// What keeps the record.
    pub provider: String,
    /// Whether commits wait for replicas.
    pub mode: Mode,
    /// Of all random choices.
    pub seed: u64,
    /// How long a silent master may keep its right, in milliseconds.
    pub lease_ttl_ms: u64,
    /// Baton's version, and its commit where that is known.
    pub version: String,
    /// When it began, in milliseconds since 1970, for people.
    pub started_unix_ms: u64,
    /// The command that repeats it.
    pub command: String,
    /// The replica set that the clients use.
    pub replicaset: String,
    /// Every instance of it, in the order in which people read them.
    pub instances: Vec<String>,
    /// Each failure class with the worst outage that the cluster's `timing` promised, in microseconds.
    pub budgets_us: BTreeMap<String, Micros>,
    /// Changes of master that the scenario is about: fewer prove nothing.
    #[serde(default)]
    pub expected_changes: u64,
}

/// How one instance was found in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceEnding {
    /// Which.
    pub name: String,
    /// Whether it answered.
    pub reachable: bool,
    /// Whether it would have accepted a write.
    pub writable: bool,
    /// Every list that clients append to, whole.
    #[serde(default)]
    pub keys: BTreeMap<String, Vec<u64>>,
}

/// How the run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// When the last fault had been healed and all was to be well; the final reads come after it.
    pub ended_us: Micros,
    /// The master at the end; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Its term.
    #[serde(default)]
    pub term: u64,
    /// Whether everything became healthy again in the time given.
    pub healthy: bool,
    /// What was still wrong.
    #[serde(default)]
    pub issues: Vec<String>,
    /// Each instance with its final reads.
    #[serde(default)]
    pub instances: Vec<InstanceEnding>,
}
