//! A process that plays hosts, and the words over its standard input that tell it what to do: `end INSTANCE…`,
//! `freeze HOST…`, `thaw HOST…`, and `seen`, which it answers with one line. It ends with its input.

use anyhow::Context as _;
use baton_coordinator::config::{Config, Overrides};
use load::{Fleet, FleetConfig, Pace, Plan, Seen};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

/// Set in a process that plays: `FIRST LAST PER_HOST CONFIG`.
pub const PART: &str = "LOAD_PLAYER";

/// How long what is acted takes: an engine on loopback, a disk.
const PACE: Pace = Pace { engine: Duration::from_millis(1), disk: Duration::from_micros(500) };

pub fn main(part: &str) -> anyhow::Result<()> {
    let mut words = part.splitn(4, ' ');
    let mut word = || words.next().context("FIRST LAST PER_HOST CONFIG");
    let (first, last, per_host) = (word()?.parse()?, word()?.parse()?, word()?.parse()?);
    let cluster = Config::load(Path::new(word()?), [], &Overrides::default())?;
    let config = FleetConfig::new(cluster, Plan { sets: first..last, per_host }, PACE);
    let (lines, mut told) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let fleet = Fleet::start(config).await?;
        while let Some(line) = told.recv().await {
            obey(&fleet, &line)?;
        }
        anyhow::Ok(())
    })
}

fn obey(fleet: &Fleet, line: &str) -> anyhow::Result<()> {
    let (verb, names) = line.split_once(' ').unwrap_or((line, ""));
    let names = names.split_whitespace();
    match verb {
        "end" => fleet.end_engines(names),
        "freeze" => fleet.freeze(names, true),
        "thaw" => fleet.freeze(names, false),
        "seen" => {
            let Seen { beats, promotions, two_writable, promises_asked, killed } = fleet.seen();
            println!("{beats} {promotions} {two_writable} {promises_asked} {killed}");
        }
        _ => anyhow::bail!("{verb:?} is nothing to be done"),
    }
    Ok(())
}

/// A process that plays, as the bench holds it.
pub struct Player {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Player {
    pub fn start(plan: &Plan, config: &Path) -> anyhow::Result<Self> {
        let part = format!("{} {} {} {}", plan.sets.start, plan.sets.end, plan.per_host, config.display());
        let mut child = Command::new(std::env::current_exe()?)
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a process that plays hosts")?;
        let pipes = child.stdin.take().zip(child.stdout.take()).context("both were asked for")?;
        Ok(Self { child, pipes: Mutex::new((pipes.0, BufReader::new(pipes.1))) })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn tell(&self, verb: &str, names: &[String]) -> anyhow::Result<()> {
        let mut pipes = self.pipes.lock().map_err(|_| anyhow::anyhow!("a panic while it was told"))?;
        writeln!(pipes.0, "{verb} {}", names.join(" ")).context("a process that plays hosts has ended")
    }

    pub fn seen(&self) -> anyhow::Result<Seen> {
        self.tell("seen", &[])?;
        let mut line = String::new();
        self.pipes
            .lock()
            .map_err(|_| anyhow::anyhow!("a panic while it was asked"))?
            .1
            .read_line(&mut line)?;
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [beats, promotions, two_writable, promises_asked, killed] = numbers[..] else {
            anyhow::bail!("a process that plays hosts said {line:?}");
        };
        Ok(Seen { beats, promotions, two_writable, promises_asked, killed })
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
