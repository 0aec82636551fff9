//! Plays a scenario: makes the cluster, starts the clients, lets the faults strike and heals them, waits for health, reads
//! everything at the end, and leaves the evidence. It judges nothing.

mod clients;
pub mod command;
mod ending;
mod play;
mod progress;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use self::clients::Clients;
use self::play::Play;
use self::watch::Watch;
use crate::cluster::binaries::Binaries;
use crate::cluster::config::REPLICASET;
use crate::evidence::clock::Clock;
use crate::evidence::{Ending, FORMAT, Folder, Run, file};
use crate::field::{Field, Ground, Plan};
use crate::report::narrator::Narrator;
use crate::scenario::Scenario;
use crate::workload::history::micros;

/// How long the first start and every recovery may take on top of twenty leases.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the clients go on after all is well again, so that a late offender is seen.
const LINGER: Duration = Duration::from_millis(500);
/// Between two looks at the health.
const LOOK: Duration = Duration::from_millis(50);

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Order {
    /// The story.
    pub scenario: Scenario,
    /// On which cluster.
    pub plan: Plan,
    /// Of all random choices.
    pub seed: u64,
    /// Where the evidence goes.
    pub out: PathBuf,
    /// Where the programs of an earlier build lie, with which it begins.
    pub previous: Option<PathBuf>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Played {
    /// Where the evidence is.
    pub evidence: PathBuf,
}

/// Plays one scenario on a cluster of its own, in the network of `ground`, which the calling thread has entered.
///
/// # Errors
/// It could not be played, so that nothing is to be concluded: something is missing here, the cluster did not start, a fault
/// could not strike.
pub async fn play(order: &Order, ground: Ground, narrator: &Narrator) -> anyhow::Result<Played> {
    let mut random = StdRng::seed_from_u64(order.seed);
    let binaries = Binaries::find(order.plan.engine, order.plan.provider)?;
    narrator.doing(&format!("{}: starting a cluster", order.scenario.name));
    let first = match &order.previous {
        Some(folder) => binaries.before(folder)?,
        None => binaries.clone(),
    };
    let field = Field::start(ground, order.plan, &first, &mut random)?;
    healthy(&field).await.with_context(|| {
        format!("start the cluster; the logs are in {}", order.out.join(file::LOGS).display())
    })?;
    let clock = Clock::start();
    let budgets = field.operator.timing().await?.classes;
    let budgets_us = budgets.into_iter().map(|class| (class.class, class.worst_us)).collect();
    let mut evidence = Folder::create(&order.out, &description(order, &field, budgets_us))?;
    let watch = Watch::start(field.operator.clone(), instances(&field), &evidence, clock)
        .context("start to watch")?;
    let clients = Clients::start(&field, &evidence, clock, order.seed)?;
    let mut play = Play::new(field, clock, random, narrator, binaries);
    let mut issues = Vec::new();
    if let Err(error) = play.all(&order.scenario, &mut evidence).await {
        issues.push(format!("{error:#}"));
    }
    // Whatever happened: nothing may stay struck, and all has to become well again.
    play.heal_all(&mut evidence)?;
    let field = play.into_field();
    narrator.doing(&format!("{}: waiting until all is well", order.scenario.name));
    let health = healthy(&field).await;
    let ended_us = clock.now();
    sleep(LINGER).await;
    issues.extend(health.as_ref().err().map(|error| format!("{error:#}")));
    issues.extend(clients.end().await.err().map(|error| format!("{error:#}")));
    drop(watch);
    let healthy = health.is_ok() && issues.is_empty();
    let ending =
        ending::read(&field, &mut evidence, clock, Ending { ended_us, healthy, issues, ..Ending::default() });
    let ending = ending.await?;
    let path = evidence.path().to_owned();
    evidence.end(&ending)?;
    Ok(Played { evidence: path })
}

fn instances(field: &Field) -> Vec<String> {
    field.hosts.iter().map(|host| host.instance.clone()).collect()
}

fn description(order: &Order, field: &Field, budgets_us: BTreeMap<String, u64>) -> Run {
    let Order { scenario, plan, seed, previous, .. } = order;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lease = humantime::format_duration(plan.lease_ttl);
    Run {
        format: FORMAT,
        scenario: scenario.name.to_owned(),
        story: scenario.story.to_owned(),
        engine: plan.engine.name().to_owned(),
        provider: plan.provider.name().to_owned(),
        mode: plan.mode,
        seed: *seed,
        lease_ttl_ms: micros(plan.lease_ttl) / 1_000,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: micros(unix) / 1_000,
        command: format!(
            "chaos run {} --engine {} --provider {} --{} --lease-ttl {} --seed {seed}{}",
            scenario.name,
            plan.engine.name(),
            plan.provider.name(),
            plan.mode.name(),
            lease.to_string().replace(' ', ""),
            previous.as_ref().map_or(String::new(), |folder| format!(" --previous {}", folder.display()))
        ),
        replicaset: REPLICASET.to_owned(),
        instances: instances(field),
        budgets_us,
        expected_changes: scenario.expected_changes,
    }
}

/// Waits until all is well.
///
/// # Errors
/// It did not become so in time; says what was still missing, or who ended.
pub(crate) async fn healthy(field: &Field) -> anyhow::Result<baton_proto::v1::ClusterStatus> {
    let limit = PATIENCE + field.plan.lease_ttl * 20;
    let deadline = Instant::now() + limit;
    loop {
        let missing = match field.whole().await {
            Ok(status) => return Ok(status),
            Err(missing) => missing,
        };
        if let Some(ended) = field.who_ended() {
            anyhow::bail!("{ended}; before that: {missing}");
        }
        anyhow::ensure!(Instant::now() < deadline, "not healthy after {limit:?}: {missing}");
        sleep(LOOK).await;
    }
}
