//! One connection to a Redis, of which both halves are used apart. Knows single-line replies, texts and lists of texts, which is all
//! that the workloads ask for.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::link::Reply;

/// Longest reply line that is read.
const REPLY_LIMIT: u64 = 64 * 1024;
/// Longest text that is read, in bytes.
const TEXT_LIMIT: u64 = 1024 * 1024;
/// Longest list that is read.
const LIST_LIMIT: u64 = 4 * 1024 * 1024;

/// A reply of any kind that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One line.
    Line(Reply),
    /// There is no such text.
    Nothing,
    /// A text.
    Text(Vec<u8>),
    /// A list of texts.
    List(Vec<Vec<u8>>),
}

/// The half that sends.
#[derive(Debug)]
pub struct Asker(OwnedWriteHalf);

/// The half that hears.
#[derive(Debug)]
pub struct Listener(BufReader<OwnedReadHalf>);

/// Connects, within `limit`.
///
/// # Errors
/// Nobody listens there, or nobody answered in time.
pub async fn connect(endpoint: &str, limit: Duration) -> io::Result<(Asker, Listener)> {
    let stream = tokio::time::timeout(limit, TcpStream::connect(endpoint))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok((Asker(writer), Listener(BufReader::new(reader))))
}

/// A request as it goes over the wire.
#[must_use]
pub fn request(words: &[&str]) -> Vec<u8> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.get_packed_command()
}

impl Asker {
    /// Hands requests to the kernel. Dropped halfway, the connection is of no more use.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn ask(&mut self, requests: &[u8]) -> io::Result<()> {
        self.0.write_all(requests).await
    }
}

impl Listener {
    /// The next reply, in the order of the requests.
    ///
    /// # Errors
    /// The connection is gone, or what came is no single-line reply.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let text = self.line().await?;
        parse_line(&text).ok_or_else(|| foreign("no single-line reply", &text))
    }

    /// The next reply of any kind.
    ///
    /// # Errors
    /// The connection is gone, or what came is too long or of a kind that is not known here.
    pub async fn value(&mut self) -> io::Result<Value> {
        let head = self.line().await?;
        if let Some(length) = head.strip_prefix('$') {
            return Ok(self.text(length, &head).await?.map_or(Value::Nothing, Value::Text));
        }
        let Some(count) = head.strip_prefix('*') else {
            return parse_line(&head).map(Value::Line).ok_or_else(|| foreign("no reply", &head));
        };
        let count = count.trim_end().parse().ok().filter(|count: &u64| *count <= LIST_LIMIT);
        let count = count.ok_or_else(|| foreign("no list that is read", &head))?;
        let mut list = Vec::new();
        for _ in 0..count {
            let item = self.line().await?;
            let length = item.strip_prefix('$').ok_or_else(|| foreign("no text in a list", &item))?;
            list.push(self.text(length, &item).await?.ok_or_else(|| foreign("a gap in a list", &item))?);
        }
        Ok(Value::List(list))
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let size = (&mut self.0).take(REPLY_LIMIT).read_until(b'\n', &mut line).await?;
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// What follows a text's head; `None` where the head says that there is none.
    async fn text(&mut self, length: &str, head: &str) -> io::Result<Option<Vec<u8>>> {
        if length == "-1\r\n" {
            return Ok(None);
        }
        let length = length.trim_end().parse().ok().filter(|length: &u64| *length <= TEXT_LIMIT);
        let length = length.ok_or_else(|| foreign("no text that is read", head))?;
        let mut text = Vec::new();
        let size = (&mut self.0).take(length + 2).read_to_end(&mut text).await?;
        if size as u64 != length + 2 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.truncate(size - 2);
        Ok(Some(text))
    }
}

fn foreign(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {text:?}"))
}

fn parse_line(text: &str) -> Option<Reply> {
    match text.strip_suffix("\r\n")?.split_at_checked(1) {
        Some(("+", _)) => Some(Reply::Yes),
        Some(("-", refusal)) => Some(Reply::No(refusal.to_owned())),
        Some((":", number)) => number.parse().map(Reply::Number).ok(),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn a_request_is_an_array_of_bulk_strings() {
        assert_eq!(request(&["SET", "k", "12"]), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n12\r\n");
    }

    async fn answered(bytes: &'static [u8]) -> Listener {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = server.local_addr().expect("bound").to_string();
        let (_asker, listener) = connect(&endpoint, Duration::from_secs(5)).await.expect("it listens");
        let (mut peer, _) = server.accept().await.expect("it came");
        peer.write_all(bytes).await.expect("it reads");
        listener
    }

    #[tokio::test]
    async fn replies_are_told_apart() {
        let mut listener = answered(b"+OK\r\n:2\r\n-READONLY no\r\n").await;
        assert_eq!(listener.reply().await.expect("a line"), Reply::Yes);
        assert_eq!(listener.reply().await.expect("a line"), Reply::Number(2));
        assert_eq!(listener.reply().await.expect("a line"), Reply::No("READONLY no".to_owned()));
        assert_eq!(listener.reply().await.expect_err("closed").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn texts_and_lists_are_read_whole() {
        let mut listener =
            answered(b"$2\r\n\r\n\r\n$-1\r\n*2\r\n$1\r\n7\r\n$0\r\n\r\n*0\r\n:3\r\n$5\r\nab").await;
        assert_eq!(listener.value().await.expect("a text"), Value::Text(b"\r\n".to_vec()));
        assert_eq!(listener.value().await.expect("none"), Value::Nothing);
        assert_eq!(listener.value().await.expect("a list"), Value::List(vec![b"7".to_vec(), Vec::new()]));
        assert_eq!(listener.value().await.expect("a list"), Value::List(Vec::new()));
        assert_eq!(listener.value().await.expect("a line"), Value::Line(Reply::Number(3)));
        assert_eq!(listener.value().await.expect_err("cut off").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_too_long_or_nested_is_an_error() {
        for bytes in [
            b"$1048577\r\n".as_slice(),
            b"*4194305\r\n",
            b"$-2\r\n",
            b"*1\r\n*0\r\n",
            b"*1\r\n$-1\r\n",
            b"%1\r\n",
        ] {
            let mut listener = answered(bytes).await;
            assert_eq!(listener.value().await.expect_err("foreign").kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn what_is_no_single_line_reply_is_an_error() {
        for bytes in [b"$3\r\nabc\r\n".as_slice(), b":many\r\n", b"\r\n", b"+OK\n", b"\xff\xfe\r\n"] {
            let mut listener = answered(bytes).await;
            assert_eq!(listener.reply().await.expect_err("foreign").kind(), io::ErrorKind::InvalidData);
        }
    }
}
