//! One host of the cluster: a coordinator as a sidecar, its engine and the engine's deadman, which the coordinator starts
//! itself and which are found below us by what the kernel tells of them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::process::Process;
use crate::cli::EngineKind;
use crate::procfs::{self, ProcessView};
use crate::workload::history::{Instance, Moment, Recorder};

/// A host, its sidecar running or not.
#[derive(Debug)]
pub struct Host {
    /// The coordinator's name.
    pub name: String,
    /// The instance's name.
    pub instance: Instance,
    /// The coordinator's gRPC address, host:port.
    pub address: String,
    /// The engine's address, host:port.
    pub endpoint: String,
    /// What its engine is.
    pub engine: EngineKind,
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    pub(super) sidecar: Option<Process>,
}

/// The three processes that a fault of the whole host strikes.
#[derive(Debug)]
pub struct Family {
    /// The coordinator.
    pub sidecar: Process,
    /// What holds the engine when the coordinator does not.
    pub deadman: Process,
    /// The engine's main process.
    pub engine: Process,
    /// What that one has begun, as far as it was seen.
    pub children: Vec<Process>,
}

impl Host {
    /// Starts the sidecar; it starts the rest.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(self.folder.join("coordinator.toml"));
        let log = self.folder.join("coordinator.log");
        self.sidecar = Some(Process::start(command, &log).with_context(|| format!("start {}", self.name))?);
        Ok(())
    }

    /// The sidecar's process number, if it was started.
    #[must_use]
    pub fn sidecar_pid(&self) -> Option<i32> {
        self.sidecar.as_ref().map(Process::pid)
    }

    /// How the sidecar ended, should it have.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.sidecar.as_ref().filter(|sidecar| !sidecar.alive())?.how_it_ended()
    }

    /// Finds all three processes now.
    ///
    /// # Errors
    /// Names the one that does not run.
    pub fn family(&self) -> anyhow::Result<Family> {
        let sidecar = self.sidecar.as_ref().filter(|sidecar| sidecar.alive());
        let sidecar = sidecar.with_context(|| format!("the coordinator of {} does not run", self.name))?;
        let engine = self.engine()?;
        // It may begin and end some at any moment.
        let below = procfs::descendants(engine.pid());
        let children = below.iter().filter_map(|child| Process::open(child.pid).ok()).collect();
        Ok(Family { sidecar: Process::open(sidecar.pid())?, deadman: self.deadman()?, engine, children })
    }

    /// Finds the engine.
    ///
    /// # Errors
    /// It does not run.
    pub fn engine(&self) -> anyhow::Result<Process> {
        self.find("engine", |process| {
            let program = process.command.split(' ').next().unwrap_or_default();
            match self.engine {
                // It writes its own title: the program and the address on which it listens. Before that, as it was started.
                EngineKind::Redis => {
                    let ours = process.command.contains(&self.endpoint) || self.names_folder(process);
                    program.ends_with("redis-server") && ours
                }
                // Its main process; the others call themselves `postgres: …`.
                EngineKind::Postgres => program.ends_with("/postgres") && self.names_folder(process),
            }
        })
    }

    /// Finds the deadman.
    ///
    /// # Errors
    /// It does not run.
    pub fn deadman(&self) -> anyhow::Result<Process> {
        let below: Vec<i32> = self.sidecar_pid().map_or_else(Vec::new, |sidecar| {
            procfs::descendants(sidecar).iter().map(|process| process.pid).collect()
        });
        self.find("deadman", |process| {
            let is_deadman = process.command.split(' ').nth(1) == Some("deadman");
            is_deadman && (below.contains(&process.pid) || self.names_folder(process))
        })
    }

    fn names_folder(&self, process: &ProcessView) -> bool {
        self.folder.to_str().is_some_and(|folder| process.command.contains(folder))
    }

    fn find(&self, what: &str, fits: impl Fn(&ProcessView) -> bool) -> anyhow::Result<Process> {
        let own = i32::try_from(std::process::id())?;
        let found = procfs::descendants(own).into_iter().find(|process| fits(process));
        let found = found.with_context(|| format!("the {what} of {} does not run", self.name))?;
        Ok(Process::open(found.pid)?)
    }
}

impl Family {
    /// Stops all three: first those that could still tell of the others.
    pub fn freeze(&self) {
        self.sidecar.freeze();
        self.deadman.freeze();
        self.engine.freeze();
        self.children.iter().chain(&self.later_children()).for_each(Process::freeze);
    }

    /// What the engine's main process began since it was looked at; stopped, it begins no more.
    fn later_children(&self) -> Vec<Process> {
        let below = procfs::descendants(self.engine.pid());
        below.iter().filter_map(|child| Process::open(child.pid).ok()).collect()
    }

    /// Continues all three, in an order that the seed decides, with nothing between. Returns the order in words and the
    /// moment just after the engine could go on: the sidecar or the deadman, woken before it, may take our processor
    /// between a look at the clock and the signal, and what is sent meanwhile is still queued at a frozen engine.
    pub fn thaw(&self, random: &mut StdRng, recorder: &Recorder) -> (String, Moment) {
        let mut order = [("sidecar", &self.sidecar), ("deadman", &self.deadman), ("engine", &self.engine)];
        order.shuffle(random);
        let mut engine_woke = recorder.now();
        for (name, process) in order {
            process.thaw();
            if name == "engine" {
                self.children.iter().chain(&self.later_children()).for_each(Process::thaw);
                engine_woke = recorder.now();
            }
        }
        (order.map(|(name, _)| name).join(", "), engine_woke)
    }

    /// Ends all three as a power cut would: none may live long enough to tell of the others' end, so they are stopped
    /// before they are killed.
    pub fn kill(&self) {
        self.freeze();
        self.sidecar.kill();
        self.deadman.kill();
        let children = self.later_children();
        self.engine.kill();
        children.iter().for_each(Process::kill);
    }
}
