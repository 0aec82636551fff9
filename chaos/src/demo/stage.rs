//! The stage of all steps: a running cluster with its clients, and what the checkers carry from one attempt to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use baton_proto::v1::{ClusterStatus, TimingResponse};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use super::step::Step;
use super::verdict::UNINTERRUPTED;
use crate::checker::lost::{Lost, lost_writes};
use crate::checker::stale::FirstAcknowledgements;
use crate::cli::ProviderKind;
use crate::cluster::Cluster;
use crate::cluster::binaries::Binaries;
use crate::cluster::config::REPLICASET;
use crate::report::narrator::Narrator;
use crate::workload::follow::Follower;
use crate::workload::history::{History, Recorder, Reign};
use crate::workload::link;
use crate::workload::prober::Probers;
use crate::workload::writer::{Writer, key};

/// How long the first start may take, and every recovery on top of ten leases.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the engine may take to look up a thousand keys.
const LOOK_UP: Duration = Duration::from_secs(5);

/// A running cluster with its clients.
#[derive(Debug)]
pub struct Stage {
    /// The processes.
    pub cluster: Cluster,
    /// The pen of all clients.
    pub recorder: Recorder,
    /// What the directory says.
    pub follower: Follower,
    /// All random choices.
    pub random: StdRng,
    /// The lease that the cluster has.
    pub lease_ttl: Duration,
    pub(super) first: FirstAcknowledgements,
    timing: TimingResponse,
    known_lost: Lost,
    _writer: Writer,
    _probers: Probers,
}

/// How things stand before a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The master.
    pub master: String,
    /// Its term.
    pub term: u64,
    /// The host of the active arbiter.
    pub arbiter: String,
}

impl Stage {
    /// Starts everything and waits until all is well.
    ///
    /// # Errors
    /// It could not be started, or did not become healthy; the logs are kept then.
    pub async fn open(
        binaries: &Binaries,
        provider: ProviderKind,
        lease_ttl: Duration,
        mut random: StdRng,
        narrator: &Narrator,
    ) -> anyhow::Result<Self> {
        let mut cluster = Cluster::start(binaries, provider, lease_ttl, &mut random)?;
        narrator.doing(&format!("starting a cluster in {}", cluster.path().display()));
        let ready = async {
            cluster.wait_healthy(PATIENCE + lease_ttl * 10).await?;
            cluster.operator.timing().await
        };
        let timing = match ready.await {
            Ok(timing) => timing,
            Err(error) => {
                cluster.keep_folder();
                return Err(
                    error.context(format!("start the cluster; its logs: {}", cluster.path().display()))
                );
            }
        };
        let recorder = Recorder::new();
        let addresses: Vec<String> = cluster.hosts.iter().map(|host| host.address.clone()).collect();
        let follower = Follower::start(&addresses, REPLICASET, &recorder)?;
        let writer = Writer::start(cluster.engine(), follower.watch(), &recorder);
        let probers = Probers::start(cluster.engine(), &cluster.instances(), &recorder);
        Ok(Self {
            cluster,
            recorder,
            follower,
            random,
            lease_ttl,
            first: BTreeMap::new(),
            timing,
            known_lost: Lost::default(),
            _writer: writer,
            _probers: probers,
        })
    }

    /// How long the step's gap may be, as the cluster itself says.
    ///
    /// # Errors
    /// It does not name the step's failure class.
    pub fn budget(&self, step: Step) -> anyhow::Result<Duration> {
        let Some(class) = step.class() else { return Ok(UNINTERRUPTED) };
        let found = self.timing.classes.iter().find(|timing| timing.class == class);
        let found = found.with_context(|| format!("the cluster's timing does not name {class}"))?;
        Ok(Duration::from_micros(found.worst_us))
    }

    /// Waits until all is well and says how things stand.
    ///
    /// # Errors
    /// It does not become well.
    pub async fn healthy(&self) -> anyhow::Result<Standing> {
        standing(&self.cluster.wait_healthy(PATIENCE + self.lease_ttl * 10).await?)
    }

    /// Moves the master to a host that suits the step, by a switchover, and waits until all is well again.
    ///
    /// # Errors
    /// The switchover fails or the cluster does not become well.
    pub async fn place(&mut self, step: Step) -> anyhow::Result<Standing> {
        let now = self.healthy().await?;
        let Some(wanted) = step.arbiter_on_host() else { return Ok(now) };
        let master_host = &self.cluster.hosts[self.cluster.host_of(&now.master)?];
        if (master_host.name == now.arbiter) == wanted {
            return Ok(now);
        }
        let fits = |host: &&crate::cluster::host::Host| (host.name == now.arbiter) == wanted;
        let target = self.cluster.hosts.iter().filter(fits).choose(&mut self.random);
        let target = target.context("no host suits the step")?.instance.clone();
        self.cluster.operator.switchover(&target, PATIENCE).await?;
        self.healthy().await
    }

    /// Asks the cluster when each term was decided, so that no master is accused of the first writes of its own term.
    pub async fn learn_reigns(&self) {
        // Without an answer the directory's own notices stand, which come later and so accuse rather more.
        let Ok(records) = self.cluster.operator.history().await else { return };
        for record in
            records.into_iter().filter(|record| !record.master.is_empty() && record.at_unix_millis > 0)
        {
            let decided = self.recorder.moment_of_unix_millis(record.at_unix_millis);
            let known_from = decided.before(Duration::from_millis(1));
            self.recorder.reign(Reign { term: record.term, master: record.master.into(), known_from });
        }
    }

    /// What is newly lost: of all writes since the run began those that the present master does not have.
    ///
    /// # Errors
    /// The master cannot be asked.
    pub async fn newly_lost(&mut self, history: &History) -> anyhow::Result<Lost> {
        let master = self.follower.newest().context("no master is known")?;
        let keys: Vec<String> = history.written.iter().map(|write| key(write.sequence)).collect();
        let found = link::exist(self.cluster.engine(), &master.endpoint, &keys, LOOK_UP)
            .await
            .context("look the writes up")?;
        let written = history.written.iter().zip(found);
        let present: BTreeSet<u64> =
            written.filter(|(_, there)| *there).map(|(write, _)| write.sequence).collect();
        let mut lost =
            lost_writes(&history.written, &history.confirmed, |sequence| present.contains(&sequence));
        let all = lost.clone();
        lost.confirmed.retain(|sequence| !self.known_lost.confirmed.contains(sequence));
        lost.unconfirmed.retain(|sequence| !self.known_lost.unconfirmed.contains(sequence));
        self.known_lost = all;
        Ok(lost)
    }
}

/// Who is what, in a status of a healthy cluster.
fn standing(status: &ClusterStatus) -> anyhow::Result<Standing> {
    let set =
        status.replicasets.iter().find(|set| set.replicaset == REPLICASET).context("the set is gone")?;
    let record = set.record.as_ref().context("the set has no record")?;
    let arbiter = status.arbiter.as_ref().context("no arbiter is known")?.coordinator.clone();
    Ok(Standing { master: record.master.clone(), term: record.term, arbiter })
}
