//! The deadman alone, for the tests of this crate. What is installed is the same code as hidden subcommands of the
//! coordinator.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|word| word.to_str()) {
        Some("deadman") => baton_engine::deadman::main(arguments),
        Some("engine-exec") => baton_engine::deadman::exec::main(arguments),
        _ => ExitCode::from(2),
    }
}
