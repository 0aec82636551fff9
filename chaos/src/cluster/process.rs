//! Child processes: started with their output in a log file, signalled by pidfd, reaped at once, and none left behind.
//! Knows processes only, not what they are.
//!
//! The program makes itself the reaper of all its descendants, so a grandchild whose parent was killed stays findable
//! below it and is ended with the rest. One thread reaps whatever ends: an ended child that stayed a zombie would look
//! alive to a guard that asks for it by number. Therefore nothing else here may wait for a child.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::procfs;

/// How often the reaper looks while there is nothing to reap.
const REAP_PAUSE: Duration = Duration::from_millis(5);
/// How often a helper program is asked for while it ends.
const TOOL_PAUSE: Duration = Duration::from_millis(1);
/// How long the last killing may take before what is left is named and given up.
const END_DEADLINE: Duration = Duration::from_secs(5);

static REAPER: Once = Once::new();
/// How children ended, by process number: shown when one ends that should not have.
static ENDED: Mutex<BTreeMap<i32, String>> = Mutex::new(BTreeMap::new());

/// Held while a child is started or one is reaped: a child that ends at once keeps its number until it has its handle.
static HANDS: Mutex<()> = Mutex::new(());

/// Makes this process the reaper of all its descendants and starts the thread that reaps. Again: nothing.
///
/// # Errors
/// The kernel refuses (it never did since Linux 3.4).
pub fn adopt_descendants() -> io::Result<()> {
    let mut outcome = Ok(());
    REAPER.call_once(|| {
        outcome =
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(io::Error::from);
        if outcome.is_ok() {
            outcome = std::thread::Builder::new().name("reaper".to_owned()).spawn(reap_for_ever).map(|_| ());
        }
    });
    outcome
}

fn reap_for_ever() {
    loop {
        let hands = HANDS.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = rustix::process::wait(WaitOptions::NOHANG);
        drop(hands);
        match ended {
            Ok(Some((pid, status))) => {
                let how = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => format!("exit code {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => "an unknown end".to_owned(),
                };
                ENDED.lock().unwrap_or_else(PoisonError::into_inner).insert(pid.as_raw_nonzero().get(), how);
            }
            Ok(None) | Err(_) => std::thread::sleep(REAP_PAUSE),
        }
    }
}

/// A handle to one process, a child or not, that stays right when its number is used again.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    started_ticks: u64,
    handle: OwnedFd,
}

impl Process {
    /// Starts `command` in a process group of its own (a terminal's Ctrl-C is for us alone: we end the rest in order),
    /// with no input, with both outputs appended to `log`, and without what this process's environment says to Baton: a
    /// person's `BATON_…` must not reach into a cluster that is configured by its files.
    ///
    /// # Errors
    /// The log cannot be opened or the program not be started.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        adopt_descendants()?;
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BATON_"))
        {
            command.env_remove(name);
        }
        let _hands = HANDS.lock().unwrap_or_else(PoisonError::into_inner);
        command.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("start {}: {error}", command.get_program().display()))
        })?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        forget_end_of(pid);
        Self::open(pid)
    }

    /// A handle to a process that runs.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn open(pid: i32) -> io::Result<Self> {
        let number = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let handle = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
        let seen = procfs::view(pid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Self { pid, started_ticks: seen.started_ticks, handle })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn alive(&self) -> bool {
        procfs::view(self.pid).is_some_and(|seen| seen.started_ticks == self.started_ticks && seen.alive())
    }

    /// SIGKILL. One that has ended already is no error.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        // The only failure left with a valid handle is that the process has ended, which is looked at elsewhere.
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
    }

    /// How it ended, if it was ours and has.
    #[must_use]
    pub fn how_it_ended(&self) -> Option<String> {
        ENDED.lock().unwrap_or_else(PoisonError::into_inner).get(&self.pid).cloned()
    }
}

