//! What every request passes before its service sees it: is there room on its connection, does it know the password.
//! And what every answer passes: it comes in time, its errors are typed, its outcome is counted. Knows no request's
//! meaning.

use crate::fault;
use crate::limits::Limits;
use crate::listener::{OpenRequest, Peer};
use crate::metrics::Metrics;
use baton_proto::v1;
use baton_provider::files::Followed;
use baton_provider::password::Accepted;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use prost::Message as _;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service};
use tonic::server::NamedService;
use tonic::{Code, Status};

/// What a password is shown as.
const SCHEME: &str = "Bearer ";
/// How the framework says that a message is too long; the number after it is the limit.
const TOO_LONG: &str = "decoded message length too large";
/// A request with this name may take as long as it needs to arrive: what is restored may be large.
const UNTIMED: &str = "Restore";

/// How an answer ended beyond its gRPC code: put into a response's extensions by the service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome(pub(crate) &'static str);

/// What all gates share.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    pub(crate) passwords: Option<Arc<Followed<Arc<Accepted>>>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A service behind its gate.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    rules: Arc<Rules>,
    /// Whether the password is asked for. Health and reflection tell nothing of the cluster, and who asks for health
    /// (a load balancer) should know no password.
    guarded: bool,
}

impl<S> Gate<S> {
    pub(crate) fn guarded(inner: S, rules: &Arc<Rules>) -> Self {
        Self { inner, rules: Arc::clone(rules), guarded: true }
    }

    pub(crate) fn open(inner: S, rules: &Arc<Rules>) -> Self {
        Self { inner, rules: Arc::clone(rules), guarded: false }
    }

    fn admit(&self, request: &Request<Body>) -> Result<Option<OpenRequest>, Status> {
        let limits = &self.rules.limits;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut place = None;
        if let Some(peer) = request.extensions().get::<Arc<Peer>>() {
            if peer.is_spare {
                let what_to_do = "close connections that are not needed, or raise the limit";
                let found = "one connection too many";
                return Err(fault::limit("connections", count(limits.connections), found, what_to_do));
            }
            let max = limits.streams_per_connection;
            place = Some(peer.open(max).map_err(|_| {
                let what_to_do = "end streams that are not needed, or use another connection";
                let found = "one stream too many on this connection";
                fault::limit("streams_per_connection", count(max), found, what_to_do)
            })?);
        }
        if let Some(accepted) = self.rules.passwords.as_ref().filter(|_| self.guarded) {
            let shown = request.headers().get(http::header::AUTHORIZATION);
            let shown = shown.map(|value| value.to_str().unwrap_or_default());
            let good =
                accepted.current().contains(shown.and_then(|it| it.strip_prefix(SCHEME)).unwrap_or_default());
            if !good {
                return Err(fault::unauthenticated(shown.is_some()));
            }
        }
        Ok(place)
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        let method = method(request.uri().path());
        let place = match self.admit(&request) {
            Ok(place) => place,
            Err(status) => {
                let response = watched(status.into_http(), method, None, &rules.metrics);
                return Box::pin(async { Ok(response) });
            }
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let wait = if method == UNTIMED { Duration::MAX } else { rules.limits.request_timeout };
            let response = match tokio::time::timeout(wait, answer).await {
                Ok(response) => typed(response?, &rules.limits),
                Err(_) => fault::late(wait.as_secs()).into_http(),
            };
            Ok(watched(response, method, place, &rules.metrics))
        })
    }
}

/// The last part of a path, where it is one of ours: it becomes a label, and those must not be drawn by strangers.
fn method(path: &str) -> &'static str {
    const METHODS: [&str; 19] = [
        "Join",
        "Campaign",
        "Appoint",
        "Read",
        "Watch",
        "PutMember",
        "RemoveMember",
        "PutMove",
        "PutSettings",
        "PutTask",
        "PutBid",
        "RemoveTask",
        "History",
        "Backup",
        "Restore",
        "Status",
        "Check",
        "List",
        "ServerReflectionInfo",
    ];
    let last = path.rsplit('/').next().unwrap_or_default();
    METHODS.into_iter().find(|known| *known == last).unwrap_or("other")
}

/// The framework's own word for a message that is too long becomes ours.
fn typed(response: Response<Body>, limits: &Limits) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if is_too_long(&status) => too_long(limits.message_bytes).into_http(),
        Some(_) | None => response,
    }
}

/// Whether the framework refused a message for its length.
pub(crate) fn is_too_long(status: &Status) -> bool {
    status.details().is_empty() && status.code() != Code::Ok && status.message().contains(TOO_LONG)
}

/// The typed error for it.
pub(crate) fn too_long(limit: usize) -> Status {
    let value = u64::try_from(limit).unwrap_or(u64::MAX);
    fault::limit("message_bytes", value, "a message too long", "split the request, or raise the limit")
}

/// Counts the outcome: now, where the answer is an error without a body; otherwise at the body's end.
fn watched(
    response: Response<Body>,
    method: &'static str,
    place: Option<OpenRequest>,
    metrics: &Arc<Metrics>,
) -> Response<Body> {
    let mut ending =
        Ending { method, outcome: None, told: false, metrics: Arc::clone(metrics), _place: place };
    if let Some(status) = Status::from_header_map(response.headers()) {
        ending.tell(&status);
        return response;
    }
    ending.outcome = response.extensions().get::<Outcome>().map(|outcome| outcome.0);
    response.map(|inner| Body::new(Watched { inner, ending }))
}

/// What is to be said once of each request.
struct Ending {
    method: &'static str,
    outcome: Option<&'static str>,
    told: bool,
    metrics: Arc<Metrics>,
    _place: Option<OpenRequest>,
}

impl Ending {
    fn tell(&mut self, status: &Status) {
        self.told = true;
        let outcome = match (status.code(), self.outcome) {
            (Code::Ok, Some(outcome)) => outcome,
            (code, _) => name_of(code),
        };
        self.metrics.request(self.method, outcome);
        if status.code() == Code::ResourceExhausted
            && let Ok(detail) = v1::StateboardError::decode(status.details())
            && let Some(limit) = detail.facts.get("limit")
        {
            self.metrics.refused(limit);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.told {
            self.metrics.request(self.method, "abandoned");
        }
    }
}

/// As gRPC writes it, in small letters.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::FailedPrecondition => "failed_precondition",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::Unauthenticated => "unauthenticated",
        Code::ResourceExhausted => "resource_exhausted",
        Code::Unknown | Code::AlreadyExists | Code::PermissionDenied | Code::Aborted | Code::DataLoss => {
            "other"
        }
    }
}

/// A body whose end is noticed.
struct Watched {
    inner: Body,
    ending: Ending,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
            && let Some(status) = Status::from_header_map(trailers)
        {
            this.ending.tell(&status);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
