//! The workloads' words in Redis: `RPUSH`, `SET`, `GET`, and `WAIT` behind a write.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;

use super::engine::{Answer, Session};
use super::link::Reply;
use super::resp::{self, Asker, Listener, Value};

/// What all keys of the clients begin with.
const PREFIX: &str = "chaos:";
/// What the lists' keys begin with.
const LISTS: &str = "chaos:list-";
/// How long `WAIT` waits, in milliseconds.
const WAIT_MS: &str = "500";

/// A connection to one run of a Redis.
#[derive(Debug)]
pub struct RedisSession {
    asker: Asker,
    listener: Listener,
}

impl RedisSession {
    /// On a fresh connection.
    #[must_use]
    pub fn new(asker: Asker, listener: Listener) -> Self {
        Self { asker, listener }
    }

    async fn ask(&mut self, words: &[&str]) -> io::Result<Value> {
        self.asker.ask(&resp::request(words)).await?;
        self.listener.value().await
    }

    /// A write that answers with one line.
    async fn change(&mut self, words: &[&str]) -> Answer<()> {
        match self.ask(words).await {
            Ok(Value::Line(Reply::Yes | Reply::Number(_))) => Answer::Yes(()),
            Ok(Value::Line(Reply::No(refusal))) => Answer::No(refusal),
            Ok(other) => foreign(&other),
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }
}

fn foreign<T>(value: &Value) -> Answer<T> {
    Answer::Unknown(format!("an answer of another kind came: {value:?}"))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[async_trait]
impl Session for RedisSession {
    async fn append(&mut self, key: &str, value: u64) -> Answer<()> {
        self.change(&["RPUSH", &format!("{PREFIX}{key}"), &value.to_string()]).await
    }

    async fn write(&mut self, key: &str, value: u64) -> Answer<()> {
        self.change(&["SET", &format!("{PREFIX}{key}"), &value.to_string()]).await
    }

    async fn read(&mut self, key: &str) -> Answer<Option<u64>> {
        match self.ask(&["GET", &format!("{PREFIX}{key}")]).await {
            Ok(Value::Nothing) => Answer::Yes(None),
            Ok(Value::Text(text)) => match number(&text) {
                Some(value) => Answer::Yes(Some(value)),
                None => foreign(&Value::Text(text)),
            },
            Ok(Value::Line(Reply::No(refusal))) => Answer::No(refusal),
            Ok(other) => foreign(&other),
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }

    /// `WAIT` speaks of the writes of its own connection, so it needs one: what others had acknowledged before that one left lies
    /// before it in the engine's one stream.
    async fn confirm(&mut self) -> Answer<bool> {
        match self.change(&["SET", &format!("{PREFIX}confirm"), "1"]).await {
            Answer::Yes(()) => {}
            Answer::No(refusal) => return Answer::No(refusal),
            Answer::Unknown(why) => return Answer::Unknown(why),
        }
        match self.ask(&["WAIT", "1", WAIT_MS]).await {
            Ok(Value::Line(Reply::Number(replicas))) => Answer::Yes(replicas >= 1),
            Ok(Value::Line(Reply::No(refusal))) => Answer::No(refusal),
            Ok(other) => foreign(&other),
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }

    async fn lists(&mut self) -> Answer<BTreeMap<String, Vec<u64>>> {
        let keys = match self.ask(&["KEYS", &format!("{LISTS}*")]).await {
            Ok(Value::List(keys)) => keys,
            Ok(Value::Line(Reply::No(refusal))) => return Answer::No(refusal),
            Ok(other) => return foreign(&other),
            Err(error) => return Answer::Unknown(error.to_string()),
        };
        let mut found = BTreeMap::new();
        for key in keys {
            let key = String::from_utf8_lossy(&key).into_owned();
            let values = match self.ask(&["LRANGE", &key, "0", "-1"]).await {
                Ok(Value::List(values)) => values,
                Ok(other) => return foreign(&other),
                Err(error) => return Answer::Unknown(error.to_string()),
            };
            let numbers: Option<Vec<u64>> = values.iter().map(|value| number(value)).collect();
            let Some(numbers) = numbers else {
                return Answer::Unknown(format!("{key} holds something that no client wrote"));
            };
            found.insert(key.strip_prefix(PREFIX).unwrap_or(&key).to_owned(), numbers);
        }
        Answer::Yes(found)
    }
}
