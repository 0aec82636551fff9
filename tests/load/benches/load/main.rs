//! What one arbiter costs, and how fast it is, with many replica sets under it: at rest, when many masters end at one moment,
//! and when many hosts stand still at one moment. Real daemons; the hosts are acted, in a few processes. What counts is when a
//! router that watches has heard of the new master.
//!
//! `make bench-load`. The sizes come from the environment (see [`sizes::Sizes`]); with `JSON=1` standard output is one line.

mod cluster;
mod player;
mod process;
mod report;
mod sizes;

use anyhow::{Context as _, ensure};
use baton_client::status::{ClusterStatus, ReplicaSetStatus};
use baton_client::{Master, OperatorClient};
use cluster::Cluster;
use load::{Changed, Plan, Router, Seen};
use process::Usage;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use report::{Blow, Rest, Run};
use sizes::Sizes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long the steady state is looked at.
const REST: Duration = Duration::from_secs(20);
/// How long anything may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at the whole cluster.
const LOOK: Duration = Duration::from_millis(250);

fn main() -> anyhow::Result<()> {
    if let Ok(part) = std::env::var(player::PART) {
        return player::main(&part);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = runtime.block_on(measure(Sizes::from_environment()?))?;
    report::print(&run);
    run.check()
}

async fn measure(sizes: Sizes) -> anyhow::Result<Run> {
    let plan = Plan { sets: 0..sizes.sets, per_host: sizes.per_host };
    let started = Instant::now();
    let mut cluster = Cluster::start(&sizes, &plan).await?;
    let mut router = Router::start(&cluster.coordinator)?;
    in_time("the first appointments", router.until_active(sizes.sets)).await?;
    let first_masters = started.elapsed();
    in_time("full in-sync sets", healthy(&cluster, &router)).await??;
    // Only now: on a machine that is too busy to start all of them within a lease, some have had a second master by then.
    let first = router.masters();
    say(&format!("{} sets are healthy after {:.1?}", sizes.sets, started.elapsed()));

    let rest = rest(&mut cluster).await?;
    let asked = ask(&cluster).await?;
    let mut random = rand::rngs::StdRng::seed_from_u64(sizes.seed);
    let silent = silent_hosts(&plan, &first, sizes.victims);
    let frozen: Vec<_> = silent.hosts.iter().cloned().collect();
    let silent_blow =
        blow(&cluster, &mut router, &silent.sets, |cluster| cluster.tell("freeze", &frozen)).await?;
    cluster.tell("thaw", &frozen)?;
    in_time("full in-sync sets", healthy(&cluster, &router)).await??;

    let others: Vec<_> = first.keys().filter(|set| !silent.sets.contains(*set)).cloned().collect();
    let victims: BTreeSet<_> = others.sample(&mut random, sizes.victims).cloned().collect();
    let before = router.masters();
    let instances: Vec<_> = victims.iter().map(|set| before[set].instance.clone()).collect();
    let ended_blow = blow(&cluster, &mut router, &victims, |cluster| cluster.tell("end", &instances)).await?;
    in_time("full in-sync sets", healthy(&cluster, &router)).await??;

    let seen = cluster.seen()?;
    let (missing, lapsed) = other_terms(&first, &router.masters(), &silent.sets, &victims);
    let memory = process::resident(cluster.coordinator_pid())?;
    Ok(Run {
        sizes,
        first_masters,
        rest,
        asked,
        silent: silent_blow,
        ended: ended_blow,
        memory,
        seen,
        missing,
        lapsed,
    })
}

/// Progress, for people.
fn say(text: &str) {
    eprintln!("{text}");
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, future).await.with_context(|| format!("{what}: not within {PATIENCE:?}"))
}

/// Waits until every set has all its members in its in-sync set, at the term that the router knows.
async fn healthy(cluster: &Cluster, router: &Router) -> anyhow::Result<()> {
    let full = |masters: &BTreeMap<String, Master>, set: &ReplicaSetStatus| {
        masters.get(&set.replicaset).is_some_and(|master| master.term == set.term)
            && set.members.len() == 3
            && set.members.iter().all(|member| member.in_sync)
    };
    let operator = OperatorClient::new([cluster.coordinator.as_str()], PATIENCE)?;
    loop {
        let asked = Instant::now();
        let status: ClusterStatus = operator.status().await?;
        let masters = router.masters();
        let all = status.replicasets.iter().all(|set| full(&masters, set));
        if all && status.replicasets.len() == masters.len() {
            return Ok(());
        }
        // tidy: waits because asking for the whole state again and again would be the load
        tokio::time::sleep(LOOK.max(asked.elapsed() * 5)).await;
    }
}

