//! The machines of the state provider: one stateboard, or three members of etcd. Starts them, again with the same data, and
//! knows which one leads. Knows programs, files and what an administrator may ask; nothing of what is kept.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::{sleep, timeout};

use super::machine::{DATA, KEPT, Machine};
use crate::cli::ProviderKind;
use crate::cluster::binaries::Binaries;
use crate::cluster::process::{Process, run_tool};
use crate::cluster::{config, provider};

/// The stateboard's port, etcd's for clients, and etcd's for its other members.
const BOARD: u16 = 4401;
const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;
/// How long one question to a member may take, and all questions until one says that it leads.
const ASK: Duration = Duration::from_millis(500);
const FIND_LEADER: Duration = Duration::from_secs(15);
/// How long it may take to end when it is told to, and how often it is looked at.
const END: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(2);

/// The state provider of a field.
#[derive(Debug)]
pub struct Provider {
    kind: ProviderKind,
    program: PathBuf,
    ctl: PathBuf,
    secret_file: PathBuf,
    settings: PathBuf,
    token: String,
    members: Vec<Member>,
}

/// One machine of it.
#[derive(Debug)]
pub struct Member {
    /// The machine.
    pub machine: Machine,
    process: Option<Process>,
}

impl Member {
    /// Its process, if it was started and runs.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.alive())
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.machine.folder().join(DATA).join(KEPT)
    }
}

