//! The command line of `batonctl stateboard`: how the stateboard is reached, and what is asked of it. Decides nothing.

use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  batonctl stateboard status --cluster orders
        how it stands: revision, lock, room on its disk, whether it was restored
  batonctl stateboard backup orders-2026-11-22.batonbak --cluster orders --secret-file /etc/baton/secret
        take a backup while it serves
  batonctl stateboard restore orders-2026-11-22.batonbak --cluster orders --secret-file /etc/baton/secret
        put it into an empty stateboard; with --force into one that is not

Exit codes: 0 done, 1 refused or failed, 2 bad usage, 3 not reachable.";

/// What can be done with a stateboard itself.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct StateboardArgs {
    /// What to do
    #[command(subcommand)]
    pub command: StateboardCommand,
    /// Where the stateboard is
    #[arg(
        long = "stateboard",
        value_name = "HOST:PORT",
        global = true,
        env = "BATON_STATEBOARD",
        default_value = "127.0.0.1:4401"
    )]
    pub address: String,
    /// The cluster that it belongs to
    #[arg(long, value_name = "NAME", global = true, env = "BATON_CLUSTER__NAME")]
    pub cluster: Option<String>,
    /// The file with the cluster's secret; without it the secret is empty
    #[arg(long, value_name = "FILE", global = true, env = "BATON_CLUSTER__SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// The file with the stateboard's password, where it asks for one; or BATON_PROVIDER__PASSWORD holds it
    #[arg(long, value_name = "FILE", global = true, env = "BATON_PROVIDER__PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// The authority of the stateboard's certificate; turns TLS on
    #[arg(long, value_name = "FILE", global = true, env = "BATON_TLS__CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, where the stateboard asks for one
    #[arg(long, value_name = "FILE", global = true, env = "BATON_TLS__CERT_FILE")]
    pub cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", global = true, env = "BATON_TLS__KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

/// One of them.
#[derive(Subcommand, Clone, Debug)]
pub enum StateboardCommand {
    /// Show how it stands: revision, lock, room on its disk, whether it was restored
    Status,
    /// Take a backup while it serves; the file is written whole or not at all
    Backup {
        /// Where to; there must be none of this name
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put a backup in the place of everything that it holds, and raise the generation of the epochs
    ///
    /// The backup is checked wholly before anything is changed. Whoever held the lock before can change nothing any more,
    /// and appointments go on at terms above all that any member has seen.
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Also where the stateboard is not empty; what is there is kept in a file beside its own
        #[arg(long)]
        force: bool,
        /// Make the generation at least this: where the backup was restored before, and that stateboard is lost
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        generation_at_least: u64,
    },
}
