//! How large the run is: read from the environment, where `make bench-load` puts what it was given.

use anyhow::{Context as _, ensure};
use std::str::FromStr;

/// Of one run.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// `LOAD_SETS`: replica sets of three.
    pub sets: usize,
    /// `LOAD_PER_HOST`: members on one host.
    pub per_host: usize,
    /// `LOAD_PROCESSES`: processes that play hosts.
    pub processes: usize,
    /// `LOAD_VICTIMS`: masters that die at once.
    pub victims: usize,
    /// `LOAD_LEASE_TTL`, as in the settings.
    pub lease_ttl: String,
    /// `LOAD_PROVIDER`: stateboard or etcd.
    pub provider: String,
    /// `LOAD_SEED`: what the victims are drawn from.
    pub seed: u64,
}

impl Sizes {
    pub fn from_environment() -> anyhow::Result<Self> {
        let sizes = Self {
            sets: number("LOAD_SETS", 1_000)?,
            per_host: number("LOAD_PER_HOST", 10)?,
            processes: number("LOAD_PROCESSES", 3)?,
            victims: number("LOAD_VICTIMS", 300)?,
            lease_ttl: given("LOAD_LEASE_TTL").unwrap_or_else(|| "3s".to_owned()),
            provider: given("LOAD_PROVIDER").unwrap_or_else(|| "stateboard".to_owned()),
            seed: number("LOAD_SEED", 501_002)?,
        };
        ensure!(sizes.per_host > 0 && sizes.victims > 0, "LOAD_PER_HOST and LOAD_VICTIMS must be above 0");
        let enough = 2 * sizes.victims.next_multiple_of(sizes.per_host) <= sizes.sets;
        ensure!(enough, "LOAD_SETS must be at least twice LOAD_VICTIMS: no set is hit twice");
        ensure!(
            ["stateboard", "etcd"].contains(&sizes.provider.as_str()),
            "LOAD_PROVIDER is stateboard or etcd"
        );
        Ok(sizes)
    }
}

fn given(key: &str) -> Option<String> {
    std::env::var(key).ok().filter(|value| !value.is_empty())
}

fn number<T: FromStr<Err = std::num::ParseIntError>>(key: &str, default: T) -> anyhow::Result<T> {
    match given(key) {
        None => Ok(default),
        Some(value) => value.parse().with_context(|| format!("{key} = {value:?} is no number")),
    }
}
