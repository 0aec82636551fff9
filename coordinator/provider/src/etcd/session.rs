//! The lock while it is ours: renewed through its lease, resigned in one transaction.
//!
//! # When a renewal counts
//! etcd's leader alone keeps leases, in memory, and a leader that slept through its own succession answers a renewal
//! that it had received, of a lock that is another's by now. So a renewal is followed by a linearizable read, and counts
//! only if that read finds our lock, attached to the lease that was renewed, and was answered at the same raft term.
//! The answer to a renewal names the term of the last entry that the answering member had applied, taken before it is
//! carried out; the read, which a majority confirmed after that, names a term that is no lower than that of the leader
//! of its moment. If both are the same, that leader led at the renewal already, and it was the one that renewed.
//!
//! Where the settings ask for a longer lock than its lease is, the lock is moved to a longer lease, never to a shorter
//! one: what was promised by the longer one must hold. Until such a move is known to be done or not, nothing is granted.

use super::endpoints::Line;
use super::lock::{grant_lease, lock_seconds, seconds};
use super::pause::Pause;
use super::store::{ATTEMPTS, Head, Held, Store};
use super::txn::{self, Do};
use super::values::{self, ReleasedDoc};
use crate::error::ProviderError;
use crate::{LockGrant, LockSession, Renewal};
use async_trait::async_trait;
use baton_core::record::MovePhase;
use baton_core::time::Span;
use etcd_client::{Error, LeaseKeepAliveStream, LeaseKeeper};
use std::sync::Arc;

pub(super) struct EtcdSession {
    store: Arc<Store>,
    grant: LockGrant,
    lease: i64,
    /// The stream of renewals, while nothing of it is owed. A renewal that is given up halfway takes the stream with it:
    /// its late answer must not be taken for the answer to the next one.
    keeping: Option<Keeping>,
    /// Whether a move to another lease may still land.
    moving: bool,
}

/// A stream of renewals of one lease.
struct Keeping {
    lease: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    line: Line,
}

/// How etcd answered a renewal.
enum Kept {
    /// The lease lives for so many seconds, says a member at this raft term.
    Alive { seconds: u64, raft_term: u64 },
    /// The member does not know the lease.
    Gone,
}

impl EtcdSession {
    pub(super) fn new(store: Arc<Store>, grant: LockGrant, lease: i64) -> Self {
        Self { store, grant, lease, keeping: None, moving: false }
    }

    /// `None` where the renewal does not count and is to be made again.
    async fn renew_once(&mut self) -> Result<Option<Renewal>, ProviderError> {
        let mut keeping = match self.keeping.take() {
            Some(keeping) if keeping.lease == self.lease => Some(keeping),
            Some(_) | None => self.open().await?,
        };
        let kept = match &mut keeping {
            Some(keeping) => self.keep(keeping).await?,
            None => Kept::Gone,
        };
        let head = self.store.head(Vec::new()).await?;
        let left = head.settings.phase() == Some(MovePhase::Moved);
        let Some(lock) = head.held_by(self.grant.token).filter(|_| !left).cloned() else {
            return Ok(Some(Renewal::Lost { current: head.epoch() }));
        };
        if lock.kv.lease != self.lease {
            // A move that was not answered has been done after all.
            self.lease = lock.kv.lease;
            self.moving = false;
            return Ok(None);
        }
        // Not known, but its key is there: the member is behind, or the key is about to go. The next look tells.
        let Kept::Alive { seconds, raft_term } = kept else { return Ok(None) };
        if raft_term != head.raft_term {
            return Ok(None);
        }
        if self.moving || lock_seconds(&head.settings)? > seconds {
            self.move_to_longer(&head, lock, seconds).await?;
            return Ok(None);
        }
        self.keeping = keeping;
        Ok(Some(Renewal::Granted { ttl: Span::from_secs(seconds) }))
    }

