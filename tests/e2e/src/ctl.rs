//! A program that runs to its end: `batonctl` and the daemons' short commands. What it said, and its exit code.

use std::process::{Command, Stdio};

use serde_json::Value;

/// What a program left.
#[derive(Clone, Debug)]
pub struct Said {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// Runs a command to its end, without this process's `BATON_…` variables: what a person has set for their own cluster
/// must not reach into a test.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(command: &mut Command) -> Said {
    without_baton_variables(command);
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Takes the variables that Baton's programs read out of a command's environment.
pub fn without_baton_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"BATON_") || bytes == b"RUST_LOG" {
            command.env_remove(name);
        }
    }
}
