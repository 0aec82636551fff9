//! The settings that a new stateboard begins with, from a TOML file with the names that `batonctl settings` uses, and from
//! the lock's delay as Cartridge's stateboard is told it.

use baton_config::{Document, Problems};
use baton_core::record::Settings;
use baton_core::time::Span;

/// The bounds of a lock's delay in seconds: those of `lease_ttl`, times 5/4.
pub const LOCK_DELAY: std::ops::RangeInclusive<u32> = 1..=750;

/// The lease whose lock lives for `seconds`: a lock is 5/4 of a lease, so that it covers a full one and a renewal.
#[must_use]
pub fn lease_of_lock_delay(seconds: u32) -> Span {
    Span::from_secs(u64::from(seconds)) * 4 / 5
}

/// Parses and checks, the timing included. `file` is the file's name for people; an empty `text` gives the defaults.
/// `lock_delay` sets `lease_ttl` where the file does not.
///
/// # Errors
/// All problems at once.
pub fn parse(file: &str, text: &str, lock_delay: Option<u32>) -> Result<Settings, Problems> {
    let document = Document::parse(file, text);
    let lease = lock_delay.map(|seconds| {
        let why = format!("with a lock_delay of {seconds} s (the lock lives 5/4 of a lease)");
        (lease_of_lock_delay(seconds), why)
    });
    let settings = baton_settings::read(&document, lease);
    let problems = document.into_problems();
    if problems.is_empty() { Ok(settings) } else { Err(Problems(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::ReplicaSetName;
    use baton_core::timing::{LEASE_TTL_MAX, LEASE_TTL_MIN, Timing};

    #[test]
    fn names_are_those_of_the_contract() {
        let text = "lease_ttl = \"300ms\"\nmax_lag = 1_000\n[replicaset.\"orders-1\"]\nack_quorum = 1\n";
        let settings = parse("seed.toml", text, None).expect("all of it is known");
        assert_eq!(settings.lease_ttl, Span::from_millis(300));
        assert_eq!(settings.max_lag_bytes, Some(1_000));
        let set = ReplicaSetName::parse("orders-1").expect("a name");
        assert_eq!(settings.ack_quorum_of(&set), 1);
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text =
            "lease_tll = \"3s\"\nack_quorum = \"many\"\nstall_timeout = \"1ms\"\n[replicaset.\"a b\"]\n";
        let problems = parse("seed.toml", text, None).expect_err("four things are wrong").to_string();
        for part in [
            "seed.toml:1: lease_tll: unknown key; did you mean \"lease_ttl\"?",
            "seed.toml:2: ack_quorum = \"many\": must be a whole number, not a text",
            "stall_timeout = 1ms must be between",
            "replicaset.a b: \"a b\" is no replica set name",
        ] {
            assert!(problems.contains(part), "{part:?} is not in\n{problems}");
        }
    }

    #[test]
    fn a_lock_delay_is_five_quarters_of_the_lease() {
        for seconds in [*LOCK_DELAY.start(), 10, *LOCK_DELAY.end()] {
            let settings = parse("", "", Some(seconds)).expect("in range");
            assert!(settings.lease_ttl >= LEASE_TTL_MIN && settings.lease_ttl <= LEASE_TTL_MAX);
            let timing = Timing::new(&settings).expect("safe");
            assert_eq!(timing.lock_ttl, Span::from_secs(u64::from(seconds)));
        }
        assert!(parse("s", "lease_ttl = \"8s\"\n", Some(10)).is_ok());
        let problems = parse("s", "lease_ttl = \"3s\"\n", Some(10)).expect_err("two answers").to_string();
        assert!(
            problems.contains("s:1: lease_ttl = \"3s\": must be 8s with a lock_delay of 10 s"),
            "{problems}"
        );
    }
}
