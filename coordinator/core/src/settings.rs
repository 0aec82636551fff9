//! Cluster-wide settings, as one versioned document in the state provider, so that two hosts cannot disagree (contracts,
//! *Configuration*): the numbers, what single replica sets and members have otherwise, which zones are drained, and
//! where the document itself is being moved to.
//!
//! It must not know how a setting is written down; the names and texts are another crate's.

mod check;
mod moving;

pub use check::BadSettings;
pub use moving::{Move, MovePhase};

use crate::ids::{InstanceName, ReplicaSetName, Version, Zone};
use crate::time::Span;
use std::collections::{BTreeMap, BTreeSet};

/// Cluster-wide settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a silent master may keep its right.
    pub lease_ttl: Span,
    /// The longest `lease_ttl` that was ever in force: what a guard that forgot its promises waits out. Raised by the
    /// provider, lowered by nobody.
    pub longest_lease: Span,
    /// How long a tiny write may take before the engine counts as stalled; `lease_ttl` if not set.
    pub stall_timeout: Option<Span>,
    /// Candidates further behind than this are refused; not set: the best wins and the loss is reported.
    pub max_lag_bytes: Option<u64>,
    /// What may be lost by a failover that nobody asked for.
    pub loss_policy: LossPolicy,
    /// For how many replicas a commit waits.
    pub ack_quorum: u32,
    /// What a zone counts for in the choice of a master.
    pub zone_policy: ZonePolicy,
    /// Whether the preferred member gets the mastership back by itself.
    pub autoreturn: bool,
    /// After so long in good health.
    pub autoreturn_delay: Span,
    /// For so long after an appointment the arbiter moves the master by no wish of its own (autoreturn, drain). A failover
    /// on evidence is never delayed by it.
    pub immunity: Span,
    /// More automatic failovers of a set than this within `suppress_window` hold the set; 0: never.
    pub suppress_threshold: u32,
    /// See [`Settings::suppress_threshold`].
    pub suppress_window: Span,
    /// More automatic failovers of the whole cluster than this within a minute hold the rest; not set: never.
    pub max_failovers_per_minute: Option<u32>,
    /// Whether a master goes on while no arbiter answers, as long as every other in-sync member promises to lead nothing.
    pub failsafe: bool,
    /// Whether an instance with empty or foreign data is kept from being appointed and followed.
    pub check_identity: bool,
    /// A command that turns a host off and ends with 0 only once it is off; not set: there is none.
    pub fence_command: Option<String>,
    /// How two hosts' clocks may differ in rate, in millionths (5,000 = 0.5 %).
    pub clock_drift_ppm: u32,
    /// Values of single replica sets.
    pub overrides: BTreeMap<ReplicaSetName, SetSettings>,
    /// What people said of single members, whatever their hosts' configuration says.
    pub members: BTreeMap<InstanceName, MemberSettings>,
    /// Zones in which there should be no master for now.
    pub drained: BTreeSet<Zone>,
    /// Where this provider stands in a move of the cluster's state to or from another one. Part of this document so that
    /// one version orders changes of the settings and the steps of a move; changed by none but the steps of a move.
    pub moving: Option<Move>,
    /// Raised by every change.
    pub version: Version,
}

/// What may be lost by a failover that nobody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossPolicy {
    /// Nothing: only who surely holds all that was acknowledged is appointed.
    None,
    /// What the in-sync set allows: where no commit waits for replicas, what had not reached the best of its members.
    #[default]
    Bounded,
    /// Anything, rather than no master.
    Any,
}

/// What a zone counts for in the choice of a master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ZonePolicy {
    /// The old master's zone is preferred among equals.
    #[default]
    Prefer,
    /// Nobody outside the old master's zone is appointed by itself.
    Same,
    /// Nothing.
    Any,
}

/// What one replica set has otherwise than the cluster. (`lease_ttl` is the cluster's: one beat serves all sets.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetSettings {
    /// See [`Settings::max_lag_bytes`].
    pub max_lag_bytes: Option<u64>,
    /// See [`Settings::loss_policy`].
    pub loss_policy: Option<LossPolicy>,
    /// See [`Settings::ack_quorum`].
    pub ack_quorum: Option<u32>,
    /// See [`Settings::zone_policy`].
    pub zone_policy: Option<ZonePolicy>,
    /// See [`Settings::autoreturn`].
    pub autoreturn: Option<bool>,
    /// See [`Settings::autoreturn_delay`].
    pub autoreturn_delay: Option<Span>,
    /// See [`Settings::immunity`].
    pub immunity: Option<Span>,
    /// See [`Settings::suppress_threshold`].
    pub suppress_threshold: Option<u32>,
    /// See [`Settings::suppress_window`].
    pub suppress_window: Option<Span>,
    /// See [`Settings::check_identity`].
    pub check_identity: Option<bool>,
}

