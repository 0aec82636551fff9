//! `chaos`: parses, runs, prints, and leaves nothing running, whatever ends it.

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;
use chaos::cli::{Cli, Command};
use chaos::cluster::process;
use chaos::report::narrator::Narrator;
use chaos::workload::client;
use chaos::{bench, check, demo};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Check(arguments) = &cli.command {
        return match check::run(arguments) {
            Ok(verdict) => ExitCode::from(verdict.exit_code()),
            Err(error) => {
                eprintln!("chaos: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    // A panic aborts in release builds, without a single destructor: the processes have to end before that.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        process::end_all_descendants();
        told(panic);
    }));
    let narrator = Narrator::new();
    let outcome = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => match &cli.command {
            // It ends in its own way: what it has sent gets its line first.
            Command::Client(arguments) => runtime.block_on(client::run(arguments)).map(|()| true),
            _ => runtime.block_on(until_told_to_end(run(&cli, &narrator))),
        },
        Err(error) => Err(error.into()),
    };
    narrator.finish();
    let left = process::end_all_descendants();
    if !left.is_empty() {
        eprintln!("these processes would not end: {left:?}");
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for, prints the one line, and says whether every step is ok.
async fn run(cli: &Cli, narrator: &Narrator) -> anyhow::Result<bool> {
    let (common, line, ok) = match &cli.command {
        Command::Demo(arguments) => {
            let common = &arguments.common;
            let seed = announce_seed(common.seed, narrator);
            let look = async |_stage: &demo::stage::Stage| Ok(());
            let (report, _) =
                demo::run(common, arguments.lease_ttl, arguments.attempts, seed, narrator, look).await?;
            narrator.say(&format!("\n{}", report.table()));
            (common, serde_json::to_string(&report)?, report.ok())
        }
        Command::Bench(arguments) => {
            let seed = announce_seed(arguments.common.seed, narrator);
            let report = bench::run(arguments, seed, narrator).await?;
            (&arguments.common, serde_json::to_string(&report)?, report.ok())
        }
        Command::Client(arguments) => return client::run(arguments).await.map(|()| true),
        Command::Check(arguments) => return Ok(check::run(arguments)?.exit_code() == 0),
    };
    if common.json {
        println!("{line}");
    }
    Ok(ok)
}

fn announce_seed(seed: Option<u64>, narrator: &Narrator) -> u64 {
    // Short enough to be typed again.
    let seed = seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    narrator.say(&format!("seed {seed} (repeat with --seed {seed})"));
    seed
}

/// Gives up at SIGINT, SIGTERM or SIGHUP; the caller then ends every process.
async fn until_told_to_end(work: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    tokio::select! {
        biased;
        _ = hangup.recv() => anyhow::bail!("the terminal is gone; everything is being ended"),
        _ = interrupt.recv() => anyhow::bail!("interrupted; everything is being ended"),
        _ = terminate.recv() => anyhow::bail!("told to end; everything is being ended"),
        outcome = work => outcome,
    }
}
