//! The words of `batonctl pause`, `resume` and `failover`.

use super::duration;
use clap::Args;
use std::time::Duration;

/// A pause.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["replicasets", "all"]))]
pub struct PauseArgs {
    /// Which replica sets
    #[arg(value_name = "SET")]
    pub replicasets: Vec<String>,
    /// All of them
    #[arg(long)]
    pub all: bool,
    /// For how long; it ends by itself
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "1h")]
    pub span: Duration,
    /// Until somebody resumes it
    #[arg(long, conflicts_with = "span")]
    pub for_good: bool,
    /// How long to stay until it is recorded (then exit code 4; what was begun goes on)
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub timeout: Duration,
}

/// The end of a pause.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["replicasets", "all"]))]
pub struct ResumeArgs {
    /// Which replica sets
    #[arg(value_name = "SET")]
    pub replicasets: Vec<String>,
    /// All of them, and the cluster's budget of failovers
    #[arg(long)]
    pub all: bool,
    /// How long to stay until it is recorded (then exit code 4; what was begun goes on)
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub timeout: Duration,
}