/// The kernel gives numbers again: how an earlier process of this number ended says nothing of the new one. To be called
/// with [`HANDS`] held, else the new one may have been reaped already.
fn forget_end_of(pid: i32) {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

/// Runs a helper program to its end, with `input`, and returns what it wrote. Blocking; for programs that end at once and
/// say little. `Command::output` cannot be used here, since the reaper would take its child away.
///
/// # Errors
/// It cannot be started, or ended with another code than 0; the text is what it said.
pub fn run_tool(mut command: Command, input: &str) -> io::Result<String> {
    adopt_descendants()?;
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().display().to_string();
    let spawned = {
        let _hands = HANDS.lock().unwrap_or_else(PoisonError::into_inner);
        command.spawn().inspect(|child| forget_end_of(i32::try_from(child.id()).unwrap_or_default()))
    };
    let mut child =
        spawned.map_err(|error| io::Error::new(error.kind(), format!("start {name}: {error}")))?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // Where it has ended before it has read everything, its code and words say more than this write's error.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())));
    let (mut said, mut complaint) = (String::new(), String::new());
    child.stdout.take().map_or(Ok(0), |mut output| output.read_to_string(&mut said))?;
    child.stderr.take().map_or(Ok(0), |mut output| output.read_to_string(&mut complaint))?;
    loop {
        let ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        match ended.as_deref() {
            Some("exit code 0") => return Ok(said),
            Some(how) => {
                let input = if input.is_empty() { String::new() } else { format!(", told {input:?}") };
                let text = format!("{name} ended with {how}{input}: {}", complaint.trim());
                return Err(io::Error::other(text));
            }
            None => std::thread::sleep(TOOL_PAUSE),
        }
    }
}

/// Ends everything below this process, stopped or not, and removes the control groups that were made for it. Blocking;
/// safe in a panic hook. Returns what would not end, which is nothing unless a process hangs in the kernel.
pub fn end_all_descendants() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(1);
    let own_group = procfs::control_group(own);
    let mut groups = Vec::new();
    let deadline = Instant::now() + END_DEADLINE;
    loop {
        let left = procfs::descendants(own);
        if left.is_empty() || Instant::now() >= deadline {
            for group in groups {
                // Only an empty group can be removed, so this can hurt nobody.
                let _ = fs::remove_dir(group);
            }
            return left.iter().map(|process| process.pid).collect();
        }
        for process in &left {
            let group = procfs::control_group(process.pid);
            if let Some(group) =
                group.filter(|group| Some(group) != own_group.as_ref() && !groups.contains(group))
            {
                groups.push(group);
            }
            if let Ok(handle) = Process::open(process.pid) {
                handle.kill();
            }
        }
        std::thread::sleep(REAP_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "{what} did not come about");
            std::thread::yield_now();
        }
    }

    fn shell(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command, &folder.join("log")).expect("sh is everywhere")
    }

    #[test]
    fn a_frozen_process_stands_still_goes_on_and_is_killed_and_reaped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = shell("exec sleep 600", folder.path());
        process.freeze();
        eventually("the stop", || procfs::view(process.pid()).is_some_and(|seen| seen.stopped()));
        process.thaw();
        eventually("the continuation", || procfs::view(process.pid()).is_some_and(|seen| !seen.stopped()));
        process.freeze();
        process.kill();
        eventually("the end", || !process.alive());
        eventually("the reaping", || process.how_it_ended().as_deref() == Some("signal 9"));
    }

    #[test]
    fn a_grandchild_stays_ours_when_its_parent_is_killed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let parent = shell("sleep 601 & wait", folder.path());
        let mut grandchild = None;
        eventually("the grandchild", || {
            grandchild =
                procfs::descendants(parent.pid()).into_iter().find(|seen| seen.command == "sleep 601");
            grandchild.is_some()
        });
        let grandchild = Process::open(grandchild.expect("seen").pid).expect("it runs");
        parent.kill();
        let own = i32::try_from(std::process::id()).expect("process numbers fit");
        eventually("the adoption", || procfs::view(grandchild.pid()).is_some_and(|seen| seen.parent == own));
        grandchild.kill();
        eventually("the reaping", || grandchild.how_it_ended().is_some());
    }

    #[test]
    fn a_tool_is_heard_out_and_its_failure_is_told_in_its_own_words() {
        let script = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        assert_eq!(run_tool(script("tr a-z A-Z"), "told").expect("it ends well"), "TOLD");
        let error = run_tool(script("echo so it is >&2; exit 4"), "").expect_err("a code");
        assert_eq!(error.to_string(), "sh ended with exit code 4: so it is");
    }

    #[test]
    fn output_goes_to_the_log_and_a_missing_program_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = shell("echo out; echo err >&2; exit 3", folder.path());
        eventually("the end", || process.how_it_ended().as_deref() == Some("exit code 3"));
        let log = fs::read_to_string(folder.path().join("log")).expect("the log is there");
        assert_eq!(log, "out\nerr\n");
        let error = Process::start(Command::new("/no/such/program"), &folder.path().join("log"))
            .expect_err("there is no such program");
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }
}
