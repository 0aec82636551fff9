//! How fast a stateboard is, against the disk it runs on: durable appointments at one client and at many, and the lock
//! after its holder was killed. Real processes, real files. Ratios are what counts: the raw append is measured in the
//! same run, on the same disk, in turns with the appointments.
//!
//! `cargo bench -p baton-stateboard`; with `JSON=1` standard output is one line.

mod shared;

use anyhow::Context as _;
use baton_core::ids::ClusterName;
use baton_core::time::Span;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use baton_provider::{LockToken, StateProvider, identity_of};
use shared::{HOLDER, Holder, appoint, candidate, hold_for_ever, keep, percentile};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Appointments and appends measured one by one.
const SAMPLES: usize = 2_000;
/// Of each before the clocks change places, so that a disk that is slow for a while is slow for both.
const TURN: usize = 50;
/// Bytes of a raw append: about what one appointment writes.
const APPEND_BYTES: usize = 400;
const CLIENTS: usize = 64;
const LOAD: Duration = Duration::from_secs(3);
const HAND_OVERS: usize = 10;

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let probe = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = probe.local_addr()?.to_string();
        drop(probe);
        let seed = directory.join("seed.toml");
        std::fs::write(&seed, "lease_ttl = \"300ms\"\n")?;
        let process = Command::new(env!("CARGO_BIN_EXE_baton-stateboard"))
            .args(["--cluster", "bench", "--http-listen", "off", "--listen", &address, "--data-dir"])
            .arg(directory.join("data"))
            .arg("--seed-settings")
            .arg(&seed)
            .env("RUST_LOG", "error")
            .spawn()
            .context("start the stateboard")?;
        Ok(Self { process, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn client(address: &str) -> anyhow::Result<StateboardProvider> {
    Ok(StateboardProvider::new(StateboardOptions::new(
        vec![address.to_owned()],
        identity_of(ClusterName::parse("bench")?, ""),
        Duration::from_secs(10),
    ))?)
}

struct Latency {
    append: [Duration; 2],
    appoint: [Duration; 2],
}

async fn latency(client: &dyn StateProvider, token: LockToken, directory: &Path) -> anyhow::Result<Latency> {
    let mut file = std::fs::File::create(directory.join("append"))?;
    let (mut appends, mut appoints) = (Vec::new(), Vec::new());
    let mut term = 0;
    while appoints.len() < SAMPLES {
        for _ in 0..TURN {
            let start = Instant::now();
            file.write_all(&[7; APPEND_BYTES])?;
            file.sync_data()?;
            appends.push(start.elapsed());
        }
        for _ in 0..TURN {
            term += 1;
            let start = Instant::now();
            appoint(client, token, "latency", term).await?;
            appoints.push(start.elapsed());
        }
    }
    let both = |samples: &mut Vec<Duration>| [percentile(samples, 50), percentile(samples, 99)];
    Ok(Latency { append: both(&mut appends), appoint: both(&mut appoints) })
}

/// Appointments in a second by so many clients, each with a connection and a set of its own.
async fn throughput(address: &str, token: LockToken, clients: usize) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..clients {
        let client = client(address)?;
        let set = format!("load-{clients}-{number}");
        tasks.push(tokio::spawn(async move {
            let mut term = 0;
            while start.elapsed() < LOAD {
                term += 1;
                appoint(&client, token, &set, term).await?;
            }
            anyhow::Ok(term)
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(f64::from(u32::try_from(total)?) / start.elapsed().as_secs_f64())
}

/// How long after SIGKILL of its holder the lock is the next one's, and the bound that it is told then.
async fn hand_over(address: &str) -> anyhow::Result<(Duration, Span)> {
    let mut holder = Holder::start(address)?;
    let mut holder =
        tokio::task::spawn_blocking(move || holder.wait_until_it_holds().map(|()| holder)).await??;
    let waiting = client(address)?;
    // Connected and in line before the kill, as a second coordinator is.
    waiting.join().await?;
    let line = tokio::spawn(async move {
        let session = waiting.campaign(&candidate("next")?, None).await?;
        anyhow::Ok((Instant::now(), session))
    });
    while client(address)?.status().await?.waiting == 0 {
        tokio::task::yield_now().await;
    }
    let killed = Instant::now();
    holder.kill()?;
    let (taken, session) = line.await??;
    let bound = session.grant().predecessor_bound;
    session.resign(Span::ZERO).await?;
    Ok((taken - killed, bound))
}

async fn measure() -> anyhow::Result<()> {
    // Not /tmp, which is memory on many machines: the disk that the build is on.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = Server::start(directory.path())?;
    let address = server.address.clone();
    let main = client(&address)?;
    let session = main.campaign(&candidate("bench")?, None).await?;
    let token = session.grant().token;
    let keeper = keep(session);
    let latency = latency(&main, token, directory.path()).await?;
    let one = throughput(&address, token, 1).await?;
    let many = throughput(&address, token, CLIENTS).await?;
    keeper.abort();
    let mut hand_overs = Vec::new();
    let mut bounds = Vec::new();
    for _ in 0..HAND_OVERS {
        let (took, bound) = hand_over(&address).await?;
        hand_overs.push(took);
        bounds.push(bound.as_duration());
    }
    let worst = hand_overs.iter().max().copied().unwrap_or_default();
    let hand_over = percentile(&mut hand_overs, 50);
    report(&latency, one, many, (hand_over, worst, percentile(&mut bounds, 50)));
    Ok(())
}

fn report(latency: &Latency, one: f64, many: f64, lock: (Duration, Duration, Duration)) {
    let micros = |span: Duration| span.as_secs_f64() * 1e6;
    let ratio = micros(latency.appoint[0]) / micros(latency.append[0]);
    let (hand_over, worst, bound) = lock;
    if std::env::var_os("JSON").is_some_and(|value| value == "1") {
        println!(
            "{{\"append_us\":{:.1},\"append_p99_us\":{:.1},\"appoint_us\":{:.1},\"appoint_p99_us\":{:.1},\
             \"ratio\":{ratio:.2},\"appoints_per_second\":{one:.0},\"appoints_per_second_64\":{many:.0},\
             \"gain\":{:.1},\"hand_over_ms\":{:.2},\"hand_over_worst_ms\":{:.2},\"predecessor_bound_ms\":{:.1}}}",
            micros(latency.append[0]),
            micros(latency.append[1]),
            micros(latency.appoint[0]),
            micros(latency.appoint[1]),
            many / one,
            micros(hand_over) / 1e3,
            micros(worst) / 1e3,
            micros(bound) / 1e3,
        );
        return;
    }
    println!("durable appointments at the client, and a raw append of {APPEND_BYTES} bytes with fdatasync");
    println!("  {:<28}{:>10}{:>10}", "", "median", "p99");
    for (what, [median, p99]) in [("append + fdatasync", latency.append), ("appoint", latency.appoint)] {
        println!("  {what:<28}{:>7.0} us{:>7.0} us", micros(median), micros(p99));
    }
    println!("  {:<28}{ratio:>10.2}  (at most 3.2, aim 2.5)", "ratio of the medians");
    println!("appointments a second");
    println!("  {:<28}{one:>10.0}", "1 client");
    println!("  {:<28}{many:>10.0}", format!("{CLIENTS} clients"));
    println!("  {:<28}{:>10.1}  (at least 8)", "gain", many / one);
    println!("the lock after SIGKILL of its holder");
    println!(
        "  {:<28}{:>7.2} ms  (worst {:.2}, under 20)",
        "taken after",
        micros(hand_over) / 1e3,
        micros(worst) / 1e3
    );
    println!("  {:<28}{:>7.1} ms", "predecessor_bound then", micros(bound) / 1e3);
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match std::env::var(HOLDER) {
        Ok(address) => runtime.block_on(async { hold_for_ever(&client(&address)?).await }),
        Err(_) => runtime.block_on(measure()),
    }
}
