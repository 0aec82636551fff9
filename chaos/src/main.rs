//! `chaos`: parses, runs, prints, and leaves nothing running, whatever ends it.

use std::process::ExitCode;

use chaos::cli::{Cli, Command};
use chaos::cluster::process;
use chaos::field::leftovers;
use chaos::report::narrator::Narrator;
use chaos::runner::command;
use chaos::told::until_told_to_end;
use chaos::workload::client;
use chaos::{bench, check, demo};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A panic aborts in release builds, without a single destructor: the processes have to end before that.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        leftovers::end_own();
        process::end_all_descendants();
        told(panic);
    }));
    let narrator = Narrator::new();
    let outcome = match &cli.command {
        // It makes its own runtime, inside the network from which a cluster is watched.
        Command::Run(arguments) => command::run(arguments, &narrator),
        Command::Soak(arguments) => command::soak(arguments, &narrator),
        Command::Check(arguments) => check::run(arguments).map(|verdict| ExitCode::from(verdict.exit_code())),
        Command::Report { folder } => check::report(folder).map(|page| {
            println!("{}", page.display());
            ExitCode::SUCCESS
        }),
        Command::List => {
            command::list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Clean => {
            command::clean();
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(_) | Command::Bench(_) | Command::Client(_) => asynchronously(&cli, &narrator),
    };
    narrator.finish();
    let left = process::end_all_descendants();
    if !left.is_empty() {
        eprintln!("these processes would not end: {left:?}");
    }
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn asynchronously(cli: &Cli, narrator: &Narrator) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ok = match &cli.command {
        // It ends in its own way: what it has sent gets its line first.
        Command::Client(arguments) => runtime.block_on(client::run(arguments)).map(|()| true)?,
        _ => runtime.block_on(until_told_to_end(run(cli, narrator)))?,
    };
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
        Command::Check(_)
        | Command::Report { .. }
        | Command::Run(_)
        | Command::Soak(_)
        | Command::List
        | Command::Clean => {
            anyhow::bail!("these have a runtime of their own or need none")
        }
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
