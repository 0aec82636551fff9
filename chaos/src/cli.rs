//! The command line of `chaos`, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::demo::step::Step;

/// Real processes, real faults, and verdicts.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole cluster on loopback, kill its masters in several ways, and show what clients saw.
    #[command(after_help = MEANING)]
    Demo(Demo),
    /// The demo's steps many times for several leases: medians, and what an idle sidecar costs.
    #[command(after_help = MEANING)]
    Bench(Bench),
    /// Judge saved evidence again, offline. Exit code 0: valid; 1: invalid or unreadable; 3: unknown.
    Check(Check),
    /// Play scenarios on a cluster of machines, each with a network of its own: faults strike, clients write, and everything that
    /// was seen is left as evidence.
    #[command(after_help = CODES)]
    Run(Run),
    /// Play scenarios that are drawn from seeds, one after another, for a time; started again with the same folder it goes on
    /// where it was. Evidence of what is valid is removed, all but its verdict's numbers.
    #[command(after_help = CODES, visible_alias = "random")]
    Soak(Soak),
    /// All scenarios with their stories.
    List,
    /// Remove what an earlier run left that was killed before it could.
    Clean,
    /// Judge every run below a folder again, and write one page that lists them all.
    Report {
        /// The folder.
        folder: PathBuf,
    },
    /// One client as a process of its own, writing what it sees to a file of evidence. Started by the suite.
    #[command(hide = true)]
    Client(Client),
}

const MEANING: &str = "\
What is counted:
  write gap    the longest time between two writes that the master acknowledged to a client which follows
               the directory and writes every 2 ms (the engine's own answer, without waiting for a replica: that
               would also measure how fast a replica finds its new master)
  lost         acknowledged and absent from the master when all is healthy again; a write counts as
               promised when the engine confirmed (WAIT 1, pg_stat_replication) that a replica has it (--async: when the master
               acknowledged it)
  unconfirmed  acknowledged by a master alone, and gone with it; no promise is broken, counted apart
  stale        accepted by an instance for a request that was sent after an acknowledgement at a higher term
               had been received; a prober writes to every instance directly to catch this
  woken        the same, for requests queued at a frozen engine before it woke
A step is ok with 100 writes or more, its change of master, nothing lost or stale, and its gap within the
worst case that the cluster's `timing` names. The exit code is 0 only if every step is ok.
Progress and prose go to standard error; with --json standard output is one line.";

const CODES: &str = "\
It needs root: machines are network namespaces and control groups. Exit codes:
  0  every verdict is valid
  1  one is invalid: a promise was broken, or the cluster did not become well again
  2  bad usage
  3  one is unknown: too little was seen, a fault did not bite, or a scenario could not be played
  4  nothing can be played here: without root
Progress and prose go to standard error; with --json standard output is a line for each scenario and one with totals.";

/// Arguments of a run.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Their names, as `chaos list` has them; `all`: every one.
    #[arg(required = true)]
    pub scenarios: Vec<String>,
    /// On which cluster, and where the evidence goes.
    #[command(flatten)]
    pub field: FieldArguments,
}

/// Arguments of a soak.
#[derive(Args, Clone, Debug)]
pub struct Soak {
    /// How long, together with what was played into this folder before.
    #[arg(long = "for", default_value = "8h", value_parser = humantime::parse_duration)]
    pub time: Duration,
    /// On which cluster, and where the evidence goes.
    #[command(flatten)]
    pub field: FieldArguments,
}

/// On which cluster a scenario is played, and where its evidence goes.
#[derive(Args, Clone, Debug)]
pub struct FieldArguments {
    /// The database.
    #[arg(long, value_enum, default_value_t = EngineKind::Redis)]
    pub engine: EngineKind,
    /// What keeps the record.
    #[arg(long, value_enum, default_value_t = ProviderKind::Stateboard)]
    pub provider: ProviderKind,
    /// Commits wait for a replica (the default).
    #[arg(long)]
    pub sync: bool,
    /// Commits wait for nobody.
    #[arg(long = "async", conflicts_with = "sync")]
    pub asynchronous: bool,
    /// How long a silent master may keep its right.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub lease_ttl: Duration,
    /// Repeats the random choices of an earlier run: victims, order, moments.
    #[arg(long)]
    pub seed: Option<u64>,
    /// A folder with `baton-coordinator` and `baton-stateboard` of an earlier build, for scenarios that begin with it.
    #[arg(long, value_name = "FOLDER")]
    pub previous: Option<PathBuf>,
    /// The folder that gets one folder of evidence for each scenario.
    #[arg(long, default_value = "chaos-runs")]
    pub out: PathBuf,
    /// Lines of JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// What the two commands have in common.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The database.
    #[arg(long, value_enum, default_value_t = EngineKind::Redis)]
    pub engine: EngineKind,
    /// What keeps the record.
    #[arg(long, value_enum, default_value_t = ProviderKind::Stateboard)]
    pub provider: ProviderKind,
    /// One line of JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Repeats the random choices of an earlier run: victims, wake order, phase of the beat.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The steps, in order.
    #[arg(long, value_delimiter = ',', default_values_t = Step::DEFAULT)]
    pub steps: Vec<Step>,
    /// Count also what only the master had acknowledged as promised.
    #[arg(long = "async")]
    pub count_unconfirmed: bool,
    /// Keep the folder with all logs also after success.
    #[arg(long)]
    pub keep: bool,
}

