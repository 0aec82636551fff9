//! The command line of `batonctl`: names, defaults and help. Decides nothing.

mod at;
mod doctor;
mod drill;
mod examples;
mod members;
mod pause;
mod provider;
mod settings;
mod stateboard;
mod top;

pub use at::At;
pub use doctor::DoctorArgs;
pub use drill::{DrillArgs, DrillFault};
pub use members::{DrainArgs, Electable, MemberArgs, MemberCommand, Priority};
pub use pause::{FailoverArgs, PauseArgs, ResumeArgs};
pub use provider::{MigrateArgs, ProviderArgs, ProviderCommand};
pub use settings::{HowArgs, SettingsArgs, SettingsCommand};
pub use stateboard::{StateboardArgs, StateboardCommand};
pub use top::{TopArgs, TopSort};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  batonctl status                              the cluster: who decides, every set, what is wrong
  batonctl top                                 the same live, the troubled sets first
  batonctl switchover orders-1 --to a2         change the master by plan, without losing a write
  batonctl switchover orders-1 --at 03:00      the same tonight; `batonctl task` shows what is planned
  batonctl explain orders-1                    why the last decision was what it was
  batonctl issues                              what is wrong, and what to do about it
  batonctl what-if --lose zone:dc2             who would be master without a data centre
  batonctl wait --until healthy orders-1       go on in a script once all is well
  batonctl doctor                              is this host fit to be trusted with an engine?
  batonctl timing --lease-ttl 1s               the worst outages with another lease, without a cluster
  batonctl settings set lease_ttl=1s           change what holds on every host, at once
  batonctl drill orders-1 --fault switchover   try it, behind guard rails, and see how long it takes
  batonctl drain --zone dc2 --wait             move every master out of a data centre
  batonctl stateboard backup FILE              a backup of the stateboard, while it serves

Exit codes: 0 done, 1 refused or failed, 2 bad usage, 3 nothing reachable, 4 still running at the timeout.";

/// Looks at a Baton cluster and acts on it.
#[derive(Parser, Clone, Debug)]
#[command(name = "batonctl", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Any coordinators of the cluster; the active arbiter is found from there
    #[arg(
        long,
        value_name = "HOST:PORT,…",
        global = true,
        env = "BATON_ENDPOINT",
        value_delimiter = ',',
        default_value = baton_client::endpoint::DEFAULT
    )]
    pub endpoint: Vec<String>,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Whether to use colours
    #[arg(long, value_enum, global = true, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// How long one request may take
    #[arg(long, value_name = "DURATION", global = true, value_parser = duration, default_value = "5s")]
    pub request_timeout: Duration,
}

impl Cli {
    /// The whole command line with the examples of every command.
    #[must_use]
    pub fn whole() -> clap::Command {
        examples::add(Self::command())
    }

