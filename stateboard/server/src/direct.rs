//! What thousands ask for in one moment is answered with ready bytes: a read with those of the reader before it, a watcher
//! with those of all others. The other requests go the framework's way. Knows paths, and nothing of the board.

use crate::ready::{answer, asked};
use crate::service::Service;
use baton_proto::v1;
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use v1::stateboard_server::StateboardServer;

const READ: &str = "/baton.v1.Stateboard/Read";
const WATCH: &str = "/baton.v1.Stateboard/Watch";

/// The service, with a short way for the two.
#[derive(Clone)]
pub(crate) struct Direct {
    pub(crate) service: Arc<Service>,
    pub(crate) others: StateboardServer<Service>,
}

impl NamedService for Direct {
    const NAME: &'static str = <StateboardServer<Service> as NamedService>::NAME;
}

impl tonic::codegen::Service<Request<Body>> for Direct {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The framework's service is ready at any time.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request.uri().path() {
            READ => {
                let service = Arc::clone(&self.service);
                Box::pin(async move {
                    let done = async {
                        let request = asked(request.into_body(), service.limits.message_bytes).await?;
                        service.snapshot(request).await.map(|bytes| tokio_stream::once(Ok(bytes)))
                    };
                    Ok(answer(done.await))
                })
            }
            WATCH => {
                let service = Arc::clone(&self.service);
                Box::pin(async move {
                    let done = async {
                        let request = asked(request.into_body(), service.limits.message_bytes).await?;
                        service.events(request).await.map(Box::pin)
                    };
                    Ok(answer(done.await))
                })
            }
            _ => self.others.call(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_those_of_the_service() {
        for path in [READ, WATCH] {
            assert_eq!(path.split('/').nth(1), Some(Direct::NAME));
        }
    }
}
