//! One machine of a run: a place on the network, control groups and a folder. Whatever is started on it uses its address
//! and ends with it. Knows nothing of what runs there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddrV4;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

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
/// How large a disk of a machine's own is, in MiB.
const DISK_MIB: u32 = 128;

/// The file that says how far its wall clock is off.
const CLOCK: &str = "clock";
/// Where Debian has the library that tells programs another time.
const CLOCK_LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// Its name, as faults and reports call it.
    pub name: String,
    /// Before the groups: what waits for a hung disk cannot be ended.
    disks: BTreeMap<&'static str, Disk>,
    clock: Option<&'static str>,
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
    /// libfaketime is not there.
    pub fn give_clock(&mut self) -> anyhow::Result<()> {
        let library = CLOCK_LIBRARIES.iter().find(|library| Path::new(library).exists());
        self.clock = Some(library.context("libfaketime is not there (Debian: libfaketime)")?);
        self.set_clock(0)
    }

    /// Whether it has a wall clock of its own.
    #[must_use]
    pub fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Sets its wall clock so many seconds off the right one.
    ///
    /// # Errors
    /// The file that says so cannot be written.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.join(CLOCK), format!("{seconds:+}s\n"))?)
    }

    /// How many seconds its programs' wall clock is off, as one of them reads it.
    ///
    /// # Errors
    /// None can be started.
    pub fn clock_difference(&self) -> anyhow::Result<i64> {
        let mut command = Command::new("date");
        command.arg("+%s");
        self.clock_of(&mut command);
        let told: i64 = run_tool(command, "")?.trim().parse().context("date tells no seconds")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(told - i64::try_from(now)?)
    }

    /// The monotonic clock stays right: leases are counted by it, and a kernel does not make it jump either.
    fn clock_of(&self, command: &mut Command) {
        let Some(library) = self.clock else { return };
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.folder.join(CLOCK));
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// A program that is to have the right time all the same: an allocator that is replaced (Redis has jemalloc) hangs under
    /// libfaketime before it begins.
    ///
    /// # Errors
    /// The script that starts it cannot be written.
    pub fn with_right_clock(&self, program: &Path) -> anyhow::Result<PathBuf> {
        if self.clock.is_none() {
            return Ok(program.to_owned());
        }
        let script = self.folder.join("engine");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o755).open(&script)?;
        writeln!(file, "#!/bin/sh\nunset LD_PRELOAD\nexec '{}' \"$@\"", program.display())?;
        Ok(script)
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

    /// Starts a program on it; what it writes is appended to the log of this name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, mut command: Command, log: &str) -> anyhow::Result<Process> {
        self.clock_of(&mut command);
        let log = self.logs.join(log);
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
