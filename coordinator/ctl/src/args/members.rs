//! The command lines of `batonctl member`, `drain` and `undrain`. Decide nothing.

use super::duration;
use clap::{Args, Subcommand, ValueEnum};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  batonctl member list
  batonctl member maintain a1 --for 1h           a1 is worked on: never appointed, and no issue that it is away
  batonctl member maintain a1 --end              it is done
  batonctl member set-electable a3 off           a3 is never appointed, whatever its host's file says
  batonctl member set-priority a2 200            a2 is preferred
  batonctl member set-priority a2 default        what its host's file says
  batonctl member remove a3                      a3 is gone for good (its coordinator is stopped)
  batonctl member remove a3 --expel              ... and whoever comes under its name is turned away
  batonctl member admit a3                       it may come back
  batonctl member remove-set orders-7 --dry-run  what stands against removing a whole replica set
  batonctl member remove-set orders-7            its coordinators are stopped, and it is no more

Exit codes: 0 done, 1 refused, 2 bad usage, 3 nothing reachable, 4 still in the in-sync set at the timeout.";

const DRAIN_EXAMPLES: &str = "\
Examples:
  batonctl drain --zone dc2 --wait --timeout 30m   before the update of a data centre
  batonctl undrain --zone dc2 --wait               after it

Exit codes: 0 done, 1 refused, 2 bad usage, 3 nothing reachable, 4 not done at the timeout (it goes on).";

/// What can be done with members.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MemberArgs {
    /// What to do
    #[command(subcommand)]
    pub command: MemberCommand,
}

/// One of them.
#[derive(Subcommand, Clone, Debug)]
pub enum MemberCommand {
    /// List all members with what people said of them
    List {
        /// Of this replica set only
        #[arg(value_name = "SET")]
        replicaset: Option<String>,
    },
    /// Say whether a member may be appointed, whatever its host's file says
    SetElectable {
        /// Which
        #[arg(value_name = "INSTANCE")]
        instance: String,
        /// `default`: what its host's file says
        #[arg(value_enum)]
        electable: Electable,
    },
    /// Say how a member is preferred, whatever its host's file says
    SetPriority {
        /// Which
        #[arg(value_name = "INSTANCE")]
        instance: String,
        /// Higher is preferred; `default`: what its host's file says
        #[arg(value_name = "NUMBER|default", value_parser = priority)]
        priority: Priority,
    },
    /// Say that a member is worked on: until then it is never appointed, and it is no issue that it is away
    #[command(group(clap::ArgGroup::new("until").required(true).args(["span", "end"])))]
    Maintain {
        /// Which
        #[arg(value_name = "INSTANCE")]
        instance: String,
        /// For so long from now
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        span: Option<Duration>,
        /// It is done
        #[arg(long)]
        end: bool,
    },
    /// Take a member out of its replica set for good; refused while it may still be appointed
    Remove {
        /// Which
        #[arg(value_name = "INSTANCE")]
        instance: String,
        /// Turn away whoever comes under this name from now on, also while it still runs
        #[arg(long)]
        expel: bool,
        /// How long to wait until it has left the in-sync set (then exit code 4)
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
        timeout: Duration,
    },
    /// Remove a whole replica set for good, once its coordinators are stopped and no master of it can be leading
    RemoveSet {
        /// Which
        #[arg(value_name = "SET")]
        replicaset: String,
        /// Only say what stands against it
        #[arg(long)]
        dry_run: bool,
        /// How long to wait until nothing stands against it (then exit code 4)
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s", conflicts_with = "dry_run")]
        timeout: Duration,
    },
    /// Let a member that was expelled come back
    Admit {
        /// Which
        #[arg(value_name = "INSTANCE")]
        instance: String,
    },
}

/// Whether a member may be appointed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Electable {
    /// It may.
    On,
    /// Never.
    Off,
    /// What its host's file says.
    Default,
}

/// How a member is preferred; `None`: what its host's file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub Option<u32>);

fn priority(text: &str) -> Result<Priority, String> {
    if text == "default" {
        return Ok(Priority(None));
    }
    text.parse().map(|number| Priority(Some(number))).map_err(|_| "a whole number, or default".to_owned())
}

/// Zones out of which masters go, or into which they may come again.
#[derive(Args, Clone, Debug)]
#[command(after_help = DRAIN_EXAMPLES)]
pub struct DrainArgs {
    /// Which; several are separated by commas
    #[arg(long = "zone", value_name = "ZONE", required = true, value_delimiter = ',')]
    pub zones: Vec<String>,
    /// Stay until it is done and every replica set is healthy, and show how it goes
    #[arg(long)]
    pub wait: bool,
    /// How long to stay at most (then exit code 4; what was begun goes on)
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m", requires = "wait")]
    pub timeout: Duration,
}
