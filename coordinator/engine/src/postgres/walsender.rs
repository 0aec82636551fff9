//! A connection that is counted among the senders of the log and not among the clients (`replication=database`): a server on which clients
//! hold every connection has one of these left. Without it a master whose commits wait for a replica would keep its replicas
//! out, since each client that gives up leaves a process that waits on.
//!
//! The client's library cannot ask for it, so its first message is completed on the way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const ASKED: &[u8] = b"replication\0database\0";

/// Carries the bytes, and more of the first message.
pub(super) struct AsSender {
    stream: TcpStream,
    first: First,
}

enum First {
    /// Nothing was written yet.
    Expected,
    /// This is left of it, and so long it was as the library wrote it.
    Leaves(Vec<u8>, usize),
    Left,
}

impl AsSender {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, first: First::Expected }
    }
}

/// The first message (its length, its own included, then what it says up to a last zero) with what is asked besides. The library
/// writes it in one piece.
fn completed(message: &[u8]) -> io::Result<Vec<u8>> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "the first message to the server is none");
    let (length, said) = message.split_first_chunk::<4>().ok_or_else(strange)?;
    let said = said.strip_suffix(&[0]).ok_or_else(strange)?;
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(message.len()) {
        return Err(strange());
    }
    let length = u32::try_from(message.len() + ASKED.len()).map_err(|_| strange())?;
    Ok([&length.to_be_bytes(), said, ASKED, &[0]].concat())
}

impl AsyncWrite for AsSender {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, first } = self.get_mut();
        if matches!(first, First::Expected) {
            *first = First::Leaves(completed(bytes)?, bytes.len());
        }
        while let First::Leaves(left, whole) = first {
            if left.is_empty() {
                let whole = *whole;
                *first = First::Left;
                return Poll::Ready(Ok(whole));
            }
            let written = ready!(Pin::new(&mut *stream).poll_write(context, left))?;
            left.drain(..written);
        }
        Pin::new(stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncRead for AsSender {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::completed;

    #[test]
    fn the_first_message_asks_for_a_sender_too() {
        let asked = completed(b"\0\0\0\x14\0\x03\0\0user\0baton\0\0").expect("it is one");
        assert_eq!(asked, b"\0\0\0\x29\0\x03\0\0user\0baton\0replication\0database\0\0");
        for strange in [&b"\0\0\0"[..], b"\0\0\0\x14\0\x03\0\0user\0baton\0", b"\0\0\0\x05\x01"] {
            assert!(completed(strange).is_err(), "{strange:?}");
        }
    }
}