impl Provider {
    /// The names of its machines.
    #[must_use]
    pub fn names(kind: ProviderKind) -> &'static [&'static str] {
        match kind {
            ProviderKind::Stateboard => &["board"],
            ProviderKind::Etcd => &["etcd-1", "etcd-2", "etcd-3"],
        }
    }

    /// Writes the files; starts nothing. `token` keeps members of two runs apart.
    ///
    /// # Errors
    /// A file cannot be written, or etcd was not looked for.
    pub fn prepare(
        kind: ProviderKind,
        machines: Vec<Machine>,
        binaries: &Binaries,
        secret_file: &Path,
        settings: &Path,
        token: String,
    ) -> anyhow::Result<Self> {
        let program = match kind {
            ProviderKind::Stateboard => binaries.stateboard.clone(),
            ProviderKind::Etcd => binaries.etcd.clone().context("etcd was not looked for")?,
        };
        for machine in &machines {
            let data = machine.folder().join(DATA).join(KEPT);
            fs::create_dir_all(&data)?;
            if kind == ProviderKind::Stateboard {
                let text = config::stateboard(machine.at(BOARD), secret_file, &data)?;
                fs::write(machine.folder().join("stateboard.toml"), text)?;
            }
        }
        let members = machines.into_iter().map(|machine| Member { machine, process: None }).collect();
        let (ctl, secret_file) = (binaries.ctl.clone(), secret_file.to_owned());
        Ok(Self { kind, program, ctl, secret_file, settings: settings.to_owned(), token, members })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// Its machines.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member on this machine.
    ///
    /// # Errors
    /// There is none.
    pub fn member(&self, name: &str) -> anyhow::Result<&Member> {
        let found = self.members.iter().find(|member| member.machine.name == name);
        found.with_context(|| format!("{name} is no machine of the provider"))
    }

    /// Where coordinators find it.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.clients().into_iter().map(url).collect()
    }

    /// Where clients reach each of its machines.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddrV4> {
        let port = match self.kind {
            ProviderKind::Stateboard => BOARD,
            ProviderKind::Etcd => CLIENTS,
        };
        self.members.iter().map(|member| member.machine.at(port)).collect()
    }

    /// The file with the settings of a new cluster, where not the provider itself reads it.
    #[must_use]
    pub fn seeded_by_coordinators(&self) -> Option<&Path> {
        match self.kind {
            ProviderKind::Stateboard => None,
            ProviderKind::Etcd => Some(&self.settings),
        }
    }

    /// Starts every member that does not run and is not `off`, again with the data that it finds.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_what_is_down(&mut self, off: &BTreeSet<String>) -> anyhow::Result<()> {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if member.process().is_some() || off.contains(&member.machine.name) {
                continue;
            }
            let command = match self.kind {
                ProviderKind::Stateboard => self.stateboard(member),
                ProviderKind::Etcd => self.etcd(member),
            };
            let log = format!("{}.log", member.machine.name);
            let process = member.machine.start(command, &log)?;
            self.members[place].process = Some(process);
        }
        Ok(())
    }

    fn stateboard(&self, member: &Member) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(member.machine.folder().join("stateboard.toml"));
        command.arg("--seed-settings").arg(&self.settings);
        command
    }

    fn etcd(&self, member: &Member) -> Command {
        let machine = &member.machine;
        let [clients, peers] = [CLIENTS, PEERS].map(|port| url(machine.at(port)));
        let peer = |other: &Member| format!("{}={}", other.machine.name, url(other.machine.at(PEERS)));
        let all: Vec<String> = self.members.iter().map(peer).collect();
        let mut command = Command::new(&self.program);
        command.args(["--name", &machine.name, "--logger", "zap", "--data-dir"]).arg(member.data());
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &all.join(","), "--initial-cluster-token", &self.token]);
        command
    }

    /// What an administrator asks of the stateboard from where all is watched, as `batonctl stateboard` has it.
    ///
    /// # Errors
    /// It is etcd, or the stateboard refuses: its words.
    pub fn administer(&self, asked: &[&OsStr]) -> anyhow::Result<String> {
        anyhow::ensure!(self.kind == ProviderKind::Stateboard, "etcd is administered by its own tools");
        let mut command = Command::new(&self.ctl);
        command.arg("stateboard").args(asked).args(["--cluster", config::CLUSTER, "--secret-file"]);
        command.arg(&self.secret_file).arg("--stateboard").arg(self.members[0].machine.at(BOARD).to_string());
        Ok(run_tool(command, "")?)
    }

    /// From now on another program is the stateboard; it ends in good order and starts again.
    ///
    /// # Errors
    /// It does not end, or cannot be started.
    pub fn exchange(&mut self, stateboard: &Path) -> anyhow::Result<()> {
        anyhow::ensure!(self.kind == ProviderKind::Stateboard, "etcd is not ours to exchange");
        stateboard.clone_into(&mut self.program);
        if let Some(process) = self.members[0].process() {
            process.terminate();
            let deadline = Instant::now() + END;
            while process.alive() {
                anyhow::ensure!(Instant::now() < deadline, "the stateboard does not end when it is told to");
                std::thread::sleep(LOOK);
            }
        }
        self.start_what_is_down(&BTreeSet::new())
    }

    /// The machine that leads: the stateboard's, or that of the member of etcd which says so.
    ///
    /// # Errors
    /// No member says that it leads.
    pub async fn leader(&self) -> anyhow::Result<String> {
        if self.kind == ProviderKind::Stateboard {
            return Ok(self.members[0].machine.name.clone());
        }
        let deadline = Instant::now() + FIND_LEADER;
        while Instant::now() < deadline {
            for member in &self.members {
                let answer = timeout(ASK, provider::status(member.machine.at(CLIENTS))).await;
                if answer.is_ok_and(|answer| answer.is_ok_and(|status| provider::leads(&status))) {
                    return Ok(member.machine.name.clone());
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("no member of etcd says that it leads")
    }

    /// Who has ended, and how.
    #[must_use]
    pub fn who_ended(&self) -> Option<String> {
        self.members.iter().find_map(|member| {
            let process = member.process.as_ref().filter(|process| !process.alive())?;
            Some(format!("{} ended with {}", member.machine.name, process.how_it_ended()?))
        })
    }
}

fn url(at: SocketAddrV4) -> String {
    format!("http://{at}")
}
