//! The settings, and a move of the state, on the wire and in storage.

use super::Malformed;
use baton_core::ids::{InstanceName, ReplicaSetName, Version, Zone};
use baton_core::record::{Move, MovePhase, SetSettings, Settings};
use baton_core::settings::{LossPolicy, MemberSettings, ZonePolicy};
use baton_core::time::Span;
use baton_proto::v1;
use std::collections::{BTreeMap, BTreeSet};

/// Out. Every value is written, also one that equals its default: a later version may have other defaults.
#[must_use]
pub fn settings_to_wire(settings: &Settings) -> v1::Settings {
    let overrides = settings.overrides.iter().map(|(set, own)| (set.to_string(), of_set_to_wire(own)));
    let members = settings.members.iter().map(|(name, own)| (name.to_string(), of_member_to_wire(own)));
    v1::Settings {
        lease_ttl_us: Some(settings.lease_ttl.0),
        longest_lease_us: Some(settings.longest_lease.0),
        stall_timeout_us: settings.stall_timeout.map(|span| span.0),
        max_lag_bytes: settings.max_lag_bytes,
        loss_policy: settings.loss_policy.name().to_owned(),
        ack_quorum: Some(settings.ack_quorum),
        zone_policy: settings.zone_policy.name().to_owned(),
        autoreturn: Some(settings.autoreturn),
        autoreturn_delay_us: Some(settings.autoreturn_delay.0),
        immunity_us: Some(settings.immunity.0),
        suppress_threshold: Some(settings.suppress_threshold),
        suppress_window_us: Some(settings.suppress_window.0),
        max_failovers_per_minute: settings.max_failovers_per_minute,
        failsafe: Some(settings.failsafe),
        check_identity: Some(settings.check_identity),
        fence_command: settings.fence_command.clone().unwrap_or_default(),
        clock_drift_ppm: Some(settings.clock_drift_ppm),
        overrides: overrides.collect(),
        members: members.collect(),
        drained: settings.drained.iter().map(ToString::to_string).collect(),
        moving: settings.moving.as_ref().map(move_to_wire),
        version: settings.version.0,
    }
}

fn of_set_to_wire(own: &SetSettings) -> v1::SetSettings {
    v1::SetSettings {
        max_lag_bytes: own.max_lag_bytes,
        loss_policy: own.loss_policy.map_or("", LossPolicy::name).to_owned(),
        ack_quorum: own.ack_quorum,
        zone_policy: own.zone_policy.map_or("", ZonePolicy::name).to_owned(),
        autoreturn: own.autoreturn,
        autoreturn_delay_us: own.autoreturn_delay.map(|span| span.0),
        immunity_us: own.immunity.map(|span| span.0),
        suppress_threshold: own.suppress_threshold,
        suppress_window_us: own.suppress_window.map(|span| span.0),
        check_identity: own.check_identity,
    }
}

