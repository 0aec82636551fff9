//! The coordinator as it is shipped, but that `BREAK_A_RULE=breach` breaks one safety rule. Only tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_coordinator::program::main()
}
