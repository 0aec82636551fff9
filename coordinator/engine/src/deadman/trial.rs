//! What a deadman could have on this host, tried with the code by which a deadman takes it: protection of a process, and a
//! cgroup that is made, entered and killed. For a person who checks a host; no deadman and no engine is touched.

use super::cgroup::Cgroup;
use super::exec::enter;
use super::startup;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The signal that `cgroup.kill` sends.
const SIGKILL: i32 = 9;
/// How often the end of the tried process is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What a deadman would lack, in its own words; empty where it lacks nothing.
    pub weaknesses: Vec<String>,
    /// The group that was made, entered, killed and removed, or what did not work.
    pub cgroup: Result<PathBuf, String>,
}

/// What the tried process tells of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    weaknesses: Vec<String>,
    /// The group that it is in, or why it is in none.
    cgroup: Result<PathBuf, String>,
}

/// The tried process: protects itself, enters a group of its own, tells both in one line, and waits to be killed. Ends by
/// itself when its standard input does.
pub fn main() -> ExitCode {
    let weaknesses = startup::protect().weaknesses;
    let name = format!("baton-doctor-{}", std::process::id());
    let cgroup = match Cgroup::make(&name) {
        Err(error) => Err(error.to_string()),
        Ok(cgroup) => match enter(cgroup.path()) {
            Ok(()) => Ok(cgroup.path().to_owned()),
            Err(what) => {
                cgroup.remove();
                Err(what)
            }
        },
    };
    match serde_json::to_string(&Told { weaknesses, cgroup }) {
        Ok(line) => println!("{line}"),
        Err(_) => return ExitCode::FAILURE,
    }
    // Whoever asked is gone when this ends.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

/// Runs `program` with `arguments`, which must call [`main`], and kills its group. Blocks for `patience` at most.
///
/// # Errors
/// In words: the process could not be started, or did not tell.
pub fn run(program: &Path, arguments: &[&str], patience: Duration) -> Result<Trial, String> {
    let until = Instant::now() + patience;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let told = listen(&mut child, patience);
    let killed = told.map(|told| {
        let cgroup = told.cgroup.and_then(|path| kill(&mut child, &path, until));
        Trial { weaknesses: told.weaknesses, cgroup }
    });
    // It is a process of this function's own, and may have been killed already.
    let _ = child.kill();
    let _ = child.wait();
    killed
}

fn listen(child: &mut Child, patience: Duration) -> Result<Told, String> {
    let output = child.stdout.take().ok_or("it has no output")?;
    let (told_in, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output.take(ANSWER_BYTES_MAX)).read_line(&mut line);
        // Nobody listens any more where the time was over.
        let _ = told_in.send(read.map(|_| line));
    });
    let line = told
        .recv_timeout(patience)
        .map_err(|_| format!("it said nothing within {patience:?}"))?
        .map_err(|error| error.to_string())?;
    serde_json::from_str(&line).map_err(|error| format!("it said what cannot be read: {error}"))
}

/// Kills the group at `path`, in which `child` is, and removes it.
fn kill(child: &mut Child, path: &Path, until: Instant) -> Result<PathBuf, String> {
    let what = |error: std::io::Error| format!("{} cannot be killed: {error}", path.display());
    let cgroup = Cgroup::open(path).map_err(what)?;
    if !cgroup.contains(child.id()) {
        return Err(format!("{} was entered, and the process is not in it", path.display()));
    }
    cgroup.kill().map_err(what)?;
    let status = loop {
        match child.try_wait().map_err(what)? {
            Some(status) => break status,
            None if Instant::now() >= until => return Err(format!("{} did not end", path.display())),
            None => std::thread::sleep(LOOK),
        }
    };
    while cgroup.is_populated().map_err(what)? && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    cgroup.remove();
    match status.signal() {
        Some(SIGKILL) => Ok(path.to_owned()),
        _ => Err(format!("{} was killed, and its process ended otherwise ({status})", path.display())),
    }
}
