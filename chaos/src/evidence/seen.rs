//! What the cluster said of itself: who is master, why, and how it feels.

use baton_client::decision::DecisionRecord;
use serde::{Deserialize, Serialize};

use super::Micros;

/// Where a sighting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The record, as the active arbiter told it.
    Record,
    /// A coordinator's directory, as routers hear it.
    Directory,
}

/// Somebody said that an instance is master at a term. Several lines may speak of one term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// The replica set.
    pub set: String,
    /// The master.
    pub instance: String,
    /// Its term.
    pub term: u64,
    /// Who said so.
    pub source: Source,
    /// When it was heard.
    pub seen_us: Micros,
    /// When the appointment was recorded, by the arbiter's wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_us: Option<Micros>,
    /// When it was heard that the master accepts writes; absent while it is only appointed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_us: Option<Micros>,
    /// The record's version, where the record was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Why it was appointed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which arbiter decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// A decision as `explain` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// When it was made, by the arbiter's wall clock.
    pub at_us: Micros,
    /// The whole of it.
    pub decision: DecisionRecord,
}

/// How the cluster was at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// When.
    pub at_us: Micros,
    /// Whether all was well.
    pub healthy: bool,
    /// The host of the active arbiter, if one answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arbiter: Option<String>,
    /// What was wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<String>,
}
