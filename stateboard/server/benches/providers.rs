//! The stateboard against etcd with one member: the same calls through the same trait, on the same disk, in one run, in turns
//! where a slow moment of the disk would count. Real processes; the ratios are what counts.
//!
//! `cargo bench -p baton-stateboard --bench providers`; with `JSON=1` standard output is one line. `TINY=1` tries everything
//! at sizes that prove nothing.

mod shared;

use anyhow::{Context as _, bail, ensure};
use baton_core::ids::ClusterName;
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_provider::etcd::{EtcdOptions, EtcdProvider};
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{Item, LockToken, StateProvider, WatchEvent, identity_of};
use shared::{HOLDER, Holder, appoint, candidate, hold_for_ever, keep, percentile};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

/// Of each provider before the other has its turn.
const TURN: usize = 50;
const CLIENTS: usize = 64;
/// How long anything that should come at once may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The lease; etcd's shortest lock is longer than what follows from it.
const LEASE_TTL: &str = "300ms";
const WATCHED: &str = "watched";

/// How much is measured.
struct Sizes {
    appointments: usize,
    load: Duration,
    watchers: usize,
    watched: usize,
    hand_overs: usize,
}

impl Sizes {
    fn of_the_environment() -> Self {
        let second = Duration::from_secs(1);
        if std::env::var_os("TINY").is_some_and(|value| value == "1") {
            return Self { appointments: TURN, load: second / 5, watchers: 20, watched: 5, hand_overs: 2 };
        }
        Self { appointments: 2_000, load: second * 3, watchers: 1_000, watched: 50, hand_overs: 5 }
    }
}

/// A provider that runs, and how its clients are made.
struct Server {
    process: Child,
    spec: String,
}

impl Server {
    fn stateboard(directory: &Path) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let seed = directory.join("seed.toml");
        std::fs::write(&seed, format!("lease_ttl = {LEASE_TTL:?}\n"))?;
        let process = Command::new(env!("CARGO_BIN_EXE_baton-stateboard"))
            .args(["--cluster", "bench", "--http-listen", "off", "--listen", &address, "--data-dir"])
            .arg(directory.join("stateboard"))
            .arg("--seed-settings")
            .arg(&seed)
            .env("RUST_LOG", "error")
            .spawn()
            .context("start the stateboard")?;
        Ok(Self { process, spec: format!("stateboard {address}") })
    }

    fn etcd(directory: &Path) -> anyhow::Result<Self> {
        let url = || anyhow::Ok(format!("http://127.0.0.1:{}", free_port()?));
        let (clients, peers) = (url()?, url()?);
        let process = Command::new("etcd")
            .args(["--name", "bench", "--logger", "zap", "--log-level", "error", "--data-dir"])
            .arg(directory.join("etcd"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("bench={peers}")])
            .stderr(Stdio::null())
            .spawn()
            .context("start etcd (apt-get install etcd-server)")?;
        Ok(Self { process, spec: format!("etcd {clients}") })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A client with a connection of its own.
fn client(spec: &str) -> anyhow::Result<Arc<dyn StateProvider>> {
    let (kind, address) = spec.split_once(' ').context("KIND ADDRESS")?;
    let (endpoints, identity) = (vec![address.to_owned()], identity_of(ClusterName::parse("bench")?, ""));
    let limit = Duration::from_secs(10);
    if kind == "etcd" {
        let seed_settings = Settings { lease_ttl: Span::from_millis(300), ..Settings::default() };
        let options = EtcdOptions { seed_settings, ..EtcdOptions::new(endpoints, identity, limit) };
        return Ok(Arc::new(EtcdProvider::new(options)?));
    }
    Ok(Arc::new(StateboardProvider::new(StateboardOptions::new(endpoints, identity, limit))?))
}

/// What was measured of one provider.
#[derive(Default)]
struct Figures {
    /// Median and 99th percentile.
    appoint: [Duration; 2],
    appoints_per_second: f64,
    reads_per_second: f64,
    /// From the request to a watcher: median and 99th percentile over all watchers and all appointments.
    watch: [Duration; 2],
    /// Median, and the bound on the holder's belief that comes on top.
    hand_over: [Duration; 2],
}

fn median_and_p99(mut samples: Vec<Duration>) -> [Duration; 2] {
    [percentile(&mut samples, 50), percentile(&mut samples, 99)]
}

/// One client, one appointment after the other, the two providers in turns.
async fn latency(
    sides: &[(Arc<dyn StateProvider>, LockToken); 2],
    count: usize,
) -> anyhow::Result<[Vec<Duration>; 2]> {
    let mut samples = [Vec::new(), Vec::new()];
    let mut terms = [0; 2];
    while samples.iter().any(|samples| samples.len() < count) {
        for (side, (client, token)) in sides.iter().enumerate() {
            for _ in 0..TURN {
                terms[side] += 1;
                let start = Instant::now();
                appoint(client.as_ref(), *token, "latency", terms[side]).await?;
                samples[side].push(start.elapsed());
            }
        }
    }
    Ok(samples)
}

/// How often in a second `CLIENTS` clients, each with a connection of its own, do something together.
async fn together<F>(
    spec: &str,
    load: Duration,
    work: impl Fn(Arc<dyn StateProvider>, usize, Instant) -> F,
) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<u32>> + Send + 'static,
{
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = client(spec)?;
        // Connected before the clock runs.
        client.join().await?;
        clients.push(client);
    }
    let start = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(work(client, number, start + load)))
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(f64::from(total) / start.elapsed().as_secs_f64())
}

