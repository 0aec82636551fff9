//! A whole cluster of machines on one computer: every host a network namespace and control groups of its own, joined by a
//! switch that can cut them apart. It is made and removed here, health is watched from a machine of its own that no fault
//! ever strikes. It knows programs, files and the wire, and neither faults nor verdicts.

mod backup;
mod clock;
pub mod disk;
pub mod engine;
pub mod group;
pub mod host;
pub mod lane;
pub mod leftovers;
pub mod machine;
pub mod names;
pub mod provider;
pub mod relay;
pub mod wire;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use baton_proto::v1::ClusterStatus;
use rand::rngs::StdRng;

use self::engine::{Engine, Postgres, Redis};
use self::host::{Host, HostPlan};
use self::machine::{DATA, Machine, STATE};
use self::names::RunId;
use self::provider::Provider;
use self::wire::Wire;
use crate::cli::{EngineKind, ProviderKind};
use crate::cluster::binaries::Binaries;
use crate::cluster::config::{self, REPLICASET};
use crate::cluster::operator::Operator;
use crate::cluster::{missing_in, replicas_that_follow, write_secret};
use crate::evidence::Mode;

/// The hosts of the set: coordinator, instance, zone, and the last number of the address.
const HOSTS: [(&str, &str, &str, u8); 3] =
    [("host-a", "a1", "east", 11), ("host-b", "b1", "west", 12), ("host-c", "c1", "west", 13)];
/// A machine that is none of the set's, where a scenario wants one.
const SPARE: (&str, u8) = ("spare", 14);
/// The provider's machines are numbered from here.
const PROVIDERS: u8 = 21;
/// The machine of the clients.
pub const CLIENT: (&str, u8) = ("client", 31);
/// The machine from which all is watched.
const WATCH: (&str, u8) = ("watch", 2);

/// What kind of cluster is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The database.
    pub engine: EngineKind,
    /// What keeps the record.
    pub provider: ProviderKind,
    /// Whether commits wait for a replica.
    pub mode: Mode,
    /// How long a silent master may keep its right.
    pub lease_ttl: Duration,
    /// Whether hosts and provider keep their files on disks of their own, which can fail.
    pub disks: bool,
    /// Whether hosts have wall clocks of their own, which can jump.
    pub clocks: bool,
    /// Whether there is a machine that is none of the set's.
    pub spare: bool,
}

/// The network alone, with the machine from which all is watched. The watcher's thread has to enter it before it makes any
/// connection, and so before the rest is started.
#[derive(Debug)]
pub struct Ground {
    run: RunId,
    wire: Wire,
    watch: Machine,
    folder: PathBuf,
    logs: PathBuf,
}

impl Ground {
    /// Lays the network; logs will go to `logs`.
    ///
    /// # Errors
    /// Without root, or where a program or the kernel lacks what is needed: the text says what.
    pub fn lay(logs: &Path) -> anyhow::Result<Self> {
        let run = RunId::new();
        let folder = tempfile::env::temp_dir().join(run.name("field"));
        for made in [&folder, &logs.to_owned()] {
            fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
        }
        let mut wire = Wire::new(&run)?;
        let watch = Machine::new(&run, &mut wire, WATCH, &folder, logs)?;
        Ok(Self { run, wire, watch, folder, logs: logs.to_owned() })
    }

    /// From now on the calling thread, and every thread that it starts, watches from there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> anyhow::Result<()> {
        self.watch.enter_network()
    }
}

/// A running cluster. Dropped, it ends everything that it started and removes everything that it made; the order of the
/// members is the order of that.
#[derive(Debug)]
pub struct Field {
    /// The hosts of the set.
    pub hosts: Vec<Host>,
    /// The state provider's machines.
    pub provider: Provider,
    /// Where the clients run.
    pub client: Machine,
    /// The operators' entrance.
    pub operator: Operator,
    /// The switch.
    pub wire: Wire,
    /// What was asked for.
    pub plan: Plan,
    spare: Option<Machine>,
    kit: Kit,
    /// How often the provider was restored.
    restored: u64,
    /// Machines that are off as long as something lasts that killed them: nobody starts anything there.
    pub off: BTreeSet<String>,
    _watch: Machine,
    folder: Folder,
}

/// What every host is made from.
#[derive(Debug)]
struct Kit {
    engine: Arc<dyn Engine>,
    coordinator: PathBuf,
    secret_file: PathBuf,
}

/// The folder of everything that runs; removed with this value.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

