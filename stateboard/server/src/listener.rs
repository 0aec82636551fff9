//! Connections from the port to the gRPC server: how many there may be, TLS, and how long one may keep silent. Knows no
//! request; what one may ask is the business of `gate.rs`.
//!
//! A connection ends here when it does not speak HTTP/2 in time (a half-open one, a handshake that is never finished), or
//! when it had no request for long. One beyond the limit is let in for a moment, only to be told why it has to go;
//! beyond those, too, it is closed unheard.

use crate::limits::Limits;
use crate::metrics::Metrics;
use baton_provider::files::Followed;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Connections that may be on their way from the handshake to the server.
const QUEUE: usize = 64;
/// Connections beyond the limit that are told so, and for how long they may stay.
const SPARE: usize = 64;
const SPARE_LIFE: Duration = Duration::from_secs(2);
/// What every HTTP/2 client says first.
const PREFACE_BYTES: usize = 24;
/// After an accept that failed, mostly for want of descriptors: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is known of the other end of a connection; with every request.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// It came when all places were taken.
    pub(crate) is_spare: bool,
    /// Requests and streams that it has open.
    open: AtomicUsize,
    /// Every request ever, so that the connection's timer sees that there was one.
    seen: AtomicUsize,
}

impl Peer {
    /// Takes a place for a request; `Err` where so many are open already.
    pub(crate) fn open(self: &Arc<Self>, max: usize) -> Result<OpenRequest, usize> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = OpenRequest(Arc::clone(self));
        self.seen.fetch_add(1, Ordering::Relaxed);
        if before >= max { Err(before) } else { Ok(place) }
    }
}

/// A request that is open on a connection.
#[derive(Debug)]
pub(crate) struct OpenRequest(Arc<Peer>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts until the stream is dropped.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Followed<Arc<ServerConfig>>>>,
    limits: &Limits,
    metrics: Arc<Metrics>,
) -> ReceiverStream<Result<Connection, io::Error>> {
    let (out, connections) = mpsc::channel(QUEUE);
    let door = Door {
        tls,
        handshake_timeout: limits.handshake_timeout,
        idle_timeout: limits.idle_timeout,
        places: Arc::new(Semaphore::new(limits.connections)),
        spare: Arc::new(Semaphore::new(SPARE)),
        metrics,
        told: Arc::default(),
        out,
    };
    tokio::spawn(door.run(listener));
    ReceiverStream::new(connections)
}

type Out = mpsc::Sender<Result<Connection, io::Error>>;

struct Door {
    tls: Option<Arc<Followed<Arc<ServerConfig>>>>,
    handshake_timeout: Duration,
    idle_timeout: Duration,
    places: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    told: Arc<Told>,
    out: Out,
}

/// When a handshake that failed was last told of. A client whose certificate is refused often learns only that the
/// connection was closed, so the reason has to stand here; but strangers must not fill the log.
#[derive(Debug, Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    const EVERY: Duration = Duration::from_secs(1);

    fn failed(&self, metrics: &Metrics, address: SocketAddr, reason: &dyn std::fmt::Display) {
        metrics.handshake_failed();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= Self::EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(%address, %reason, "a TLS handshake failed");
        }
    }
}

impl Door {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.out.closed() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address).await,
                Err(error) => {
                    self.metrics.accept_failed();
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let (place, is_spare) = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => (place, false),
            Err(_) => match Arc::clone(&self.spare).try_acquire_owned() {
                Ok(place) => (place, true),
                Err(_) => return self.metrics.refused("connections"),
            },
        };
        // An answer is one small packet; without this it may wait for the acknowledgement of the one before.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let peer = Arc::new(Peer { address, is_spare, open: AtomicUsize::new(0), seen: AtomicUsize::new(0) });
        let timer = Timer::new(self.handshake_timeout, self.idle_timeout, is_spare);
        let counted = Counted::new(Arc::clone(&self.metrics), place);
        let Some(tls) = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.current())) else {
            let io = Io::Plain(stream);
            let _ = self.out.send(Ok(Connection { io, peer, timer, _counted: counted })).await;
            return;
        };
        let (out, deadline) = (self.out.clone(), timer.started + self.handshake_timeout);
        let (metrics, told) = (Arc::clone(&self.metrics), Arc::clone(&self.told));
        tokio::spawn(async move {
            match tokio::time::timeout_at(deadline, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let io = Io::Tls(Box::new(stream));
                    let _ = out.send(Ok(Connection { io, peer, timer, _counted: counted })).await;
                }
                Ok(Err(error)) => told.failed(&metrics, address, &error),
                Err(_) => told.failed(&metrics, address, &"it was not finished in time"),
            }
        });
    }
}

/// A connection's place, and its part of the gauge.
struct Counted {
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    fn new(metrics: Arc<Metrics>, place: OwnedSemaphorePermit) -> Self {
        metrics.connected();
        Self { metrics, _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.disconnected();
    }
}

/// One connection, as the gRPC server reads and writes it.
pub(crate) struct Connection {
    io: Io,
    peer: Arc<Peer>,
    timer: Timer,
    _counted: Counted,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// When a connection that says nothing has to go.
struct Timer {
    started: Instant,
    idle_timeout: Duration,
    is_spare: bool,
    bytes_read: usize,
    /// The requests that were seen at the last look, and when that was.
    last: (usize, Instant),
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    fn new(handshake_timeout: Duration, idle_timeout: Duration, is_spare: bool) -> Self {
        let started = Instant::now();
        let first = if is_spare { SPARE_LIFE } else { handshake_timeout };
        let sleep = Box::pin(tokio::time::sleep_until(started + first));
        let last = (0, started);
        Self { started, idle_timeout, is_spare, bytes_read: 0, last, sleep }
    }

    /// Whether the connection's time is over; registers the next look if not.
    fn poll_over(&mut self, peer: &Peer, cx: &mut Context<'_>) -> Poll<&'static str> {
        loop {
            std::task::ready!(self.sleep.as_mut().poll(cx));
            if self.is_spare {
                return Poll::Ready("there are too many connections");
            }
            if self.bytes_read < PREFACE_BYTES {
                return Poll::Ready("it did not speak HTTP/2 in time");
            }
            let now = Instant::now();
            let seen = peer.seen.load(Ordering::Relaxed);
            if peer.open.load(Ordering::Relaxed) > 0 || seen != self.last.0 {
                self.last = (seen, now);
            }
            let over = self.last.1 + self.idle_timeout;
            if over <= now {
                return Poll::Ready("it had no request for long");
            }
            // Looked at twice in that time: a request that begins and ends between two looks must not be missed.
            self.sleep.as_mut().reset(over.min(now + self.idle_timeout / 2));
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut this.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        };
        if read.is_ready() {
            this.timer.bytes_read = this.timer.bytes_read.saturating_add(buf.filled().len() - before);
            return read;
        }
        let why = std::task::ready!(this.timer.poll_over(&this.peer, cx));
        tracing::debug!(address = %this.peer.address, "a connection is closed: {why}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
