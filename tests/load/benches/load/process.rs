//! What processes use, as the kernel counts it.

use anyhow::Context as _;
use std::time::Duration;

/// Of one process or several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time since the start.
    pub cpu: Duration,
    /// Memory now, in bytes.
    pub resident: u64,
}

/// The sum over these processes.
pub fn usage(pids: &[u32]) -> anyhow::Result<Usage> {
    let mut sum = Usage::default();
    for pid in pids {
        sum.cpu += cpu(*pid)?;
        sum.resident += resident(*pid)?;
    }
    Ok(sum)
}

fn cpu(pid: u32) -> anyhow::Result<Duration> {
    /// What `USER_HZ` is on every Linux that Rust runs on.
    const TICKS_PER_SECOND: u64 = 100;
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name of the program, in parentheses, may hold anything. Behind it the 12th and 13th are user and system time.
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("{path}: {text}"))?;
    Ok(Duration::from_millis((ticks.0 + ticks.1) * 1_000 / TICKS_PER_SECOND))
}

/// Memory of one process now, in bytes.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(|| path.clone())?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1_024)
}
