//! The command line of `baton-coordinator`: what to run and with which configuration. Decides nothing else; `main` acts.

use crate::config::{Config, DEFAULT_FILE, Overrides, ProviderConfig};
use crate::logging::LogFormat;
use baton_core::record::Settings;
use baton_core::timing::{FailureClass, Timing};
use baton_engine::postgres;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  baton-coordinator                                     run with /etc/baton/coordinator.toml
  baton-coordinator check-config --config ./a.toml      say all that is wrong with a file
  baton-coordinator --config ./a.toml --log-format json
  BATON_PROVIDER__ENDPOINTS=10.0.0.9:4401 baton-coordinator

The environment overrides the file (BATON_SECTION__KEY=value, lists separated by commas), flags override both.
Every key is explained in docs/operations.md; RUST_LOG sets the log's filter (default: info).";

/// Guards the engines of this host, takes part in deciding who is master, and answers routers.
#[derive(Parser, Clone, Debug)]
#[command(name = "baton-coordinator", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; to run is the default
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The file with this host's configuration
    #[arg(long, value_name = "FILE", global = true, env = "BATON_CONFIG", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
    /// How log lines are written
    #[arg(long, value_enum, global = true, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Single settings.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// Other than running.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Run the daemon (the default)
    Run,
    /// Print everything that is wrong with the configuration, or "ok" and what follows from it
    CheckConfig,
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

/// What a process with this program was started for.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// By a person or a service manager.
    Daemon(Box<Cli>),
    /// By a daemon: the process with one deadline. The arguments are its own business.
    Deadman(Vec<OsString>),
    /// By a deadman: the step between the fork and the engine.
    EngineExec(Vec<OsString>),
    /// By that step, where the engine is a PostgreSQL: what comes before the server.
    PostgresStart(Vec<OsString>),
}

impl Invocation {
    /// Looks for the hidden names before anything is parsed: their arguments must not be taken for the daemon's,
    /// and these processes shall carry as little as possible.
    ///
    /// # Errors
    /// clap's, for help and version too; `exit` on it prints and ends properly.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let rest = || arguments.iter().skip(2).cloned().collect();
        match arguments.get(1).and_then(|name| name.to_str()) {
            Some("deadman") => Ok(Self::Deadman(rest())),
            Some("engine-exec") => Ok(Self::EngineExec(rest())),
            Some(postgres::START) => Ok(Self::PostgresStart(rest())),
            _ => Cli::try_parse_from(arguments).map(|cli| Self::Daemon(Box::new(cli))),
        }
    }
}

/// Writes the completions of a shell.
pub fn write_completions(shell: clap_complete::Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut Cli::command(), "baton-coordinator", &mut { out });
}

/// Writes the manual page, or into `dir` one page a command.
///
/// # Errors
/// Those of `out` and of the directory.
pub fn write_man(dir: Option<&Path>, out: &mut dyn Write) -> std::io::Result<()> {
    let Some(dir) = dir else { return clap_mangen::Man::new(Cli::command()).render(&mut { out }) };
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}

