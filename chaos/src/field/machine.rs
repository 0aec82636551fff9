//! One machine of a run: a place on the network, control groups and a folder. Whatever is started on it uses its address
//! and ends with it. Knows nothing of what runs there.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

use super::clock::Clock;
use super::disk::Disk;
use super::group::Group;
use super::names::RunId;
use super::wire::{Place, Wire};
use crate::cluster::process::{Process, run_tool};
use crate::procfs::ProcessView;

/// The disk of what an engine or a provider keeps.
pub const DATA: &str = "data";
/// The disk of what a coordinator keeps.
pub const STATE: &str = "state";
/// The folder on a disk; the disk's own root belongs to its file system.
pub const KEPT: &str = "kept";
/// How large a disk of a machine's own is, in MiB: etcd reserves 64 MiB for each of two files before it has written anything.
const DISK_MIB: u32 = 320;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// Its name, as faults and reports call it.
    pub name: String,
    /// Before the groups: what waits for a hung disk cannot be ended.
    disks: BTreeMap<&'static str, Disk>,
    clock: Option<Clock>,
    /// Its control groups.
    pub group: Group,
    place: Arc<Place>,
    folder: PathBuf,
    logs: PathBuf,
}

impl Machine {
    /// Adds a machine to the network; its folder is made below `folder`, its logs go to `logs`.
    ///
    /// # Errors
    /// Without root, or a program is missing that wires it.
    pub fn new(
        run: &RunId,
        wire: &mut Wire,
        (name, number): (&str, u8),
        folder: &Path,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let place = wire.add(name, number)?;
        let group = Group::new(run, name)?;
        let folder = folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Self {
            name: name.to_owned(),
            disks: BTreeMap::new(),
            clock: None,
            group,
            place,
            folder,
            logs: logs.to_owned(),
        })
    }

    /// Where one of its ports is reached.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.place.address(), port)
    }

    /// What it keeps on disk.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on what it keeps in this folder is on a disk of its own. The folder must not be in use.
    ///
    /// # Errors
    /// The disk cannot be made.
    pub fn give_disk(&mut self, which: &'static str) -> anyhow::Result<()> {
        let disk = Disk::new(&self.folder.join(which), DISK_MIB)?;
        self.disks.insert(which, disk);
        Ok(())
    }

    /// A disk of its own.
    ///
    /// # Errors
    /// It has none of this name.
    pub fn disk(&self, which: &str) -> anyhow::Result<&Disk> {
        self.disks.get(which).with_context(|| format!("{} has no disk for {which}", self.name))
    }

    /// From now on its programs read a wall clock of its own, as far as they ask the C library.
    ///
    /// # Errors
    /// What tells them another time is not there.
    pub fn give_clock(&mut self) -> anyhow::Result<()> {
        self.clock = Some(Clock::new(&self.folder)?);
        Ok(())
    }

    /// A wall clock of its own.
    ///
    /// # Errors
    /// It has none.
    pub fn clock(&self) -> anyhow::Result<&Clock> {
        self.clock.as_ref().with_context(|| format!("{} has no clock of its own", self.name))
    }

    /// Whether it has a wall clock of its own.
    #[must_use]
    pub fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// How many seconds its programs' wall clock is off, as one of them reads it.
    ///
    /// # Errors
    /// None can be started.
    pub fn clock_difference(&self) -> anyhow::Result<i64> {
        let mut command = Command::new("date");
        command.arg("+%s");
        self.clock()?.tell(&mut command);
        let told: i64 = run_tool(command, "")?.trim().parse().context("date tells no seconds")?;
        Ok(told - right_now()?)
    }

    /// How an engine's program is started so that it reads its own clock, where the machine has one.
    ///
    /// # Errors
    /// The script that starts it cannot be written.
    pub fn with_own_clock(&self, program: &Path) -> anyhow::Result<PathBuf> {
        self.clock.as_ref().map_or_else(|| Ok(program.to_owned()), |clock| clock.script_of_engine(program))
    }

    /// Runs something as one of its processes, limited as they are.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn inside_group<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let begin = || {
            self.group.enter()?;
            Ok(work())
        };
        self.place
            .namespace
            .inside(begin)
            .and_then(|done| done)
            .with_context(|| format!("enter {}", self.name))
    }

    /// Where the log of this name is.
    #[must_use]
    pub fn log(&self, log: &str) -> PathBuf {
        self.logs.join(log)
    }

    /// Starts a program on it; what it writes is appended to the log of this name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, mut command: Command, log: &str) -> anyhow::Result<Process> {
        if let Some(clock) = &self.clock {
            clock.tell(&mut command);
        }
        let log = self.log(log);
        let started = self.inside_group(|| Process::start(command, &log))?;
        started.with_context(|| format!("start a program on {}", self.name))
    }

    /// The process that fits, if it runs.
    #[must_use]
    pub fn find(&self, fits: impl Fn(&ProcessView) -> bool) -> Option<Process> {
        let found = self.group.processes().into_iter().find(|process| fits(process))?;
        Process::open(found.pid).ok()
    }

    /// From now on the calling thread, and every thread that it starts, talks from this machine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter_network(&self) -> anyhow::Result<()> {
        Ok(self.place.namespace.enter()?)
    }
}

/// Seconds since 1970, by the right clock.
///
/// # Errors
/// It shows a time before.
pub fn right_now() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())?)
}
