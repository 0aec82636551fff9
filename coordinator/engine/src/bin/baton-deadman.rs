//! The deadman alone, and a coordinator that does nothing but arm one, for the tests of this crate. What is installed is
//! the same code as hidden subcommands of the coordinator.

use baton_engine::deadman::{self, Client, boottime_us, protocol::EngineProcess};
use baton_engine::postgres;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|word| word.to_str()) {
        Some("deadman") => deadman::main(arguments),
        Some("engine-exec") => deadman::exec::main(arguments),
        Some(postgres::START) => postgres::start::main(arguments),
        Some("arm") => arm(arguments.map(|word| word.to_string_lossy().into_owned()).collect()),
        _ => ExitCode::from(2),
    }
}

/// `arm DIR MILLIS PROGRAM…`: starts an engine, arms, says `PID DEADLINE`, and stays connected for ever.
fn arm(words: Vec<String>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), [dir, millis, argv @ ..]) = (runtime, words.as_slice()) else {
        return ExitCode::from(2);
    };
    let done = runtime.block_on(async {
        let attached = Client::attach(Path::new(dir), Duration::from_secs(5)).await?;
        let process = EngineProcess {
            argv: argv.to_vec(),
            log_file: format!("{dir}/engine.log"),
            ..EngineProcess::default()
        };
        let (pid, run) = attached.client.start(process).await?;
        let deadline = boottime_us() + millis.parse::<u64>().unwrap_or(0) * 1_000;
        attached.client.arm(run, deadline).await?;
        println!("{pid} {deadline}");
        std::future::pending::<Result<(), deadman::ClientError>>().await
    });
    done.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
