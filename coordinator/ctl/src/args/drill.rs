//! The words of `batonctl drill`.

use super::{At, at, duration};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// A drill.
#[derive(Args, Clone, Debug)]
pub struct DrillArgs {
    /// The replica set
    #[arg(value_name = "SET")]
    pub replicaset: String,
    /// What is brought about
    #[arg(long, value_enum)]
    pub fault: DrillFault,
    /// Only say what would happen, and every guard rail with what was seen
    #[arg(long)]
    pub dry_run: bool,
    /// How many members besides the master must be fit to take over: in sync, healthy, attached and without lag
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub spares: u32,
    /// Accept that a crash may lose what no replica had received yet (kill_engine where ack_quorum is 0)
    #[arg(long)]
    pub accept_loss: bool,
    /// Move the master back by a switchover once the set is whole again
    #[arg(long = "return")]
    pub back: bool,
    /// How long the set may take to be whole again, counted from when another master accepts writes; then the drill has failed
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub timeout: Duration,
    /// Begin at this time: 2026-11-22T03:00:00Z, 03:00 (the next such, in UTC) or +10m. Up to 10 minutes late while a guard rail
    /// does not hold
    #[arg(long, value_name = "TIME", value_parser = at::parse, conflicts_with = "dry_run")]
    pub at: Option<At>,
    /// How long to wait for the end before leaving it to itself (exit code 4); without a value for as long as it takes. By
    /// default twice the timeout and 30 s more, and not at all with --at
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1)]
    pub wait: Option<Option<Duration>>,
}

/// What a drill brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DrillFault {
    /// The master's engine is killed, as if it had crashed
    #[value(name = "kill_engine")]
    KillEngine,
    /// The master is moved by a switchover
    #[value(name = "switchover")]
    Switchover,
}

impl DrillFault {
    /// The word of the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillEngine => "kill_engine",
            Self::Switchover => "switchover",
        }
    }
}
