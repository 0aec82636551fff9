//! What the suite has to know of an engine: its program, its file, how its process looks, and how a person makes mistakes
//! with it. One implementation per engine; the rest of the suite asks through the trait.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::cluster::process::run_tool;
use crate::cluster::{config, engine};
use crate::procfs::ProcessView;
use crate::workload::resp;

/// How long a person's command to an engine may take.
const BY_HAND: Duration = Duration::from_secs(1);

/// An engine as faults see it.
pub trait Engine: std::fmt::Debug + Send + Sync {
    /// Its name in configurations and reports.
    fn name(&self) -> &'static str;

    /// Writes its configuration for a folder that is kept, and returns what a coordinator is told of it.
    ///
    /// # Errors
    /// A file cannot be written.
    fn prepare(&self, listen: SocketAddrV4, folder: &Path, data: &Path) -> anyhow::Result<Prepared>;

    /// Whether a process is one of it.
    fn is_engine(&self, process: &ProcessView) -> bool;

    /// What a person does who makes it a writable master behind the coordinator's back. Returns its answer, and whether it obeyed.
    ///
    /// # Errors
    /// It is not there.
    fn make_writable(&self, at: SocketAddrV4) -> anyhow::Result<(String, bool)>;

    /// What its wall clock shows, in seconds since 1970.
    ///
    /// # Errors
    /// It is not there, or does not say.
    fn clock(&self, at: SocketAddrV4) -> anyhow::Result<i64>;
}

/// What a coordinator is told of an engine.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// The program and its arguments.
    pub command: Vec<PathBuf>,
    /// The file with what the guard logs in with.
    pub password_file: Option<PathBuf>,
}

/// PostgreSQL 15.
#[derive(Debug)]
pub struct Postgres {
    /// `postgres`.
    pub program: PathBuf,
}

impl Postgres {
    /// What psql prints, as the coordinators' role.
    fn ask(at: SocketAddrV4, statement: &str) -> anyhow::Result<String> {
        let line =
            format!("host={} port={} user=baton dbname=postgres connect_timeout=1", at.ip(), at.port());
        let mut psql = Command::new("psql");
        psql.args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--no-password",
            "--command",
            statement,
            &line,
        ]);
        psql.env("PGPASSWORD", config::POSTGRES_PASSWORD);
        // What it complains of is an answer, too.
        Ok(run_tool(psql, "").unwrap_or_else(|error| error.to_string()).trim().to_owned())
    }
}

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn prepare(&self, listen: SocketAddrV4, folder: &Path, data: &Path) -> anyhow::Result<Prepared> {
        let password_file = folder.join("password");
        fs::write(&password_file, config::POSTGRES_PASSWORD).context("write a password")?;
        for passed in folder.ancestors().take_while(|passed| *passed != Path::new("/tmp")).chain([data]) {
            let mode = fs::metadata(passed)?.permissions().mode();
            fs::set_permissions(passed, fs::Permissions::from_mode(mode | 0o111))?;
        }
        let prepared = engine::postgres_in(&self.program, listen, &data.join("postgres"))?;
        let command = prepared.command.into_iter().map(PathBuf::from).collect();
        Ok(Prepared { data_dir: prepared.data_dir, command, password_file: Some(password_file) })
    }

    fn is_engine(&self, process: &ProcessView) -> bool {
        // The main process has its command line, the others a title.
        let program = process.command.split(' ').next().unwrap_or_default();
        program.ends_with("/postgres") || program == "postgres:"
    }

    fn make_writable(&self, at: SocketAddrV4) -> anyhow::Result<(String, bool)> {
        let answer = Self::ask(at, "SELECT pg_promote(false)")?;
        let obeyed = answer == "t";
        Ok((answer, obeyed))
    }

    fn clock(&self, at: SocketAddrV4) -> anyhow::Result<i64> {
        let said = Self::ask(at, "SELECT extract(epoch FROM clock_timestamp())::bigint")?;
        said.parse().with_context(|| format!("it said {said:?}"))
    }
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

    fn prepare(&self, listen: SocketAddrV4, folder: &Path, data: &Path) -> anyhow::Result<Prepared> {
        let file = folder.join("redis.conf");
        fs::write(&file, config::redis(listen, data)).context("write the configuration of a Redis")?;
        let command = vec![self.program.clone(), file];
        Ok(Prepared { data_dir: data.to_owned(), command, password_file: None })
    }

    fn is_engine(&self, process: &ProcessView) -> bool {
        // Redis writes its own title, which begins with the program too.
        process.command.split(' ').next().is_some_and(|program| program.ends_with("redis-server"))
    }

    fn make_writable(&self, at: SocketAddrV4) -> anyhow::Result<(String, bool)> {
        let mut requests = resp::request(&["REPLICAOF", "NO", "ONE"]);
        requests.extend(resp::request(&["CONFIG", "SET", "min-replicas-to-write", "0"]));
        let answer = ask(at, &requests)?;
        let obeyed = answer.starts_with("+OK");
        Ok((answer, obeyed))
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
