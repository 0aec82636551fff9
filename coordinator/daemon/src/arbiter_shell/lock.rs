//! The task of the arbiter's lock: campaigns, renews, says what it got. What it means is the machine's.
//!
//! The validity of the lock counts from before a renewal was *sent*, the predecessor bound from the *receipt* of the
//! grant, each in the safe direction by the clock drift.

use super::{Event, Parts};
use crate::clock;
use baton_core::ids::Endpoint;
use baton_core::time::Time;
use baton_core::timing::Timing;
use baton_provider::{Candidate, LockGrant, LockSession, LockToken, ProviderError, Renewal, StateProvider};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Between two campaigns that the provider refused.
const AGAIN: Duration = Duration::from_millis(250);

struct Task {
    provider: Arc<dyn StateProvider>,
    candidate: Candidate,
    timing: Timing,
    drift_ppm: u64,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
    last_grant: watch::Receiver<Time>,
}

/// Starts the task. When `stop` is cancelled it waits for the end of the last grant to be sent here, resigns, and ends.
pub(super) fn spawn(
    parts: &Parts,
    timing: Timing,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> watch::Sender<Time> {
    let (resign, last_grant) = watch::channel(Time::default());
    let task = Task {
        provider: Arc::clone(&parts.provider),
        candidate: Candidate {
            coordinator: parts.config.name.clone(),
            address: Endpoint(parts.address.as_str().into()),
        },
        timing,
        drift_ppm: u64::from(parts.settings.clock_drift_ppm),
        events,
        stop,
        last_grant,
    };
    tokio::spawn(task.run());
    resign
}

impl Task {
    async fn run(mut self) {
        loop {
            let campaign = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                campaign = self.provider.campaign(&self.candidate, None) => campaign,
            };
            let session = match campaign {
                Ok(session) => session,
                Err(error) => {
                    tracing::error!(%error, "no campaign for the arbiter's lock");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let received = clock::now();
            if self.hold(session, received).await.is_none() {
                return;
            }
            let _ = self.events.send(Event::LockLost).await;
        }
    }

    /// Holds the lock until it is lost (`Some`) or given up because the daemon stops (`None`).
    async fn hold(&mut self, mut session: Box<dyn LockSession>, received: Time) -> Option<()> {
        let LockGrant { token, predecessor_bound, .. } = session.grant();
        let slack = baton_core::time::Span(predecessor_bound.0 * 2 * self.drift_ppm / 1_000_000 + 1);
        let predecessor_bound = received + predecessor_bound + slack;
        let mut acquired = false;
        loop {
            let sent = clock::now();
            let renewal = tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.resign(session).await;
                    return None;
                }
                renewal = tokio::time::timeout(self.timing.lock_ttl.as_duration() / 2, session.renew()) => renewal,
            };
            match renewal {
                Ok(Ok(Renewal::Granted { ttl })) => {
                    let valid_until = (sent + ttl).back(self.timing.lock_margin);
                    self.tell(token, valid_until, predecessor_bound, acquired).await;
                    acquired = true;
                }
                Ok(Ok(Renewal::Lost { .. })) => return Some(()),
                Ok(Err(ProviderError::Fatal(error))) => {
                    tracing::error!(%error, "the arbiter's lock cannot be renewed");
                    return Some(());
                }
                // Unknown is not lost: the machine knows until when it may believe in its lock.
                Ok(Err(_)) | Err(_) => {
                    tokio::time::sleep(self.timing.lock_renew.as_duration() / 10).await;
                    continue;
                }
            }
            let next = sent + self.timing.lock_renew;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep_until(clock::instant_of(next)) => {}
            }
        }
    }

    async fn tell(&self, token: LockToken, valid_until: Time, predecessor_bound: Time, acquired: bool) {
        let event = if acquired {
            Event::LockRenewed { valid_until }
        } else {
            Event::LockAcquired { token, valid_until, predecessor_bound }
        };
        let _ = self.events.send(event).await;
    }

    async fn resign(&mut self, session: Box<dyn LockSession>) {
        // The machine has stopped granting before this is sent.
        if self.last_grant.changed().await.is_err() {
            return;
        }
        let remaining = self.last_grant.borrow().since(clock::now());
        if let Err(error) = session.resign(remaining).await {
            tracing::warn!(%error, "the arbiter's lock could not be given up; it runs out by itself");
        }
    }
}
