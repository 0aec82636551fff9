//! The step between deadman and engine: the same binary, started once more, which takes its place in the cgroup, ties
//! its life to the deadman's, gives back what raised the deadman above others, and becomes the engine. It is a process of
//! its own because all of that can be done here without `unsafe`, and between fork and exec cannot.

use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What it exits with where the engine was never started.
pub const EXIT_FAILED: u8 = 126;

/// What the deadman passes on.
#[derive(Debug, Default)]
struct Arguments {
    cgroup: Option<PathBuf>,
    parent: Option<i32>,
    nice: i32,
    oom: Option<String>,
    engine: Vec<OsString>,
}

/// Runs `--parent PID [--cgroup DIR] [--nice N] [--oom N] -- PROGRAM ARGUMENT…`; returns only if it failed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let error = match parse(arguments.into_iter()) {
        Ok(arguments) => become_engine(&arguments),
        Err(what) => what,
    };
    // Standard error is the engine's log by now.
    eprintln!("baton: the engine was not started: {error}");
    ExitCode::from(EXIT_FAILED)
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        if word == "--" {
            arguments.engine = words.collect();
            return Ok(arguments);
        }
        let value = words.next().ok_or_else(|| format!("{} has no value", word.display()))?;
        let number = || {
            let text = value.to_str().unwrap_or_default();
            text.parse::<i32>().map_err(|_| format!("{text:?} is no number"))
        };
        match word.to_str() {
            Some("--cgroup") => arguments.cgroup = Some(value.into()),
            Some("--parent") => arguments.parent = Some(number()?),
            Some("--nice") => arguments.nice = number()?,
            Some("--oom") => arguments.oom = Some(number()?.to_string()),
            _ => return Err(format!("{} is no option of this step", word.display())),
        }
    }
    Err("the engine's command is missing".into())
}

fn become_engine(arguments: &Arguments) -> String {
    let Some((program, rest)) = arguments.engine.split_first() else {
        return "its command is empty".into();
    };
    if let Err(what) = prepare(arguments) {
        return what;
    }
    let error = Command::new(program).args(rest).exec();
    format!("cannot execute {}: {error}", program.display())
}

/// Moves this process into a cgroup.
///
/// # Errors
/// In words.
pub(super) fn enter(cgroup: &Path) -> Result<(), String> {
    let procs = cgroup.join("cgroup.procs");
    std::fs::write(&procs, "0").map_err(|error| format!("cannot enter {}: {error}", procs.display()))
}

fn prepare(arguments: &Arguments) -> Result<(), String> {
    // A session of its own: no terminal's signals, and something by which a successor finds what is left of it.
    rustix::process::setsid().map_err(|error| format!("no session of its own: {error}"))?;
    if let Some(cgroup) = &arguments.cgroup {
        enter(cgroup)?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot tie it to the deadman: {error}"))?;
    // In this order: a deadman that died before the line above would never be noticed.
    if rustix::process::getppid().map(Pid::as_raw_pid) != arguments.parent {
        return Err("the deadman is gone".into());
    }
    super::startup::schedule_as_ordinary(arguments.nice)?;
    if let Some(oom) = &arguments.oom {
        let _ = std::fs::write("/proc/self/oom_score_adj", oom);
    }
    Ok(())
}
