//! The services of the gRPC port, each by its name. A router of the framework would do the same by patterns, and copy
//! itself for each request. Knows no request.

use crate::gate::Gate;
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;

/// All services; cheap to clone.
pub(crate) struct Doors<S, H, R>(Arc<Inner<S, H, R>>);

struct Inner<S, H, R> {
    stateboard: Gate<S>,
    health: Gate<H>,
    reflection: Gate<R>,
}

impl<S, H, R> Doors<S, H, R> {
    pub(crate) fn new(stateboard: Gate<S>, health: Gate<H>, reflection: Gate<R>) -> Self {
        Self(Arc::new(Inner { stateboard, health, reflection }))
    }
}

impl<S, H, R> Clone for Doors<S, H, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What a door has to be.
trait Door: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone {}
impl<S> Door for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone
{
}

impl<S, H, R> Service<Request<Body>> for Doors<S, H, R>
where
    S: Door<Future: Send + 'static>,
    H: Door<Future: Send + 'static>,
    R: Door<Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each service is the framework's, and those are ready at any time.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let name = request.uri().path().split('/').nth(1).unwrap_or_default();
        if name == S::NAME {
            self.0.stateboard.clone().call(request)
        } else if name == H::NAME {
            self.0.health.clone().call(request)
        } else if name == R::NAME {
            self.0.reflection.clone().call(request)
        } else {
            Box::pin(async { Ok(Status::unimplemented("").into_http()) })
        }
    }
}
