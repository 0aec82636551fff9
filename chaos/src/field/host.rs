//! A host of the replica set: a machine with a coordinator as the sidecar of one engine, and the engine's deadman. The
//! sidecar is started by us and starts the rest, which is found again among the machine's processes.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;

use super::engine::Engine;
use super::engine::Prepared;
use super::machine::{DATA, KEPT, Machine, STATE};
use crate::cluster::config::{self, HostFacts};
use crate::cluster::process::Process;
use crate::procfs::ProcessView;

/// The ports on every host: gRPC, HTTP, engine.
pub const PORTS: [u16; 3] = [4402, 4403, 6379];

/// Which of a host's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All, and what else may run there.
    Host,
    /// The coordinator.
    Sidecar,
    /// The engine.
    Engine,
    /// What holds the engine when the coordinator does not.
    Deadman,
}

impl Part {
    /// Its word, where it is not all of the host.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Host => None,
            Self::Sidecar => Some("sidecar"),
            Self::Engine => Some("engine"),
            Self::Deadman => Some("deadman"),
        }
    }
}

/// What a host is told when its files are written.
#[derive(Clone, Debug)]
pub struct HostPlan<'a> {
    /// The instance's name.
    pub instance: &'a str,
    /// What is expected to fail together with it.
    pub zone: &'a str,
    /// The coordinator's program.
    pub coordinator: &'a Path,
    /// The file with the cluster's secret.
    pub secret_file: &'a Path,
    /// What keeps the record, by its name in the configuration.
    pub provider: &'a str,
    /// Where that is.
    pub endpoints: &'a [String],
    /// The settings of a new cluster, where the coordinators bring them.
    pub seed_settings: Option<&'a Path>,
    /// How many members the set starts with.
    pub members: u32,
}

/// A host, its sidecar running or not.
#[derive(Debug)]
pub struct Host {
    /// The machine; the coordinator bears its name.
    pub machine: Machine,
    /// The instance's name.
    pub instance: String,
    /// What is expected to fail together with it.
    pub zone: String,
    engine: Arc<dyn Engine>,
    program: PathBuf,
    sidecar: Option<Process>,
}

impl Host {
    /// Writes its files; starts nothing.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn prepare(machine: Machine, engine: Arc<dyn Engine>, plan: &HostPlan<'_>) -> anyhow::Result<Self> {
        let folder = machine.folder();
        let (data, state) = (folder.join(DATA).join(KEPT), folder.join(STATE).join(KEPT));
        for made in [&data, &state] {
            fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
        }
        let Prepared { data_dir, command, password_file } =
            engine.prepare(machine.at(PORTS[2]), folder, &data)?;
        let Some((program, rest)) = command.split_first() else {
            anyhow::bail!("an engine is a program and its arguments")
        };
        let words = std::iter::once(&machine.with_own_clock(program)?)
            .chain(rest)
            .map(|word| word.display().to_string())
            .collect::<Vec<_>>();
        let text = config::coordinator(&HostFacts {
            host: &machine.name,
            instance: plan.instance,
            priority: 100,
            address: *machine.at(0).ip(),
            ports: PORTS,
            zone: Some(plan.zone),
            secret_file: plan.secret_file,
            state_dir: &state,
            data_dir: &data_dir,
            password_file: password_file.as_deref(),
            kind: engine.name(),
            command: &words,
            provider: plan.provider,
            endpoints: plan.endpoints,
            seed_settings: plan.seed_settings,
            bootstrap_members: plan.members,
        })?;
        fs::write(folder.join("coordinator.toml"), text).context("write a coordinator's configuration")?;
        Ok(Self {
            instance: plan.instance.to_owned(),
            zone: plan.zone.to_owned(),
            engine,
            program: plan.coordinator.to_owned(),
            sidecar: None,
            machine,
        })
    }

    /// Starts the sidecar where it does not run; it starts the rest.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.sidecar.as_ref().is_some_and(Process::alive) {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(self.machine.folder().join("coordinator.toml"));
        self.sidecar = Some(self.machine.start(command, &self.log_name())?);
        Ok(())
    }

    /// Where its coordinator writes its log, through all its starts.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.machine.log(&self.log_name())
    }

    fn log_name(&self) -> String {
        format!("{}.coordinator.log", self.machine.name)
    }

    /// From now on another program is its coordinator, at its next start.
    pub fn exchange(&mut self, coordinator: &Path) {
        coordinator.clone_into(&mut self.program);
    }

    /// Where its coordinator answers guards, routers and operators.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.machine.at(PORTS[0])
    }

    /// Where clients reach the engine.
    #[must_use]
    pub fn endpoint(&self) -> SocketAddrV4 {
        self.machine.at(PORTS[2])
    }

    /// Where the engine keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.machine.folder().join(DATA).join(KEPT)
    }

    /// Takes the engine's data away: what is left is what a new disk has.
    ///
    /// # Errors
    /// A folder cannot be removed or made.
    pub fn empty(&self) -> anyhow::Result<()> {
        let data = self.data();
        fs::remove_dir_all(&data).with_context(|| format!("empty {}", data.display()))?;
        fs::create_dir(&data)?;
        self.engine.prepare(self.endpoint(), self.machine.folder(), &data).map(drop)
    }

    /// Where its coordinator keeps what it must not forget.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.machine.folder().join(STATE).join(KEPT)
    }

    /// The engine's kind.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// How the sidecar ended, should it have.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.sidecar.as_ref().filter(|sidecar| !sidecar.alive())?.how_it_ended()
    }

    /// The processes of a part that run now.
    #[must_use]
    pub fn processes(&self, part: Part) -> Vec<Process> {
        let all = self.machine.group.processes();
        let wanted = all.iter().filter(|process| part == Part::Host || self.part_of(process) == Some(part));
        wanted.filter_map(|process| Process::open(process.pid).ok()).collect()
    }

    fn part_of(&self, process: &ProcessView) -> Option<Part> {
        if self.engine.is_engine(process) {
            return Some(Part::Engine);
        }
        match process.command.split(' ').nth(1) {
            Some("deadman") => Some(Part::Deadman),
            Some("run") => Some(Part::Sidecar),
            Some(_) | None => None,
        }
    }
}
