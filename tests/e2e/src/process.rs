//! Processes as the kernel shows them: found below this one, signalled through handles that stay right when a number is
//! used again, and ended with all that they started. It knows nothing of Baton.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Once;

use rustix::process::{Pid, PidfdFlags, Signal};

/// One process.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    started: u64,
    handle: OwnedFd,
}

/// What `/proc` says of a process.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its number.
    pub pid: i32,
    /// Its command line, joined by spaces.
    pub command: String,
    parent: i32,
    ended: bool,
    /// In clock ticks since the boot.
    started: u64,
}

/// Makes whatever outlives its parent below this process a child of this process: the deadmen outlive their daemons, and
/// must be found.
///
/// # Panics
/// When the kernel refuses, which it never did since Linux 3.4.
pub fn adopt_descendants() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("Linux 3.4 or later");
    });
}

impl Process {
    /// A handle, if it runs.
    #[must_use]
    pub fn open(pid: i32) -> Option<Self> {
        let handle = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let seen = seen(pid).filter(|seen| !seen.ended)?;
        Some(Self { pid, started: seen.started, handle })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it has not ended. (One that nobody has reaped has ended.)
    #[must_use]
    pub fn runs(&self) -> bool {
        seen(self.pid).is_some_and(|seen| seen.started == self.started && !seen.ended)
    }

    /// SIGKILL.
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

    /// SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        // With a valid handle the only failure is that it has ended, which is looked at elsewhere.
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
    }
}

/// The second field of `stat` (the name, in parentheses) may hold anything, so fields count from the last `)`.
fn seen(pid: i32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(Seen {
        pid,
        command: String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        ended: matches!(*fields.first()?, "Z" | "X"),
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Everything below this process that runs.
#[must_use]
pub fn descendants() -> Vec<Seen> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let all: Vec<Seen> = numbers.filter_map(seen).collect();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut family = BTreeSet::from([own]);
    loop {
        let size = family.len();
        family.extend(
            all.iter().filter(|seen| family.contains(&seen.parent)).map(|seen| seen.pid).collect::<Vec<_>>(),
        );
        if family.len() == size {
            break;
        }
    }
    family.remove(&own);
    all.into_iter().filter(|seen| family.contains(&seen.pid) && !seen.ended).collect()
}

/// The directory of a process's version 2 control group, where there is such a tree.
#[must_use]
pub fn control_group(pid: i32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let at = words.next()?;
        (words.next()? == "cgroup2").then_some(at)
    })?;
    Some(PathBuf::from(mount).join(own))
}
