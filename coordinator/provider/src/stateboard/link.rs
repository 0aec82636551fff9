//! One HTTP/2 connection for all requests of a client, made with the first and again whenever it is gone. Knows how a
//! request goes out and its answer comes in, and neither addresses nor TLS nor what is asked.
//!
//! It speaks to `h2` itself. A request through layers and queues is handed from task to task, its head leaves before its
//! body, and that costs both sides more than the read that was asked for: here the caller's own task puts the whole
//! request onto the connection.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong, RecvStream, SendStream};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tonic::ConnectError;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, StdError};

/// How often a connection is pinged, and how long the answer may take.
const PING_EVERY: Duration = Duration::from_secs(1);
/// What the other side may send before it is read: of one answer, and of all. A large snapshot comes in few turns.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;
/// Bytes of an answer's headers together: an error's details are among them.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// A connection that is gone is noticed before the request is sent; the next one is new.
const ATTEMPTS: usize = 2;

/// Makes a connection; called again after it is gone.
pub(super) type Connect<S> = Box<dyn Fn() -> BoxFuture<'static, io::Result<S>> + Send + Sync>;

/// The way to one stateboard. Clones share the connection, which ends with the last of them and the last answer.
pub(super) struct Link<S>(Arc<Shared<S>>);

struct Shared<S> {
    connect: Connect<S>,
    /// Locked while a connection is made, so that there is one and everybody waits for it.
    requests: Mutex<Option<SendRequest<Bytes>>>,
}

impl<S> Clone for Link<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Link<S> {
    pub(super) fn new(connect: Connect<S>) -> Self {
        Self(Arc::new(Shared { connect, requests: Mutex::new(None) }))
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Answer>, StdError> {
        let mut requests = self.ready().await?;
        let (head, body) = request.into_parts();
        let (response, out) = requests.send_request(Request::from_parts(head, ()), false)?;
        let mut pump = Box::pin(pump(body, out));
        // What is there at once, and that is a whole request mostly, leaves in one packet with its head.
        if pump.as_mut().now_or_never().is_none() {
            tokio::spawn(pump);
        }
        Ok(response.await?.map(|stream| Answer { stream, is_read: false }))
    }

    /// A place on a connection that is alive as far as is known. Nothing was sent where there is none.
    async fn ready(&self) -> Result<SendRequest<Bytes>, ConnectError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match self.connected().await?.ready().await {
                Ok(requests) => return Ok(requests),
                Err(error) => last = Some(error),
            }
            *self.0.requests.lock().await = None;
        }
        Err(ConnectError(last.map_or_else(|| "no connection".into(), StdError::from)))
    }

    async fn connected(&self) -> Result<SendRequest<Bytes>, ConnectError> {
        if let Some(requests) = self.0.requests.lock().await.as_ref() {
            return Ok(requests.clone());
        }
        // In a task of its own: whoever waits may have less time than the first address takes to fail, and the attempt
        // must come to the second one all the same.
        let shared = Arc::clone(&self.0);
        let made = tokio::spawn(async move {
            let mut requests = shared.requests.lock().await;
            if requests.is_none() {
                *requests = Some(open((shared.connect)().await?).await?);
            }
            Ok::<_, StdError>(requests.clone())
        });
        match made.await {
            Ok(Ok(Some(requests))) => Ok(requests),
            Ok(Ok(None)) => Err(ConnectError("no connection".into())),
            Ok(Err(error)) => Err(ConnectError(error)),
            Err(error) => Err(ConnectError(error.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Service<Request<Body>> for Link<S> {
    type Response = Response<Answer>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Response<Answer>, StdError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// Speaks HTTP/2 on `io`, and keeps it going in the background until nobody needs it or it is dead.
async fn open<S>(io: S) -> Result<SendRequest<Bytes>, h2::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_BYTES_MAX)
        .enable_push(false)
        .handshake(io);
    let (requests, mut connection): (_, Connection<S, Bytes>) = handshake.await?;
    let pings = connection.ping_pong();
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the stateboard broke");
        }
    });
    if let Some(pings) = pings {
        tokio::spawn(end_if_silent(pings, driver.abort_handle()));
    }
    Ok(requests)
}

/// A host that vanished closes nothing: its connection is ended when a ping is not answered, and with it every request on
/// it. Ends when the connection has.
async fn end_if_silent(mut pings: PingPong, driver: AbortHandle) {
    loop {
        tokio::time::sleep(PING_EVERY).await;
        match tokio::time::timeout(PING_EVERY, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::debug!("the stateboard answers no ping, the connection is ended");
                return driver.abort();
            }
        }
    }
}

