//! The health endpoints of an instance: what HAProxy, Kubernetes or a script asks. 200 or 503, with a small body that
//! names the term and, for a 503, the reason.

use super::HttpState;
use crate::view::{LocalRole, LocalView};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get};
use baton_core::ids::InstanceName;
use baton_core::message::Health;
use baton_core::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Writes may go there now.
    Primary,
    /// It follows a master, closely enough.
    Replica,
    /// The same as primary, by the name that routers of queries use.
    ReadWrite,
    /// Reads may go there: a master or a replica.
    ReadOnly,
    /// The engine answers.
    Health,
    /// The guard of the instance runs. (Restarting the daemon is no cure for an engine that is down.)
    Liveness,
    /// It serves clients in one role or the other.
    Readiness,
}

const CHECKS: [(&str, Check); 7] = [
    ("/primary", Check::Primary),
    ("/replica", Check::Replica),
    ("/read-write", Check::ReadWrite),
    ("/read-only", Check::ReadOnly),
    ("/health", Check::Health),
    ("/liveness", Check::Liveness),
    ("/readiness", Check::Readiness),
];

/// The checks of the instance that the path names; to be nested below `/instances/{name}`.
pub(super) fn of_named() -> Router<HttpState> {
    CHECKS.into_iter().fold(Router::new(), |router, (path, check)| {
        let handler = async move |State(state): State<HttpState>, Path(name): Path<String>, query: Lag| {
            match InstanceName::parse(&name) {
                Ok(name) => answer(&state, &name, check, query).await,
                Err(_) => unknown(&name),
            }
        };
        router.route(path, for_probes(get(handler), handler))
    })
}

/// The checks of one instance.
pub(super) fn of_one(instance: InstanceName) -> Router<HttpState> {
    CHECKS.into_iter().fold(Router::new(), |router, (path, check)| {
        let instance = instance.clone();
        let handler = async move |State(state): State<HttpState>, query: Lag| {
            answer(&state, &instance, check, query).await
        };
        router.route(path, for_probes(get(handler.clone()), handler))
    })
}

/// HAProxy's default probe is OPTIONS; HEAD comes with GET.
fn for_probes<H, T>(methods: MethodRouter<HttpState>, handler: H) -> MethodRouter<HttpState>
where
    H: axum::handler::Handler<T, HttpState>,
    T: 'static,
{
    methods.options(handler)
}

type Lag = Result<Query<LagQuery>, axum::extract::rejection::QueryRejection>;

#[derive(Deserialize)]
struct LagQuery {
    lag: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    instance: &'a str,
    replicaset: &'a str,
    role: &'static str,
    term: u64,
    writable: bool,
    /// No arbiter extends the lease; the promises of the other members do.
    on_promises: bool,
    lease_remaining_ms: u64,
    health: &'static str,
    position: String,
    lag_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

async fn answer(state: &HttpState, name: &InstanceName, check: Check, query: Lag) -> Response {
    let Some(local) = state.views.locals.get(name) else { return unknown(name.as_str()) };
    let lag_max = match query.ok().and_then(|Query(query)| query.lag).map(|text| parse_bytes(&text)) {
        None => None,
        Some(Some(bytes)) => Some(bytes),
        Some(None) => {
            let body = json!({"error": "lag must be a number of bytes, such as 500kB, 10MB or 1GiB"});
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    };
    let guard_runs = local.has_changed().is_ok();
    let mut view = local.borrow().clone();
    if lag_max.is_some() && view.lag_bytes.is_none() && view.role == LocalRole::Replica {
        view.lag_bytes = state.cluster.lag_of(&state.views, name.as_str()).await;
    }
    let now = (state.views.clock)();
    let reason =
        if guard_runs { refuse(check, &view, now, lag_max) } else { Some("its guard has ended".to_owned()) };
    let code = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Body {
        instance: name.as_str(),
        replicaset: view.replicaset.as_str(),
        role: view.role.name(),
        term: view.term.0,
        writable: view.is_primary(now),
        on_promises: view.on_promises,
        lease_remaining_ms: view.lease_remaining(now).as_millis(),
        health: health_word(view.health),
        position: view.position.to_string(),
        lag_bytes: view.lag_bytes,
        reason,
    };
    (code, Json(body)).into_response()
}

/// Why the answer is no; `None` for yes.
fn refuse(check: Check, view: &LocalView, now: Time, lag_max: Option<u64>) -> Option<String> {
    let is_primary = view.is_primary(now);
    match check {
        Check::Liveness => None,
        Check::Health if view.health == Health::Up => None,
        Check::Health => Some(format!("the engine is {}", health_word(view.health))),
        Check::Primary | Check::ReadWrite if is_primary => None,
        Check::Primary | Check::ReadWrite => Some(match (view.role, view.right_until) {
            (LocalRole::Master, Some(_)) if view.writable => "its lease has run out".to_owned(),
            (LocalRole::Master | LocalRole::Candidate, _) => "it is not writable yet".to_owned(),
            (role, _) => format!("it is {}", role.name()),
        }),
        Check::Replica => not_a_replica(view, lag_max),
        Check::ReadOnly | Check::Readiness if is_primary => None,
        Check::ReadOnly | Check::Readiness => not_a_replica(view, lag_max),
    }
}

fn not_a_replica(view: &LocalView, lag_max: Option<u64>) -> Option<String> {
    if view.role != LocalRole::Replica {
        return Some(format!("it is {}", view.role.name()));
    }
    if view.health != Health::Up {
        return Some(format!("the engine is {}", health_word(view.health)));
    }
    match (lag_max, view.lag_bytes) {
        (None, _) => None,
        (Some(most), Some(lag)) if lag <= most => None,
        (Some(most), Some(lag)) => Some(format!("it is {lag} bytes behind, more than {most}")),
        (Some(_), None) => Some("how far it is behind is not known".to_owned()),
    }
}

fn health_word(health: Health) -> &'static str {
    match health {
        Health::Up => "up",
        Health::Down => "down",
        Health::Stalled => "stalled",
    }
}

fn unknown(name: &str) -> Response {
    let name: String = name.chars().take(64).collect();
    (StatusCode::NOT_FOUND, Json(json!({"error": format!("no instance {name:?} here")}))).into_response()
}

/// `10MB`, `1GiB`, `4096`: decimal and binary units, as people and Patroni write them.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4_096)),
            ("10MB", Some(10_000_000)),
            ("1GiB", Some(1 << 30)),
            ("2kb", Some(2_000)),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
        for text in ["", "MB", "1.5MB", "-1", "10XB", "99999999999GB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
