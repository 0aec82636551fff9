//! `batonctl`: starts the runtime and turns the result into an exit code.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = batonctl::args::Cli::parse();
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
