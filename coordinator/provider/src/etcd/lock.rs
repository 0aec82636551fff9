//! The arbiter's lock on etcd: one key, made where it is absent, attached to a lease. The revision that makes the key is
//! the number of the epoch; `epoch` holds the generation and is written again by each hand-over.
//!
//! Whoever waits watches the key and tries when it is gone; who comes first gets it. There is no line with places: a place
//! would be one more lease to be kept alive for each coordinator, for an order that no rule asks for.
//!
//! # Why two never believe in one lock
//! - **The key lives while its holder may believe.** A renewal counts only if the lease was renewed by the leader of the
//!   present (see the file of the session), and is counted from before it was sent. A new leader gives every lease its
//!   whole time anew. So the key, and with it the lock, outlives every belief; nobody has to wait after an expiry (P101).
//! - **Every write compares the key's last revision**, so a write that was delayed past the end of its lock, or past a
//!   resumption, changes nothing (P102). The same holds for the `epoch` key: a generation that was raised ends the lock.
//! - **An unanswered campaign** is settled by looking: a lock with the hash of our fresh secret is ours. Its transaction
//!   demands the `epoch` key as it was read, which every hand-over changes; so a late one cannot come after another's
//!   lock, and one that comes while nobody campaigns makes a lock that nobody holds, for one ttl at most.
//! - **A resignation** is one transaction: the key goes and `released/EPOCH` comes, which lives as long as the last grant.
//!   An arbiter that dies before it leaves its lock to expire; one that dies after it has released it wholly. There is
//!   no moment between (P103).
//! - **A late resignation** fails where the lock was taken, and where its holder resumed: to resume is to write the key
//!   again, which changes its last revision (P104).
//! - **The bound of the predecessors** is read in the very transaction that takes the lock, from *all* such keys, and is
//!   the longest time to live of their leases, which nobody renews (P103).

use super::endpoints::Repeat;
use super::outcome::of_error;
use super::pause::Pause;
use super::session::EtcdSession;
use super::store::{Head, Store};
use super::txn::{self, Do, Get, Kv, Unchanged};
use super::values::{self, EpochDoc, EpochValue, LockDoc, ReleasedDoc, hash_of};
use super::watch::{Broken, Tail};
use crate::error::{FatalError, ProviderError};
use crate::{LockGrant, LockSession};
use baton_board::{Candidate, LockSecret, LockToken};
use baton_core::record::{MovePhase, Settings};
use baton_core::time::Span;
use baton_core::timing::Timing;
use etcd_client::Client;
use std::sync::Arc;

/// Shortest lease that etcd gives at its default election timeout.
const LEASE_SECONDS_MIN: u64 = 2;
/// How long after its end a lease may still be there.
const EXPIRY_NOTICED: Span = Span::from_secs(1);

/// The whole seconds that a span fits into.
pub(super) fn seconds(span: Span) -> u64 {
    span.0.div_ceil(1_000_000)
}

/// The lock's time to live by the settings, in the whole seconds of etcd.
pub(super) fn lock_seconds(settings: &Settings) -> Result<u64, FatalError> {
    let timing = Timing::new(settings)
        .map_err(|error| FatalError::Protocol(format!("the settings in etcd are not safe: {error}")))?;
    Ok(whole_seconds(&timing))
}

fn whole_seconds(timing: &Timing) -> u64 {
    seconds(timing.lock_ttl).max(LEASE_SECONDS_MIN)
}

/// The longest that the key of a holder that died outlives its last renewal: etcd looks for leases that have run out
/// twice a second, and their end is a change that a majority has to take first.
pub(super) fn lives_at_most(timing: &Timing) -> Span {
    Span::from_secs(whole_seconds(timing)) + EXPIRY_NOTICED
}

/// One campaign of one candidate.
struct Campaign {
    store: Arc<Store>,
    candidate: Candidate,
    resume: Option<LockToken>,
    /// Of this campaign alone: by it a lock is known as ours whose making was not answered.
    secret: LockSecret,
}

/// How an attempt ended.
enum Attempt {
    Won(Box<EtcdSession>),
    /// Another holds the lock, as of this revision.
    Taken(i64),
    /// Something changed under way, or nobody is given the lock now.
    Again,
    /// The state was moved away, says this text.
    Left(String),
}