/// Arguments of the demo.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// What both commands take.
    #[command(flatten)]
    pub common: Common,
    /// How long a silent master may keep its right.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub lease_ttl: Duration,
    /// How often each step is done.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub attempts: u32,
}

/// Arguments of the measurements.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// What both commands take.
    #[command(flatten)]
    pub common: Common,
    /// The leases, each with a cluster of its own.
    #[arg(long, value_delimiter = ',', default_values = ["3s", "1s", "300ms"], value_parser = humantime::parse_duration)]
    pub lease_ttl: Vec<Duration>,
    /// How often each step is done.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub attempts: u32,
}

/// What is judged.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// The folder of a run, as often as there are runs.
    #[arg(required = true)]
    pub folders: Vec<PathBuf>,
    /// One line of JSON a run on standard output, and one with the totals.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of a client.
#[derive(Args, Clone, Debug)]
pub struct Client {
    /// What it does.
    #[arg(value_enum)]
    pub kind: ClientKind,
    /// Its name in the evidence.
    #[arg(long)]
    pub name: String,
    /// Its number, which no other client of the run has; registers use this one and the two behind it.
    #[arg(long)]
    pub number: u64,
    /// The database.
    #[arg(long, value_enum, default_value_t = EngineKind::Redis)]
    pub engine: EngineKind,
    /// Coordinators (gRPC, host:port) whose directory it follows.
    #[arg(long, value_delimiter = ',')]
    pub coordinators: Vec<String>,
    /// The replica set.
    #[arg(long, default_value = "orders")]
    pub set: String,
    /// Of a direct client: every instance, as name=host:port.
    #[arg(long, value_delimiter = ',')]
    pub instances: Vec<String>,
    /// The run's begin, in microseconds of the machine's monotonic clock.
    #[arg(long)]
    pub origin_us: u64,
    /// The file that it appends its operations to.
    #[arg(long)]
    pub out: PathBuf,
    /// The file that it appends the directory's news to.
    #[arg(long)]
    pub masters: Option<PathBuf>,
    /// Commits wait for replicas: what counts is confirmed by the engine's own means.
    #[arg(long)]
    pub sync: bool,
    /// Between two requests.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub pace: Option<Duration>,
    /// Of its random choices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientKind {
    /// Appends unique values where the directory sends it.
    Append,
    /// Writes and reads registers where the directory sends it.
    Registers,
    /// Writes to every instance, whatever the directory says.
    Direct,
}

/// The databases that a cluster can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// Redis 7.
    Redis,
    /// PostgreSQL 15.
    Postgres,
}

impl EngineKind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
        }
    }

    /// As people call it.
    #[must_use]
    pub fn called(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// The state providers that a cluster can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProviderKind {
    /// Baton's own.
    Stateboard,
    /// etcd with three members.
    Etcd,
}

impl ProviderKind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stateboard => "stateboard",
            Self::Etcd => "etcd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_the_makefiles_call_is_taken() {
        Cli::command().debug_assert();
        let line = "chaos demo --engine redis --provider stateboard --lease-ttl 300ms --json --seed 7 --attempts 2 \
                    --steps kill_engine,switchover";
        let Command::Demo(demo) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("not the demo")
        };
        assert_eq!(demo.lease_ttl, Duration::from_millis(300));
        assert_eq!(demo.common.provider.name(), "stateboard");
        let Command::Demo(of_etcd) = Cli::parse_from(["chaos", "demo", "--provider", "etcd"]).command else {
            panic!("not the demo")
        };
        assert_eq!(of_etcd.common.provider, ProviderKind::Etcd);
        assert_eq!(demo.common.steps, [Step::KillEngine, Step::Switchover]);
        assert_eq!((demo.common.seed, demo.attempts, demo.common.json), (Some(7), 2, true));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let Command::Bench(bench) = Cli::parse_from(["chaos", "bench"]).command else {
            panic!("not the bench")
        };
        assert_eq!(bench.lease_ttl, [3_000, 1_000, 300].map(Duration::from_millis));
        assert_eq!((bench.attempts, bench.common.steps.as_slice()), (10, Step::DEFAULT.as_slice()));
    }

    #[test]
    fn an_unknown_step_is_refused() {
        assert!(Cli::try_parse_from(["chaos", "demo", "--steps", "kill_universe"]).is_err());
        assert!(Cli::try_parse_from(["chaos", "demo", "--attempts", "0"]).is_err());
    }
}
