//! The settings. Spans are texts that a person reads (`3s`, `375ms`); what a build did not know that wrote them is absent,
//! and means its default.

use super::{Document, FORMAT};
use baton_core::ids::{InstanceName, ReplicaSetName, Version, Zone};
use baton_core::record::{Move, MovePhase, SetSettings, Settings};
use baton_core::settings::{LossPolicy, MemberSettings, ZonePolicy};
use baton_core::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// The settings.
#[derive(Serialize, Deserialize)]
pub(in super::super) struct SettingsDoc {
    format: u32,
    version: u64,
    lease_ttl: String,
    longest_lease: Option<String>,
    stall_timeout: Option<String>,
    max_failovers_per_minute: Option<u32>,
    #[serde(default = "failsafe_by_default")]
    failsafe: bool,
    fence_command: Option<String>,
    clock_drift_ppm: u32,
    /// The cluster's own values of what a set can have otherwise.
    #[serde(flatten)]
    all: SetSettingsDoc,
    overrides: BTreeMap<String, SetSettingsDoc>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<String, MemberSettingsDoc>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    drained: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moving: Option<MoveDoc>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct SetSettingsDoc {
    max_lag_bytes: Option<u64>,
    ack_quorum: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    autoreturn: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    autoreturn_delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immunity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppress_threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppress_window: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check_identity: Option<bool>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct MemberSettingsDoc {
    #[serde(skip_serializing_if = "Option::is_none")]
    electable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    maintenance_until: Option<String>,
    expelled: bool,
}

/// Where etcd stands in a move of the cluster's state.
#[derive(Serialize, Deserialize)]
struct MoveDoc {
    /// In hexadecimal.
    id: String,
    phase: String,
    other: String,
    lock: String,
}

const PHASES: [(MovePhase, &str); 4] = [
    (MovePhase::Announced, "announced"),
    (MovePhase::Frozen, "frozen"),
    (MovePhase::Moved, "moved"),
    (MovePhase::Arriving, "arriving"),
];

impl From<&Move> for MoveDoc {
    fn from(it: &Move) -> Self {
        let phase = PHASES.iter().find(|(phase, _)| *phase == it.phase).map_or("", |(_, name)| name);
        let (other, lock) = (it.other.clone(), span_to_text(it.lock));
        Self { id: format!("{:016x}", it.id), phase: phase.to_owned(), other, lock }
    }
}

impl MoveDoc {
    fn into_value(self) -> Result<Move, String> {
        let phase = PHASES.iter().find(|(_, name)| *name == self.phase);
        let (phase, _) = phase.ok_or_else(|| format!("{:?} is no phase of a move", self.phase))?;
        let id = u64::from_str_radix(&self.id, 16).map_err(text)?;
        Ok(Move { id, phase: *phase, other: self.other, lock: span_from_text(&self.lock)? })
    }
}

pub(super) fn span_to_text(span: Span) -> String {
    humantime::format_duration(span.as_duration()).to_string()
}

fn span_from_text(text: &str) -> Result<Span, String> {
    let duration: Duration =
        humantime::parse_duration(text).map_err(|error| format!("{text:?} is no span of time: {error}"))?;
    Ok(Span::from_duration(duration))
}

pub(super) fn span_from(text: Option<String>) -> Result<Option<Span>, String> {
    text.map(|text| span_from_text(&text)).transpose()
}

/// One of the words that are known; what another one allows is not to be guessed.
fn word<T: Copy>(found: Option<String>, all: &[T], name: fn(T) -> &'static str) -> Result<Option<T>, String> {
    let Some(found) = found else { return Ok(None) };
    let known = all.iter().copied().find(|it| name(*it) == found);
    known.map(Some).ok_or_else(|| format!("{found:?} is not known here"))
}

impl From<&SetSettings> for SetSettingsDoc {
    fn from(own: &SetSettings) -> Self {
        Self {
            max_lag_bytes: own.max_lag_bytes,
            ack_quorum: own.ack_quorum,
            loss_policy: own.loss_policy.map(|it| it.name().to_owned()),
            zone_policy: own.zone_policy.map(|it| it.name().to_owned()),
            autoreturn: own.autoreturn,
            autoreturn_delay: own.autoreturn_delay.map(span_to_text),
            immunity: own.immunity.map(span_to_text),
            suppress_threshold: own.suppress_threshold,
            suppress_window: own.suppress_window.map(span_to_text),
            check_identity: own.check_identity,
        }
    }
}

impl SetSettingsDoc {
    fn into_value(self) -> Result<SetSettings, String> {
        Ok(SetSettings {
            max_lag_bytes: self.max_lag_bytes,
            ack_quorum: self.ack_quorum,
            loss_policy: word(self.loss_policy, &LossPolicy::ALL, LossPolicy::name)?,
            zone_policy: word(self.zone_policy, &ZonePolicy::ALL, ZonePolicy::name)?,
            autoreturn: self.autoreturn,
            autoreturn_delay: span_from(self.autoreturn_delay)?,
            immunity: span_from(self.immunity)?,
            suppress_threshold: self.suppress_threshold,
            suppress_window: span_from(self.suppress_window)?,
            check_identity: self.check_identity,
        })
    }
}

impl From<&MemberSettings> for MemberSettingsDoc {
    fn from(own: &MemberSettings) -> Self {
        let moment = |millis| std::time::UNIX_EPOCH + Duration::from_millis(millis);
        Self {
            electable: own.electable,
            priority: own.priority,
            maintenance_until: own
                .maintenance_until
                .map(|millis| humantime::format_rfc3339_millis(moment(millis)).to_string()),
            expelled: own.expelled,
        }
    }
}

impl MemberSettingsDoc {
    fn into_value(self) -> Result<MemberSettings, String> {
        let moment = |found: String| -> Result<u64, String> {
            let time = humantime::parse_rfc3339(&found).map_err(|error| format!("{found:?}: {error}"))?;
            let since = time.duration_since(std::time::UNIX_EPOCH).map_err(text)?;
            u64::try_from(since.as_millis()).map_err(text)
        };
        Ok(MemberSettings {
            electable: self.electable,
            priority: self.priority,
            maintenance_until: self.maintenance_until.map(moment).transpose()?,
            expelled: self.expelled,
        })
    }
}

impl From<&Settings> for SettingsDoc {
    fn from(settings: &Settings) -> Self {
        let all = SetSettings {
            max_lag_bytes: settings.max_lag_bytes,
            loss_policy: Some(settings.loss_policy),
            ack_quorum: Some(settings.ack_quorum),
            zone_policy: Some(settings.zone_policy),
            autoreturn: Some(settings.autoreturn),
            autoreturn_delay: Some(settings.autoreturn_delay),
            immunity: Some(settings.immunity),
            suppress_threshold: Some(settings.suppress_threshold),
            suppress_window: Some(settings.suppress_window),
            check_identity: Some(settings.check_identity),
        };
        Self {
            format: FORMAT,
            version: settings.version.0,
            lease_ttl: span_to_text(settings.lease_ttl),
            longest_lease: Some(span_to_text(settings.longest_lease)),
            stall_timeout: settings.stall_timeout.map(span_to_text),
            max_failovers_per_minute: settings.max_failovers_per_minute,
            failsafe: settings.failsafe,
            fence_command: settings.fence_command.clone(),
            clock_drift_ppm: settings.clock_drift_ppm,
            all: SetSettingsDoc::from(&all),
            overrides: settings.overrides.iter().map(|(set, own)| (set.to_string(), own.into())).collect(),
            members: settings.members.iter().map(|(name, own)| (name.to_string(), own.into())).collect(),
            drained: settings.drained.iter().map(ToString::to_string).collect(),
            moving: settings.moving.as_ref().map(MoveDoc::from),
        }
    }
}

/// What settings of a version that did not know it mean.
fn failsafe_by_default() -> bool {
    Settings::default().failsafe
}

impl Document for SettingsDoc {
    type Value = Settings;

    fn into_value(self) -> Result<Settings, String> {
        let default = Settings::default();
        let mut overrides = BTreeMap::new();
        for (set, own) in self.overrides {
            overrides.insert(ReplicaSetName::parse(&set).map_err(text)?, own.into_value()?);
        }
        let mut members = BTreeMap::new();
        for (name, own) in self.members {
            members.insert(InstanceName::parse(&name).map_err(text)?, own.into_value()?);
        }
        let drained: Result<_, _> = self.drained.iter().map(|zone| Zone::parse(zone).map_err(text)).collect();
        let lease_ttl = span_from_text(&self.lease_ttl)?;
        let all = self.all.into_value()?;
        Ok(Settings {
            lease_ttl,
            longest_lease: span_from(self.longest_lease)?.unwrap_or(lease_ttl),
            stall_timeout: span_from(self.stall_timeout)?,
            max_lag_bytes: all.max_lag_bytes,
            loss_policy: all.loss_policy.unwrap_or(default.loss_policy),
            ack_quorum: all.ack_quorum.ok_or("missing field `ack_quorum`")?,
            zone_policy: all.zone_policy.unwrap_or(default.zone_policy),
            autoreturn: all.autoreturn.unwrap_or(default.autoreturn),
            autoreturn_delay: all.autoreturn_delay.unwrap_or(default.autoreturn_delay),
            immunity: all.immunity.unwrap_or(default.immunity),
            suppress_threshold: all.suppress_threshold.unwrap_or(default.suppress_threshold),
            suppress_window: all.suppress_window.unwrap_or(default.suppress_window),
            max_failovers_per_minute: self.max_failovers_per_minute,
            failsafe: self.failsafe,
            check_identity: all.check_identity.unwrap_or(default.check_identity),
            fence_command: self.fence_command,
            clock_drift_ppm: self.clock_drift_ppm,
            overrides,
            members,
            drained: drained?,
            moving: self.moving.map(MoveDoc::into_value).transpose()?,
            version: Version(self.version),
        })
    }
}
