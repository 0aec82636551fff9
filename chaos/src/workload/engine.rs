//! What a workload asks of a database, whatever it is: two kinds of data, and the engine's own word that a replica has them.
//! A session is one connection to one run of an engine; once an answer is unknown it is of no more use.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use async_trait::async_trait;

use super::postgres::PostgresSession;
use super::redis::RedisSession;
use super::resp;
use crate::cli::EngineKind;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The engine said yes.
    Yes(T),
    /// It said no, in its own words: nothing has changed and nothing will.
    No(String),
    /// The connection broke: nobody knows.
    Unknown(String),
}

/// One connection to one run of an engine.
#[async_trait]
pub trait Session: Send {
    /// Puts the value at the end of the key's list.
    async fn append(&mut self, key: &str, value: u64) -> Answer<()>;

    /// Makes the key's register hold the value.
    async fn write(&mut self, key: &str, value: u64) -> Answer<()>;

    /// What the key's register holds.
    async fn read(&mut self, key: &str) -> Answer<Option<u64>>;

    /// Whether a replica has all that this run of the engine had acknowledged, on any connection, before this was asked, and that
    /// the engine still accepted a write then: an old master that was fenced says no.
    async fn confirm(&mut self) -> Answer<bool>;

    /// Every list that clients appended to, whole.
    async fn lists(&mut self) -> Answer<BTreeMap<String, Vec<u64>>>;
}

/// Connects within `limit`.
///
/// # Errors
/// Nobody listens there, or nobody answered in time.
pub async fn connect(engine: EngineKind, endpoint: &str, limit: Duration) -> io::Result<Box<dyn Session>> {
    match engine {
        EngineKind::Redis => {
            let (asker, listener) = resp::connect(endpoint, limit).await?;
            Ok(Box::new(RedisSession::new(asker, listener)))
        }
        EngineKind::Postgres => Ok(Box::new(PostgresSession::connect(endpoint, limit).await?)),
    }
}
