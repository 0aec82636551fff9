//! What the suite has to know of an engine: its program, its file, how its process looks, and how a person makes mistakes
//! with it. One implementation per engine; the rest of the suite asks through the trait.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::cluster::config;
use crate::procfs::ProcessView;
use crate::workload::resp;

/// How long a person's command to an engine may take.
const BY_HAND: Duration = Duration::from_secs(1);

/// An engine as faults see it.
pub trait Engine: std::fmt::Debug + Send + Sync {
    /// Its name in configurations and reports.
    fn name(&self) -> &'static str;

    /// Writes its configuration for a data directory, and returns the command that runs it.
    ///
    /// # Errors
    /// The file cannot be written.
    fn prepare(&self, listen: SocketAddrV4, folder: &Path, data: &Path) -> anyhow::Result<Vec<PathBuf>>;

    /// Whether a process is one of it.
    fn is_engine(&self, process: &ProcessView) -> bool;

    /// What a person does who makes it a writable master behind the coordinator's back. Returns its answer.
    ///
    /// # Errors
    /// It is not there.
    fn make_writable(&self, at: SocketAddrV4) -> anyhow::Result<String>;

    /// What its wall clock shows, in seconds since 1970.
    ///
    /// # Errors
    /// It is not there, or does not say.
    fn clock(&self, at: SocketAddrV4) -> anyhow::Result<i64>;
}

/// Redis 7.
#[derive(Debug)]
pub struct Redis {
    /// `redis-server`.
    pub program: PathBuf,
}

impl Engine for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn prepare(&self, listen: SocketAddrV4, folder: &Path, data: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let file = folder.join("redis.conf");
        fs::write(&file, config::redis(listen, data)).context("write the configuration of a Redis")?;
        Ok(vec![self.program.clone(), file])
    }

    fn is_engine(&self, process: &ProcessView) -> bool {
        // Redis writes its own title, which begins with the program too.
        process.command.split(' ').next().is_some_and(|program| program.ends_with("redis-server"))
    }

    fn make_writable(&self, at: SocketAddrV4) -> anyhow::Result<String> {
        let mut requests = resp::request(&["REPLICAOF", "NO", "ONE"]);
        requests.extend(resp::request(&["CONFIG", "SET", "min-replicas-to-write", "0"]));
        ask(at, &requests)
    }

    fn clock(&self, at: SocketAddrV4) -> anyhow::Result<i64> {
        let answer = ask(at, &resp::request(&["TIME"]))?;
        // An array of two: `*2`, the length of the seconds, the seconds, and the microseconds likewise.
        let seconds = answer.lines().nth(2).with_context(|| format!("it said {answer:?}"))?;
        Ok(seconds.trim().parse()?)
    }
}

/// What it says at first, on a connection of its own.
fn ask(at: SocketAddrV4, requests: &[u8]) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect_timeout(&SocketAddr::V4(at), BY_HAND)?;
    connection.set_read_timeout(Some(BY_HAND))?;
    connection.write_all(requests)?;
    let mut answer = [0; 256];
    let size = connection.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..size]).trim().to_owned())
}
