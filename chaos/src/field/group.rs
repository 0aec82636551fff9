//! The control groups of one machine: all its processes, and what they start, are in them, so that the machine can be
//! frozen at once, starved of processor time, and found again after a crash. Knows processes by number only.
//!
//! They are groups of version 1: there a single thread can enter, and what it starts is born inside. A kernel without them
//! has no such faults, and says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::leftovers::names_in;
use super::names::RunId;
use crate::cluster::process::{self, Process};
use crate::procfs::{self, ProcessView};

/// Where the hierarchies of version 1 are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// Finds all processes, freezes them.
const FREEZER: &str = "freezer";
/// Gives them less processor time.
const CPU: &str = "cpu";
/// Gives them a slower disk.
const BLKIO: &str = "blkio";
/// The period over which processor time is measured.
const PERIOD_US: u32 = 100_000;
/// How long the kernel may take to freeze or to let a group be removed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// The groups of one machine; removed with this value, its processes ended before.
#[derive(Debug)]
pub struct Group {
    freezer: PathBuf,
    cpu: Option<PathBuf>,
    blkio: Option<PathBuf>,
}

impl Group {
    /// Makes them.
    ///
    /// # Errors
    /// The kernel has no freezer of version 1, or the caller is not root.
    pub fn new(run: &RunId, machine: &str) -> anyhow::Result<Self> {
        // Whoever reaps must not be born inside, where it would be frozen with the rest.
        process::adopt_descendants().context("become the reaper of all descendants")?;
        let name = run.name(machine);
        let make = |hierarchy: &str| {
            let group = Path::new(ROOT).join(hierarchy).join(&name);
            fs::create_dir(&group).with_context(|| {
                format!(
                    "make the control group {} (the suite needs root and the freezer of cgroup version 1)",
                    group.display()
                )
            })?;
            anyhow::Ok(group)
        };
        let freezer = make(FREEZER)?;
        let optional = |hierarchy: &str| {
            let there = Path::new(ROOT).join(hierarchy).join("tasks").exists();
            if there { make(hierarchy).map(Some) } else { Ok(None) }
        };
        Ok(Self { freezer, cpu: optional(CPU)?, blkio: optional(BLKIO)? })
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.freezer).chain(&self.cpu).chain(&self.blkio)
    }

    /// From now on the calling thread is inside, and what it starts is born inside.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> io::Result<()> {
        for group in self.all() {
            // Zero is whoever writes it.
            fs::write(group.join("tasks"), "0")?;
        }
        Ok(())
    }

    /// All processes of the machine that have not ended.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessView> {
        processes_in(&self.freezer).into_iter().filter_map(procfs::view).filter(ProcessView::alive).collect()
    }

    /// The threads of all of them that have not ended.
    fn threads(&self) -> Vec<ProcessView> {
        listed_in(&self.freezer, "tasks")
            .into_iter()
            .filter_map(procfs::view)
            .filter(ProcessView::alive)
            .collect()
    }

    /// Freezes all of them at once, and waits until they are.
    ///
    /// # Errors
    /// The kernel does not.
    pub fn freeze(&self) -> anyhow::Result<()> {
        fs::write(self.freezer.join("freezer.state"), "FROZEN")?;
        wait(|| self.state() == "FROZEN")
            .with_context(|| format!("{} does not freeze", self.freezer.display()))
    }

    /// Lets all of them go on at once.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn thaw(&self) -> io::Result<()> {
        fs::write(self.freezer.join("freezer.state"), "THAWED")
    }

    /// `FROZEN`, `FREEZING` or `THAWED`; empty where the kernel does not say.
    #[must_use]
    pub fn state(&self) -> String {
        let state = fs::read_to_string(self.freezer.join("freezer.state")).unwrap_or_default();
        state.trim().to_owned()
    }

    /// Ends all of them at the same moment, as a power cut would: none runs a single instruction after another has ended.
    ///
    /// # Errors
    /// They do not freeze.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.freeze()?;
        self.end_frozen();
        // Who waits for a hung disk ends when that goes on, and not before. Others wait for a moment as they end; and a process whose
        // first thread has ended listens for as long as one of the others has not.
        let mut seen = false;
        let _ = wait(|| {
            let ended = self.threads().iter().all(|thread| thread.state == 'D');
            std::mem::replace(&mut seen, ended) && ended
        });
        Ok(())
    }

    /// SIGKILL waits for a frozen process and is the first thing that it meets when it is thawed.
    fn end_frozen(&self) {
        kill_all(&self.freezer);
        let _ = self.thaw();
    }

    /// Lets them have so many percent of one processor together; `None`: all there is.
    ///
    /// # Errors
    /// The kernel has no such group or refuses.
    pub fn limit_processor(&self, percent: Option<u32>) -> anyhow::Result<()> {
        let group = self.cpu.as_ref().context("this kernel has no cpu group of version 1")?;
        let quota = percent.map_or("-1".to_owned(), |percent| (PERIOD_US / 100 * percent).to_string());
        fs::write(group.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
        Ok(fs::write(group.join("cpu.cfs_quota_us"), quota)?)
    }

    /// Lets them write so many bytes a second to a device (`major:minor`); `None`: as many as it takes.
    ///
    /// # Errors
    /// The kernel has no such group or refuses.
    pub fn limit_disk(&self, device: &str, bytes: Option<u64>) -> anyhow::Result<()> {
        let group = self.blkio.as_ref().context("this kernel has no blkio group of version 1")?;
        let limit = format!("{device} {}", bytes.unwrap_or(0));
        fs::write(group.join("blkio.throttle.write_bps_device"), &limit)
            .with_context(|| format!("limit a disk: {limit}"))
    }

    /// Whether processor time can be limited.
    #[must_use]
    pub fn can_limit_processor(&self) -> bool {
        self.cpu.is_some()
    }

    /// In how many periods they wanted more than they got.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        let stat = self.cpu.as_ref().and_then(|group| fs::read_to_string(group.join("cpu.stat")).ok());
        let stat = stat.unwrap_or_default();
        stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok()).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.freeze();
        self.end_frozen();
        for group in self.all() {
            remove(group);
        }
    }
}

