//! The workloads' words in PostgreSQL: rows of a table of lists, and rows of a table of registers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{LISTS, REGISTERS, held, open, reply};
use crate::workload::engine::{Answer, Session};
use crate::workload::link::Reply;

/// How long a replica is waited for.
const WAIT: Duration = Duration::from_millis(500);

/// A connection to one run of a PostgreSQL.
pub struct PostgresSession {
    client: Arc<Client>,
    carrier: JoinHandle<()>,
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl PostgresSession {
    /// Connects, within `limit`.
    ///
    /// # Errors
    /// Nobody listens there, nobody answered in time, or it refuses.
    pub async fn connect(endpoint: &str, limit: Duration) -> std::io::Result<Self> {
        let (client, carrier) = open(endpoint, limit).await?;
        Ok(Self { client: Arc::new(client), carrier })
    }

    async fn change(&self, statement: &str) -> Answer<()> {
        match reply(self.client.simple_query(statement).await, Reply::Yes) {
            Ok(Reply::Yes | Reply::Number(_)) => Answer::Yes(()),
            Ok(Reply::No(refusal)) => Answer::No(refusal),
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }

    /// Rows of two columns.
    async fn pairs(&self, statement: &str) -> Answer<Vec<(String, u64)>> {
        let rows = match self.client.simple_query(statement).await {
            Ok(rows) => rows,
            Err(error) => {
                return match reply(Err(error), Reply::Yes) {
                    Ok(Reply::No(refusal)) => Answer::No(refusal),
                    Ok(other) => Answer::Unknown(format!("{other:?}")),
                    Err(error) => Answer::Unknown(error.to_string()),
                };
            }
        };
        let mut found = Vec::new();
        for message in &rows {
            let SimpleQueryMessage::Row(row) = message else { continue };
            match (row.get(0), row.get(1).and_then(|value| value.parse().ok())) {
                (Some(key), Some(value)) => found.push((key.to_owned(), value)),
                _ => return Answer::Unknown("a row holds something that no client wrote".to_owned()),
            }
        }
        Answer::Yes(found)
    }
}

#[async_trait]
impl Session for PostgresSession {
    async fn append(&mut self, key: &str, value: u64) -> Answer<()> {
        self.change(&format!("INSERT INTO {LISTS} (key, value) VALUES ('{key}', {value})")).await
    }

    async fn write(&mut self, key: &str, value: u64) -> Answer<()> {
        self.change(&super::set(key, value)).await
    }

    async fn read(&mut self, key: &str) -> Answer<Option<u64>> {
        match self.pairs(&format!("SELECT key, value FROM {REGISTERS} WHERE key = '{key}'")).await {
            Answer::Yes(rows) => Answer::Yes(rows.first().map(|(_, value)| *value)),
            Answer::No(refusal) => Answer::No(refusal),
            Answer::Unknown(why) => Answer::Unknown(why),
        }
    }

    /// What others had acknowledged before this write left lies before it in the server's one log.
    async fn confirm(&mut self) -> Answer<bool> {
        match self.write("confirm", 1).await {
            Answer::Yes(()) => {}
            Answer::No(refusal) => return Answer::No(refusal),
            Answer::Unknown(why) => return Answer::Unknown(why),
        }
        match held(Arc::clone(&self.client), 1, WAIT).await {
            Ok(Reply::Number(replicas)) => Answer::Yes(replicas >= 1),
            Ok(Reply::No(refusal)) => Answer::No(refusal),
            Ok(Reply::Yes) => Answer::Unknown("an answer of another kind came".to_owned()),
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }

    async fn lists(&mut self) -> Answer<BTreeMap<String, Vec<u64>>> {
        match self.pairs(&format!("SELECT key, value FROM {LISTS} ORDER BY id")).await {
            Answer::Yes(rows) => {
                let mut lists: BTreeMap<String, Vec<u64>> = BTreeMap::new();
                for (key, value) in rows {
                    lists.entry(key).or_default().push(value);
                }
                Answer::Yes(lists)
            }
            Answer::No(refusal) => Answer::No(refusal),
            Answer::Unknown(why) => Answer::Unknown(why),
        }
    }
}
