//! One coordinator's connection as the deadman sees it: lines in, lines out, never waiting for the other side.

use super::protocol::{LINE_BYTES_MAX, Request, Say};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What may wait for a coordinator that does not read (stopped, say) before it is cut off, in bytes.
const OUT_BYTES_MAX: usize = 256 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Nothing more comes from there.
    closed: bool,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A request.
    Request(Request),
    /// A line that cannot be read.
    Bad(String),
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, input: Vec::new(), output: Vec::new(), closed: false })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes what has arrived, and the complete lines of it.
    pub(super) fn receive(&mut self) -> Vec<Incoming> {
        let mut buffer = [0_u8; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(length) => {
                    self.input.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    if self.input.len() <= LINE_BYTES_MAX {
                        continue;
                    }
                    // Nobody who speaks this protocol gets here.
                    self.closed = !self.input.contains(&b'\n');
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.closed = true,
            }
            break;
        }
        let mut lines = Vec::new();
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            lines.push(match serde_json::from_slice(&line) {
                Ok(request) => Incoming::Request(request),
                Err(error) => Incoming::Bad(error.to_string()),
            });
        }
        lines
    }

    /// Queues a line and sends what the socket takes.
    pub(super) fn send(&mut self, say: &Say) {
        match serde_json::to_vec(say) {
            Ok(line) => self.output.extend_from_slice(&line),
            Err(_) => self.closed = true,
        }
        self.output.push(b'\n');
        self.closed |= self.output.len() > OUT_BYTES_MAX;
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while !self.output.is_empty() && !self.closed {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
    }
}
