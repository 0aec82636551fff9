//! The processes of the state provider: one stateboard, or three members of etcd. Starts them, again with the same data, and
//! kills the one that matters most. Knows programs, files and what an administrator may ask; nothing of what is kept.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::binaries::Binaries;
use super::config::{self, loopback};
use super::ports::Ports;
use super::process::Process;
use crate::cli::ProviderKind;

/// How many members of etcd: the fewest of which one can be lost.
const MEMBERS: usize = 3;
/// How long one question to a member may take, and all questions until one says that it leads.
const ASK: Duration = Duration::from_secs(1);
const FIND_LEADER: Duration = Duration::from_secs(10);

/// The state provider of a cluster.
#[derive(Debug)]
pub struct Provider {
    kind: ProviderKind,
    program: PathBuf,
    folder: PathBuf,
    members: Vec<Member>,
}

/// One process of it.
#[derive(Debug)]
struct Member {
    name: String,
    /// For clients, and for the other members (etcd only).
    ports: [u16; 2],
    process: Option<Process>,
}

impl Provider {
    /// Writes the files and chooses the ports; starts nothing.
    ///
    /// # Errors
    /// A file cannot be written, a port not be found, or etcd was not.
    pub fn prepare(
        kind: ProviderKind,
        binaries: &Binaries,
        folder: &Path,
        secret_file: &Path,
        ports: &mut Ports,
        random: &mut StdRng,
    ) -> anyhow::Result<Self> {
        let names = match kind {
            ProviderKind::Stateboard => vec!["stateboard".to_owned()],
            ProviderKind::Etcd => (1..=MEMBERS).map(|number| format!("etcd-{number}")).collect(),
        };
        let mut members = Vec::new();
        for name in names {
            members.push(Member { name, ports: [ports.free(random)?, ports.free(random)?], process: None });
        }
        let program = match kind {
            ProviderKind::Stateboard => {
                let data_dir = folder.join("stateboard");
                std::fs::create_dir(&data_dir)?;
                let text = config::stateboard(
                    SocketAddrV4::new(Ipv4Addr::LOCALHOST, members[0].ports[0]),
                    secret_file,
                    &data_dir,
                )?;
                std::fs::write(folder.join("stateboard.toml"), text)?;
                binaries.stateboard.clone()
            }
            ProviderKind::Etcd => binaries.etcd.clone().context("etcd was not looked for")?,
        };
        Ok(Self { kind, program, folder: folder.to_owned(), members })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// Where clients find it.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| url(member.ports[0])).collect()
    }

    /// The file with the settings of a new cluster, where not the provider itself reads it.
    #[must_use]
    pub fn seeded_by_coordinators(&self) -> Option<PathBuf> {
        match self.kind {
            ProviderKind::Stateboard => None,
            ProviderKind::Etcd => Some(self.folder.join("settings.toml")),
        }
    }

    /// The shortest lock that it gives: what was renewed before has to be renewed again after so long.
    #[must_use]
    pub fn lock_ttl_min(&self) -> Duration {
        match self.kind {
            ProviderKind::Stateboard => Duration::ZERO,
            ProviderKind::Etcd => Duration::from_secs(2),
        }
    }

    /// Starts every process that does not run, again with the same data.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_what_is_down(&mut self) -> anyhow::Result<()> {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if member.process.as_ref().is_some_and(Process::alive) {
                continue;
            }
            let command = match self.kind {
                ProviderKind::Stateboard => self.stateboard(),
                ProviderKind::Etcd => self.etcd(member),
            };
            let log = self.folder.join(format!("{}.log", member.name));
            let process = Process::start(command, &log).with_context(|| format!("start {}", member.name))?;
            self.members[place].process = Some(process);
        }
        Ok(())
    }

    fn stateboard(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.join("stateboard.toml"));
        command.arg("--seed-settings").arg(self.folder.join("settings.toml"));
        command
    }

    fn etcd(&self, member: &Member) -> Command {
        let [clients, peers] = member.ports.map(url);
        let all: Vec<String> =
            self.members.iter().map(|other| format!("{}={}", other.name, url(other.ports[1]))).collect();
        let mut command = Command::new(&self.program);
        command.args(["--name", &member.name, "--logger", "zap", "--data-dir"]);
        command.arg(self.folder.join(&member.name));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &all.join(",")]);
        // Members of two demos must not take each other for their own.
        command.arg("--initial-cluster-token").arg(&self.folder);
        command
    }

    /// SIGKILL to the stateboard, or to the member that leads. Says to whom.
    ///
    /// # Errors
    /// It does not run, or no member says that it leads.
    pub async fn kill(&mut self) -> anyhow::Result<String> {
        let (place, what) = match self.kind {
            ProviderKind::Stateboard => (0, "the stateboard".to_owned()),
            ProviderKind::Etcd => {
                let place = self.leader().await?;
                (place, format!("etcd's leader {}", self.members[place].name))
            }
        };
        let process = self.members[place].process.take().filter(Process::alive);
        let process = process.with_context(|| format!("{what} does not run"))?;
        process.kill();
        Ok(format!("{what} (process {})", process.pid()))
    }

    /// The place of the member that leads, by its own word.
    async fn leader(&self) -> anyhow::Result<usize> {
        let found = timeout(FIND_LEADER, async {
            loop {
                for (place, member) in self.members.iter().enumerate() {
                    let answer =
                        timeout(ASK, status(SocketAddrV4::new(Ipv4Addr::LOCALHOST, member.ports[0]))).await;
                    if answer.is_ok_and(|answer| answer.is_ok_and(|status| leads(&status))) {
                        return place;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        found.await.context("no member of etcd says that it leads")
    }

    /// Who ended without being told to, and how.
    #[must_use]
    pub fn who_ended(&self) -> Option<String> {
        self.members.iter().find_map(|member| {
            let process = member.process.as_ref().filter(|process| !process.alive())?;
            let name = match self.kind {
                ProviderKind::Stateboard => "the stateboard",
                ProviderKind::Etcd => &member.name,
            };
            Some(format!("{name} ended with {}", process.how_it_ended()?))
        })
    }
}

fn url(port: u16) -> String {
    format!("http://{}", loopback(port))
}

/// What a member of etcd says of itself, through its gateway for plain HTTP.
pub(crate) async fn status(of: SocketAddrV4) -> anyhow::Result<Value> {
    let mut connection = TcpStream::connect(of).await?;
    let request = "POST /v3/maintenance/status HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}";
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    Ok(serde_json::from_str(body)?)
}

pub(crate) fn leads(status: &Value) -> bool {
    status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_leads_where_the_leader_is_itself() {
        let of = |text: &str| leads(&serde_json::from_str(text).expect("JSON"));
        assert!(of(r#"{"header":{"member_id":"7"},"leader":"7"}"#));
        assert!(!of(r#"{"header":{"member_id":"7"},"leader":"8"}"#));
        assert!(!of(r#"{"error":"etcdserver: no leader"}"#), "who knows of none is none");
    }
}
