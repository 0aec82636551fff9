//! The command line of `batonctl provider`: which ends, and how patient. Decides nothing.

use super::duration;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  batonctl provider migrate --cluster orders --secret-file /etc/baton/secret \\
      --from stateboard:http://10.0.0.9:4401 --to etcd:http://10.0.0.1:2379,http://10.0.0.2:2379
        move a live cluster from its stateboard to etcd, while masters go on
  batonctl provider migrate --cluster orders --secret-file /etc/baton/secret \\
      --from /etc/baton/coordinator.toml --to /etc/baton/coordinator.toml#next
        the same, with what [provider] and [provider.next] of a coordinator's file name

Exit codes: 0 done, 1 refused, taken back or failed (the text says which), 2 bad usage, 3 not reachable.";

/// What can be done with state providers.
#[derive(Args, Clone, Debug)]
pub struct ProviderArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ProviderCommand,
}

/// One of them.
#[derive(Subcommand, Clone, Debug)]
pub enum ProviderCommand {
    /// Move the state of a live cluster from one state provider to another, without a failover and without a refused write
    ///
    /// Every coordinator must name the target in [provider.next] of its file and have been started with it. Nothing can be
    /// appointed while the state is frozen for the last copy; whatever goes wrong before the move is committed takes it
    /// back. Run again after it was cut off, it completes the move or takes it back. The way back is the same command with
    /// the ends exchanged.
    Migrate(MigrateArgs),
}

/// A move.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MigrateArgs {
    /// Where the state is: KIND:URL[,URL…][/PREFIX], or FILE for [provider] of a coordinator's file, FILE#next for its
    /// [provider.next] (needed for passwords and TLS)
    #[arg(long, value_name = "PROVIDER")]
    pub from: String,
    /// Where it is to go, in the same words
    #[arg(long, value_name = "PROVIDER")]
    pub to: String,
    /// The cluster
    #[arg(long, value_name = "NAME", env = "BATON_CLUSTER__NAME")]
    pub cluster: Option<String>,
    /// The file with the cluster's secret; without it the secret is empty
    #[arg(long, value_name = "FILE", env = "BATON_CLUSTER__SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// How long the coordinators may take to reach the target
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub ready_within: Duration,
    /// How long the state may be frozen for the last copy; at most 10s, before coordinators thaw it by themselves
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    pub frozen_at_most: Duration,
    /// Look at both ends, and say what is wrong; change nothing
    #[arg(long)]
    pub dry_run: bool,
}