/// What a cluster costs in which nothing happens.
async fn rest(cluster: &mut Cluster) -> anyhow::Result<Rest> {
    let (before, seen, written) = (cluster.usage()?, cluster.seen()?, cluster.revision().await?);
    let since = Instant::now();
    // tidy: waits because nothing is what is measured
    tokio::time::sleep(REST).await;
    let took = since.elapsed();
    let share = |name: &str, after: &BTreeMap<&'static str, Usage>| {
        let used = |usage: &BTreeMap<&str, Usage>| usage.get(name).map_or(Duration::ZERO, |usage| usage.cpu);
        used(after).saturating_sub(used(&before)).as_secs_f64() / took.as_secs_f64() * 100.0
    };
    let after = cluster.usage()?;
    Ok(Rest {
        beats_per_second: (cluster.seen()?.beats - seen.beats) as f64 / took.as_secs_f64(),
        arbiter_percent: share("arbiter", &after),
        provider_percent: share("provider", &after),
        players_percent: share("players", &after),
        arbiter_bytes: after.get("arbiter").map_or(0, |usage| usage.resident),
        provider_bytes: after.get("provider").map_or(0, |usage| usage.resident),
        changes_written: cluster.revision().await?.saturating_sub(written),
    })
}

/// How long a person waits for an answer, in the median.
async fn ask(cluster: &Cluster) -> anyhow::Result<[(&'static str, Duration); 2]> {
    let mut asked = [("status", Duration::ZERO), ("masters", Duration::ZERO)];
    for (what, median) in &mut asked {
        let mut took = Vec::new();
        for _ in 0..5 {
            took.push(cluster.ask(what).await?);
        }
        took.sort_unstable();
        *median = took[took.len() / 2];
    }
    Ok(asked)
}

/// Hosts that stand still together, and the sets whose masters are on them.
struct Silent {
    hosts: BTreeSet<String>,
    sets: BTreeSet<String>,
}

/// Whole hosts, until so many masters are on them. Of the first zone, where the first masters are: no set loses two members.
fn silent_hosts(plan: &Plan, masters: &BTreeMap<String, Master>, wanted: usize) -> Silent {
    let mut silent = Silent { hosts: BTreeSet::new(), sets: BTreeSet::new() };
    for seat in plan.seats() {
        let leads = masters.get(&seat.replicaset).is_some_and(|master| master.instance == seat.instance);
        if leads && (silent.sets.len() < wanted || silent.hosts.contains(&seat.host)) {
            silent.hosts.insert(seat.host);
            silent.sets.insert(seat.replicaset);
        }
    }
    silent
}

/// Lets it happen, and waits until the router knows an active master of each set again.
async fn blow(
    cluster: &Cluster,
    router: &mut Router,
    sets: &BTreeSet<String>,
    strike: impl FnOnce(&Cluster) -> anyhow::Result<()>,
) -> anyhow::Result<Blow> {
    let masters = router.masters();
    let before: BTreeMap<_, _> =
        sets.iter().filter_map(|set| Some((set.clone(), masters.get(set)?.clone()))).collect();
    let usage = process::usage(&[cluster.coordinator_pid()])?;
    let since = Instant::now();
    strike(cluster)?;
    let mut changed: BTreeMap<String, Changed> = BTreeMap::new();
    let waited = tokio::time::timeout(PATIENCE, router.until_replaced(&before, &mut changed)).await;
    let cpu = process::usage(&[cluster.coordinator_pid()])?.cpu.saturating_sub(usage.cpu);
    ensure!(waited.is_ok(), "{} of {} masters were not replaced", before.len() - changed.len(), before.len());
    let mut after: Vec<_> = changed.values().map(|changed| changed.at - since).collect();
    after.sort_unstable();
    say(&format!(
        "{} masters replaced within {:.2?}",
        after.len(),
        after.last().copied().unwrap_or_default()
    ));
    Ok(Blow { after, cpu })
}

/// How many sets have a lower term than the blows that hit them explain, and how many a higher one: their master's lease ran
/// out, since the machine was too busy.
fn other_terms(
    first: &BTreeMap<String, Master>,
    last: &BTreeMap<String, Master>,
    silent: &BTreeSet<String>,
    ended: &BTreeSet<String>,
) -> (usize, usize) {
    let (mut missing, mut lapsed) = (0, 0);
    for (set, master) in first {
        let expected = master.term + u64::from(silent.contains(set)) + u64::from(ended.contains(set));
        let term = last.get(set).map_or(0, |master| master.term);
        missing += usize::from(term < expected);
        lapsed += usize::from(term > expected);
    }
    (missing, lapsed)
}

/// The sum of what several processes saw.
fn sum(all: impl IntoIterator<Item = Seen>) -> Seen {
    all.into_iter().fold(Seen::default(), |sum, seen| Seen {
        beats: sum.beats + seen.beats,
        promotions: sum.promotions + seen.promotions,
        two_writable: sum.two_writable + seen.two_writable,
        promises_asked: sum.promises_asked + seen.promises_asked,
        killed: sum.killed + seen.killed,
    })
}