    /// `None` where the member that was asked does not know the lease.
    async fn open(&self) -> Result<Option<Keeping>, ProviderError> {
        let (client, line) = self.store.endpoints.stream().await?;
        let patience = self.store.endpoints.timeout();
        let mut leases = client.lease_client();
        let opened = tokio::time::timeout(patience, leases.keep_alive(self.lease)).await;
        match opened {
            Ok(Ok((keeper, answers))) => Ok(Some(Keeping { lease: self.lease, keeper, answers, line })),
            Ok(Err(Error::LeaseKeepAliveError(_))) => Ok(None),
            Ok(Err(error)) => {
                line.failed();
                Err(super::outcome::of_error(&error).into_error())
            }
            Err(_) => {
                line.failed();
                Err(ProviderError::Unknown("the lock's lease was not renewed in time".to_owned()))
            }
        }
    }

    async fn keep(&self, keeping: &mut Keeping) -> Result<Kept, ProviderError> {
        let renewal = async {
            keeping.keeper.keep_alive().await?;
            keeping.answers.message().await
        };
        let error = match tokio::time::timeout(self.store.endpoints.timeout(), renewal).await {
            Ok(Ok(Some(answer))) => {
                let raft_term = answer.header().map_or(0, etcd_client::ResponseHeader::raft_term);
                return Ok(match u64::try_from(answer.ttl()) {
                    Ok(seconds) if seconds > 0 => Kept::Alive { seconds, raft_term },
                    Ok(_) | Err(_) => Kept::Gone,
                });
            }
            Ok(Ok(None)) => "the stream of renewals was closed".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the lock's lease was not renewed in time".to_owned(),
        };
        keeping.line.failed();
        Err(ProviderError::Unknown(error))
    }

    /// Attaches the lock to a lease that is as long as the settings ask for, and no shorter than the one before. The
    /// lock key is written for it, so a move that was sent earlier can never land after this one (P104).
    async fn move_to_longer(&mut self, head: &Head, lock: Held, now: u64) -> Result<(), ProviderError> {
        let wanted = lock_seconds(&head.settings)?.max(now);
        let lease = grant_lease(&self.store, wanted).await?;
        let unchanged = head.same_lock(&self.store.keys);
        let put = Do::Put { key: lock.kv.key, value: lock.kv.value, lease };
        self.moving = true;
        let answer = txn::write(&self.store.endpoints, &unchanged, &[put]).await?;
        if answer.done {
            self.lease = lease;
            self.moving = false;
        }
        Ok(())
    }

    /// Whether the lock was given up; `false` where something changed under way.
    async fn resign_once(&self, last_grant_remaining: Span) -> Result<bool, ProviderError> {
        let store = &self.store;
        let head = store.head(Vec::new()).await?;
        let Some(lock) = head.held_by(self.grant.token) else { return Ok(true) };
        let mut ops = vec![Do::Delete(lock.kv.key.clone())];
        let lives = seconds(last_grant_remaining);
        if lives > 0 {
            let epoch = self.grant.token.epoch;
            let lease = grant_lease(store, lives).await?;
            let value = values::write(&ReleasedDoc::new(epoch, lives));
            ops.push(Do::Put { key: store.keys.released(epoch), value, lease });
        }
        let answer = txn::write(&store.endpoints, &head.same_lock(&store.keys), &ops).await?;
        Ok(answer.done)
    }
}

#[async_trait]
impl LockSession for EtcdSession {
    fn grant(&self) -> LockGrant {
        self.grant
    }

    async fn renew(&mut self) -> Result<Renewal, ProviderError> {
        let mut pause = Pause::new();
        loop {
            match self.renew_once().await {
                Ok(Some(renewal)) => return Ok(renewal),
                Ok(None) => {}
                Err(error @ ProviderError::Fatal(_)) => return Err(error),
                Err(error) => tracing::debug!(%error, "the lock was not renewed, trying again"),
            }
            pause.wait().await;
        }
    }

    async fn resign(self: Box<Self>, last_grant_remaining: Span) -> Result<(), ProviderError> {
        for _ in 0..ATTEMPTS {
            if self.resign_once(last_grant_remaining).await? {
                return Ok(());
            }
        }
        Err(ProviderError::NotApplied("the lock was written by others at the same time".to_owned()))
    }
}