async fn read_until(client: Arc<dyn StateProvider>, end: Instant) -> anyhow::Result<u32> {
    let mut done = 0;
    while Instant::now() < end {
        let snapshot = client.read().await?;
        ensure!(!snapshot.records.is_empty(), "an empty snapshot");
        done += 1;
    }
    Ok(done)
}

async fn appoint_until(
    client: Arc<dyn StateProvider>,
    token: LockToken,
    set: String,
    end: Instant,
) -> anyhow::Result<u32> {
    let mut done = 0;
    while Instant::now() < end {
        done += 1;
        appoint(client.as_ref(), token, &set, u64::from(done)).await?;
    }
    Ok(done)
}

/// One watcher: says that it watches, then when each appointment came.
async fn watch_one(
    client: Arc<dyn StateProvider>,
    seen: mpsc::Sender<Option<Instant>>,
) -> anyhow::Result<()> {
    let mut events = client.watch(None).await?;
    while let Some(event) = events.next().await {
        let at = Instant::now();
        let is_it =
            |item: &Item| matches!(item, Item::Record(record) if record.replicaset.as_str() == WATCHED);
        match event? {
            WatchEvent::Snapshot(_) => seen.send(None).await?,
            WatchEvent::Update(update) => {
                for _ in update.items.iter().filter(|item| is_it(item)) {
                    seen.send(Some(at)).await?;
                }
            }
        }
    }
    bail!("a watch ended")
}

/// From the request to each of many watchers, each with a connection of its own.
async fn watchers(spec: &str, token: LockToken, sizes: &Sizes) -> anyhow::Result<[Duration; 2]> {
    let (seen, mut arrivals) = mpsc::channel(sizes.watchers);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..sizes.watchers {
        tasks.spawn(watch_one(client(spec)?, seen.clone()));
        // One after the other: a thousand handshakes at once are another measurement.
        ensure!(timeout(PATIENCE, arrivals.recv()).await? == Some(None), "no snapshot at first");
    }
    let master = client(spec)?;
    let mut samples = Vec::new();
    for term in 1..=sizes.watched {
        let start = Instant::now();
        appoint(master.as_ref(), token, WATCHED, u64::try_from(term)?).await?;
        for _ in 0..sizes.watchers {
            match timeout(PATIENCE, arrivals.recv()).await.context("a watcher was never told")? {
                Some(Some(at)) => samples.push(at.saturating_duration_since(start)),
                other => bail!("{other:?} in place of an appointment"),
            }
        }
    }
    Ok(median_and_p99(samples))
}

/// How long after SIGKILL of its holder the lock is the next one's, and the bound that it is told then.
async fn hand_over(spec: &str) -> anyhow::Result<[Duration; 2]> {
    let mut holder = Holder::start(spec)?;
    let mut holder =
        tokio::task::spawn_blocking(move || holder.wait_until_it_holds().map(|()| holder)).await??;
    let waiting = client(spec)?;
    // Connected and in line before the kill, as a second coordinator is.
    waiting.join().await?;
    let line = tokio::spawn(async move {
        let session = waiting.campaign(&candidate("next")?, None).await?;
        anyhow::Ok((Instant::now(), session))
    });
    // Not every provider says who waits.
    tokio::time::sleep(Duration::from_millis(300)).await;
    ensure!(!line.is_finished(), "the lock was nobody's");
    let killed = Instant::now();
    holder.kill()?;
    let (taken, session) = timeout(PATIENCE, line).await???;
    let bound = session.grant().predecessor_bound.as_duration();
    session.resign(Span::ZERO).await?;
    Ok([taken - killed, bound])
}