pub(super) async fn campaign(
    store: Arc<Store>,
    candidate: &Candidate,
    resume: Option<LockToken>,
) -> Result<Box<dyn LockSession>, ProviderError> {
    if candidate.address.0.len() > store.limits.text_bytes {
        return Err(ProviderError::NotApplied("the candidate's address is too long".into()));
    }
    let secret = LockSecret(rand::random());
    let campaign = Campaign { store, candidate: candidate.clone(), resume, secret };
    let mut pause = Pause::new();
    loop {
        match campaign.attempt().await {
            Ok(Attempt::Won(session)) => return Ok(session),
            Ok(Attempt::Taken(revision)) => {
                campaign.wait(revision).await?;
                pause.reset();
                continue;
            }
            Ok(Attempt::Again) => {}
            Ok(Attempt::Left(why)) => return Err(ProviderError::NotApplied(why)),
            Err(error @ ProviderError::Fatal(_)) => return Err(error),
            Err(error) => tracing::debug!(%error, "the campaign was not answered, trying again"),
        }
        pause.wait().await;
    }
}

impl Campaign {
    async fn attempt(&self) -> Result<Attempt, ProviderError> {
        let mut head = self.store.head(vec![Get::folder(self.store.keys.released_folder())]).await?;
        let phase = head.settings.phase();
        if phase == Some(MovePhase::Moved) {
            return Ok(Attempt::Left(head.settings.standstill().unwrap_or_default()));
        }
        // A copy that is being made, or is not the state yet, knows nothing of an epoch that is given meanwhile.
        let closed = head.settings.standstill().is_some();
        let Some(lock) = head.lock.clone() else {
            return if closed { Ok(Attempt::Again) } else { self.take(&head).await };
        };
        if lock.value.secret_hash == hash_of(self.secret)
            && lock.value.generation == head.epoch_value.generation
        {
            let released = head.take(0);
            return self.won(lock.kv.created, lock.kv.lease, head.epoch_value, released).await;
        }
        match self.resume {
            Some(token) if head.held_by(token).is_some() => self.resumed(token, head).await,
            Some(_) | None => Ok(Attempt::Taken(head.revision)),
        }
    }

    /// Makes the key.
    async fn take(&self, head: &Head) -> Result<Attempt, ProviderError> {
        let store = &self.store;
        let wanted = lock_seconds(&head.settings)?;
        let lease = Unclaimed { store: Arc::clone(store), lease: Some(grant_lease(store, wanted).await?) };
        let lock = LockDoc::new(head.epoch_value.generation, &self.candidate, self.secret);
        let mut unchanged = head.same_cluster(&store.keys);
        unchanged.push(Unchanged::new(store.keys.lock(), 0));
        let ops = [
            Do::Put {
                key: store.keys.lock(),
                value: values::write(&lock),
                lease: lease.lease.unwrap_or_default(),
            },
            Do::put(store.keys.epoch(), values::write(&EpochDoc::new(head.epoch_value))),
            Do::Read(store.keys.released_folder()),
        ];
        let mut answer = match txn::write(&store.endpoints, &unchanged, &ops).await {
            Ok(answer) => answer,
            Err(error) => {
                // It may have been made, or may be yet; the next attempt looks, and finds it by its secret.
                lease.claim();
                return Err(error);
            }
        };
        if !answer.done {
            return Ok(Attempt::Again);
        }
        let released = answer.found.pop().unwrap_or_default().kvs;
        let won =
            self.won(answer.revision, lease.lease.unwrap_or_default(), head.epoch_value, released).await;
        lease.claim();
        won
    }

    async fn won(
        &self,
        created: i64,
        lease: i64,
        epoch: EpochValue,
        released: Vec<Kv>,
    ) -> Result<Attempt, ProviderError> {
        let token = LockToken { epoch: epoch.epoch(created), secret: self.secret };
        self.session(token, lease, released, false).await
    }

    /// Takes the epoch of an earlier session up again. What that session still has on the way (a resignation) demands
    /// the key as it was, so the key is written once more, as it is.
    async fn resumed(&self, token: LockToken, mut head: Head) -> Result<Attempt, ProviderError> {
        let Some(lock) = head.held_by(token).cloned() else { return Ok(Attempt::Again) };
        let unchanged = head.same_lock(&self.store.keys);
        let put = Do::Put { key: lock.kv.key, value: lock.kv.value, lease: lock.kv.lease };
        let answer = txn::write(&self.store.endpoints, &unchanged, &[put]).await?;
        if !answer.done {
            return Ok(Attempt::Again);
        }
        let released = head.take(0);
        self.session(token, lock.kv.lease, released, true).await
    }

    async fn session(
        &self,
        token: LockToken,
        lease: i64,
        released: Vec<Kv>,
        resumed: bool,
    ) -> Result<Attempt, ProviderError> {
        let predecessor_bound = predecessor_bound(&self.store, released).await?;
        let ttl = time_to_live(&self.store, lease).await?.unwrap_or_default();
        let grant = LockGrant { token, ttl: Span::from_secs(ttl), predecessor_bound, resumed };
        Ok(Attempt::Won(Box::new(EtcdSession::new(Arc::clone(&self.store), grant, lease))))
    }

