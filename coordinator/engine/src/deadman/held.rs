//! The engine that a deadman holds: started or adopted, killed with all its processes, and found to have ended only when
//! none is left. Deadlines and requests are the loop's.

use super::boottime_us;
use super::cgroup::Cgroup;
use super::log::Writers;
use super::protocol::{Cause, Ended, EngineProcess, Exit, Held, Hold};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Variables by which a service manager talks to the coordinator.
const SERVICE_MANAGER: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// What an engine is started with besides what the coordinator says.
#[derive(Debug)]
pub(super) struct Starter {
    /// The arguments that make this binary run [`super::exec::main`].
    pub(super) exec_arguments: Vec<String>,
    /// The name of the engine's cgroup; `None`: it gets none.
    pub(super) group: Option<String>,
    /// The scheduling priority that the deadman itself was started with.
    pub(super) nice: i32,
    /// The out-of-memory score that the deadman itself was started with.
    pub(super) oom: Option<i32>,
    /// Who write the engines' logs.
    pub(super) writers: Writers,
}

#[derive(Debug)]
enum Grip {
    Cgroup(Cgroup),
    Tree,
    Adopted(OwnedFd),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Engine {
    run: u64,
    pid: u32,
    started_us: u64,
    grip: Grip,
    /// Who killed it, once it was killed.
    killed: Option<Cause>,
    /// How the main process ended, once it has.
    exit: Option<Exit>,
}

impl Starter {
    /// Starts an engine as run `run`. `Ok` means that a process was made; whether that could execute the engine shows
    /// in how it ends. The second value says why there is no cgroup, where there is none.
    pub(super) fn start(&self, run: u64, process: &EngineProcess) -> io::Result<(Engine, Option<String>)> {
        if process.argv.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the engine's command is empty"));
        }
        let (cgroup, weakness) = match self.group.as_deref().map(Cgroup::make) {
            Some(Ok(cgroup)) => (Some(cgroup), None),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, Some("none is wanted".into())),
        };
        let (read, write) = io::pipe()?;
        self.writers.start(read.into(), PathBuf::from(&process.log_file), process.log_bytes_max)?;
        let mut command = Command::new("/proc/self/exe");
        command.args(&self.exec_arguments).args(["--parent", &std::process::id().to_string()]);
        command.args(["--nice", &self.nice.to_string()]);
        if let Some(oom) = self.oom {
            command.args(["--oom", &oom.to_string()]);
        }
        if let Some(cgroup) = &cgroup {
            command.arg("--cgroup").arg(cgroup.path());
        }
        command.arg("--").args(&process.argv);
        // What a service manager or an operator told the coordinator is none of the engine's business: an engine that
        // finds NOTIFY_SOCKET would report itself in the coordinator's name.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("BATON_") || SERVICE_MANAGER.contains(&&*text) {
                command.env_remove(&name);
            }
        }
        command.envs(process.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(process.cwd.as_deref().unwrap_or("/"));
        command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
        // Not waited for by this handle: the loop reaps all children, since orphans of the engine become its own.
        let pid = command.spawn()?.id();
        let grip = cgroup.map_or(Grip::Tree, Grip::Cgroup);
        Ok((Engine::new(run, pid, grip), weakness))
    }
}

impl Engine {
    fn new(run: u64, pid: u32, grip: Grip) -> Self {
        Self { run, pid, started_us: boottime_us(), grip, killed: None, exit: None }
    }

