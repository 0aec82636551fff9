//! What the arbiter asks of the provider, each a task with a deadline that answers with an event.
//!
//! A time-out is unknown, never a failure.

use super::Event;
use crate::metrics::{Metrics, ProviderFailure};
use crate::operator::{Refused, RefusedKind, Reply};
use baton_client::decision::DecisionRecord;
use baton_core::arbiter::WriteOutcome;
use baton_core::ids::{Epoch, InstanceName, OpId, ReplicaSetName, Version};
use baton_core::record::{Change, HistoryEntry, Member, Record};
use baton_provider::{
    AppointOutcome, LockToken, ProviderError, StateProvider, WriteOutcome as ProviderOutcome,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Between two reads that were not answered.
const AGAIN: Duration = Duration::from_millis(10);

/// One conditional write.
pub(super) struct Write {
    pub(super) op: OpId,
    pub(super) token: LockToken,
    pub(super) expected: Option<Version>,
    pub(super) record: Record,
    pub(super) decision: Option<DecisionRecord>,
}

/// The wall clock, for people only.
#[must_use]
pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) async fn write(
    provider: Arc<dyn StateProvider>,
    write: Write,
    timeout: Duration,
    metrics: Arc<Metrics>,
    events: mpsc::Sender<Event>,
) {
    let Write { op, token, expected, mut record, decision } = write;
    record.at_unix_millis = unix_millis();
    let replicaset = record.replicaset.clone();
    let decision = decision.map(|decision| decision.to_json()).unwrap_or_default();
    let change = Change { expected, record, decision };
    let since = tokio::time::Instant::now();
    let answer = match tokio::time::timeout(timeout, provider.appoint(token, vec![change])).await {
        Ok(answer) => answer,
        Err(_) => Err(ProviderError::Unknown(format!("no answer within {timeout:?}"))),
    };
    let took = baton_core::time::Span::from_duration(since.elapsed());
    metrics.provider_call("appoint", took, failure(&answer));
    let outcome = match answer {
        Ok(AppointOutcome::Applied(_)) => WriteOutcome::Applied,
        Ok(AppointOutcome::Conflict(mut current)) => {
            WriteOutcome::Conflict(current.remove(&replicaset).flatten().map(Box::new))
        }
        Ok(AppointOutcome::StaleEpoch { .. }) => WriteOutcome::StaleEpoch,
        Ok(AppointOutcome::Refused(refusal)) => {
            tracing::error!(%replicaset, ?refusal, "the provider refused a write as no step of the protocol");
            WriteOutcome::NotApplied
        }
        Err(error) => {
            tracing::warn!(%replicaset, %error, "a write to the provider had no answer; it is settled by repetition");
            if error.is_surely_not_applied() { WriteOutcome::NotApplied } else { WriteOutcome::Unknown }
        }
    };
    let _ = events.send(Event::Written { op, outcome }).await;
}

fn failure(answer: &Result<AppointOutcome, ProviderError>) -> Option<ProviderFailure> {
    match answer {
        Ok(AppointOutcome::Applied(_)) => None,
        Ok(_) => Some(ProviderFailure::Conflict),
        Err(error) if error.is_surely_not_applied() => Some(ProviderFailure::NotApplied),
        Err(_) => Some(ProviderFailure::Unknown),
    }
}

/// Reads everything after a takeover, until it is answered.
pub(super) async fn load(provider: Arc<dyn StateProvider>, epoch: Epoch, events: mpsc::Sender<Event>) {
    loop {
        match provider.read().await {
            Ok(snapshot) => {
                let _ = events.send(Event::Loaded { epoch, snapshot: Box::new(snapshot) }).await;
                return;
            }
            Err(error) => tracing::warn!(%error, "the provider does not answer the read after the takeover"),
        }
        if events.is_closed() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Lists a member. The arbiter asks again until it hears that this was applied.
pub(super) async fn put_member(
    provider: Arc<dyn StateProvider>,
    token: LockToken,
    member: Member,
    timeout: Duration,
    events: mpsc::Sender<Event>,
) {
    let instance = member.instance.clone();
    let answer = match tokio::time::timeout(timeout, provider.put_member(token, member.clone())).await {
        Ok(answer) => answer,
        Err(_) => Err(ProviderError::Unknown(format!("no answer within {timeout:?}"))),
    };
    match answer {
        Ok(ProviderOutcome::Applied(_)) => {
            tracing::debug!(%instance, "member listed");
            let _ = events.send(Event::Listed(Box::new(member))).await;
        }
        Ok(ProviderOutcome::Refused(refusal)) => {
            tracing::warn!(%instance, %refusal, "the provider does not list the member; it is asked again");
        }
        Ok(ProviderOutcome::StaleEpoch(epoch)) => {
            tracing::debug!(%instance, ?epoch, "the member is listed by another arbiter");
        }
        Err(error) => tracing::warn!(%instance, %error, "the member may not be listed; that is asked again"),
    }
}

/// A member to be removed.
pub(super) struct Removal {
    pub(super) token: LockToken,
    pub(super) replicaset: ReplicaSetName,
    pub(super) instance: InstanceName,
}

/// Removes a member; asked twice, it is removed once, so what was not answered is simply asked again.
pub(super) async fn remove_member(
    provider: Arc<dyn StateProvider>,
    removal: Removal,
    reply: Reply<()>,
    events: mpsc::Sender<Event>,
) {
    let Removal { token, replicaset, instance } = removal;
    /// How often.
    const TRIES: usize = 3;
    let mut last = String::new();
    for _ in 0..TRIES {
        let answer = match provider.remove_member(token, &replicaset, &instance).await {
            Ok(ProviderOutcome::Applied(_)) => {
                let (replicaset, instance) = (replicaset.clone(), instance.clone());
                let _ = events.send(Event::MemberRemoved { replicaset, instance }).await;
                Ok(())
            }
            Ok(ProviderOutcome::StaleEpoch(_)) => Err(Refused::new(
                RefusedKind::NotActiveArbiter,
                "another coordinator has become the active arbiter",
                "ask again",
            )),
            Ok(ProviderOutcome::Refused(refusal)) => {
                let what_to_do =
                    format!("see how it stands with: batonctl status; {instance} stays a member");
                Err(Refused::new(RefusedKind::StillCounts, refusal.to_string(), what_to_do))
            }
            Err(error) => {
                last = error.to_string();
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let _ = reply.send(answer);
        return;
    }
    let message = format!("whether {instance} was removed is not known: {last}");
    let _ = reply.send(Err(Refused::new(
        RefusedKind::Unknown,
        message,
        "ask again: to remove it twice is no harm",
    )));
}

pub(super) async fn history(
    provider: Arc<dyn StateProvider>,
    replicaset: ReplicaSetName,
    limit: u32,
    reply: Reply<Vec<HistoryEntry>>,
) {
    let answer = provider.history(&replicaset, limit as usize).await.map_err(|error| {
        Refused::new(
            RefusedKind::ProviderUnavailable,
            format!("the history of {replicaset} cannot be read: {error}"),
            "look at the state provider",
        )
    });
    let _ = reply.send(answer);
}
