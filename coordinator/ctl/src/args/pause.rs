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

/// A change of master whatever may be lost.
#[derive(Args, Clone, Debug)]
pub struct FailoverArgs {
    /// The replica set
    #[arg(value_name = "SET")]
    pub replicaset: String,
    /// To whom; the best that there is, if left out
    #[arg(long, value_name = "INSTANCE")]
    pub to: Option<String>,
    /// Do it, and accept what may be lost; without it only what would happen is said
    #[arg(long)]
    pub force: bool,
    /// Run the fence command (setting fence_command) against a master that is not heard
    #[arg(long, requires = "force")]
    pub fence: bool,
    /// Vouch that every instance of the set which is not attached is off and stays off: ends the hold after a restore of the
    /// provider, where the last master never comes back
    #[arg(long, requires = "force")]
    pub others_off: bool,
    /// How long the proof that the old master is over, and a member that can be appointed, may take
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub timeout: Duration,
}