async fn measure(sizes: &Sizes) -> anyhow::Result<[Figures; 2]> {
    // Not /tmp, which is memory on many machines: the disk that the build is on.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let servers = [Server::stateboard(directory.path())?, Server::etcd(directory.path())?];
    let mut sides = Vec::new();
    let mut keepers = Vec::new();
    for server in &servers {
        let client = client(&server.spec)?;
        let session = timeout(PATIENCE, client.campaign(&candidate("bench")?, None)).await??;
        sides.push((client, session.grant().token));
        keepers.push(keep(session));
    }
    let sides: [_; 2] = sides.try_into().map_err(|_| anyhow::anyhow!("two providers"))?;
    let appoints = latency(&sides, sizes.appointments).await?;
    let mut figures =
        appoints.map(|samples| Figures { appoint: median_and_p99(samples), ..Figures::default() });
    for ((server, (_, token)), figures) in servers.iter().zip(&sides).zip(&mut figures) {
        let token = *token;
        // While there is one replica set: what a read costs, not what a large answer does.
        figures.reads_per_second =
            together(&server.spec, sizes.load, |client, _, end| read_until(client, end)).await?;
        figures.appoints_per_second = together(&server.spec, sizes.load, move |client, number, end| {
            appoint_until(client, token, format!("load-{number}"), end)
        })
        .await?;
        figures.watch = watchers(&server.spec, token, sizes).await?;
    }
    for keeper in keepers {
        keeper.abort();
    }
    for (server, figures) in servers.iter().zip(&mut figures) {
        let (mut taken, mut bounds) = (Vec::new(), Vec::new());
        for _ in 0..sizes.hand_overs {
            let [took, bound] = hand_over(&server.spec).await?;
            taken.push(took);
            bounds.push(bound);
        }
        figures.hand_over = [percentile(&mut taken, 50), percentile(&mut bounds, 50)];
    }
    Ok(figures)
}

/// One line of the report: the two values, how they compare, and what they should.
struct Row {
    what: &'static str,
    key: &'static str,
    unit: &'static str,
    values: [f64; 2],
    ratio: f64,
    target: &'static str,
    ok: bool,
}

fn rows([ours, etcd]: &[Figures; 2]) -> Vec<Row> {
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    let of = |value: fn(&Figures) -> Duration| [millis(value(ours)), millis(value(etcd))];
    let row = |what, key, unit, values: [f64; 2], ratio: f64, target, ok| Row {
        what,
        key,
        unit,
        values,
        ratio,
        target,
        ok,
    };
    let appoint = of(|it| it.appoint[0]);
    let watch = of(|it| it.watch[1]);
    let hand_over = of(|it| it.hand_over[0]);
    let appoints = [ours.appoints_per_second, etcd.appoints_per_second];
    let reads = [ours.reads_per_second, etcd.reads_per_second];
    let [less, more, read] = [appoint[0] / appoint[1], appoints[0] / appoints[1], reads[0] / reads[1]];
    let (told, sooner) = (watch[0] / watch[1], hand_over[1] / hand_over[0]);
    vec![
        row("durable appoint, median", "appoint", "ms", appoint, less, "at most 0.85", less <= 0.85),
        row("appointments, 64 clients", "appoints", "/s", appoints, more, "at least 1.4", more >= 1.4),
        row("linearizable reads, 64 clients", "reads", "/s", reads, read, "at least 8", read >= 8.0),
        row(
            "appoint to a watcher, p99",
            "watch_p99",
            "ms",
            watch,
            told,
            "25 ms, and at most 0.5",
            told <= 0.5 && watch[0] <= 25.0,
        ),
        row("lock after SIGKILL", "hand_over", "ms", hand_over, sooner, "20 times sooner", sooner >= 20.0),
    ]
}

fn report(figures: &[Figures; 2], sizes: &Sizes) {
    let rows = rows(figures);
    if std::env::var_os("JSON").is_some_and(|value| value == "1") {
        let fields = rows.iter().map(|row| {
            let [ours, etcd] = row.values;
            let key = row.key;
            format!(
                "\"{key}\":{{\"stateboard\":{ours:.3},\"etcd\":{etcd:.3},\"ratio\":{:.2},\"ok\":{}}}",
                row.ratio, row.ok
            )
        });
        println!("{{\"watchers\":{},{}}}", sizes.watchers, fields.collect::<Vec<_>>().join(","));
        return;
    }
    println!("the stateboard against etcd, one member, same disk, same run ({} watchers)", sizes.watchers);
    println!("  {:<32}{:>14}{:>14}{:>8}", "", "stateboard", "etcd", "ratio");
    for Row { what, unit, values: [ours, etcd], ratio, target, ok, .. } in &rows {
        let shown =
            |value: &f64| if *unit == "ms" { format!("{value:.2} ms") } else { format!("{value:.0} /s") };
        let verdict = if *ok { "ok" } else { "MISSED" };
        println!("  {what:<32}{:>14}{:>14}{ratio:>8.2}  ({target}: {verdict})", shown(ours), shown(etcd));
    }
    let [ours, etcd] = figures.each_ref().map(|figures| figures.hand_over[1].as_secs_f64() * 1e3);
    println!(
        "  a new arbiter waits {ours:.1} ms more after a stateboard's lock ({etcd:.1} ms after etcd's): the predecessor bound"
    );
}

fn main() -> anyhow::Result<()> {
    // Watchers with a connection each; what may be had is had, and the rest is told by whoever runs out first.
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, files);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match std::env::var(HOLDER) {
        Ok(spec) => runtime.block_on(async { hold_for_ever(client(&spec)?.as_ref()).await }),
        Err(_) => {
            let sizes = Sizes::of_the_environment();
            let figures = runtime.block_on(measure(&sizes))?;
            report(&figures, &sizes);
            Ok(())
        }
    }
}
