//! The Redis protocol as far as a guard needs it: requests out, replies in, one after the other. Written here because
//! a shared, pipelining client would hide the two things that count: what was sent before what, and that a connection
//! with an answer outstanding is never used again.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Longest reply line or string, in bytes. `INFO` of a server with thousands of replicas stays below.
const REPLY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A status or a string.
    Text(Vec<u8>),
    /// No such key.
    Nil,
    /// A number.
    Number(i64),
    /// The engine would not; the first word is the kind of the error.
    Error(String),
    /// How many replies of an array follow (`EXEC`, which a guard only looks at for its length).
    Array(i64),
}

impl Reply {
    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(String::from_utf8_lossy(text)),
            Self::Nil | Self::Number(_) | Self::Error(_) | Self::Array(_) => None,
        }
    }
}

/// Appends one request.
pub(super) fn encode(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads one reply. The elements of an array are the replies that follow.
///
/// # Errors
/// The connection's, or `InvalidData` for what is no reply or too long.
pub(super) async fn read_reply<R: AsyncRead + Unpin>(read: &mut BufReader<R>) -> io::Result<Reply> {
    let line = read_line(read).await?;
    let (kind, rest) = line.split_first().ok_or_else(|| invalid("an empty line"))?;
    match kind {
        b'+' => Ok(Reply::Text(rest.to_vec())),
        b'-' => Ok(Reply::Error(String::from_utf8_lossy(rest).into_owned())),
        b':' => Ok(Reply::Number(number(rest)?)),
        b'*' => match number(rest)? {
            length if length < 0 => Ok(Reply::Nil),
            length => Ok(Reply::Array(length)),
        },
        b'$' => {
            let Ok(length) = u64::try_from(number(rest)?) else { return Ok(Reply::Nil) };
            if length > REPLY_BYTES_MAX {
                return Err(invalid("a string that is too long"));
            }
            let mut text = Vec::new();
            let taken = (&mut *read).take(length + 2).read_to_end(&mut text).await?;
            if taken as u64 != length + 2 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            text.truncate(text.len().saturating_sub(2));
            Ok(Reply::Text(text))
        }
        _ => Err(invalid("something that is no reply")),
    }
}

async fn read_line<R: AsyncRead + Unpin>(read: &mut BufReader<R>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    (&mut *read).take(REPLY_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(line.to_vec()),
        None => Err(invalid("a line without an end")),
    }
}

fn number(text: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| invalid("a length that is no number"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> io::Result<Vec<Reply>> {
        let mut read = BufReader::new(bytes);
        let mut replies = Vec::new();
        while !read.fill_buf().await?.is_empty() {
            replies.push(read_reply(&mut read).await?);
        }
        Ok(replies)
    }

    #[tokio::test]
    async fn every_kind_of_reply_is_read() {
        let replies = read_all(b"+OK\r\n-READONLY no\r\n:-7\r\n$5\r\na\r\nbc\r\n$-1\r\n*2\r\n*-1\r\n").await;
        let expected = vec![
            Reply::Text(b"OK".to_vec()),
            Reply::Error("READONLY no".into()),
            Reply::Number(-7),
            Reply::Text(b"a\r\nbc".to_vec()),
            Reply::Nil,
            Reply::Array(2),
            Reply::Nil,
        ];
        assert_eq!(replies.expect("all are replies"), expected);
    }

    #[tokio::test]
    async fn what_is_no_reply_is_an_error_and_no_panic() {
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b"$99999999999\r\n",
            b"$x\r\n",
            b"$5\r\nab",
            b"\r\n",
            b"+OK",
            b":9999999999999999999999\r\n",
        ] {
            assert!(read_all(bytes).await.is_err(), "{:?} was taken", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn requests_are_arrays_of_strings() {
        let mut out = Vec::new();
        encode(&mut out, &[b"GET", b"a b"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }
}