    /// The process's own; prints help and mistakes, and ends the process then.
    #[must_use]
    pub fn of_process() -> Self {
        let matches = Self::whole().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What can be done.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Show the whole cluster: who decides, every replica set, what is wrong
    Status {
        /// Show it again every second, until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Watch the whole cluster live in the terminal, the troubled sets first
    Top(TopArgs),
    /// List who is master of what, as routers see it
    Masters,
    /// Print who is master, then each change as it happens, until interrupted
    Watch {
        /// Of this replica set only
        #[arg(value_name = "SET")]
        replicaset: Option<String>,
        /// End after so long
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        span: Option<Duration>,
    },
    /// Change the master of a replica set by plan: no acknowledged write is lost
    Switchover(SwitchoverArgs),
    /// List what operators asked for, look at one task, wait for its end, or call it off
    Task(TaskArgs),
    /// Change the master whatever may be lost, where nothing else helps; first say what that is
    Failover(FailoverArgs),
    /// Bring a fault about on purpose, behind guard rails, and measure how the replica set gets over it
    Drill(DrillArgs),
    /// List what should be looked at, the most urgent first, each with what to do about it
    Issues {
        /// Of this replica set only
        #[arg(value_name = "SET")]
        replicaset: Option<String>,
    },
    /// Say what would become of each replica set if something were lost now; changes nothing
    WhatIf {
        /// An instance, `zone:NAME` for all instances of a zone, or `provider`; several are lost together
        #[arg(long, value_name = "WHAT", required = true, value_delimiter = ',')]
        lose: Vec<String>,
        /// Of this replica set only
        #[arg(value_name = "SET")]
        replicaset: Option<String>,
    },
    /// Wait until the cluster, a replica set or an instance is as wanted: for scripts
    Wait(WaitArgs),
    /// List the appointments of a replica set, newest first
    History {
        /// The replica set
        #[arg(value_name = "SET")]
        replicaset: String,
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one decision: what was seen, the rule, the ranking, how long each phase took
    Explain {
        /// The replica set
        #[arg(value_name = "SET")]
        replicaset: String,
        /// The term that the decision made; the last decision, if left out
        #[arg(value_name = "TERM")]
        term: Option<u64>,
        /// Make the choice again from what is stored, and compare (exit code 1 if it comes out otherwise)
        #[arg(long)]
        replay: bool,
    },
    /// Show the worst outage of each failure class and the parts that it adds up to
    Timing {
        /// Compute it for this lease, without asking a cluster
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        lease_ttl: Option<Duration>,
        /// With this stall timeout (the lease, if left out)
        #[arg(long, value_name = "DURATION", value_parser = duration, requires = "lease_ttl")]
        stall_timeout: Option<Duration>,
    },
    /// Check whether this host is fit for its engines: clock, disks, ports, credentials, boot-time fence, what a deadman gets
    Doctor(DoctorArgs),
    /// Show and change the cluster-wide settings, live
    Settings(SettingsArgs),
    /// List the members and say what holds for single ones: electable, priority, maintenance, removal
    Member(MemberArgs),
    /// Keep masters where they are for a while: nobody else takes over, and no lease is needed
    Pause(PauseArgs),
    /// End a pause, and what holds replica sets after too many failovers
    Resume(ResumeArgs),
    /// Move every master out of zones, one after another, and keep them out
    Drain(DrainArgs),
    /// Let masters be in drained zones again
    Undrain(DrainArgs),
    /// Ask the stateboard itself: how it stands, a backup, a restore
    Stateboard(StateboardArgs),
    /// Move the state of a live cluster from one state provider to another
    Provider(ProviderArgs),
    /// Print completions for a shell
    Completions {
        /// For which one
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands
    Man {
        /// Write one page a command into this directory, which is made
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// A wait.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// What for
    #[arg(long, value_enum)]
    pub until: Until,
    /// Of which replica set (healthy, master; all of them, if left out) or which instance (replica)
    #[arg(value_name = "NAME", required_if_eq("until", "replica"))]
    pub name: Option<String>,
    /// How long at most (then exit code 4)
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub timeout: Duration,
}

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// Every set has an active master, every member is in sync, and nothing critical or a warning is to be looked at.
    Healthy,
    /// Every set has an active master.
    Master,
    /// The instance follows its master and is in the in-sync set.
    Replica,
}

/// A planned change of master.
#[derive(Args, Clone, Debug)]
pub struct SwitchoverArgs {
    /// The replica set
    #[arg(value_name = "SET")]
    pub replicaset: String,
    /// To whom; the best candidate, if left out
    #[arg(long, value_name = "INSTANCE")]
    pub to: Option<String>,
    /// How long writes may be held back until the target has everything; then the old master leads again
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub timeout: Duration,
    /// Only say what would happen, and why the others would not be chosen
    #[arg(long)]
    pub dry_run: bool,
    /// Begin at this time: 2026-11-22T03:00:00Z, 03:00 (the next such, in UTC) or +10m. Up to 10 minutes late where nobody
    /// could begin it
    #[arg(long, value_name = "TIME", value_parser = at::parse, conflicts_with = "dry_run")]
    pub at: Option<At>,
    /// How long to wait for the end before leaving it to itself (exit code 4); without a value for as long as it takes. By
    /// default the timeout and 30 s more, and not at all with --at
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1)]
    pub wait: Option<Option<Duration>>,
}

/// A look at tasks.
#[derive(Args, Clone, Debug)]
pub struct TaskArgs {
    /// The number of a task; all of them, if left out
    #[arg(value_name = "ID")]
    pub id: Option<u64>,
    /// Those of this replica set only
    #[arg(long, value_name = "SET", conflicts_with = "id")]
    pub set: Option<String>,
    /// Call it off: what is planned is not begun, and of what is under way the old master is master again. Refused once the
    /// next term is written
    #[arg(long, requires = "id")]
    pub abort: bool,
    /// Wait for its end (exit code 4 where that is not reached); without a value for as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, requires = "id")]
    pub wait: Option<Option<Duration>>,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 300ms, 3s or 5m"))
}
