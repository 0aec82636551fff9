//! A whole cluster on loopback, in one temporary folder: a state provider and three hosts, each a coordinator as the sidecar
//! of an engine. Starts it, watches its health from outside, and ends it with everything below. It knows programs, files
//! and the wire.

pub mod binaries;
pub mod config;
pub mod engine;
pub mod host;
pub mod operator;
pub mod ports;
pub mod process;
pub mod provider;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use baton_proto::v1::{ClusterStatus, ReplicaSetStatus};
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::time::sleep;

use self::binaries::Binaries;
use self::config::{HostFacts, REPLICASET, loopback};
use self::host::Host;
use self::operator::Operator;
use self::ports::Ports;
use self::provider::Provider;
use crate::cli::{EngineKind, ProviderKind};
use crate::workload::history::Instance;
use crate::workload::link::{self, Reply, Request};

/// How many hosts, each with one instance of the set.
const HOSTS: [(&str, &str); 3] = [("host-a", "a1"), ("host-b", "b1"), ("host-c", "c1")];
/// Between two looks at the health.
const LOOK: Duration = Duration::from_millis(50);

/// A running cluster. Dropped, it ends everything below this process.
#[derive(Debug)]
pub struct Cluster {
    /// The hosts, by their place in the list.
    pub hosts: Vec<Host>,
    /// The operators' entrance.
    pub operator: Operator,
    folder: Option<TempDir>,
    path: PathBuf,
    engine: EngineKind,
    /// What keeps the record.
    pub provider: Provider,
}

impl Cluster {
    /// Writes the files and starts every process; nothing is waited for.
    ///
    /// # Errors
    /// A file cannot be written, a port not be found, a program not be started.
    pub fn start(
        binaries: &Binaries,
        kind: ProviderKind,
        lease_ttl: Duration,
        random: &mut StdRng,
    ) -> anyhow::Result<Self> {
        let engine = binaries.engine();
        process::adopt_descendants().context("become the reaper of all descendants")?;
        let folder =
            tempfile::Builder::new().prefix("baton-demo-").tempdir().context("make a temporary folder")?;
        let path = folder.path().to_owned();
        let mut ports = Ports::default();
        let secret_file = path.join("secret");
        write_secret(&secret_file, random)?;
        std::fs::write(path.join("settings.toml"), config::seed_settings(lease_ttl))?;
        let provider = Provider::prepare(kind, binaries, &path, &secret_file, &mut ports, random)?;
        let mut hosts = Vec::new();
        for names in HOSTS {
            hosts.push(prepare_host(binaries, names, &path, &secret_file, &provider, &mut ports, random)?);
        }
        let addresses = hosts.iter().map(|host| host.address.clone()).collect();
        let operator = Operator::new(addresses, REPLICASET);
        let mut cluster = Self { hosts, operator, folder: Some(folder), path, engine, provider };
        cluster.provider.start_what_is_down()?;
        for host in &mut cluster.hosts {
            host.start()?;
        }
        Ok(cluster)
    }

