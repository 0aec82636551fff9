//! One machine of a run: a place on the network, control groups and a folder. Whatever is started on it uses its address
//! and ends with it. Knows nothing of what runs there.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;

use super::group::Group;
use super::names::RunId;
use super::wire::{Place, Wire};
use crate::cluster::process::Process;
use crate::procfs::ProcessView;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// Its name, as faults and reports call it.
    pub name: String,
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
        Ok(Self { name: name.to_owned(), group, place, folder, logs: logs.to_owned() })
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

    /// Starts a program on it; what it writes is appended to the log of this name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, command: Command, log: &str) -> anyhow::Result<Process> {
        let log = self.logs.join(log);
        let begin = || {
            self.group.enter()?;
            Process::start(command, &log)
        };
        let started = self.place.namespace.inside(begin).and_then(|started| started);
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
