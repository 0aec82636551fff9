//! How much one stateboard takes from outside. Every number is a setting in `[limits]` with the default that stands
//! here, and whoever meets it is told its name and its value.

use baton_board::Limits as Kept;
use std::time::Duration;

/// The limits of the port; what the board itself keeps and takes is in [`Kept`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. Some more are accepted only to be told so.
    pub connections: usize,
    /// Requests and streams that one connection may have open.
    pub streams_per_connection: usize,
    /// Watches at a time, over all connections.
    pub watchers: usize,
    /// Updates that a watch may be behind before it is ended.
    pub watcher_lag: usize,
    /// Requests that may wait for the board.
    pub requests: usize,
    /// Bytes of one request.
    pub message_bytes: usize,
    /// Bytes of a request's headers together.
    pub header_bytes: usize,
    /// Bytes of a name; no name has more than 63 in any case.
    pub name_bytes: usize,
    /// How long a new connection may take to speak HTTP/2, a TLS handshake included.
    pub handshake_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a request may take to arrive and to be answered. A stream is answered by its first message.
    pub request_timeout: Duration,
    /// What the board keeps and takes.
    pub kept: Kept,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            streams_per_connection: 4_096,
            watchers: 16_384,
            watcher_lag: 1_024,
            requests: 8_192,
            // A full request of the other defaults fits.
            message_bytes: 16 * 1024 * 1024,
            header_bytes: 16 * 1024,
            name_bytes: 63,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            request_timeout: Duration::from_secs(30),
            kept: Kept::default(),
        }
    }
}
