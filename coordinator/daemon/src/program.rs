//! The program's own ground: arguments, configuration, logs, runtime and signals. It decides nothing about a replica set.

use std::process::ExitCode;

use anyhow::Context as _;
use baton_engine::{deadman, postgres};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{self, Cli, Command, Invocation};
use crate::config::Config;
use crate::daemon::{self, Shutdown};
use crate::logging;

/// Exit code of a configuration that cannot be used.
const EXIT_CONFIG: u8 = 2;

/// The whole program, whatever it is called: the daemon, or one of the processes that hold its engines.
#[must_use]
pub fn main() -> ExitCode {
    match Invocation::parse(std::env::args_os()) {
        Ok(Invocation::Deadman(arguments)) => deadman::main(arguments),
        Ok(Invocation::EngineExec(arguments)) => deadman::exec::main(arguments),
        Ok(Invocation::PostgresStart(arguments)) => postgres::start::main(arguments),
        Ok(Invocation::Daemon(cli)) => daemon_main(&cli),
        Err(error) => error.exit(),
    }
}

fn daemon_main(cli: &Cli) -> ExitCode {
    match &cli.command {
        Some(Command::Completions { shell }) => {
            cli::write_completions(*shell, &mut std::io::stdout());
            return ExitCode::SUCCESS;
        }
        Some(Command::Man { dir }) => {
            let written = cli::write_man(dir.as_deref(), &mut std::io::stdout());
            return written.map_or_else(
                |error| {
                    eprintln!("the pages cannot be written: {error}");
                    ExitCode::FAILURE
                },
                |()| ExitCode::SUCCESS,
            );
        }
        Some(Command::Run | Command::CheckConfig) | None => {}
    }
    let config = match Config::load(&cli.config, baton_config::environment(), &cli.overrides) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if matches!(cli.command, Some(Command::CheckConfig)) {
        print!("{}", cli::describe(&config));
        return ExitCode::SUCCESS;
    }
    if let Err(error) = logging::init(cli.log_format) {
        eprintln!("{error}");
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        let listeners = daemon::bind(&config).await?;
        let shutdown = Shutdown::default();
        stop_on_signal(shutdown.clone())?;
        daemon::run(config, listeners, program, shutdown, || {
            // Where no service manager asks, there is nobody to tell.
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        })
        .await
    });
    // A worker that hangs on a disk must not keep the process.
    runtime.shutdown_background();
    result
}

fn stop_on_signal(shutdown: Shutdown) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => shutdown.for_good.cancel(),
        }
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        shutdown.asked.cancel();
    });
    Ok(())
}