fn processes_in(group: &Path) -> Vec<i32> {
    listed_in(group, "cgroup.procs")
}

fn listed_in(group: &Path, file: &str) -> Vec<i32> {
    let listed = fs::read_to_string(group.join(file)).unwrap_or_default();
    listed.lines().filter_map(|line| line.parse().ok()).collect()
}

fn kill_all(group: &Path) {
    for pid in processes_in(group) {
        if let Ok(process) = Process::open(pid) {
            process.kill();
        }
    }
}

/// A group can be removed once all in it have ended and were reaped.
fn remove(group: &Path) {
    let gone = wait(|| {
        kill_all(group);
        fs::remove_dir(group).is_ok() || !group.exists()
    });
    if gone.is_err() {
        eprintln!("the control group {} would not be removed", group.display());
    }
}

/// Ends and removes the groups of the wanted runs. Returns what it removed.
pub(super) fn sweep(wanted: fn(&RunId) -> bool) -> Vec<String> {
    let mut swept = Vec::new();
    for hierarchy in [FREEZER, CPU, BLKIO] {
        let hierarchy = Path::new(ROOT).join(hierarchy);
        for name in names_in(&hierarchy, wanted) {
            let group = hierarchy.join(name);
            let _ = fs::write(group.join("freezer.state"), "FROZEN");
            kill_all(&group);
            let _ = fs::write(group.join("freezer.state"), "THAWED");
            remove(&group);
            swept.push(group.display().to_string());
        }
    }
    swept
}

fn wait(mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        anyhow::ensure!(Instant::now() < deadline, "not after {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn all_of_a_machine_stand_still_go_on_and_end_at_once() {
        assert!(rustix::process::geteuid().is_root(), "this test makes control groups, which only root may");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let group = Group::new(&RunId::new(), "host-a").expect("root, and groups of version 1");
        let parent = std::thread::scope(|scope| {
            let started = scope.spawn(|| {
                group.enter().expect("entered");
                let mut command = Command::new("sh");
                command.args(["-c", "sleep 603 & wait"]);
                Process::start(command, &folder.path().join("log")).expect("sh is everywhere")
            });
            started.join().expect("no panic")
        });
        wait(|| group.processes().len() == 2).expect("a shell and its child, and nobody of ours");
        group.freeze().expect("frozen");
        assert_eq!(group.state(), "FROZEN");
        group.thaw().expect("thawed");
        assert_eq!(group.state(), "THAWED");
        group.limit_processor(Some(5)).expect("limited");
        group.limit_processor(None).expect("unlimited");
        group.kill().expect("killed");
        wait(|| !parent.alive() && group.processes().is_empty()).expect("all have ended");
        let path = group.freezer.clone();
        drop(group);
        assert!(!path.exists());
    }
}
