//! One connection to an engine, of which both halves are used apart: requests can be queued at an engine that does not answer, and
//! their answers are heard in the same order.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use super::{postgres, resp};
use crate::cli::EngineKind;

/// Longest time that an engine may take for what is asked of a thousand keys.
const BATCH: usize = 1_000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Let the key hold the value.
    Set {
        /// The key.
        key: &'a str,
        /// The value.
        value: u64,
    },
    /// How many replicas hold all that this connection wrote; waited for until so many do, and not for longer than this.
    Held {
        /// So many are enough.
        replicas: u32,
        /// Longest wait.
        within: Duration,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Yes,
    /// A number.
    Number(i64),
    /// The engine refused; the text is its own.
    No(String),
}

/// The half that asks.
#[derive(Debug)]
pub enum Asker {
    /// Of a Redis.
    Redis(resp::Asker),
    /// Of a PostgreSQL.
    Postgres(postgres::Asker),
}

/// The half that hears.
#[derive(Debug)]
pub enum Listener {
    /// Of a Redis.
    Redis(resp::Listener),
    /// Of a PostgreSQL.
    Postgres(postgres::Listener),
}

/// Connects, within `limit`.
///
/// # Errors
/// Nobody listens there, or nobody answered in time.
pub async fn connect(engine: EngineKind, endpoint: &str, limit: Duration) -> io::Result<(Asker, Listener)> {
    match engine {
        EngineKind::Redis => {
            let (asker, listener) = resp::connect(endpoint, limit).await?;
            Ok((Asker::Redis(asker), Listener::Redis(listener)))
        }
        EngineKind::Postgres => {
            let (asker, listener) = postgres::connect(endpoint, limit).await?;
            Ok((Asker::Postgres(asker), Listener::Postgres(listener)))
        }
    }
}

impl Asker {
    /// Hands requests to the kernel. Dropped halfway, the connection is of no more use.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn ask(&mut self, requests: &[Request<'_>]) -> io::Result<()> {
        match self {
            Self::Redis(asker) => {
                let bytes: Vec<u8> = requests.iter().flat_map(redis_words).collect();
                asker.ask(&bytes).await
            }
            Self::Postgres(asker) => asker.ask(requests),
        }
    }
}

impl Listener {
    /// The next reply, in the order of the requests.
    ///
    /// # Errors
    /// The connection is gone, or what came is no such reply.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        match self {
            Self::Redis(listener) => listener.reply().await,
            Self::Postgres(listener) => listener.reply().await,
        }
    }
}

fn redis_words(request: &Request<'_>) -> Vec<u8> {
    match request {
        Request::Set { key, value } => resp::request(&["SET", key, &value.to_string()]),
        Request::Held { replicas, within } => {
            resp::request(&["WAIT", &replicas.to_string(), &within.as_millis().to_string()])
        }
    }
}

/// Makes the clients' place in a new master, where its kind needs one.
///
/// # Errors
/// The engine is not there, or refuses.
pub async fn prepare(engine: EngineKind, endpoint: &str, limit: Duration) -> io::Result<()> {
    match engine {
        EngineKind::Redis => Ok(()),
        EngineKind::Postgres => postgres::prepare(endpoint, limit).await,
    }
}

/// Which of `keys` exist at `endpoint`, in their order.
///
/// # Errors
/// The engine is not there, refuses, or takes longer than `limit` for a thousand of them.
pub async fn exist(
    engine: EngineKind,
    endpoint: &str,
    keys: &[String],
    limit: Duration,
) -> io::Result<Vec<bool>> {
    match engine {
        EngineKind::Redis => exist_in_redis(endpoint, keys, limit).await,
        EngineKind::Postgres => {
            let there: BTreeSet<String> = postgres::keys(endpoint, limit).await?;
            Ok(keys.iter().map(|key| there.contains(key)).collect())
        }
    }
}

async fn exist_in_redis(endpoint: &str, keys: &[String], limit: Duration) -> io::Result<Vec<bool>> {
    let (mut asker, mut listener) = resp::connect(endpoint, limit).await?;
    let mut found = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        let requests: Vec<u8> = batch.iter().flat_map(|key| resp::request(&["EXISTS", key])).collect();
        let exchange = async {
            asker.ask(&requests).await?;
            for _ in batch {
                match listener.reply().await? {
                    Reply::Number(count) => found.push(count > 0),
                    Reply::Yes => return Err(io::Error::from(io::ErrorKind::InvalidData)),
                    Reply::No(refusal) => return Err(io::Error::other(refusal)),
                }
            }
            Ok(())
        };
        tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_has_a_word_for_each_request() {
        let set = Request::Set { key: "k", value: 12 };
        assert_eq!(redis_words(&set), resp::request(&["SET", "k", "12"]));
        let held = Request::Held { replicas: 1, within: Duration::from_millis(500) };
        assert_eq!(redis_words(&held), resp::request(&["WAIT", "1", "500"]));
    }
}
