//! HTTP for load balancers, supervisors, scripts and scrapers: read-only, from the published views, never from a
//! machine. What a load balancer asks (`/primary`) is answered from the lease at the moment of the question.

mod cluster;
mod health;
mod listener;
mod masters;

use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::view::Views;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use baton_core::ids::InstanceName;
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Most connections at a time on one port; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// Most server-sent event streams at a time, below the connections, so that health checks always find room.
const STREAMS_MAX: usize = 512;

/// What every handler can see.
#[derive(Clone)]
pub struct HttpState {
    views: Views,
    metrics: Arc<Metrics>,
    /// Whether the map of masters is served, and must be known before this daemon is ready.
    directory_enabled: bool,
    streams: Arc<Semaphore>,
    cluster: cluster::Cluster,
}

impl HttpState {
    /// The state of a daemon's handlers.
    #[must_use]
    pub fn new(views: Views, metrics: Arc<Metrics>, directory_enabled: bool) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { views, metrics, directory_enabled, streams, cluster: cluster::Cluster::default() }
    }
}

/// The routes of `http_listen`.
pub fn router(state: HttpState) -> Router {
    let only = match state.views.locals.len() {
        1 => state.views.locals.keys().next().cloned(),
        _ => None,
    };
    let mut router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .nest("/instances/{name}", health::of_named());
    if state.directory_enabled {
        router = router.merge(masters::routes());
    }
    if let Some(only) = only {
        router = router.merge(health::of_one(only));
    }
    router.fallback(not_found).with_state(state)
}

/// The routes of an instance's `health_listen`.
pub fn health_router(state: HttpState, instance: InstanceName) -> Router {
    health::of_one(instance).fallback(not_found).with_state(state)
}

/// Serves one port until `shutdown`; open requests get their answers, event streams end.
///
/// # Errors
/// What the socket says, if it cannot be listened on any more.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = listener::Limited::new(listener, CONNECTIONS_MAX);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn metrics(State(state): State<HttpState>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics.render(&state.views)).into_response()
}

/// Ready: this daemon can answer what it is asked. An engine that is down makes no daemon unready.
async fn ready(State(state): State<HttpState>) -> Response {
    let known = state.views.masters.borrow().is_known();
    if state.directory_enabled && !known {
        let body = json!({"ready": false, "reason": "no active arbiter was heard yet"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    Json(json!({"ready": true})).into_response()
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error": "no such page"}))).into_response()
}