/// Sends a request's body. The first piece without waiting; of the others none is asked for before there is room for the
/// one before, so that what is restored does not pile up here.
async fn pump(body: Body, mut out: SendStream<Bytes>) {
    let mut body = pin!(body);
    let mut is_first = true;
    loop {
        let frame = tokio::select! {
            biased;
            frame = poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)) => frame,
            // The answer is complete, or the stateboard wants no more.
            _ = poll_fn(|cx| out.poll_reset(cx)) => return,
        };
        let Some(frame) = frame else {
            // Fails where the stream has ended meanwhile; its answer tells how.
            let _ = out.send_data(Bytes::new(), true);
            return;
        };
        // An encoder that fails has nothing to say of the rest: dropping the stream resets it.
        let Ok(frame) = frame else { return };
        let Ok(data) = frame.into_data() else { continue };
        if !is_first && !data.is_empty() && !has_room(&mut out, data.len()).await {
            return;
        }
        is_first = false;
        if out.send_data(data, false).is_err() {
            return;
        }
    }
}

/// Waits until some of `bytes` may leave. `false` where none ever will.
async fn has_room(out: &mut SendStream<Bytes>, bytes: usize) -> bool {
    out.reserve_capacity(bytes);
    while out.capacity() == 0 {
        if !matches!(poll_fn(|cx| out.poll_capacity(cx)).await, Some(Ok(_))) {
            return false;
        }
    }
    true
}

/// An answer's body as it comes.
pub(super) struct Answer {
    stream: RecvStream,
    /// All data; trailers may follow.
    is_read: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        if !this.is_read {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Whoever reads slowly is sent no more than the window; what is read makes room again.
                    let _ = this.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.is_read = true,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(cx));
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::DuplexStream;
    use tokio::sync::mpsc;

    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A link, and the other ends of the connections that it makes.
    fn link() -> (Link<DuplexStream>, mpsc::Receiver<DuplexStream>) {
        let (ends, others) = mpsc::channel(8);
        let connect = move || {
            let (ours, other) = tokio::io::duplex(64 * 1024);
            let made = ends.try_send(other).map_err(|_| io::ErrorKind::ConnectionRefused.into());
            let made: io::Result<DuplexStream> = made.map(|()| ours);
            Box::pin(async { made }) as BoxFuture<'static, io::Result<DuplexStream>>
        };
        (Link::new(Box::new(connect)), others)
    }

    fn request() -> Request<Body> {
        Request::post("http://board/").body(Body::empty()).expect("a request")
    }

    /// Answers so many requests.
    async fn answer(io: DuplexStream, count: usize) -> h2::server::Connection<DuplexStream, Bytes> {
        let mut connection = h2::server::handshake(io).await.expect("it speaks HTTP/2");
        for _ in 0..count {
            let (_, mut respond) = connection.accept().await.expect("a request").expect("a whole one");
            respond.send_response(Response::new(()), true).expect("it is there");
        }
        connection
    }

    #[tokio::test]
    async fn the_connection_ends_with_its_last_user() {
        let (mut link, mut ends) = link();
        let other = link.clone();
        let server = tokio::spawn(async move {
            let mut connection = answer(ends.recv().await.expect("a connection"), 1).await;
            connection.accept().await.is_none()
        });
        link.call(request()).await.expect("an answer");
        drop((link, other));
        let ended = tokio::time::timeout(PATIENCE, server).await;
        assert!(ended.expect("it ends").expect("no panic"), "nothing more is asked");
    }

    #[tokio::test]
    async fn requests_share_a_connection_and_a_lost_one_is_replaced() {
        let (mut link, mut ends) = link();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Some(end) = ends.recv().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut connection = answer(end, 2).await;
                connection.graceful_shutdown();
                // Until the other side has gone, too.
                let _ = connection.accept().await;
            }
        });
        for asked in 1..=6_usize {
            let answered = tokio::time::timeout(PATIENCE, link.call(request())).await.expect("in time");
            if let Err(error) = answered {
                // It met the end of its connection: the next one must not.
                assert!(error.downcast_ref::<h2::Error>().is_some(), "{error}");
            }
            assert!(connections.load(Ordering::SeqCst) >= asked.div_ceil(2), "request {asked}");
        }
        assert!(connections.load(Ordering::SeqCst) <= 6);
    }

    #[tokio::test]
    async fn where_nobody_accepts_nothing_was_sent() {
        let (mut link, ends) = link();
        drop(ends);
        let error = link.call(request()).await.err().expect("nobody accepts");
        assert!(error.downcast_ref::<ConnectError>().is_some(), "{error}");
    }

    #[tokio::test]
    async fn a_silent_connection_ends_its_requests() {
        let (mut link, _ends) = link();
        // Nobody reads the other end, so neither the request nor a ping is answered.
        let answered = tokio::time::timeout(PATIENCE, link.call(request())).await;
        assert!(answered.expect("in time").is_err(), "nobody answers");
    }
}
