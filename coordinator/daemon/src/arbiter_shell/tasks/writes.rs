//! The writes of tasks, each repeated until it is answered: a time-out is unknown, never a failure.

use crate::arbiter_shell::Event;
use baton_core::ids::{TaskId, Version};
use baton_core::task::StoredTask;
use baton_provider::{LockToken, ProviderError, StateProvider, TaskOutcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Between two writes that were not answered.
const AGAIN: Duration = Duration::from_millis(200);

/// One conditional write of a task.
pub(super) struct PutTask {
    pub(super) provider: Arc<dyn StateProvider>,
    pub(super) token: LockToken,
    pub(super) expected: Option<Version>,
    pub(super) task: StoredTask,
    pub(super) timeout: Duration,
    /// The lock is another's: whether it was applied is his to find out.
    pub(super) stop: CancellationToken,
}

/// Writes a task, again and again until it is answered. One that is new and surely not written is given up at once, so that
/// whoever asked for it is told; the end of one that runs is written when the provider is back.
pub(super) async fn put_task(put: PutTask, events: mpsc::Sender<Event>) {
    let PutTask { provider, token, expected, task, timeout, stop } = put;
    let (id, new) = (task.id, expected.is_none());
    let write = async {
        // One that was sent and not answered may still land, whatever the next one is told.
        let mut sent = false;
        loop {
            let answer = tokio::time::timeout(timeout, provider.put_task(token, expected, task.clone()));
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(_) => Err(ProviderError::Unknown(format!("no answer within {timeout:?}"))),
            };
            match answer {
                Ok(TaskOutcome::Applied(_)) => return Ok(expected.unwrap_or_default().next()),
                // Ours, whose answer was lost.
                Ok(TaskOutcome::Conflict(Some(shown))) if shown.body == task.body => return Ok(shown.version),
                Ok(TaskOutcome::Conflict(_)) => return Err("another one stands under its number".to_owned()),
                Ok(TaskOutcome::Refused(refusal)) => return Err(refusal.to_string()),
                Err(error) if new && !sent && error.is_surely_not_applied() => return Err(error.to_string()),
                Ok(TaskOutcome::StaleEpoch(_)) => {
                    tracing::debug!(task = id.0, "the lock is lost before a task was written");
                }
                Err(error) => {
                    sent |= !error.is_surely_not_applied();
                    tracing::warn!(task = id.0, %error, "a task was not written yet; it is written again");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = events.closed() => return,
        outcome = write => outcome,
    };
    let _ = events.send(Event::TaskKept { epoch: token.epoch, task: id, outcome }).await;
}

pub(super) async fn remove_task(provider: Arc<dyn StateProvider>, token: LockToken, id: TaskId) {
    // Forgotten by the next arbiter, should this fail.
    match provider.remove_task(token, id).await {
        Ok(outcome) => tracing::debug!(task = id.0, ?outcome, "task forgotten"),
        Err(error) => tracing::warn!(task = id.0, %error, "an old task could not be removed"),
    }
}
