//! The settings that a new stateboard begins with, from a TOML file with the names that `batonctl settings` uses.

use super::layers::{Layers, Problems};
use baton_core::ids::ReplicaSetName;
use baton_core::record::{SetSettings, Settings};
use baton_core::time::Span;
use baton_core::timing::Timing;

const KNOWN: [&str; 7] = [
    "lease_ttl",
    "stall_timeout",
    "max_lag",
    "ack_quorum",
    "clock_drift_ppm",
    "replicaset.NAME.max_lag",
    "replicaset.NAME.ack_quorum",
];

fn span(text: &str) -> Result<Span, String> {
    humantime::parse_duration(text)
        .map(Span::from_duration)
        .map_err(|error| format!("is no length of time such as 3s or 300ms ({error})"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "is no whole number in range".to_owned())
}

/// Parses and checks, the timing included. `file` is the file's name for people.
///
/// # Errors
/// All problems at once.
pub fn parse(file: &str, text: &str) -> Result<Settings, Problems> {
    let mut layers = Layers::of_file(file, text);
    let default = Settings::default();
    let mut settings = Settings {
        lease_ttl: layers.take("lease_ttl", span).unwrap_or(default.lease_ttl),
        stall_timeout: layers.take("stall_timeout", span),
        max_lag_bytes: layers.take("max_lag", number),
        ack_quorum: layers.take("ack_quorum", number).unwrap_or(default.ack_quorum),
        clock_drift_ppm: layers.take("clock_drift_ppm", number).unwrap_or(default.clock_drift_ppm),
        ..default
    };
    for rest in layers.keys_below("replicaset.") {
        // A set's name may have points in it, the names of its settings have none.
        let Some((set, name)) = rest.rsplit_once('.') else { continue };
        let Ok(set) = ReplicaSetName::parse(set) else { continue };
        let key = format!("replicaset.{rest}");
        let own: &mut SetSettings = settings.overrides.entry(set).or_default();
        match name {
            "max_lag" => own.max_lag_bytes = layers.take(&key, number),
            "ack_quorum" => own.ack_quorum = layers.take(&key, number),
            _ => {}
        }
    }
    if let Err(error) = Timing::new(&settings) {
        layers.problem("", error.to_string());
    }
    layers.finish(&KNOWN)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let text = "lease_ttl = \"300ms\"\nmax_lag = 1_000\n[replicaset.\"orders-1\"]\nack_quorum = 1\n";
        let settings = parse("seed.toml", text).expect("all of it is known");
        assert_eq!(settings.lease_ttl, Span::from_millis(300));
        assert_eq!(settings.max_lag_bytes, Some(1_000));
        let set = ReplicaSetName::parse("orders-1").expect("a name");
        assert_eq!(settings.ack_quorum_of(&set), 1);
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text = "lease_tll = \"3s\"\nack_quorum = \"many\"\nstall_timeout = \"1ms\"\n";
        let problems = parse("seed.toml", text).expect_err("three things are wrong").to_string();
        assert!(
            problems.contains("seed.toml:1: lease_tll: is not known; did you mean lease_ttl?"),
            "{problems}"
        );
        assert!(problems.contains("seed.toml:2: ack_quorum: \"many\": is no whole number"), "{problems}");
        assert!(problems.contains("stall_timeout = 1ms must be between"), "{problems}");
    }
}
