//! PostgreSQL, from version 13 on, as an engine: how it is reached, started, fenced and marked. What a command *means* to the
//! protocol is the guard's; here is only how PostgreSQL does it.
//!
//! # How it is fenced at boot
//! A standby of nowhere: [`Postgres::fenced_command`] wraps the configured command so that, before the server runs,
//! `standby.signal` lies in its data directory and the last word of `postgresql.auto.conf` is an empty `primary_conninfo`. The
//! server then replays what it has, answers reads and takes no writes, after a crash as a primary too. What stands on the
//! server's own command line wins over that file, so `-c primary_conninfo=…` there is refused ([`ConnectError::Overridden`]).
//!
//! An adopted server (no `command`) has no boot-time fence of ours: whoever starts it must do the same.
//!
//! # How it is fenced while it runs
//! A standby is cut from its master by an empty `primary_conninfo` and a reload, which ends its receiver and needs no restart; the
//! answer comes when everything that was received is replayed. A primary cannot be made a standby while it runs: it is shut down
//! fast, so that its standbys get all of its log, and answered for with the position that its control file names. Where that takes
//! too long the deadman ends it like any other engine. Its next start is fenced.
//!
//! # The mark
//! The one row of `baton.identity`: the term and the identity, the first write of each term. Clients must leave it alone; where
//! a user removes it, the next check of the write path puts it back.
//!
//! # What the user that logs in must be allowed
//! No superuser: `LOGIN REPLICATION`, membership in `pg_monitor`, `EXECUTE` on `pg_promote(boolean, integer)` and `pg_reload_conf()`,
//! a schema `baton` of its own, and from version 15 on `ALTER SYSTEM` on `primary_conninfo` and `synchronous_standby_names`.
//! Whoever runs the coordinator must be allowed to signal the server (the same system user, or root).
//!
//! # Earlier connections
//! A server has a process for each connection, and one that was stopped may carry out an old order long after it has answered over
//! a new connection (docs/protocol.md, P228). So a connection ends all earlier ones that gave orders before it gives its first one.

mod connection;
mod control;
mod mark;
mod orders;
mod probe;
mod text;

use crate::{ConnectError, EngineConnection, EngineKind};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The oldest version that is driven, as the server counts: from here on a reload changes whom a standby follows.
const VERSION_MIN: u32 = 130_000;

/// What makes a server come up as a standby of nowhere; see the module. `$1` is the data directory, the rest the command. The file
/// belongs to whom the directory does, also where root starts the server by another program that gives its rights up.
const START: &str = "set -e; dir=$1; shift; \
    : > \"$dir/standby.signal\"; \
    chown --reference=\"$dir\" \"$dir/standby.signal\"; \
    rm -f \"$dir/recovery.signal\"; \
    echo \"primary_conninfo = ''\" >> \"$dir/postgresql.auto.conf\"; \
    exec \"$@\"";

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
}

/// See [`Options`].
#[derive(Debug)]
pub struct Postgres {
    options: Arc<Options>,
    memory: Arc<Mutex<mark::Memory>>,
}

impl Postgres {
    /// An instance as the configuration describes it.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options), memory: Arc::default() }
    }
}

#[async_trait]
impl EngineKind for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn fenced_command(&self, command: &[String]) -> Vec<String> {
        let shell = ["/bin/sh", "-c", START, "baton-postgres"].map(str::to_owned);
        let data_dir = self.options.data_dir.display().to_string();
        shell.into_iter().chain([data_dir]).chain(command.iter().cloned()).collect()
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
        });
        let command = ["postgres", "-D", "/var/lib/postgresql/15/a1"].map(str::to_owned);
        let fenced = postgres.fenced_command(&command);
        assert_eq!(fenced[fenced.len() - 3..], command);
        assert_eq!(fenced[fenced.len() - 4], "/var/lib/postgresql/15/a1");
        assert!(fenced[2].contains("standby.signal"));
    }
}
