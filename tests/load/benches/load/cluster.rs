//! The processes of one run: a provider, a coordinator without engines of its own, and the players. They end with it.

use crate::player::Player;
use crate::process::{self, Usage};
use crate::sizes::Sizes;
use crate::sum;
use anyhow::{Context as _, ensure};
use baton_coordinator::config::{Config, Overrides};
use baton_coordinator::provider;
use baton_provider::StateProvider;
use load::{Plan, Seen};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A daemon that ends with the run.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Cluster {
    players: Vec<Player>,
    arbiter: Daemon,
    board: Daemon,
    /// The coordinator's address.
    pub coordinator: String,
    provider: Box<dyn StateProvider>,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub async fn start(sizes: &Sizes, plan: &Plan) -> anyhow::Result<Self> {
        // Not /tmp, which is memory on many machines: the disk that the build is on.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let path = folder.path();
        std::fs::write(path.join("settings.toml"), format!("lease_ttl = \"{}\"\n", sizes.lease_ttl))?;
        let address = free_address()?;
        let board =
            if sizes.provider == "etcd" { etcd(path, &address)? } else { stateboard(path, &address)? };
        let (coordinator, http) = (free_address()?, free_address()?);
        let seed = if sizes.provider == "etcd" {
            format!("seed_settings = \"{}\"\n", path.join("settings.toml").display())
        } else {
            String::new()
        };
        let text = format!(
            "[cluster]\nname = \"load\"\n\
             [provider]\nkind = \"{}\"\nendpoints = [\"http://{address}\"]\n{seed}\
             [coordinator]\nname = \"arbiter\"\nlisten = \"{coordinator}\"\nhttp_listen = \"{http}\"\n\
             state_dir = \"{}\"\n",
            sizes.provider,
            path.display()
        );
        let file = path.join("coordinator.toml");
        std::fs::write(&file, text)?;
        let config = Config::load(&file, [], &Overrides::default())?;
        let provider = Box::new(provider::open(&config, CancellationToken::new()).await?);
        let mut command = Command::new(program("baton-coordinator")?);
        let arbiter = spawn(command.arg("--config").arg(&file), path, "arbiter.log")?;
        let players = plan.split(sizes.processes);
        let players = players.iter().map(|part| Player::start(part, &file)).collect::<anyhow::Result<_>>()?;
        Ok(Self { players, arbiter, board, coordinator, provider, folder })
    }

    pub fn coordinator_pid(&self) -> u32 {
        self.arbiter.0.id()
    }

    /// What each kind of process uses.
    pub fn usage(&self) -> anyhow::Result<BTreeMap<&'static str, Usage>> {
        let players: Vec<_> = self.players.iter().map(Player::pid).collect();
        Ok(BTreeMap::from([
            ("arbiter", process::usage(&[self.arbiter.0.id()])?),
            ("provider", process::usage(&[self.board.0.id()])?),
            ("players", process::usage(&players)?),
        ]))
    }

    /// Tells all players; each knows its own.
    pub fn tell(&self, verb: &str, names: &[String]) -> anyhow::Result<()> {
        self.players.iter().try_for_each(|player| player.tell(verb, names))
    }

    pub fn seen(&self) -> anyhow::Result<Seen> {
        let all: anyhow::Result<Vec<_>> = self.players.iter().map(Player::seen).collect();
        Ok(sum(all?))
    }

    /// Rises with every change that the provider writes.
    pub async fn revision(&self) -> anyhow::Result<u64> {
        Ok(self.provider.status().await?.revision.0)
    }

    /// How long `batonctl` takes for something, its start included.
    pub async fn ask(&self, what: &str) -> anyhow::Result<Duration> {
        let out = File::create(self.folder.path().join("asked"))?;
        let mut command = Command::new(program("batonctl")?);
        command.args([what, "--endpoint", &self.coordinator]).stdout(out);
        without_settings(&mut command);
        let since = Instant::now();
        let status = tokio::task::spawn_blocking(move || command.status()).await??;
        ensure!(status.success(), "batonctl {what} ended with {status}");
        Ok(since.elapsed())
    }
}

fn stateboard(path: &Path, address: &str) -> anyhow::Result<Daemon> {
    let mut command = Command::new(program("baton-stateboard")?);
    command.args(["--cluster", "load", "--http-listen", "off", "--listen", address]);
    command.arg("--data-dir").arg(path.join("board"));
    command.arg("--seed-settings").arg(path.join("settings.toml"));
    spawn(&mut command, path, "provider.log")
}

fn etcd(path: &Path, address: &str) -> anyhow::Result<Daemon> {
    let (clients, peers) = (format!("http://{address}"), format!("http://{}", free_address()?));
    let mut command = Command::new("etcd");
    command.args(["--name", "n0", "--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("n0={peers}")]).arg("--data-dir").arg(path.join("etcd"));
    spawn(&mut command, path, "provider.log").context("apt-get install etcd-server")
}

fn spawn(command: &mut Command, path: &Path, log: &str) -> anyhow::Result<Daemon> {
    let log = File::create(path.join(log))?;
    without_settings(command);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).env("RUST_LOG", "warn");
    Ok(Daemon(command.spawn().with_context(|| format!("start {command:?}"))?))
}

/// What a person has set for their own cluster is not about this one.
fn without_settings(command: &mut Command) {
    for (key, _) in baton_config::environment() {
        command.env_remove(key);
    }
}

/// One of Baton's programs: they lie two folders above this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.ancestors().nth(2).context("a bench lies in deps, below the programs")?.join(name);
    ensure!(path.is_file(), "{} is not there: make bench-load builds it", path.display());
    Ok(path)
}

fn free_address() -> anyhow::Result<String> {
    let probe = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(probe.local_addr()?.to_string())
}
