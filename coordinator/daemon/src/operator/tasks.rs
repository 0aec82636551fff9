//! What operators asked for, as the service answers it: out of the view that the arbiter's shell publishes, waited for where
//! a caller wants the end.

use super::command::{Refused, RefusedKind};
use super::service::OperatorService;
use baton_proto::v1::operator_task::State;
use baton_proto::v1::{DrillOutage, OperatorTask, Refusal};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::{Response, Status};

/// Longest that one call waits for a task.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl OperatorService {
    /// The task as it stands when it has ended, or `wait` is over. Where the lock is lost meanwhile, the caller is sent on.
    pub(super) async fn task_or_not_found(
        &self,
        cluster: &str,
        id: u64,
        wait: Duration,
    ) -> Result<Response<OperatorTask>, Status> {
        let mut tasks = self.views.tasks.clone();
        let over = tokio::time::timeout(
            wait.min(WAIT_MAX),
            tasks.wait_for(|tasks| tasks.get(&id).is_none_or(|task| has_ended(task))),
        );
        // Its time is over, or the shell has ended: what is known is told.
        let _ = over.await;
        let found = tasks.borrow().get(&id).cloned();
        if let Some(task) = found {
            return Ok(Response::new(OperatorTask::clone(&task)));
        }
        self.active(cluster)?;
        let refused = Refused::new(
            RefusedKind::NotFound,
            format!("there is no task {id}"),
            "list them with: batonctl task; the oldest that have ended are forgotten",
        );
        Err(self.refuse(&refused.with_fact("task", id)))
    }

    /// How long the drills of a set took, by the term that each led to.
    pub(super) fn drills_of(&self, replicaset: &str) -> BTreeMap<u64, DrillOutage> {
        let tasks = self.views.tasks.borrow();
        let own = tasks.values().filter(|task| task.replicaset == replicaset);
        let outages = own.filter_map(|task| task.drill.as_ref()?.outage);
        outages.map(|outage| (outage.term, outage)).collect()
    }

    /// Those of a set, or all, the newest first.
    pub(super) fn listed(&self, replicaset: &str) -> Vec<OperatorTask> {
        let tasks = self.views.tasks.borrow();
        let wanted = |task: &&OperatorTask| replicaset.is_empty() || task.replicaset == replicaset;
        tasks.values().rev().map(|task| task.as_ref()).filter(wanted).map(OperatorTask::clone).collect()
    }
}

fn has_ended(task: &OperatorTask) -> bool {
    match task.state() {
        State::Planned | State::Running => false,
        State::Done | State::Failed | State::Aborted | State::NotUnderstood => true,
    }
}

/// What is known when the machine dropped the question.
pub(super) fn unanswered() -> Refused {
    Refused::new(
        RefusedKind::Unknown,
        "the arbiter stopped before it answered, so whether it was done is not known",
        "look at `batonctl task`, and at `batonctl history` for the set",
    )
}

/// A refusal as its typed detail.
pub(super) fn refusal_to_wire(refused: &Refused, active_arbiter: String) -> Refusal {
    Refusal {
        reason: refused.kind.reason().to_owned(),
        facts: refused.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        what_to_do: refused.what_to_do.clone(),
        active_arbiter,
    }
}
