//! The daemon `baton-stateboard`: configuration, logs, signals. What it serves is in the library.

mod cli;

use anyhow::Context as _;
use baton_core::record::Settings;
use baton_stateboard::config::{Config, DEFAULT_FILE, seed};
use baton_stateboard::storage::{self, Backup};
use baton_stateboard::{Options, Outside, Stateboard};
use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Command, LogFormat};
use sd_notify::NotifyState;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Exit code of a configuration that cannot be used.
const EXIT_CONFIG: u8 = 2;

/// The manual page on standard output, or one page a command into a directory.
fn manual(dir: Option<&Path>) -> std::io::Result<()> {
    let Some(dir) = dir else {
        return clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout());
    };
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::Completions { shell }) => {
            clap_complete::generate(*shell, &mut Cli::command(), "baton-stateboard", &mut std::io::stdout());
            return ExitCode::SUCCESS;
        }
        Some(Command::Man { dir }) => {
            return manual(dir.as_deref()).map_or_else(
                |error| {
                    eprintln!("the pages cannot be written: {error}");
                    ExitCode::FAILURE
                },
                |()| ExitCode::SUCCESS,
            );
        }
        Some(Command::CheckConfig | Command::Restore { .. }) | None => {}
    }
    let (config, seed) = match configure(&cli) {
        Ok(configured) => configured,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if matches!(cli.command, Some(Command::CheckConfig)) {
        let tls = if config.tls.is_some() { "with TLS" } else { "without TLS" };
        let cluster = &config.identity.cluster;
        println!("the configuration is fine: cluster {cluster}, gRPC on {} {tls}", config.listen);
        for issue in &config.issues {
            println!("issue: {issue}");
        }
        return ExitCode::SUCCESS;
    }
    log(cli.log_format);
    let done = match &cli.command {
        Some(Command::Restore { from, force, generation_at_least }) => {
            restore(&config, from, *force, *generation_at_least)
        }
        Some(_) | None => run(config, seed),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configure(cli: &Cli) -> anyhow::Result<(Config, Settings)> {
    let file = cli.config.display().to_string();
    let text = match std::fs::read_to_string(&cli.config) {
        Ok(text) => text,
        // Flags and environment may say everything; a file that was asked for must be there.
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && cli.config == Path::new(DEFAULT_FILE) =>
        {
            String::new()
        }
        Err(error) => anyhow::bail!("{file}: {error}"),
    };
    let config = Config::load(&file, &text, baton_config::environment(), &cli.overrides);
    let lock_delay = config.as_ref().ok().and_then(|config| config.lock_delay);
    let seed = match &cli.seed_settings {
        None => seed::parse("the default settings", "", lock_delay),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            seed::parse(&path.display().to_string(), &text, lock_delay)
        }
    };
    match (config, seed) {
        (Ok(config), Ok(seed)) => Ok((config, seed)),
        (Err(mut problems), Err(more)) => {
            problems.0.extend(more.0);
            Err(problems.into())
        }
        (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems.into()),
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

fn run(config: Config, seed_settings: Settings) -> anyhow::Result<()> {
    let options = Options {
        identity: config.identity.clone(),
        data_dir: config.data_dir.clone(),
        seed_settings,
        limits: config.limits.kept.clone(),
    };
    let tls = config.tls.as_ref().map(|files| files.follow_server()).transpose();
    let passwords = config.passwords.clone().map(|passwords| passwords.follow()).transpose();
    let outside = Outside {
        tls: tls.map_err(anyhow::Error::msg)?.map(Arc::new),
        passwords: passwords.map_err(anyhow::Error::msg)?.map(Arc::new),
        limits: config.limits.clone(),
        any_identity: !config.check_identity,
    };
    let stateboard = baton_stateboard::open(options)?.behind(outside);
    if let Some(delay) = config.lock_delay {
        let wanted = seed::lease_of_lock_delay(delay);
        let found = stateboard.settings().lease_ttl;
        if found != wanted {
            tracing::warn!(
                lease_ttl = %found,
                "lock_delay = {delay} s is for the first start; the cluster's own settings are in force, and its lock \
                 lives 5/4 of their lease_ttl"
            );
        }
    }
    raise_descriptors(config.limits.connections);
    // One thread for the network: the board has its own, and a hop between workers costs more than they save here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(stateboard, &config))
}

fn restore(config: &Config, from: &Path, force: bool, generation_at_least: u64) -> anyhow::Result<()> {
    let backup = Backup::read(from, &config.identity, &config.limits.kept)?;
    let backup = Backup { force, generation_at_least, ..backup };
    let taken = backup.header.at_unix_millis;
    let done = storage::restore(&config.data_dir, backup)?;
    let taken = std::time::SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(taken));
    let taken = taken.map_or_else(String::new, |at| humantime::format_rfc3339_seconds(at).to_string());
    println!(
        "restored from a backup of {taken} at revision {}: {} records, {} members; generation {}, revision {}",
        done.restored.backup_revision, done.records, done.members, done.generation, done.revision
    );
    if let Some(kept) = done.kept_as {
        println!("what was there before is kept as {}", kept.display());
    }
    Ok(())
}

/// As many descriptors as the connections need, as far as the system allows.
fn raise_descriptors(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Beside connections: files, listeners, what the runtime needs, and connections that are told that they are too many.
    const OTHERS: u64 = 256;
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    if raised.is_err() || allowed < wanted {
        tracing::warn!(
            "limits.connections = {connections} needs {wanted} descriptors, and the system allows {allowed}: raise \
             LimitNOFILE, or lower the limit"
        );
    }
}

async fn serve(stateboard: Stateboard, config: &Config) -> anyhow::Result<()> {
    let bind = async |key: &str, address| {
        let listener = TcpListener::bind(address).await.with_context(|| format!("{key} = {address}"))?;
        let bound = listener.local_addr()?;
        tracing::info!(address = %bound, "{key}");
        anyhow::Ok(listener)
    };
    let http = match config.http_listen {
        Some(address) => Some(bind("stateboard.http_listen", address).await?),
        None => None,
    };
    let listener = bind("stateboard.listen", config.listen).await?;
    for issue in &config.issues {
        tracing::warn!("{issue}");
    }
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    // Listeners are bound, so whoever connects from now on is served; a manager that is not there is no fault.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!(%error, "the service manager was not told that we are ready");
    }
    stateboard.serve(listener, http, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn stop_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; only SIGKILL will stop this process");
        return;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    shutdown.cancel();
    // A second signal does not wait for the drain.
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    std::process::exit(1);
}