    /// Waits until the lock is gone, or until that can no longer be seen.
    async fn wait(&self, revision: i64) -> Result<(), ProviderError> {
        let key = self.store.keys.lock();
        let mut tail = match Tail::open(&self.store, key, None, revision + 1).await {
            Ok(tail) => tail,
            Err(error @ ProviderError::Fatal(_)) => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "the lock cannot be watched, trying again");
                Pause::new().wait().await;
                return Ok(());
            }
        };
        loop {
            match tail.next().await {
                Ok(events) if events.iter().any(|event| event.kv.is_none()) => return Ok(()),
                Ok(_) => {}
                Err(Broken::Compacted) => return Ok(()),
                Err(Broken::Error(error)) => {
                    tracing::debug!(%error, "the watch of the lock broke, looking again");
                    Pause::new().wait().await;
                    return Ok(());
                }
            }
        }
    }
}

/// The lease of a lock that nobody was told of yet. A candidate that leaves in the middle must not keep the lock from
/// the others; nobody can have believed in it, so its lease may be revoked.
struct Unclaimed {
    store: Arc<Store>,
    lease: Option<i64>,
}

impl Unclaimed {
    fn claim(mut self) {
        self.lease = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            let revoke = |client: Client| async move {
                client.lease_client().revoke(lease).await.map(|_| ()).map_err(|error| of_error(&error))
            };
            if let Err(error) = store.endpoints.call(Repeat::Harmless, revoke).await {
                tracing::debug!(%error, "a lease that is not needed runs out by itself");
            }
        });
    }
}

/// A lease of at least so many seconds. One whose grant was not answered is used by nobody and runs out.
pub(super) async fn grant_lease(store: &Store, seconds: u64) -> Result<i64, ProviderError> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let grant = |client: Client| async move {
        let granted = client.lease_client().grant(seconds, None).await;
        granted.map(|granted| granted.id()).map_err(|error| of_error(&error))
    };
    store.endpoints.call(Repeat::Harmless, grant).await
}

/// How many seconds a lease has left, rounded down by etcd; `None` where the member that was asked does not know it.
async fn time_to_live(store: &Store, lease: i64) -> Result<Option<u64>, ProviderError> {
    let look = |client: Client| async move {
        let answer = client.lease_client().time_to_live(lease, None).await;
        answer.map(|answer| answer.ttl()).map_err(|error| of_error(&error))
    };
    let left = store.endpoints.call(Repeat::Harmless, look).await?;
    Ok(u64::try_from(left).ok())
}

/// How many seconds a lease was granted for; `None` where the member that was asked does not know it.
pub(super) async fn granted_for(store: &Store, lease: i64) -> Result<Option<u64>, ProviderError> {
    let look = |client: Client| async move {
        let answer = client.lease_client().time_to_live(lease, None).await;
        answer.map(|answer| answer.granted_ttl()).map_err(|error| of_error(&error))
    };
    let granted = store.endpoints.call(Repeat::Harmless, look).await?;
    Ok(u64::try_from(granted).ok().filter(|seconds| *seconds > 0))
}

/// How long the last grants of those who resigned still live. A member that does not know a lease proves nothing (it may
/// be behind): then the key is looked at again, and where it is there its whole time counts.
async fn predecessor_bound(store: &Store, released: Vec<Kv>) -> Result<Span, ProviderError> {
    let mut bound = Span::ZERO;
    for kv in released {
        let whole = values::read::<ReleasedDoc>(&kv.key, &kv.value)?;
        let left = match time_to_live(store, kv.lease).await? {
            Some(left) => Span::from_secs(left + 1),
            None => {
                let head = store.head(vec![Get::Key(kv.key.clone())]).await?;
                let gone = head.found.first().is_none_or(|found| found.kvs.is_empty());
                if gone { Span::ZERO } else { whole }
            }
        };
        bound = bound.max(left);
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_etcd_is_never_shorter_than_the_protocols() {
        for (lease_ttl, expected) in
            [(300, 2), (1_600, 2), (1_601, 3), (3_000, 4), (30_000, 38), (60_000, 75)]
        {
            let settings = Settings { lease_ttl: Span::from_millis(lease_ttl), ..Settings::default() };
            let seconds = lock_seconds(&settings).expect("safe");
            assert_eq!(seconds, expected, "{lease_ttl} ms");
            let timing = Timing::new(&settings).expect("safe");
            assert!(Span::from_secs(seconds) >= timing.lock_ttl);
            assert!(lives_at_most(&timing) > Span::from_secs(seconds), "its end is noticed late");
        }
    }
}