impl Field {
    /// Writes the files and starts every process; nothing is waited for.
    ///
    /// # Errors
    /// A file cannot be written, a machine not be wired, a program not be started.
    pub fn start(
        ground: Ground,
        plan: Plan,
        binaries: &Binaries,
        random: &mut StdRng,
    ) -> anyhow::Result<Self> {
        let Ground { run, mut wire, watch, folder, logs } = ground;
        let folder = Folder(folder);
        let path = &folder.0;
        let (secret_file, settings) = (path.join("secret"), path.join("settings.toml"));
        write_secret(&secret_file, random)?;
        fs::write(&settings, seed_settings(plan))?;
        let mut add = |named, disks: &[&'static str]| {
            let mut machine = Machine::new(&run, &mut wire, named, path, &logs)?;
            for which in disks.iter().filter(|_| plan.disks) {
                machine.give_disk(which)?;
            }
            anyhow::Ok(machine)
        };
        let names = Provider::names(plan.provider).iter().copied().zip(PROVIDERS..);
        let machines = names.map(|named| add(named, &[DATA])).collect::<Result<_, _>>()?;
        let token = run.name("etcd");
        let mut provider =
            Provider::prepare(plan.provider, machines, binaries, &secret_file, &settings, token)?;
        let engine: Arc<dyn Engine> = match plan.engine {
            EngineKind::Redis => Arc::new(Redis { program: binaries.server.program().to_owned() }),
            EngineKind::Postgres => Arc::new(Postgres { program: binaries.server.program().to_owned() }),
        };
        let endpoints = provider.endpoints();
        let mut hosts = Vec::new();
        for (name, instance, zone, number) in HOSTS {
            let host = HostPlan {
                instance,
                zone,
                coordinator: &binaries.coordinator,
                secret_file: &secret_file,
                provider: plan.provider.name(),
                endpoints: &endpoints,
                seed_settings: provider.seeded_by_coordinators(),
                members: u32::try_from(HOSTS.len())?,
            };
            let mut machine = add((name, number), &[DATA, STATE])?;
            if plan.clocks {
                machine.give_clock()?;
            }
            hosts.push(Host::prepare(machine, engine.clone(), &host)?);
        }
        let client = add(CLIENT, &[])?;
        let spare = if plan.spare { Some(add(SPARE, &[])?) } else { None };
        provider.start_what_is_down(&BTreeSet::new())?;
        for host in &mut hosts {
            host.start()?;
        }
        let operator =
            Operator::new(hosts.iter().map(|host| host.address().to_string()).collect(), REPLICASET);
        Ok(Self {
            hosts,
            provider,
            client,
            operator,
            wire,
            plan,
            spare,
            kit: Kit { engine, coordinator: binaries.coordinator.clone(), secret_file },
            restored: 0,
            off: BTreeSet::new(),
            _watch: watch,
            folder,
        })
    }

    /// Where everything that runs keeps its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// A host on the machine that is none of the set's, under the name of an instance that is; it is not started.
    ///
    /// # Errors
    /// There is no such machine in this run, or its files cannot be written.
    pub fn stranger(&mut self, instance: &str, zone: &str) -> anyhow::Result<Host> {
        let machine = self.spare.take().context("this run has no machine but the set's")?;
        let endpoints = self.provider.endpoints();
        let plan = HostPlan {
            instance,
            zone,
            coordinator: &self.kit.coordinator,
            secret_file: &self.kit.secret_file,
            provider: self.plan.provider.name(),
            endpoints: &endpoints,
            seed_settings: None,
            members: u32::try_from(HOSTS.len())?,
        };
        Host::prepare(machine, self.kit.engine.clone(), &plan)
    }

    /// The host of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&self, name: &str) -> anyhow::Result<&Host> {
        let found = self.hosts.iter().find(|host| host.machine.name == name);
        found.with_context(|| format!("there is no host {name}"))
    }

    /// The host of an instance.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn host_of(&self, instance: &str) -> anyhow::Result<&Host> {
        let found = self.hosts.iter().find(|host| host.instance == instance);
        found.with_context(|| format!("there is no instance {instance}"))
    }

    /// Any machine that a fault may strike: hosts, provider, client.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn machine(&self, name: &str) -> anyhow::Result<&Machine> {
        let found = self.machines().find(|machine| machine.name == name);
        found.with_context(|| format!("there is no machine {name}"))
    }

    /// All machines that a fault may strike.
    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        let hosts = self.hosts.iter().map(|host| &host.machine);
        let provider = self.provider.members().iter().map(|member| &member.machine);
        hosts.chain(provider).chain(std::iter::once(&self.client))
    }

    /// Starts everything that does not run, but for machines that are off.
    ///
    /// # Errors
    /// A program cannot be started.
    pub fn start_what_is_down(&mut self) -> anyhow::Result<()> {
        self.provider.start_what_is_down(&self.off)?;
        let off = &self.off;
        let mut hosts = self.hosts.iter_mut().filter(|host| !off.contains(&host.machine.name));
        hosts.try_for_each(Host::start)
    }

    /// What the cluster lacks to be whole: one active master, every instance up and in the in-sync set, and a fresh write that
    /// both replicas have, by the engine's own word. Nothing: all is well, and this is how it stands.
    ///
    /// # Errors
    /// What is missing, in words.
    pub async fn whole(&self) -> Result<ClusterStatus, String> {
        let status = self.operator.status().await.map_err(|error| format!("{error:#}"))?;
        let set = status.replicasets.iter().find(|set| set.replicaset == REPLICASET);
        let set = set.ok_or("the replica set is not known yet")?;
        let names: BTreeSet<&str> = self.hosts.iter().map(|host| host.instance.as_str()).collect();
        if let Some(missing) = missing_in(set, &names) {
            return Err(missing);
        }
        let endpoint = set.record.as_ref().map(|record| record.endpoint.clone()).unwrap_or_default();
        match replicas_that_follow(self.plan.engine, &endpoint).await {
            Ok(replicas) if replicas >= 2 => Ok(status),
            Ok(replicas) => Err(format!("{replicas} of 2 replicas have a fresh write")),
            Err(error) => Err(format!("the master at {endpoint}: {error}")),
        }
    }

    /// Who ended without being told to, and how.
    #[must_use]
    pub fn who_ended(&self) -> Option<String> {
        let of_host = |host: &Host| {
            Some(format!("the coordinator of {} ended with {}", host.machine.name, host.ended()?))
        };
        self.provider.who_ended().or_else(|| self.hosts.iter().find_map(of_host))
    }
}

/// The settings that a new cluster begins with.
fn seed_settings(plan: Plan) -> String {
    let quorum = match plan.mode {
        Mode::Sync => 1,
        Mode::Async => 0,
    };
    format!("{}ack_quorum = {quorum}\n", config::seed_settings(plan.lease_ttl))
}
