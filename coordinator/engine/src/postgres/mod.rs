//! PostgreSQL, from version 13 on, as an engine: how it is reached, started, fenced and marked. What a command *means* to the
//! protocol is the guard's; here is only how PostgreSQL does it.
//!
//! # How it is fenced at boot
//! A standby of nowhere: [`Postgres::fenced_command`] puts a step of ours ([`start`]) before the configured command: when the server
//! runs, `standby.signal` lies in its data directory and the last word of `postgresql.auto.conf` is an empty `primary_conninfo`. The
//! server then replays what it has, answers reads and takes no writes, after a crash as a primary too. What stands on the
//! server's own command line wins over that file, so `-c primary_conninfo=…` there is refused ([`ConnectError::Overridden`]).
//!
//! Only a server that the deadman starts can be driven: one that somebody else starts would come up as it was after each fence.
//!
//! # How it is fenced while it runs
//! A standby is cut from its master by an empty `primary_conninfo` and a reload, which ends its receiver and needs no restart; the
//! answer comes when everything that was received is replayed. A primary cannot be made a standby while it runs: it is shut down
//! fast, so that its standbys get all of its log, and answered for with the position that its control file names. Where that takes
//! too long the deadman ends it like any other engine. Its next start is fenced.
//!
//! # The mark
//! The one row of `baton.identity`: the term and the identity, the first write of each term; `baton.terms` has a row for each term that
//! the data went through. Clients must leave both alone; where a user removes them, the next check of the write path puts them back.
//!
//! # How it comes to follow
//! A server whose data is a beginning of the master's follows by a reload. One that holds more (an old master after a crash), or that is
//! new, cannot: what has to be done is written down beside its data (`place`), it is ended, and its next start does it before the server
//! runs: pg_rewind, or a copy by pg_basebackup. What is taken back has a receipt first; what is replaced is kept until the new data
//! replicates.
//!
//! # What the user that logs in must be allowed
//! No superuser: `deploy/postgres/grants.sql`, which the tests and the first start run. Whoever runs the coordinator must be allowed to signal the server (the same system user, or root).
//!
//! # The check of its write path
//! A tiny write over a connection that is there, and a knock at the door for a new one: each may fail alone.
//!
//! # Earlier connections
//! A server has a process for each connection, and one that was stopped may carry out an old order long after it has answered over
//! a new connection (docs/protocol.md, P228). So a connection ends all earlier ones that gave orders before it gives its first one.

mod connection;
mod control;
mod door;
mod mark;
mod orders;
mod place;
mod probe;
mod reunite;
mod slots;
pub mod start;
mod text;
mod timelines;
mod walsender;

use crate::{ConnectError, EngineConnection, EngineKind, Folders};
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The oldest version that is driven, as the server counts: from here on a reload changes whom a standby follows.
const VERSION_MIN: u32 = 130_000;

/// The hidden subcommand of [`Options::program`] that is [`start::main`].
pub const START: &str = "postgres-start";

/// One PostgreSQL instance as configured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the guard connects, `host:port`.
    pub address: String,
    /// By which name it logs in, here and at the masters that it follows.
    pub user: String,
    /// Which database has the mark.
    pub database: String,
    /// The password of that user, read at each connection, so that it can be changed without a restart.
    pub password_file: Option<PathBuf>,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// Under which name it replicates: the instance's.
    pub name: String,
    /// The program that has [`START`] as a subcommand.
    pub program: PathBuf,
}

/// See [`Options`].
#[derive(Debug)]
pub struct Postgres {
    options: Arc<Options>,
    memory: Arc<Mutex<mark::Memory>>,
    /// Somebody reads what the step before the server says, perhaps from a disk that hangs.
    looking: Arc<Mutex<()>>,
}

impl Postgres {
    /// An instance as the configuration describes it.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options), memory: Arc::default(), looking: Arc::default() }
    }
}

#[async_trait]
impl EngineKind for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn fenced_command(&self, command: &[String]) -> Vec<String> {
        let Options { program, data_dir, user, password_file, .. } = &*self.options;
        let mut words = vec![program.display().to_string(), START.to_owned()];
        words.extend([
            "--data-dir".to_owned(),
            data_dir.display().to_string(),
            "--user".to_owned(),
            user.clone(),
        ]);
        if let Some(file) = password_file {
            words.extend(["--password-file".to_owned(), file.display().to_string()]);
        }
        words.push("--".to_owned());
        words.into_iter().chain(command.iter().cloned()).collect()
    }

    /// Not in the data directory, which may not be there yet, and in which pg_rewind meets every file.
    fn folders(&self, data_dir: &Path) -> Folders {
        Folders { working: PathBuf::from("/"), probed: place::Place::of(data_dir).folder }
    }

    async fn doing(&self) -> Option<String> {
        let place = place::Place::of(&self.options.data_dir);
        let looking = Arc::clone(&self.looking);
        // One thread at most waits for that disk.
        let look = move || looking.try_lock().ok().and_then(|_alone| place.doing());
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    fn is_prepared_for_fence(&self) -> bool {
        true
    }

    /// A primary ends with a checkpoint, which writes all that changed since the last one: much less, right after this one.
    async fn prepare_for_fence(&self) -> Result<(), String> {
        connection::checkpoint(&self.options).await
    }

    async fn tend(&self) {
        slots::keep(&self.options).await
    }

    async fn connect(&self, timeout: Duration) -> Result<Box<dyn EngineConnection>, ConnectError> {
        let (options, memory) = (Arc::clone(&self.options), Arc::clone(&self.memory));
        let endpoint = self.options.address.clone();
        match tokio::time::timeout(timeout, connection::open(options, memory)).await {
            Ok(connection) => Ok(Box::new(connection?)),
            Err(_) => Err(ConnectError::TimedOut { endpoint, timeout }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_comes_before_the_command() {
        let postgres = Postgres::new(Options {
            address: "127.0.0.1:5432".into(),
            user: "baton".into(),
            database: "postgres".into(),
            password_file: None,
            data_dir: "/var/lib/postgresql/15/a1".into(),
            name: "a1".into(),
            program: "/usr/bin/baton-coordinator".into(),
        });
        let command = ["postgres", "-D", "/var/lib/postgresql/15/a1"].map(str::to_owned);
        let fenced = postgres.fenced_command(&command);
        assert_eq!(fenced[fenced.len() - 3..], command);
        assert_eq!(
            fenced[..4],
            ["/usr/bin/baton-coordinator", START, "--data-dir", "/var/lib/postgresql/15/a1"]
        );
        assert_eq!(fenced[fenced.len() - 4], "--");
    }
}
