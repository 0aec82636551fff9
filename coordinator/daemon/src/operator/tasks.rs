//! The table of operators' tasks: what was started here, and how it ended. Bounded, in memory: after a change of the
//! arbiter the history says what became of a task.

use super::command::{Refused, RefusedKind, SwitchoverDone};
use baton_client::decision::DecisionRecord;
use baton_core::ids::ReplicaSetName;
use baton_proto::v1::operator_task::State;
use baton_proto::v1::{OperatorTask, Refusal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How many tasks are remembered; the oldest is forgotten first.
const TASKS_MAX: usize = 256;

/// How a task ended; `None` while it runs.
type Ending = Option<Result<SwitchoverDone, Refused>>;

#[derive(Clone)]
struct Task {
    replicaset: ReplicaSetName,
    ending: watch::Receiver<Ending>,
}

/// All of them, shared by the calls.
#[derive(Clone)]
pub(super) struct Tasks {
    table: Arc<Mutex<BTreeMap<u64, Task>>>,
    first: u64,
}

impl Default for Tasks {
    /// The numbers begin at a random place, so that an operator who asks another coordinator, or this one after a
    /// restart, is told that the task is not known rather than how somebody else's ended. Below 2^53, for JSON.
    fn default() -> Self {
        Self { table: Arc::default(), first: (u64::from(rand::random::<u32>()) << 20) + 1 }
    }
}

impl Tasks {
    /// Whether a task with this number was started here and is still remembered.
    pub(super) fn has(&self, id: u64) -> bool {
        self.lock().contains_key(&id)
    }

    /// Notes a task and awaits its answer beside every caller, so that one who goes away does not end it.
    pub(super) fn start(
        &self,
        replicaset: ReplicaSetName,
        answer: oneshot::Receiver<Result<SwitchoverDone, Refused>>,
    ) -> u64 {
        let (ending_in, ending) = watch::channel(None);
        tokio::spawn(async move {
            let ended = answer.await.unwrap_or_else(|_| Err(unanswered()));
            ending_in.send_replace(Some(ended));
        });
        let mut table = self.lock();
        let id = table.last_key_value().map_or(self.first, |(id, _)| id + 1);
        table.insert(id, Task { replicaset, ending });
        while table.len() > TASKS_MAX {
            table.pop_first();
        }
        id
    }

    /// The task as it stands when it has ended, or `wait` is over. `None`: not known here.
    pub(super) async fn wait(&self, id: u64, wait: Duration) -> Option<OperatorTask> {
        let mut task = self.lock().get(&id).cloned()?;
        let ended = tokio::time::timeout(wait, task.ending.wait_for(Option::is_some)).await;
        let ending = match ended {
            Ok(Ok(ending)) => ending.clone(),
            // The sender is dropped only after the ending was sent, or with the runtime.
            Ok(Err(_)) => Some(Err(unanswered())),
            Err(_) => None,
        };
        Some(to_wire(id, &task.replicaset, ending))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Task>> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What is known when the machine dropped the question.
pub(super) fn unanswered() -> Refused {
    Refused::new(
        RefusedKind::Unknown,
        "the arbiter stopped before it answered, so whether it was done is not known",
        "look at `batonctl history` for the set",
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

fn to_wire(id: u64, replicaset: &ReplicaSetName, ending: Ending) -> OperatorTask {
    let task = OperatorTask { id, replicaset: replicaset.to_string(), ..OperatorTask::default() };
    match ending {
        None => OperatorTask { state: State::Running.into(), ..task },
        Some(Ok(done)) => OperatorTask {
            state: State::Done.into(),
            term_before: done.term_before.0,
            term_after: done.term_after.0,
            master: done.master.to_string(),
            decision: done.decision.to_json(),
            ..task
        },
        Some(Err(refused)) => {
            let mut refusal = refusal_to_wire(&refused, String::new());
            refusal.facts.insert("message".to_owned(), refused.message.clone());
            OperatorTask {
                state: State::Failed.into(),
                decision: refused.decision.as_deref().map(DecisionRecord::to_json).unwrap_or_default(),
                refusal: Some(refusal),
                ..task
            }
        }
    }
}
