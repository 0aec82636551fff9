//! The task of the arbiter's lock: campaigns, renews, says what it got. What it means is the machine's.
//!
//! The validity of the lock counts from before a renewal was *sent*, the predecessor bound from the *receipt* of the
//! grant, each in the safe direction by the clock drift.

use super::{Event, Parts};
use crate::clock;
use crate::live::Live;
use baton_core::ids::{Endpoint, Epoch};
use baton_core::time::{Span, Time};
use baton_core::timing::Timing;
use baton_provider::{Candidate, LockGrant, LockSession, LockToken, ProviderError, Renewal, StateProvider};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Between two campaigns that the provider refused.
const AGAIN: Duration = Duration::from_millis(250);

struct Task {
    provider: Arc<dyn StateProvider>,
    candidate: Candidate,
    live: watch::Receiver<Arc<Live>>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
    last_grant: watch::Receiver<Time>,
    /// The epoch whose lock is to be given up.
    to_give_up: watch::Receiver<Option<Epoch>>,
    campaign_from: watch::Receiver<Option<Time>>,
}

/// How a hold of the lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is another's, or cannot be renewed.
    Lost,
    /// Given up, for one that is as short as the settings have it, or for somebody who hears more guards.
    GivenUp,
    /// Given up because the daemon stops.
    Stopped,
}

/// Starts the task. When `stop` is cancelled it waits for the end of the last grant to be sent here, resigns, and ends.
pub(super) fn spawn(
    parts: &Parts,
    events: mpsc::Sender<Event>,
    to_give_up: watch::Receiver<Option<Epoch>>,
    stop: CancellationToken,
) -> watch::Sender<Time> {
    let (resign, last_grant) = watch::channel(Time::default());
    let task = Task {
        provider: Arc::clone(&parts.provider),
        candidate: Candidate {
            coordinator: parts.config.name.clone(),
            address: Endpoint(parts.address.as_str().into()),
        },
        live: parts.live.clone(),
        events,
        stop,
        last_grant,
        to_give_up,
        campaign_from: parts.campaign_from.clone(),
    };
    tokio::spawn(task.run());
    resign
}

impl Task {
    async fn run(mut self) {
        loop {
            let from = *self.campaign_from.borrow_and_update();
            if let Some(from) = from.filter(|from| clock::now() < *from) {
                if self.stop.is_cancelled() {
                    return;
                }
                self.stand_back(from).await;
                continue;
            }
            let campaign = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                // Another's bid has its chance first: who is not in line is not given the lock.
                Ok(()) = self.campaign_from.changed() => continue,
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
            match self.hold(session, received).await {
                End::Lost => drop(self.events.send(Event::LockLost).await),
                End::GivenUp => {}
                End::Stopped => return,
            }
        }
    }

    async fn stand_back(&mut self, from: Time) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            Ok(()) = self.campaign_from.changed() => {}
            () = tokio::time::sleep_until(clock::instant_of(from)) => {}
        }
    }

    /// What two clocks may differ by in this time. By the length of each span itself, since the provider and this host may
    /// learn of another lease one after the other.
    fn drift(&self, span: Span) -> Span {
        let ppm = u64::from(self.live.borrow().settings.clock_drift_ppm);
        Span(span.0.saturating_mul(2 * ppm) / 1_000_000 + 1)
    }

    async fn hold(&mut self, mut session: Box<dyn LockSession>, received: Time) -> End {
        let LockGrant { token, predecessor_bound, .. } = session.grant();
        let predecessor_bound = received + predecessor_bound + self.drift(predecessor_bound);
        let mut acquired = false;
        loop {
            // As of before the renewal: the provider's answer is by these settings, or by later ones.
            let Live { timing, settings, .. } = Live::clone(&self.live.borrow_and_update());
            let sent = clock::now();
            let renewal = tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.resign_last(session).await;
                    return End::Stopped;
                }
                renewal = tokio::time::timeout(timing.lock_ttl.as_duration() / 2, session.renew()) => renewal,
            };
            match renewal {
                Ok(Ok(Renewal::Granted { ttl })) => {
                    let valid_until = (sent + ttl).back(self.drift(ttl));
                    self.tell(token, valid_until, predecessor_bound, acquired).await;
                    acquired = true;
                    // While the state moves, the lock changes no hands.
                    if settings.moving.is_none() && is_too_long(ttl, &*self.provider, &timing) {
                        self.give_up(session, "for one of the length that the settings have now").await;
                        return End::GivenUp;
                    }
                }
                Ok(Ok(Renewal::Lost { .. })) => return End::Lost,
                Ok(Err(ProviderError::Fatal(error))) => {
                    tracing::error!(%error, "the arbiter's lock cannot be renewed");
                    return End::Lost;
                }
                // Unknown is not lost: the machine knows until when it may believe in its lock.
                Ok(Err(_)) | Err(_) => {
                    tokio::time::sleep(timing.lock_renew.as_duration() / 10).await;
                    continue;
                }
            }
            let next = sent + timing.lock_renew;
            let asked = async { self.to_give_up.wait_for(|epoch| *epoch == Some(token.epoch)).await.is_ok() };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                // Renewed at once: a shorter lock has to be renewed sooner, and a longer one is given by the renewal.
                Ok(()) = self.live.changed() => {}
                true = asked => {
                    self.give_up(session, "for a coordinator that hears more guards").await;
                    return End::GivenUp;
                }
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

    /// The machine stops granting, and then the lock is given up.
    async fn give_up(&self, session: Box<dyn LockSession>, why: &str) {
        let (reply, last_grant) = oneshot::channel();
        if self.events.send(Event::GiveUpLock { reply }).await.is_err() {
            return;
        }
        if let Ok(last_grant) = last_grant.await {
            tracing::info!("the arbiter's lock is given up {why}");
            resign(session, last_grant).await;
        }
    }

    async fn resign_last(&mut self, session: Box<dyn LockSession>) {
        // The machine has stopped granting before this is sent.
        if self.last_grant.changed().await.is_ok() {
            let last_grant = *self.last_grant.borrow();
            resign(session, last_grant).await;
        }
    }
}

async fn resign(session: Box<dyn LockSession>, last_grant: Time) {
    let remaining = last_grant.since(clock::now());
    if let Err(error) = session.resign(remaining).await {
        tracing::warn!(%error, "the arbiter's lock could not be given up; it runs out by itself");
    }
}

/// A provider whose locks keep the length that they were made with (etcd) is left with one that would make the death of the
/// arbiter's host cost more than `timing` says.
fn is_too_long(ttl: Span, provider: &dyn StateProvider, timing: &Timing) -> bool {
    ttl > provider.lock_ttl(timing)
}
