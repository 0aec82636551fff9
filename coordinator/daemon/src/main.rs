//! The daemon `baton-coordinator`, and under two hidden names the processes that hold its engines.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_coordinator::program::main()
}
