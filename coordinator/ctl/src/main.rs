//! `batonctl`: starts the runtime and turns the result into an exit code; under one hidden name it is the process that
//! `doctor` tries a deadman's means on.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything is parsed: this process is to carry as little as a deadman does.
    if std::env::args_os().nth(1).is_some_and(|name| name == batonctl::doctor::TRIAL) {
        return baton_engine::deadman::trial::main();
    }
    let cli = batonctl::args::Cli::of_process();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot be started: {error}");
            return ExitCode::from(batonctl::Exit::Failed as u8);
        }
    };
    let mut io = batonctl::Io::of_process(cli.color);
    ExitCode::from(runtime.block_on(batonctl::run(&cli, &mut io)) as u8)
}
