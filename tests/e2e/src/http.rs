//! One GET, as a load balancer sends it: a connection each, closed after the answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The status code and the body, which is JSON on every page that is asked here; `null` where it is not.
///
/// # Errors
/// Nobody answers there, or what answers is no HTTP.
pub fn get(port: u16, path: &str) -> Result<(u16, Value), String> {
    let answer = exchange(port, path).map_err(|error| format!("GET {path} on {port}: {error}"))?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| format!("GET {path} on {port}: not HTTP: {answer:?}"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((code, serde_json::from_str(body).unwrap_or_default()))
}

fn exchange(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    // HTTP 1.0: the body ends with the connection, and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