/// What `check-config` says of a good configuration: what it amounts to, and the timing that follows from the defaults
/// (the cluster's own settings live in the provider, which is not asked here).
#[must_use]
pub fn describe(config: &Config) -> String {
    let mut text = String::from("ok\n\n");
    let provider = match &config.provider {
        ProviderConfig::Stateboard { endpoints, tls, .. } => {
            let tls = if tls.is_some() { ", with TLS" } else { "" };
            format!("stateboard at {}{tls}", endpoints.join(", "))
        }
        ProviderConfig::Etcd(etcd) => {
            let tls = if etcd.tls.is_some() { ", with TLS" } else { "" };
            format!("etcd at {}{tls}, below {}", etcd.endpoints.join(", "), etcd.prefix)
        }
        ProviderConfig::Embedded { data_dir } => format!("embedded stateboard in {}", data_dir.display()),
    };
    let on = |enabled| if enabled { "on" } else { "off" };
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("cluster", config.identity.cluster.as_str());
    line("coordinator", config.name.as_str());
    line("provider", &provider);
    line("gRPC", &format!("{}, told to others as {}", config.listen, config.advertised(config.listen)));
    line("HTTP", &config.http_listen.to_string());
    line("state", &config.state_dir.display().to_string());
    let rights = if config.keep_engine { "left to the next process" } else { "given up" };
    line("on SIGTERM", &format!("rights are {rights}"));
    line("arbiter", on(config.arbiter_enabled));
    line("directory", on(config.directory_enabled));
    for instance in config.instances.values() {
        let run = if instance.engine.command.is_empty() { "adopted" } else { "supervised" };
        let (set, endpoint) = (&instance.replicaset, &instance.engine.endpoint);
        line("instance", &format!("{} of {set} at {endpoint}, {run}", instance.name));
    }
    for issue in &config.issues {
        line("issue", issue);
    }
    match Timing::new(&Settings::default()) {
        Ok(timing) => {
            let _ = writeln!(text, "\ntiming with the default settings (lease_ttl = {}):", timing.lease_ttl);
            for class in FailureClass::ALL {
                let _ = writeln!(text, "  {:<20} at most {}", class.name(), timing.worst_outage(class));
            }
        }
        Err(error) => {
            let _ = writeln!(text, "\ntiming: {error}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, clap::Error> {
        Invocation::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn running_is_the_default_and_flags_may_follow_a_subcommand() {
        let Ok(Invocation::Daemon(cli)) = parse("baton-coordinator --config a.toml --name host-z") else {
            panic!("a daemon was asked for")
        };
        assert!(cli.command.is_none());
        assert_eq!(cli.overrides.name.as_deref(), Some("host-z"));
        let Ok(Invocation::Daemon(cli)) = parse("baton-coordinator check-config --config a.toml") else {
            panic!("a check was asked for")
        };
        assert!(matches!(cli.command, Some(Command::CheckConfig)));
        assert_eq!(cli.config, PathBuf::from("a.toml"));
        assert!(parse("baton-coordinator --nonsense").is_err());
    }

    #[test]
    fn each_command_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let pages = folder.path().join("man1");
        write_man(Some(&pages), &mut std::io::sink()).expect("writable");
        for name in ["baton-coordinator", "baton-coordinator-run", "baton-coordinator-check-config"] {
            let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).expect(name);
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
    }

    #[test]
    fn the_hidden_processes_get_their_arguments_untouched() {
        let Ok(Invocation::Deadman(arguments)) = parse("baton-coordinator deadman --name --config -- x")
        else {
            panic!("a deadman was asked for")
        };
        assert_eq!(arguments, ["--name", "--config", "--", "x"]);
        assert!(
            matches!(parse("baton-coordinator engine-exec"), Ok(Invocation::EngineExec(none)) if none.is_empty())
        );
    }

    #[test]
    fn a_good_configuration_is_described_with_its_timing() {
        let text = "[cluster]\nname = \"orders\"\n[coordinator]\nname = \"host-a\"\n[provider]\nkind = \"embedded\"\n\
                    [[instance]]\nname = \"a1\"\nreplicaset = \"s\"\n[instance.engine]\nkind = \"redis\"\nendpoint = \"h:1\"\n";
        let config = Config::from_text("c.toml", text, [], &Overrides::default()).expect("it is good");
        let said = describe(&config);
        for line in [
            "ok\n",
            "cluster      orders\n",
            "provider     embedded stateboard in /var/lib/baton/stateboard\n",
            "instance     a1 of s at h:1, adopted\n",
            "on SIGTERM   rights are given up\n",
            "timing with the default settings (lease_ttl = 3s):\n",
            "  silent               at most 5.5s\n",
        ] {
            assert!(said.contains(line), "{line:?} is missing in:\n{said}");
        }
    }
}
