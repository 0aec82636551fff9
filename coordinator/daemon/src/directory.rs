//! Answers routers: who is master of what. gRPC here, HTTP in [`crate::http`], both from the same published map, on
//! every coordinator. A reader that is slow misses intermediate maps, never the last one.

mod service;
pub mod wire;

pub use service::DirectoryService;

use crate::view::{ClusterView, MastersView};
use baton_client::refusal;
use baton_client::status::{ClusterStatus, ReplicaSetStatus};
use baton_core::ids::ClusterName;
use baton_proto::v1::{MastersChange, Refusal};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Status};

/// Refuses a call that names another cluster: two clusters mixed up by a wrong address must not be believed.
///
/// # Errors
/// `FAILED_PRECONDITION` with the reason `foreign_cluster`.
pub fn check_cluster(ours: &ClusterName, named: &str) -> Result<(), Status> {
    if named.is_empty() || named == ours.as_str() {
        return Ok(());
    }
    let refusal = Refusal {
        reason: refusal::FOREIGN_CLUSTER.to_owned(),
        facts: [("cluster".to_owned(), ours.to_string())].into(),
        what_to_do: "check the address: another cluster answers there".to_owned(),
        active_arbiter: String::new(),
    };
    let named: String = named.chars().take(64).collect();
    let message = format!("this is a coordinator of cluster {ours}, not of {named:?}");
    Err(refusal::to_status(Code::FailedPrecondition, message, &refusal))
}

/// Waits for the next message of a watch: the whole map where nothing was `sent` yet, else what differs from it. `None`
/// when the daemon stops. Whatever happened between two calls is one message: a slow reader holds no queue.
pub async fn next_change(
    masters: &mut watch::Receiver<Arc<MastersView>>,
    sent: &mut Option<Arc<MastersView>>,
) -> Option<MastersChange> {
    loop {
        let now = Arc::clone(&masters.borrow_and_update());
        let message = match sent.as_ref() {
            None => Some(wire::snapshot(&now)),
            Some(sent) if (sent.epoch, sent.revision) == (now.epoch, now.revision) => None,
            Some(sent) => Some(wire::change(sent, &now)),
        };
        *sent = Some(now);
        if message.is_some() {
            return message;
        }
        masters.changed().await.ok()?;
    }
}

/// What this coordinator knows: all where it is the active arbiter, otherwise the masters that it was told.
#[must_use]
pub fn local_status(view: &ClusterView, masters: &MastersView, now: Instant) -> ClusterStatus {
    let mut status = view.status_at(now);
    if status.arbiter.active_here {
        return status;
    }
    let known: BTreeMap<_, _> =
        status.replicasets.iter().enumerate().map(|(at, set)| (set.replicaset.clone(), at)).collect();
    for (name, master) in &masters.masters {
        let told = ReplicaSetStatus {
            replicaset: name.to_string(),
            term: master.term.0,
            master: master.master.as_ref().map(ToString::to_string),
            endpoint: master.endpoint.as_ref().map(ToString::to_string),
            state: master.state.name().to_owned(),
            phase: "known to the active arbiter".to_owned(),
            ..ReplicaSetStatus::default()
        };
        match known.get(name.as_str()).and_then(|at| status.replicasets.get_mut(*at)) {
            Some(known) => *known = told,
            None => status.replicasets.push(told),
        }
    }
    if status.arbiter.coordinator.is_none() {
        status
            .issues
            .push("no active arbiter is known here: nothing will be decided until there is one".to_owned());
    }
    status
}
