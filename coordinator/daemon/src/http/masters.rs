//! The map of masters as JSON: once, as server-sent events, and one set with all that is known of it.

use super::HttpState;
use crate::directory;
use crate::view::MastersView;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use baton_core::ids::{Epoch, Revision};
use baton_proto::v1::{MasterEntry, MastersChange};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

pub(super) fn routes() -> Router<HttpState> {
    Router::new()
        .route("/v1/masters", get(masters))
        .route("/v1/watch", get(watch_masters))
        .route("/v1/replicasets/{name}", get(replicaset))
}

/// The shape of `/v1/masters` and of each event.
#[derive(Serialize)]
struct MastersBody {
    revision: u64,
    masters: Vec<MasterBody>,
}

#[derive(Serialize)]
struct MasterBody {
    replicaset: String,
    term: u64,
    master: Option<String>,
    endpoint: Option<String>,
    state: String,
}

impl From<MastersChange> for MastersBody {
    fn from(change: MastersChange) -> Self {
        let filled = |text: String| (!text.is_empty()).then_some(text);
        let master = |entry: MasterEntry| MasterBody {
            replicaset: entry.replicaset,
            term: entry.term,
            master: filled(entry.master),
            endpoint: filled(entry.endpoint),
            state: entry.state,
        };
        Self { revision: change.revision, masters: change.masters.into_iter().map(master).collect() }
    }
}

fn nothing_yet() -> Response {
    let body = json!({"error": "this coordinator has not heard from an active arbiter yet; ask another"});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn masters(State(state): State<HttpState>) -> Response {
    let view = Arc::clone(&state.views.masters.borrow());
    if !view.is_known() {
        return nothing_yet();
    }
    Json(MastersBody::from(directory::wire::snapshot(&view))).into_response()
}

async fn replicaset(State(state): State<HttpState>, Path(name): Path<String>) -> Response {
    let known = state.views.masters.borrow().is_known();
    let status = state.cluster.status(&state.views).await;
    let arbiter = status.arbiter;
    match status.replicasets.into_iter().find(|set| set.replicaset == name) {
        // Who decides stands beside it: elsewhere the members are not known, and a reader should know where to ask.
        Some(set) => match serde_json::to_value(set) {
            Ok(mut body) => {
                body["arbiter"] = json!(arbiter);
                Json(body).into_response()
            }
            Err(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": error.to_string()}))).into_response()
            }
        },
        None if !known && !arbiter.active_here => nothing_yet(),
        None => {
            let name: String = name.chars().take(64).collect();
            (StatusCode::NOT_FOUND, Json(json!({"error": format!("no replica set {name:?}")})))
                .into_response()
        }
    }
}

async fn watch_masters(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    if !state.views.masters.borrow().is_known() {
        return nothing_yet();
    }
    let Ok(permit) = Arc::clone(&state.streams).try_acquire_owned() else {
        let body = json!({"error": "too many watch here already; ask another coordinator"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    };
    let last = headers.get("last-event-id").and_then(|id| parse_id(id.to_str().ok()?));
    let known = Arc::clone(&state.views.masters.borrow());
    let sent = (last == Some((known.epoch, known.revision))).then_some(known);
    let reader = EventReader { masters: state.views.masters.clone(), sent, _permit: permit };
    Sse::new(events(reader)).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))).into_response()
}

/// `EPOCH:REVISION`, so that a browser resumes by itself.
fn parse_id(text: &str) -> Option<(Epoch, Revision)> {
    let (epoch, revision) = text.split_once(':')?;
    Some((epoch.parse().ok()?, Revision(revision.parse().ok()?)))
}

struct EventReader {
    masters: watch::Receiver<Arc<MastersView>>,
    sent: Option<Arc<MastersView>>,
    _permit: OwnedSemaphorePermit,
}

/// A `snapshot`, then a `change` each; the stream ends with the daemon.
fn events(reader: EventReader) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(reader, |mut reader| async move {
        let change = directory::next_change(&mut reader.masters, &mut reader.sent).await?;
        let id = reader.sent.as_ref().map(|view| format!("{}:{}", view.epoch, view.revision));
        let name = if change.snapshot { "snapshot" } else { "change" };
        let body = serde_json::to_string(&MastersBody::from(change)).ok()?;
        Some((Ok(Event::default().event(name).id(id.unwrap_or_default()).data(body)), reader))
    })
}
