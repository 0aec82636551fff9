//! The measurements: the demo's steps many times for several leases, and what an idle replica's sidecar costs.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use tokio::time::sleep;

use crate::cli::Bench;
use crate::demo;
use crate::demo::stage::Stage;
use crate::procfs;
use crate::report::narrator::Narrator;
use crate::report::summary::Report;

/// How long an idle sidecar is watched.
const WATCH: Duration = Duration::from_secs(10);

/// What all leases came to.
#[derive(Debug, Serialize)]
pub struct BenchReport {
    attempts: u32,
    seed: u64,
    leases: Vec<LeaseReport>,
}

#[derive(Debug, Serialize)]
struct LeaseReport {
    #[serde(flatten)]
    report: Report,
    idle_sidecar: Option<IdleSidecar>,
}

/// What a sidecar costs whose instance is a replica, while the clients write to the master and nothing fails.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IdleSidecar {
    /// Resident memory at the end, in MiB.
    pub resident_mib: f64,
    /// Processor time in percent of one core.
    pub processor_percent: f64,
}

impl BenchReport {
    /// Whether every step of every lease is ok.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.leases.iter().all(|lease| lease.report.ok())
    }
}

/// Measures for each lease in turn, each on a cluster of its own, and shows a table after each.
///
/// # Errors
/// As the demo's run.
pub async fn run(bench: &Bench, seed: u64, narrator: &Narrator) -> anyhow::Result<BenchReport> {
    let mut leases = Vec::new();
    for lease_ttl in &bench.lease_ttl {
        let watch = async |stage: &Stage| watch_idle(stage, narrator).await;
        let (report, idle_sidecar) =
            demo::run(&bench.common, *lease_ttl, bench.attempts, seed, narrator, watch).await?;
        narrator.say(&format!("\n{}", report.table()));
        if let Some(idle) = idle_sidecar {
            narrator.say(&format!(
                "an idle replica's sidecar: {:.1} MiB resident, {:.2} % of a core over {} s",
                idle.resident_mib,
                idle.processor_percent,
                WATCH.as_secs()
            ));
        }
        leases.push(LeaseReport { report, idle_sidecar });
    }
    Ok(BenchReport { attempts: bench.attempts, seed, leases })
}

/// Watches the sidecar of a replica whose host has no active arbiter.
async fn watch_idle(stage: &Stage, narrator: &Narrator) -> anyhow::Result<IdleSidecar> {
    let standing = stage.healthy().await?;
    let idle = |host: &&crate::cluster::host::Host| {
        *host.instance != *standing.master && host.name != standing.arbiter
    };
    let host = stage.cluster.hosts.iter().find(idle).context("every host is busy")?;
    let pid = host.sidecar_pid().context("the sidecar does not run")?;
    narrator.doing(&format!("watching the idle sidecar of {}", host.name));
    let ticks = || procfs::view(pid).map(|process| process.processor_ticks).context("the sidecar ended");
    let (before, begun) = (ticks()?, Instant::now());
    sleep(WATCH).await;
    let (after, took) = (ticks()?, begun.elapsed());
    let resident = procfs::resident_bytes(pid).context("the sidecar ended")?;
    Ok(cost(after.saturating_sub(before), took, resident, rustix::param::clock_ticks_per_second()))
}

fn cost(ticks: u64, took: Duration, resident: u64, ticks_per_second: u64) -> IdleSidecar {
    let busy = ticks as f64 / ticks_per_second as f64;
    IdleSidecar {
        resident_mib: (resident as f64 / 1_048_576.0 * 10.0).round() / 10.0,
        processor_percent: (busy / took.as_secs_f64() * 10_000.0).round() / 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_in_percent_of_one_core_and_mebibytes() {
        let idle = cost(5, Duration::from_secs(10), 15 * 1_048_576, 100);
        assert_eq!(idle, IdleSidecar { resident_mib: 15.0, processor_percent: 0.5 });
    }
}
