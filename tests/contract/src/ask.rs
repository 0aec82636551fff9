//! Plain HTTP to a server's own address: whether it is well, and what only its administrator does. For the harness, never for
//! what is tested.

use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The body of the answer, whatever its status.
pub(crate) async fn get(server: SocketAddr, path: &str) -> Result<Value, String> {
    send(server, &format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")).await
}

/// The body of the answer, whatever its status.
pub(crate) async fn post(server: SocketAddr, path: &str, body: &Value) -> Result<Value, String> {
    let body = body.to_string();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.0\r\nHost: {server}\r\nContent-Length: {length}\r\n\r\n");
    send(server, &(head + &body)).await
}

async fn send(server: SocketAddr, request: &str) -> Result<Value, String> {
    let exchange = async {
        let mut connection = TcpStream::connect(server).await?;
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange).await.map_err(|_| "no answer".to_owned())?;
    let answer = answer.map_err(|error| error.to_string())?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    serde_json::from_str(body).map_err(|error| format!("{error} in {body:?}"))
}
