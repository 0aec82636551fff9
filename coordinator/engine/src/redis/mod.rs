//! Redis and Valkey, from version 6.2 on, as engines: how they are reached, started, fenced and marked. What a command
//! *means* to the protocol is the guard's; here is only how Redis does it.
//!
//! # How it is fenced at boot
//! A replica of nowhere: [`Redis::fenced_command`] appends `--replicaof 127.0.0.1 1` to the configured command line, an
//! address where nobody listens. What stands on the command line comes after the configuration file and wins over it, so
//! a file that says `replicaof` something else, or nothing, changes nothing. The engine then loads its data, answers
//! reads, refuses every write with `READONLY` and attaches to nobody. Besides:
//! - `--replica-read-only yes`: with `no`, a replica takes writes, and nothing here would be a fence.
//! - `--replica-serve-stale-data yes`: with `no`, a fenced engine would not even tell its mark.
//! - `--repl-backlog-ttl 0`: a master that was without replicas for an hour would otherwise stop counting its offset.
//! - `--daemonize no`: the deadman must stay the parent of the process that it holds.
//!
//! So the command must be one to which server options can be appended (`redis-server /etc/redis/a1.conf`, also behind
//! `setpriv …`), not a shell line. A master that refuses writes by `min-replicas-to-write` would be no fence: keys still
//! expire there, and replicas attach to it and copy it, empty or not.
//!
//! An adopted engine (no `command`) has no boot-time fence of ours: whoever starts it must give it the same options, and
//! until the guard has looked at it once it is what its own file makes it.
//!
//! # How it is fenced while it runs
//! By the same means: `REPLICAOF 127.0.0.1 1` (and the two options above, set again). It takes effect before the answer,
//! also for transactions that are queued; attached replicas stay attached, get what is left, and the offset stands still.
//! The cut from a master (sever) is the same command. Neither costs a full copy later. The engine's log gets a line a
//! second about the address where nobody listens.
//!
//! # The mark
//! Key `baton:identity` in database 0: `TERM IDENTITY`, the first write of each term. Clients must leave it alone; where
//! a user empties the database, the next check of the write path puts it back.
//!
//! # What the user that logs in must be allowed
//! `INFO`, `GET`/`SET` on that key, `EVAL`, `REPLICAOF`, `CONFIG SET`. There is no user name in the configuration: the
//! password is that of the default user, also between the engines (`masterauth`).

mod connection;
mod info;
mod mark;
mod resp;

use crate::{ConnectError, EngineConnection, EngineKind};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where a fenced engine replicates from: nobody listens there.
const NOWHERE_HOST: &str = "127.0.0.1";
/// See [`NOWHERE_HOST`]. Below 1024, so that no ordinary program can take it.
const NOWHERE_PORT: &str = "1";
/// The oldest version that is driven.
const VERSION_MIN: &str = "6.2";

/// One Redis or Valkey instance as configured.
#[derive(Debug)]
pub struct Redis {
    address: String,
    password_file: Option<PathBuf>,
    memory: Arc<Mutex<mark::Memory>>,
}

impl Redis {
    /// `address`: where the guard connects, `host:port`. The password is read from its file at each connection, so that
    /// it can be changed without a restart.
    #[must_use]
    pub fn new(address: String, password_file: Option<PathBuf>) -> Self {
        Self { address, password_file, memory: Arc::default() }
    }
}

#[async_trait]
impl EngineKind for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn fenced_command(&self, command: &[String]) -> Vec<String> {
        let options = [
            ["--replicaof", NOWHERE_HOST].as_slice(),
            [NOWHERE_PORT].as_slice(),
            ["--replica-read-only", "yes"].as_slice(),
            ["--replica-serve-stale-data", "yes"].as_slice(),
            ["--repl-backlog-ttl", "0"].as_slice(),
            ["--daemonize", "no"].as_slice(),
        ];
        let appended = options.concat().into_iter().map(str::to_owned);
        command.iter().cloned().chain(appended).collect()
    }

    async fn connect(&self, timeout: Duration) -> Result<Box<dyn EngineConnection>, ConnectError> {
        let password = crate::password::read(self.password_file.as_ref())?;
        let memory = Arc::clone(&self.memory);
        match tokio::time::timeout(timeout, connection::open(&self.address, password, memory)).await {
            Ok(connection) => Ok(Box::new(connection?)),
            Err(_) => Err(ConnectError::TimedOut { endpoint: self.address.clone(), timeout }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_comes_after_the_configuration_file() {
        let redis = Redis::new("127.0.0.1:6379".into(), None);
        let command = ["redis-server", "/etc/redis/a1.conf", "--port", "6379"].map(str::to_owned);
        let fenced = redis.fenced_command(&command);
        assert_eq!(fenced[..4], command);
        assert_eq!(fenced[4..7], ["--replicaof", "127.0.0.1", "1"]);
        assert!(fenced.windows(2).any(|pair| pair == ["--replica-read-only", "yes"]));
    }

    #[tokio::test]
    async fn a_missing_password_file_is_named() {
        let redis = Redis::new("127.0.0.1:1".into(), Some("/no/such/file".into()));
        let error = redis.connect(Duration::from_secs(5)).await.err().expect("there is no such file");
        assert!(matches!(error, ConnectError::PasswordFile { file, .. } if file == "/no/such/file"));
    }
}
