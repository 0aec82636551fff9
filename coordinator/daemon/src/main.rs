//! The daemon `baton-coordinator`, and under hidden names the processes that hold its engines.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_coordinator::program::main()
}
