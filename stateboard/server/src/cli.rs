//! The command line of `baton-stateboard`. Values only; what the commands do is in `main.rs`.

use baton_stateboard::config::{DEFAULT_FILE, Overrides};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  baton-stateboard --cluster orders --data-dir ./state
        run one for a try, on this machine only
  baton-stateboard check-config --config /etc/baton/stateboard.toml
        say all that is wrong with a configuration, and start nothing
  BATON_STATEBOARD__LISTEN=10.0.0.9:4401 baton-stateboard --insecure
        run with the default file, on an address that others reach
  baton-stateboard --seed-settings settings.toml
        begin with these cluster-wide settings, if the state is new
  baton-stateboard restore --from orders.batonbak --force
        put a backup in the place of a damaged state, while no stateboard runs on it";

/// The state provider of Baton: keeps the lock, the appointments, the members and the settings of one cluster.
#[derive(Parser, Debug)]
#[command(name = "baton-stateboard", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The configuration file; the default one may be absent
    #[arg(long, value_name = "FILE", env = "BATON_CONFIG", default_value = DEFAULT_FILE, global = true)]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Cluster-wide settings (TOML) for the first start; without effect where there is a state already
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) seed_settings: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Human, global = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Check the configuration and start nothing
    CheckConfig,
    /// Put a backup into the data directory, on which no stateboard may be running
    ///
    /// The backup is read and checked wholly before anything is changed. The generation of the epochs rises, so that
    /// whoever held the lock before can change nothing any more; what was there is kept in a file beside.
    Restore {
        /// The backup
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Also where there is a state already, or one that cannot be read
        #[arg(long)]
        force: bool,
        /// Make the generation at least this: where the backup was restored before, and that state is lost
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        generation_at_least: u64,
    },
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands
    Man {
        /// Write one page a command into this directory, which is made
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_on_both_sides_of_a_command() {
        let cli = Cli::try_parse_from(["baton-stateboard", "check-config", "--cluster", "orders"]);
        let cli = cli.expect("global flags");
        assert_eq!(cli.overrides.cluster.as_deref(), Some("orders"));
        assert!(matches!(cli.command, Some(Command::CheckConfig)));
    }
}
