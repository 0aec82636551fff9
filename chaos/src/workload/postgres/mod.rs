//! A PostgreSQL as the workloads use it: one table of keys and values, and the server's own word for what its standbys hold. Requests
//! leave when they are asked, and wait in the server like any client's.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::link::{Reply, Request};
use crate::cluster::config::POSTGRES_PASSWORD;

mod session;

pub use session::PostgresSession;

/// The clients' tables. The role is the coordinators': it may look at the standbys, and has a schema of its own.
const REGISTERS: &str = "baton.chaos";
/// See [`REGISTERS`].
const LISTS: &str = "baton.chaos_lists";
/// The role.
const USER: &str = "baton";
/// Between two looks at what standbys hold.
const LOOK: Duration = Duration::from_millis(2);

/// Most answers that wait to be heard: twice as many requests as any client leaves without one.
const ANSWERS_MAX: usize = 16_384;

type Answer = Pin<Box<dyn Future<Output = io::Result<Reply>> + Send>>;

/// The half that asks.
pub struct Asker {
    client: Arc<Client>,
    answers: mpsc::Sender<Answer>,
}

/// The half that hears.
pub struct Listener {
    answers: mpsc::Receiver<Answer>,
    carrier: JoinHandle<()>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("postgres::Asker")
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("postgres::Listener")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// Connects, within `limit`.
///
/// # Errors
/// Nobody listens there, nobody answered in time, or it refuses.
pub async fn connect(endpoint: &str, limit: Duration) -> io::Result<(Asker, Listener)> {
    let (client, carrier) = open(endpoint, limit).await?;
    let (answers, heard) = mpsc::channel(ANSWERS_MAX);
    Ok((Asker { client: Arc::new(client), answers }, Listener { answers: heard, carrier }))
}

async fn open(endpoint: &str, limit: Duration) -> io::Result<(Client, JoinHandle<()>)> {
    let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, "5432"));
    let mut config = Config::new();
    config.host(host).port(port.parse().map_err(io::Error::other)?).user(USER).dbname("postgres");
    // Where none is asked for it is not sent.
    config.password(POSTGRES_PASSWORD);
    let connected = tokio::time::timeout(limit, config.connect(NoTls)).await;
    let connected = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    let (client, carrier) = connected.map_err(io::Error::other)?;
    Ok((client, tokio::spawn(async move { drop(carrier.await) })))
}

impl Asker {
    /// Lets requests leave, in this order.
    ///
    /// # Errors
    /// The connection is gone, or far too many answers were not heard.
    pub fn ask(&mut self, requests: &[Request<'_>]) -> io::Result<()> {
        for request in requests {
            let client = Arc::clone(&self.client);
            let mut answer: Answer = match *request {
                Request::Set { key, value } => {
                    let statement = set(key, value);
                    Box::pin(async move { reply(client.simple_query(&statement).await, Reply::Yes) })
                }
                Request::Held { replicas, within } => Box::pin(held(client, replicas, within)),
            };
            // What is asked leaves when it is first looked at, and not before.
            let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
            if let std::task::Poll::Ready(ready) = answer.as_mut().poll(context) {
                answer = Box::pin(std::future::ready(ready));
            }
            self.answers.try_send(answer).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }
}

impl Listener {
    /// The next reply, in the order of the requests.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let answer = self.answers.recv().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        answer.await
    }
}

fn set(key: &str, value: u64) -> String {
    format!(
        "INSERT INTO {REGISTERS} (key, value) VALUES ('{key}', {value}) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    )
}

/// A refusal is an answer; a server that ends the connection has said nothing about what it did.
fn reply(result: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>, done: Reply) -> io::Result<Reply> {
    match result {
        Ok(_) => Ok(done),
        Err(error) => match error.as_db_error() {
            Some(said) if !ends_the_session(said.code()) => Ok(Reply::No(said.message().to_owned())),
            _ => Err(io::Error::other(error)),
        },
    }
}

fn ends_the_session(code: &SqlState) -> bool {
    [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
}

/// How many standbys have flushed all that the server had when this was asked.
async fn held(client: Arc<Client>, replicas: u32, within: Duration) -> io::Result<Reply> {
    let deadline = Instant::now() + within;
    let at = match client.simple_query("SELECT pg_current_wal_flush_lsn()").await {
        Ok(rows) => first(&rows).ok_or(io::ErrorKind::InvalidData)?,
        Err(error) => return reply(Err(error), Reply::Yes),
    };
    let asked =
        format!("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn >= '{at}'");
    loop {
        let rows = match client.simple_query(&asked).await {
            Ok(rows) => rows,
            Err(error) => return reply(Err(error), Reply::Yes),
        };
        let count: i64 =
            first(&rows).and_then(|count| count.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        if count >= i64::from(replicas) || Instant::now() > deadline {
            return Ok(Reply::Number(count));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn first(rows: &[SimpleQueryMessage]) -> Option<String> {
    rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// Makes the tables.
///
/// # Errors
/// The server is not there, or refuses.
pub async fn prepare(endpoint: &str, limit: Duration) -> io::Result<()> {
    let (client, carrier) = open(endpoint, limit).await?;
    let statement = format!(
        "CREATE TABLE IF NOT EXISTS {REGISTERS} (key text PRIMARY KEY, value bigint NOT NULL); \
         CREATE TABLE IF NOT EXISTS {LISTS} (id bigserial PRIMARY KEY, key text NOT NULL, value bigint NOT NULL)"
    );
    let made = tokio::time::timeout(limit, client.simple_query(&statement)).await;
    carrier.abort();
    made.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(|_| ()).map_err(io::Error::other)
}

/// Every key.
///
/// # Errors
/// The server is not there, refuses, or takes longer than `limit`.
pub async fn keys(endpoint: &str, limit: Duration) -> io::Result<BTreeSet<String>> {
    let (client, carrier) = open(endpoint, limit).await?;
    let asked =
        tokio::time::timeout(limit, client.simple_query(&format!("SELECT key FROM {REGISTERS}"))).await;
    carrier.abort();
    let rows = asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)?;
    let key = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Ok(rows.into_iter().filter_map(key).collect())
}