fn of_member_to_wire(own: &MemberSettings) -> v1::MemberSettings {
    v1::MemberSettings {
        electable: own.electable,
        priority: own.priority,
        maintenance_until: own.maintenance_until,
        expelled: own.expelled,
    }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn settings_from_wire(settings: v1::Settings) -> Result<Settings, Malformed> {
    let default = Settings::default();
    let span = |wire: Option<u64>, default: Span| wire.map_or(default, Span);
    let lease_ttl = span(settings.lease_ttl_us, default.lease_ttl);
    let mut overrides = BTreeMap::new();
    for (set, own) in settings.overrides {
        overrides.insert(ReplicaSetName::parse(&set)?, of_set_from_wire(own)?);
    }
    let mut members = BTreeMap::new();
    for (name, own) in settings.members {
        members.insert(InstanceName::parse(&name)?, of_member_from_wire(own));
    }
    let mut drained = BTreeSet::new();
    for zone in settings.drained {
        drained.insert(Zone::parse(&zone)?);
    }
    Ok(Settings {
        lease_ttl,
        longest_lease: span(settings.longest_lease_us, lease_ttl),
        stall_timeout: settings.stall_timeout_us.map(Span),
        max_lag_bytes: settings.max_lag_bytes,
        loss_policy: loss_policy(&settings.loss_policy)?.unwrap_or(default.loss_policy),
        ack_quorum: settings.ack_quorum.unwrap_or(default.ack_quorum),
        zone_policy: zone_policy(&settings.zone_policy)?.unwrap_or(default.zone_policy),
        autoreturn: settings.autoreturn.unwrap_or(default.autoreturn),
        autoreturn_delay: span(settings.autoreturn_delay_us, default.autoreturn_delay),
        immunity: span(settings.immunity_us, default.immunity),
        suppress_threshold: settings.suppress_threshold.unwrap_or(default.suppress_threshold),
        suppress_window: span(settings.suppress_window_us, default.suppress_window),
        max_failovers_per_minute: settings.max_failovers_per_minute,
        failsafe: settings.failsafe.unwrap_or(default.failsafe),
        check_identity: settings.check_identity.unwrap_or(default.check_identity),
        fence_command: Some(settings.fence_command).filter(|command| !command.is_empty()),
        clock_drift_ppm: settings.clock_drift_ppm.unwrap_or(default.clock_drift_ppm),
        overrides,
        members,
        drained,
        moving: settings.moving.map(move_from_wire).transpose()?,
        version: Version(settings.version),
    })
}

fn of_set_from_wire(own: v1::SetSettings) -> Result<SetSettings, Malformed> {
    Ok(SetSettings {
        max_lag_bytes: own.max_lag_bytes,
        loss_policy: loss_policy(&own.loss_policy)?,
        ack_quorum: own.ack_quorum,
        zone_policy: zone_policy(&own.zone_policy)?,
        autoreturn: own.autoreturn,
        autoreturn_delay: own.autoreturn_delay_us.map(Span),
        immunity: own.immunity_us.map(Span),
        suppress_threshold: own.suppress_threshold,
        suppress_window: own.suppress_window_us.map(Span),
        check_identity: own.check_identity,
    })
}

fn of_member_from_wire(own: v1::MemberSettings) -> MemberSettings {
    MemberSettings {
        electable: own.electable,
        priority: own.priority,
        maintenance_until: own.maintenance_until,
        expelled: own.expelled,
    }
}

/// A word of a newer version is refused: what it allows is not to be guessed.
fn loss_policy(word: &str) -> Result<Option<LossPolicy>, Malformed> {
    let found = LossPolicy::ALL.into_iter().find(|it| it.name() == word);
    if found.is_none() && !word.is_empty() {
        return Err(Malformed::Missing("a known loss_policy"));
    }
    Ok(found)
}

fn zone_policy(word: &str) -> Result<Option<ZonePolicy>, Malformed> {
    let found = ZonePolicy::ALL.into_iter().find(|it| it.name() == word);
    if found.is_none() && !word.is_empty() {
        return Err(Malformed::Missing("a known zone_policy"));
    }
    Ok(found)
}

/// Out.
#[must_use]
pub fn move_to_wire(it: &Move) -> v1::Move {
    let phase = match it.phase {
        MovePhase::Announced => v1::r#move::Phase::Announced,
        MovePhase::Frozen => v1::r#move::Phase::Frozen,
        MovePhase::Moved => v1::r#move::Phase::Moved,
        MovePhase::Arriving => v1::r#move::Phase::Arriving,
    };
    v1::Move { id: it.id, phase: phase.into(), other: it.other.clone(), lock_us: it.lock.0 }
}

/// In.
///
/// # Errors
/// [`Malformed`] where it has a phase of a newer version: what that allows is not to be guessed.
pub fn move_from_wire(it: v1::Move) -> Result<Move, Malformed> {
    let phase = match it.phase() {
        v1::r#move::Phase::Announced => MovePhase::Announced,
        v1::r#move::Phase::Frozen => MovePhase::Frozen,
        v1::r#move::Phase::Moved => MovePhase::Moved,
        v1::r#move::Phase::Arriving => MovePhase::Arriving,
        v1::r#move::Phase::Unknown => return Err(Malformed::Missing("a known phase of the move")),
    };
    Ok(Move { id: it.id, phase, other: it.other, lock: Span(it.lock_us) })
}

/// One that has no value as the default has it, so that nothing can be forgotten unseen.
#[cfg(test)]
pub(crate) fn settings_with_every_value() -> Settings {
    let set = ReplicaSetName::parse("orders-1").expect("a name");
    let own = SetSettings {
        max_lag_bytes: Some(7),
        loss_policy: Some(LossPolicy::None),
        ack_quorum: Some(2),
        zone_policy: Some(ZonePolicy::Same),
        autoreturn: Some(true),
        autoreturn_delay: Some(Span::from_secs(60)),
        immunity: Some(Span::from_secs(5)),
        suppress_threshold: Some(9),
        suppress_window: Some(Span::from_secs(90)),
        check_identity: Some(false),
    };
    let member = MemberSettings {
        electable: Some(false),
        priority: Some(7),
        maintenance_until: Some(1_795_287_791_123),
        expelled: true,
    };
    Settings {
        lease_ttl: Span::from_millis(1_500),
        longest_lease: Span::from_millis(2_500),
        stall_timeout: Some(Span::from_millis(900)),
        max_lag_bytes: Some(10),
        loss_policy: LossPolicy::Any,
        ack_quorum: 1,
        zone_policy: ZonePolicy::Any,
        autoreturn: true,
        autoreturn_delay: Span::from_secs(10),
        immunity: Span::from_secs(1),
        suppress_threshold: 0,
        suppress_window: Span::from_secs(30),
        max_failovers_per_minute: Some(17),
        failsafe: false,
        check_identity: false,
        fence_command: Some("/usr/sbin/off --now".into()),
        clock_drift_ppm: 100,
        overrides: [(set, own)].into(),
        members: [(InstanceName::parse("a1").expect("a name"), member)].into(),
        drained: [Zone::parse("dc2").expect("a name")].into(),
        moving: None,
        version: Version(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_both_ways_and_what_is_absent_is_the_default() {
        let settings = settings_with_every_value();
        assert_eq!(settings_from_wire(settings_to_wire(&settings)), Ok(settings.clone()));
        assert_eq!(settings_from_wire(v1::Settings::default()), Ok(Settings::default()));
        // As a build wrote them that did not know the longest lease.
        let older = v1::Settings { lease_ttl_us: Some(9_000_000), ..v1::Settings::default() };
        assert_eq!(settings_from_wire(older).map(|it| it.longest_lease), Ok(Span::from_secs(9)));
        let newer = v1::Settings { loss_policy: "some".to_owned(), ..v1::Settings::default() };
        assert!(settings_from_wire(newer).is_err());
    }
}
