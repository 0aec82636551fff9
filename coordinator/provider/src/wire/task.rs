//! Tasks of operators on the wire: numbers and texts. What a text says is not looked at.

use super::{Malformed, board, epoch_from_wire, epoch_to_wire, required};
use baton_board::TaskOutcome;
use baton_core::ids::{Revision, TaskId, Version};
use baton_core::task::{StoredTask, TASK_ID_END};
use baton_proto::v1;
use v1::put_task_response::Outcome;

/// Out.
#[must_use]
pub fn task_to_wire(task: &StoredTask) -> v1::StoredTask {
    v1::StoredTask { id: task.id.0, body: task.body.clone(), version: task.version.0 }
}

/// In.
///
/// # Errors
/// [`Malformed`] where it has no number of a task.
pub fn task_from_wire(task: v1::StoredTask) -> Result<StoredTask, Malformed> {
    if task.id == 0 || task.id >= TASK_ID_END {
        return Err(Malformed::Missing("the number of a task"));
    }
    Ok(StoredTask { id: TaskId(task.id), body: task.body, version: Version(task.version) })
}

/// Out.
#[must_use]
pub fn task_outcome_to_wire(outcome: &TaskOutcome) -> v1::PutTaskResponse {
    let outcome = match outcome {
        TaskOutcome::Applied(revision) => Outcome::Applied(v1::Applied { revision: revision.0 }),
        TaskOutcome::Conflict(current) => {
            Outcome::Conflict(v1::TaskConflict { current: current.as_deref().map(task_to_wire) })
        }
        TaskOutcome::StaleEpoch(current) => {
            Outcome::StaleEpoch(v1::StaleEpoch { current: Some(epoch_to_wire(*current)) })
        }
        TaskOutcome::Refused(refusal) => Outcome::Refused(board::refusal_to_wire(refusal)),
    };
    v1::PutTaskResponse { outcome: Some(outcome) }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn task_outcome_from_wire(response: v1::PutTaskResponse) -> Result<TaskOutcome, Malformed> {
    Ok(match required(response.outcome, "the outcome")? {
        Outcome::Applied(applied) => TaskOutcome::Applied(Revision(applied.revision)),
        Outcome::Conflict(conflict) => {
            TaskOutcome::Conflict(conflict.current.map(task_from_wire).transpose()?.map(Box::new))
        }
        Outcome::StaleEpoch(stale) => TaskOutcome::StaleEpoch(epoch_from_wire(stale.current)?),
        Outcome::Refused(refused) => TaskOutcome::Refused(board::refusal_from_wire(refused)?),
    })
}