/// What holds for one replica set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetPolicy {
    /// See [`Settings::max_lag_bytes`].
    pub max_lag_bytes: Option<u64>,
    /// See [`Settings::loss_policy`].
    pub loss_policy: LossPolicy,
    /// See [`Settings::ack_quorum`].
    pub ack_quorum: u32,
    /// See [`Settings::zone_policy`].
    pub zone_policy: ZonePolicy,
    /// See [`Settings::autoreturn`].
    pub autoreturn: bool,
    /// See [`Settings::autoreturn_delay`].
    pub autoreturn_delay: Span,
    /// See [`Settings::immunity`].
    pub immunity: Span,
    /// See [`Settings::suppress_threshold`].
    pub suppress_threshold: u32,
    /// See [`Settings::suppress_window`].
    pub suppress_window: Span,
    /// See [`Settings::check_identity`].
    pub check_identity: bool,
}

/// What people said of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemberSettings {
    /// Instead of its host's configuration.
    pub electable: Option<bool>,
    /// Instead of its host's configuration.
    pub priority: Option<u32>,
    /// Until then it is worked on: never appointed, and no issue that it is away. Milliseconds since 1970.
    pub maintenance_until: Option<u64>,
    /// It is no member any more: whoever comes under this name is turned away.
    pub expelled: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ttl: Span::from_secs(3),
            longest_lease: Span::from_secs(3),
            stall_timeout: None,
            max_lag_bytes: None,
            loss_policy: LossPolicy::Bounded,
            ack_quorum: 0,
            zone_policy: ZonePolicy::Prefer,
            autoreturn: false,
            autoreturn_delay: Span::from_secs(300),
            immunity: Span::from_secs(15),
            suppress_threshold: 3,
            suppress_window: Span::from_secs(600),
            max_failovers_per_minute: None,
            failsafe: true,
            check_identity: true,
            fence_command: None,
            clock_drift_ppm: 5_000,
            overrides: BTreeMap::new(),
            members: BTreeMap::new(),
            drained: BTreeSet::new(),
            moving: None,
            version: Version(0),
        }
    }
}

impl Settings {
    /// What holds for one replica set.
    #[must_use]
    pub fn of(&self, set: &ReplicaSetName) -> SetPolicy {
        match self.overrides.get(set) {
            Some(own) => self.with(own),
            None => self.with(&SetSettings::default()),
        }
    }

    /// What holds for a set that has these otherwise.
    fn with(&self, own: &SetSettings) -> SetPolicy {
        SetPolicy {
            max_lag_bytes: own.max_lag_bytes.or(self.max_lag_bytes),
            loss_policy: own.loss_policy.unwrap_or(self.loss_policy),
            ack_quorum: own.ack_quorum.unwrap_or(self.ack_quorum),
            zone_policy: own.zone_policy.unwrap_or(self.zone_policy),
            autoreturn: own.autoreturn.unwrap_or(self.autoreturn),
            autoreturn_delay: own.autoreturn_delay.unwrap_or(self.autoreturn_delay),
            immunity: own.immunity.unwrap_or(self.immunity),
            suppress_threshold: own.suppress_threshold.unwrap_or(self.suppress_threshold),
            suppress_window: own.suppress_window.unwrap_or(self.suppress_window),
            check_identity: own.check_identity.unwrap_or(self.check_identity),
        }
    }

    /// What holds for one replica set.
    #[must_use]
    pub fn ack_quorum_of(&self, set: &ReplicaSetName) -> u32 {
        self.overrides.get(set).and_then(|own| own.ack_quorum).unwrap_or(self.ack_quorum)
    }

    /// What holds for one replica set.
    #[must_use]
    pub fn max_lag_bytes_of(&self, set: &ReplicaSetName) -> Option<u64> {
        self.overrides.get(set).and_then(|own| own.max_lag_bytes).or(self.max_lag_bytes)
    }

    /// The longest lease that anybody may ever have promised, this one among them.
    #[must_use]
    pub fn longest(&self) -> Span {
        self.longest_lease.max(self.lease_ttl)
    }
}

impl LossPolicy {
    /// All of them, in the order of what they allow.
    pub const ALL: [Self; 3] = [Self::None, Self::Bounded, Self::Any];

    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bounded => "bounded",
            Self::Any => "any",
        }
    }
}

impl ZonePolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Prefer, Self::Same, Self::Any];

    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefer => "prefer",
            Self::Same => "same",
            Self::Any => "any",
        }
    }
}