    /// Where the logs are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the engines are.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        self.engine
    }

    /// Keeps the folder with all logs when the cluster ends.
    pub fn keep_folder(&mut self) {
        if let Some(folder) = self.folder.take() {
            let _kept = folder.keep();
        }
    }

    /// The host of an instance, as its place in the list.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn host_of(&self, instance: &str) -> anyhow::Result<usize> {
        let place = self.hosts.iter().position(|host| &*host.instance == instance);
        place.with_context(|| format!("there is no instance {instance}"))
    }

    /// All instances with their endpoints.
    #[must_use]
    pub fn instances(&self) -> Vec<(Instance, String)> {
        self.hosts.iter().map(|host| (host.instance.clone(), host.endpoint.clone())).collect()
    }

    /// Waits until all is well: one active master, every instance up and in the in-sync set, and a fresh write that both
    /// replicas have, by the engine's own word.
    ///
    /// # Errors
    /// It did not become so within `limit`; says what was still missing, or who ended.
    pub async fn wait_healthy(&self, limit: Duration) -> anyhow::Result<ClusterStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let missing = match self.operator.status().await {
                Ok(status) => match self.what_is_missing(&status).await {
                    None => return Ok(status),
                    Some(missing) => missing,
                },
                Err(error) => format!("{error:#}"),
            };
            if let Some(ended) = self.who_ended() {
                anyhow::bail!("{ended}; before that: {missing}");
            }
            anyhow::ensure!(Instant::now() < deadline, "not healthy after {limit:?}: {missing}");
            sleep(LOOK).await;
        }
    }

    async fn what_is_missing(&self, status: &ClusterStatus) -> Option<String> {
        let Some(set) = status.replicasets.iter().find(|set| set.replicaset == REPLICASET) else {
            return Some("the replica set is not known yet".to_owned());
        };
        let names: BTreeSet<&str> = self.hosts.iter().map(|host| &*host.instance).collect();
        if let Some(missing) = missing_in(set, &names) {
            return Some(missing);
        }
        let endpoint = set.record.as_ref().map(|record| record.endpoint.clone()).unwrap_or_default();
        match replicas_that_follow(self.engine, &endpoint).await {
            Ok(replicas) if replicas >= 2 => None,
            Ok(replicas) => Some(format!("{replicas} of 2 replicas have a fresh write")),
            Err(error) => Some(format!("the master at {endpoint}: {error}")),
        }
    }

    fn who_ended(&self) -> Option<String> {
        if let Some(ended) = self.provider.who_ended() {
            return Some(ended);
        }
        self.hosts
            .iter()
            .find_map(|host| Some(format!("the coordinator of {} ended with {}", host.name, host.ended()?)))
    }

    /// Ends every process, stopped ones too, and names what would not end.
    pub fn end(&mut self) -> Vec<i32> {
        process::end_all_descendants()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a set lacks to be whole, in words.
pub(crate) fn missing_in(set: &ReplicaSetStatus, names: &BTreeSet<&str>) -> Option<String> {
    if set.state != "active" {
        return Some(format!(
            "the set is {}, not active",
            if set.state.is_empty() { "unknown" } else { &set.state }
        ));
    }
    let in_sync: BTreeSet<&str> =
        set.record.iter().flat_map(|record| record.in_sync.iter().map(String::as_str)).collect();
    if in_sync != *names {
        return Some(format!("in sync are only {in_sync:?}"));
    }
    let up = |name: &&str| {
        let member = set.members.iter().find(|member| member.instance == **name);
        member.is_some_and(|member| member.health == "up" && matches!(&*member.role, "master" | "replica"))
    };
    let down: Vec<&str> = names.iter().filter(|name| !up(name)).copied().collect();
    (!down.is_empty()).then(|| format!("not up yet: {}", down.join(", ")))
}

/// How many replicas have a write that was just made, waiting for them a moment.
pub(crate) async fn replicas_that_follow(engine: EngineKind, endpoint: &str) -> std::io::Result<i64> {
    let limit = Duration::from_secs(1);
    link::prepare(engine, endpoint, limit).await?;
    let (mut asker, mut listener) = link::connect(engine, endpoint, limit).await?;
    let requests = [
        Request::Set { key: "chaos:healthy", value: 1 },
        Request::Held { replicas: 2, within: Duration::from_millis(500) },
    ];
    let exchange = async {
        asker.ask(&requests).await?;
        match (listener.reply().await?, listener.reply().await?) {
            (Reply::Yes, Reply::Number(replicas)) => Ok(replicas),
            (Reply::No(refusal), _) | (_, Reply::No(refusal)) => Err(std::io::Error::other(refusal)),
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        }
    };
    tokio::time::timeout(limit, exchange)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

pub(crate) fn write_secret(file: &Path, random: &mut StdRng) -> anyhow::Result<()> {
    use rand::RngExt;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let secret = format!("{:032x}\n", random.random::<u128>());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(file)?.write_all(secret.as_bytes())?;
    Ok(())
}

fn prepare_host(
    binaries: &Binaries,
    (name, instance): (&str, &str),
    path: &Path,
    secret_file: &Path,
    provider: &Provider,
    ports: &mut Ports,
    random: &mut StdRng,
) -> anyhow::Result<Host> {
    let folder = path.join(name);
    let state_dir = folder.join("state");
    std::fs::create_dir_all(&state_dir)?;
    let ports = [ports.free(random)?, ports.free(random)?, ports.free(random)?];
    let listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports[2]);
    let prepared = engine::prepare(&binaries.server, listen, &folder)?;
    let seed_settings = provider.seeded_by_coordinators();
    let endpoints = provider.endpoints();
    let facts = HostFacts {
        host: name,
        instance,
        priority: 100,
        address: Ipv4Addr::LOCALHOST,
        ports,
        zone: None,
        secret_file,
        state_dir: &state_dir,
        kind: binaries.engine().name(),
        data_dir: &prepared.data_dir,
        command: &prepared.command,
        password_file: None,
        provider: provider.kind().name(),
        endpoints: &endpoints,
        seed_settings: seed_settings.as_deref(),
        bootstrap_members: u32::try_from(HOSTS.len())?,
    };
    std::fs::write(folder.join("coordinator.toml"), config::coordinator(&facts)?)?;
    Ok(Host {
        name: name.to_owned(),
        instance: instance.into(),
        address: loopback(ports[0]),
        endpoint: loopback(ports[2]),
        engine: binaries.engine(),
        folder,
        program: binaries.coordinator.clone(),
        sidecar: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_proto::v1::{MemberStatus, Record};

    fn set(state: &str, in_sync: &[&str], up: &[&str]) -> ReplicaSetStatus {
        ReplicaSetStatus {
            state: state.to_owned(),
            record: Some(Record {
                in_sync: in_sync.iter().map(ToString::to_string).collect(),
                ..Record::default()
            }),
            members: up
                .iter()
                .map(|name| MemberStatus {
                    instance: name.to_string(),
                    role: "replica".to_owned(),
                    health: "up".to_owned(),
                    ..MemberStatus::default()
                })
                .collect(),
            ..ReplicaSetStatus::default()
        }
    }

    #[test]
    fn a_set_is_whole_only_with_all_three() {
        let names = BTreeSet::from(["a1", "b1", "c1"]);
        let all = ["a1", "b1", "c1"];
        assert_eq!(missing_in(&set("active", &all, &all), &names), None);
        let text = missing_in(&set("appointed", &all, &all), &names).expect("not active");
        assert!(text.contains("appointed"));
        let text = missing_in(&set("active", &["a1", "b1"], &all), &names).expect("one is out");
        assert!(text.contains("in sync"));
        let text = missing_in(&set("active", &all, &["a1", "c1"]), &names).expect("one is down");
        assert!(text.contains("b1"));
    }
}
