//! Whether a server's main process still lets somebody in. Connections that are there go on without it, so that one which was stopped
//! would not be noticed over them.

use super::orders::Failure;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The protocol's version 3.0.
const PROTOCOL: i32 = 196_608;

/// Knocks, and leaves when it was heard: a process of its own was begun for us then, whatever that one would have said.
pub(super) async fn knock(endpoint: &str, user: &str, database: &str) -> Result<(), Failure> {
    let answer = async {
        let mut stream = TcpStream::connect(endpoint).await?;
        stream.write_all(&startup(user, database)).await?;
        stream.read_u8().await
    };
    let broken = |error: io::Error| Failure::Broken(format!("nobody is let in: {error}"));
    answer.await.map(|_| ()).map_err(broken)
}

/// A start-up message: its length, the version, and pairs of texts.
fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, "application_name", "baton"] {
        body.extend(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = i32::try_from(body.len() + 4).unwrap_or(i32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_up_message_says_its_length() {
        let message = startup("baton", "postgres");
        assert_eq!(message[..4], i32::try_from(message.len()).expect("short").to_be_bytes());
        assert!(message.ends_with(b"application_name\0baton\0\0"));
    }

    #[tokio::test]
    async fn whoever_says_nothing_lets_nobody_in() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = listener.local_addr().expect("bound").to_string();
        let closes = async { drop(listener.accept().await) };
        let (knocked, ()) = tokio::join!(knock(&endpoint, "u", "d"), closes);
        assert!(matches!(knocked, Err(Failure::Broken(_))), "{knocked:?}");
    }
}
