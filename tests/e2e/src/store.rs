//! What a test does with an engine as its client: write, read, ask for the role. Every call has a deadline.

use std::time::Duration;

use redis::{Client, Connection, FromRedisValue, cmd};

/// How long an engine may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// A connection to an engine on loopback.
///
/// # Errors
/// In words.
pub fn connect(port: u16, password: Option<&str>) -> Result<Connection, String> {
    let user = password.map_or_else(String::new, |password| format!(":{password}@"));
    let open = || {
        let connection =
            Client::open(format!("redis://{user}127.0.0.1:{port}/"))?.get_connection_with_timeout(LIMIT)?;
        connection.set_read_timeout(Some(LIMIT))?;
        connection.set_write_timeout(Some(LIMIT))?;
        Ok(connection)
    };
    open().map_err(|error: redis::RedisError| error.to_string())
}

/// One command on a connection of its own.
///
/// # Errors
/// What the engine or the connection said.
pub fn ask<T: FromRedisValue>(port: u16, words: &[&str]) -> Result<T, String> {
    let mut connection = connect(port, None)?;
    query(&mut connection, words)
}

/// One command on a connection that is there.
///
/// # Errors
/// What the engine or the connection said.
pub fn query<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> Result<T, String> {
    let mut command = cmd(words.first().copied().unwrap_or_default());
    for word in words.iter().skip(1) {
        command.arg(*word);
    }
    command.query(connection).map_err(|error| error.to_string())
}

/// Writes one key.
///
/// # Errors
/// What the engine said.
pub fn set(port: u16, key: &str, value: &str) -> Result<(), String> {
    ask::<String>(port, &["SET", key, value]).map(|_| ())
}

/// Reads one key.
///
/// # Errors
/// What the engine said, or that there is no such key.
pub fn get(port: u16, key: &str) -> Result<String, String> {
    ask::<Option<String>>(port, &["GET", key])?.ok_or_else(|| format!("{port} has no {key}"))
}

/// A field of `INFO`.
///
/// # Errors
/// What the engine said, or that there is no such field.
pub fn info(port: u16, field: &str) -> Result<String, String> {
    let text: String = ask(port, &["INFO"])?;
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.map(|value| value.trim().to_owned()).ok_or_else(|| format!("INFO of {port} has no {field}"))
}
