//! The command line of `batonctl settings`. Decides nothing.

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  batonctl settings show --changed               what is not as it is by default
  batonctl settings show --set orders-1          what holds for one replica set, and where it is from
  batonctl settings set lease_ttl=1s             faster failovers, from now on, on every host
  batonctl settings set ack_quorum=1 --set orders-1
  batonctl settings set lease_ttl=1s --dry-run   what would become of the outages
  batonctl settings unset max_lag                the default again
  batonctl settings edit                         all of them, in an editor

Exit codes: 0 done, 1 refused (nothing was changed), 2 bad usage, 3 nothing reachable.";

/// What can be done with the settings.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SettingsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: SettingsCommand,
}

/// One of them.
#[derive(Subcommand, Clone, Debug)]
pub enum SettingsCommand {
    /// Show what holds
    Show {
        /// For this replica set
        #[arg(long = "set", value_name = "SET", conflicts_with = "toml")]
        replicaset: Option<String>,
        /// As a document with what each value is for, such as `settings edit` and `--seed-settings` take
        #[arg(long, conflicts_with = "json")]
        toml: bool,
        /// Only what is not as it is by default
        #[arg(long)]
        changed: bool,
    },
    /// Change single values: all of them, or none
    #[command(after_help = EXAMPLES)]
    Set {
        /// Such as lease_ttl=1s, replicaset.orders-1.ack_quorum=1, member.a1.priority=200; KEY= takes it back
        #[arg(value_name = "KEY=VALUE", required = true)]
        changes: Vec<String>,
        /// How
        #[command(flatten)]
        how: HowArgs,
    },
    /// Take single values back: the default holds again, or for a replica set what the cluster has
    Unset {
        /// Such as lease_ttl
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
        /// How
        #[command(flatten)]
        how: HowArgs,
    },
    /// Change them in an editor, as a document; what is wrong is shown with its line, and the editor opened again
    Edit {
        /// Which (VISUAL or vi, where EDITOR is not set either)
        #[arg(long, value_name = "COMMAND", env = "EDITOR")]
        editor: Option<String>,
        /// Take names of sets, members and zones that are not known
        #[arg(long)]
        force: bool,
    },
}

/// How a change is made.
#[derive(Args, Clone, Debug, Default)]
pub struct HowArgs {
    /// For this replica set alone
    #[arg(long = "set", value_name = "SET")]
    pub replicaset: Option<String>,
    /// Only if the settings are those of this version
    #[arg(long, value_name = "VERSION")]
    pub expected: Option<u64>,
    /// Take names of sets, members and zones that are not known
    #[arg(long)]
    pub force: bool,
    /// Only check, and say what would follow
    #[arg(long)]
    pub dry_run: bool,
}