    /// Holds a process that runs already.
    pub(super) fn adopt(run: u64, pid: u32) -> io::Result<Self> {
        let pidfd = rustix::process::pidfd_open(as_pid(pid)?, PidfdFlags::empty())?;
        Ok(Self::new(run, pid, Grip::Adopted(pidfd)))
    }

    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.is_some()
    }

    /// How the main process ended, if it has.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// The directory of its cgroup, if it has one.
    pub(super) fn cgroup(&self) -> Option<PathBuf> {
        match &self.grip {
            Grip::Cgroup(cgroup) => Some(cgroup.path().to_owned()),
            Grip::Tree | Grip::Adopted(_) => None,
        }
    }

    /// What becomes ready when something about it has changed; `true`: as an exception, `false`: as input.
    pub(super) fn watch(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match &self.grip {
            Grip::Cgroup(cgroup) => Some((cgroup.events(), true)),
            Grip::Adopted(pidfd) => Some((pidfd.as_fd(), false)),
            Grip::Tree => None,
        }
    }

    pub(super) fn status(&self) -> Held {
        Held {
            run: self.run,
            pid: self.pid,
            started_us: self.started_us,
            hold: match &self.grip {
                Grip::Cgroup(cgroup) => Hold::Cgroup { path: cgroup.path().display().to_string() },
                Grip::Tree => Hold::ProcessTree,
                Grip::Adopted(_) => Hold::Adopted,
            },
            killing: self.is_killed(),
        }
    }

    /// Kills all of it. Called again until it has ended: a process that was forked in the meantime, or has not entered
    /// the cgroup yet, is met the next time.
    pub(super) fn kill(&mut self, cause: Cause) {
        self.killed.get_or_insert(cause);
        match &self.grip {
            Grip::Adopted(pidfd) => drop(rustix::process::pidfd_send_signal(pidfd, Signal::KILL)),
            Grip::Cgroup(cgroup) => {
                // The main process first, since its signal is out in microseconds, while the group's kill takes a lock
                // of the whole tree; the group at once after it, forks in progress included.
                self.kill_main();
                let _ = cgroup.kill();
            }
            Grip::Tree => {
                self.kill_main();
                for pid in descendants(std::process::id()) {
                    kill_pid(pid);
                }
            }
        }
    }

    fn kill_main(&self) {
        // Until it is reaped its number cannot become another process's.
        if self.exit.is_none() {
            kill_pid(self.pid);
        }
    }

    /// Whether nothing of it is left. `children_left`: what [`reap`] answered.
    pub(super) fn has_ended(&mut self, children_left: bool) -> bool {
        match &self.grip {
            Grip::Adopted(pidfd) => {
                let ended = is_readable(pidfd);
                if ended {
                    self.exit = Some(Exit::Unknown);
                }
                ended
            }
            Grip::Cgroup(cgroup) => {
                // Read in any case: the kernel tells of the next change only after that. Where the group can't be
                // read, something is taken to be left.
                let is_empty = cgroup.is_populated().is_ok_and(|populated| !populated);
                is_empty && self.exit.is_some()
            }
            Grip::Tree => self.exit.is_some() && !children_left,
        }
    }

    /// The end, to be told once [`Engine::has_ended`].
    pub(super) fn ended(&self) -> Ended {
        Ended {
            run: self.run,
            pid: self.pid,
            exit: self.exit.unwrap_or(Exit::Unknown),
            cause: self.killed.unwrap_or(Cause::Itself),
            at_us: boottime_us(),
            wholly: !matches!(self.grip, Grip::Adopted(_)),
        }
    }

    /// Gives back what it was held by.
    pub(super) fn let_go(self) {
        if let Grip::Cgroup(cgroup) = &self.grip {
            cgroup.remove();
        }
    }

    pub(super) fn contains(&self, pid: u32) -> bool {
        let is_main = pid == self.pid && self.exit.is_none();
        is_main
            || match &self.grip {
                Grip::Cgroup(cgroup) => cgroup.contains(pid),
                Grip::Tree => descendants(std::process::id()).contains(&pid),
                Grip::Adopted(_) => false,
            }
    }

    fn note(&mut self, pid: Pid, status: WaitStatus) {
        if u32::try_from(pid.as_raw_pid()) != Ok(self.pid) {
            return;
        }
        self.exit = status.exit_status().map(Exit::Code).or(status.terminating_signal().map(Exit::Signal));
    }
}

/// Collects every child that has ended; answers whether there are others.
pub(super) fn reap(engine: &mut Option<Engine>) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if let Some(engine) = engine {
                    engine.note(pid, status);
                }
            }
            Ok(None) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn is_readable(pidfd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

fn as_pid(pid: u32) -> io::Result<Pid> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is no process"));
    Pid::from_raw(i32::try_from(pid).map_err(|_| bad())?).ok_or_else(bad)
}

pub(super) fn kill_pid(pid: u32) {
    if let Ok(pid) = as_pid(pid) {
        // It may be gone already.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Fields of `/proc/PID/stat` that are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) session: u32,
    /// In clock ticks since the boot.
    pub(super) started: u64,
}

/// Every process that can be seen.
pub(super) fn processes() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat_of(pid)?))
        })
        .collect()
}

/// What the kernel says of one process.
pub(super) fn stat_of(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may hold anything, brackets too.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn descendants(of: u32) -> BTreeSet<u32> {
    let all = processes();
    let mut found = BTreeSet::new();
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, stat)| {
                !found.contains(*pid) && (stat.parent == of || found.contains(&stat.parent))
            })
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
