//! Health and metrics over HTTP. Reads only.

use crate::metrics::Metrics;
use crate::shell::Shell;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use baton_board::Request;
use std::sync::Arc;

#[derive(Clone)]
struct Context {
    shell: Shell,
    metrics: Arc<Metrics>,
}

/// `/metrics`, `/healthz` (the process runs), `/readyz` (the board answers).
pub(crate) fn router(shell: Shell, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Context { shell, metrics })
}

async fn metrics_text(State(context): State<Context>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.text())
}

/// Goes the way of a real read: it answers only when everything before it is durable.
async fn ready(State(context): State<Context>) -> impl IntoResponse {
    match context.shell.ask(Request::Status).await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the board does not answer\n"),
    }
}
