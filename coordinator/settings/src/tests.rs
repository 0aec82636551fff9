//! The document both ways, and every way in which it can be wrong.

use super::*;
use baton_core::ids::{InstanceName, ReplicaSetName, Version, Zone};
use baton_core::settings::{LossPolicy, MemberSettings, SetSettings, ZonePolicy};
use baton_core::time::Span;

fn set(text: &str) -> ReplicaSetName {
    ReplicaSetName::parse(text).expect("a name")
}

fn every_value() -> Settings {
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
        longest_lease: Span::from_millis(1_500),
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
        overrides: [(set("orders.eu-1"), own)].into(),
        members: [(InstanceName::parse("a1").expect("a name"), member)].into(),
        drained: [Zone::parse("dc2").expect("a name")].into(),
        moving: None,
        version: Version(0),
    }
}

#[test]
fn the_document_goes_both_ways() {
    for settings in [Settings::default(), every_value()] {
        assert_eq!(parse("settings", &document(&settings)), Ok(settings.clone()));
        assert_eq!(parse("settings", &table(&settings).to_string()), Ok(settings));
    }
}

#[test]
fn every_value_of_the_document_has_a_key_and_every_key_a_value() {
    let table = table(&every_value());
    let named: Vec<_> = keys::KEYS.iter().map(|key| key.name).collect();
    for key in table.keys().filter(|key| !["replicaset", "member"].contains(&key.as_str())) {
        assert!(named.contains(&key.as_str()), "{key} is not described");
    }
    for key in keys::KEYS {
        assert!(table.contains_key(key.name), "{} has no value", key.name);
    }
}

#[test]
fn a_change_touches_its_key_and_a_taken_back_one_has_its_default_again() {
    let before = Settings { version: Version(4), ..every_value() };
    let changes =
        ["lease_ttl=1s", "replicaset.orders.eu-1.ack_quorum=", "suppress_threshold=", "drained=dc2,dc3"];
    let changes: Vec<_> = changes.iter().map(|text| Change::parse(text).expect("a change")).collect();
    let after = change(&before, &changes).expect("all of it is safe");
    let own = SetSettings { ack_quorum: None, ..before.overrides[&set("orders.eu-1")].clone() };
    let expected = Settings {
        lease_ttl: Span::from_secs(1),
        longest_lease: Span::from_millis(1_500),
        suppress_threshold: 3,
        overrides: [(set("orders.eu-1"), own)].into(),
        drained: ["dc2", "dc3"].map(|zone| Zone::parse(zone).expect("a name")).into(),
        ..before
    };
    assert_eq!(after, expected);
}

#[test]
fn a_change_that_is_wrong_names_the_key_the_value_and_the_rule() {
    for (text, said) in [
        ("lease_tll=1s", "unknown key; did you mean \"lease_ttl\"?"),
        ("lease_ttl=1", "flag lease_ttl: lease_ttl = \"1\": must be a length of time"),
        ("lease_ttl=1ms", "lease_ttl = 1ms is outside 300ms to 600s"),
        ("loss_policy=some", "loss_policy = \"some\": must be one of: none, bounded, any"),
        ("ack_quorum=many", "must be a whole number from 0 to 4294967295"),
        ("immunity=2days", "immunity = 172800s must be at most 1 hour"),
        ("suppress_window=0s", "suppress_window = 0us must be between 1s and 1 day"),
        ("member.a1.maintenance_until=soon", "must be a time such as"),
        ("drained=a b", "is no zone: only"),
        ("replicaset.a b.ack_quorum=1", "\"a b\" is no replica set name"),
        ("fence_command= ", ""),
    ] {
        let result = Change::parse(text).map(|it| change(&Settings::default(), &[it]));
        match (result, said) {
            (Ok(Ok(settings)), "") => assert_eq!(settings.fence_command, None),
            (Ok(Err(problems)), said) => {
                assert!(problems.to_string().contains(said), "{text}: {problems}");
            }
            (other, _) => panic!("{text}: {other:?}"),
        }
    }
    assert!(Change::parse("lease_ttl").is_err());
}

#[test]
fn a_difference_is_named_by_its_key_and_can_be_carried_over() {
    let before = every_value();
    let changes = ["lease_ttl=1s", "stall_timeout=", "member.a1.priority=9", "drained=dc3"];
    let changes: Vec<_> = changes.iter().map(|text| Change::parse(text).expect("a change")).collect();
    let after = change(&before, &changes).expect("all of it is safe");
    let found = differences(&before, &after);
    let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "drained: dc2 → dc3",
            "lease_ttl: 1s 500ms → 1s",
            "member.a1.priority: 7 → 9",
            "stall_timeout: 900ms → not set",
        ]
    );
    let carried: Vec<_> = found.iter().map(Difference::to_change).collect();
    assert_eq!(change(&before, &carried), Ok(after.clone()));
    assert_eq!(replace(&before, "settings", &document(&after)), Ok(after));
    assert_eq!(differences(&before, &before), []);
}
