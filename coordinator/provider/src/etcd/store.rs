//! What every call begins with: the head of the cluster's keys (identity, epoch, lock, settings), read linearizably and
//! checked, and the rule by which a token is the lock holder's. Makes the head where the cluster is new.

use super::EtcdOptions;
use super::endpoints::Endpoints;
use super::keys::Keys;
use super::outcome::Failure;
use super::txn::{self, Answer, Do, Found, Get, Kv, Unchanged};
use super::values::{
    self, BidDoc, EpochDoc, EpochValue, IdentityDoc, LockDoc, LockValue, SettingsDoc, hash_of,
};
use crate::error::{FatalError, ProviderError};
use baton_board::{Limits, LockToken, LockView};
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, Revision};
use baton_core::record::Settings;
use std::sync::atomic::{AtomicBool, Ordering};

/// Changes in one request. Each takes up to four of the 128 operations that etcd's default allows in a transaction.
pub(super) const CHANGES_PER_REQUEST: usize = 32;

/// How often a write is tried anew because something else was written in between. Each failure means that somebody
/// else's write went through.
pub(super) const ATTEMPTS: usize = 8;

/// What all parts of the provider share.
pub(super) struct Store {
    pub(super) options: EtcdOptions,
    pub(super) keys: Keys,
    pub(super) endpoints: Endpoints,
    pub(super) limits: Limits,
    /// Whether the cluster's keys were seen: where they are gone later, somebody removed them, and nothing may be built
    /// anew behind the back of guards that remember.
    seen: AtomicBool,
}

/// The lock, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) kv: Kv,
    pub(super) value: LockValue,
}

/// A call or a bid, and the epoch that it was made in.
pub(super) type StandingBid = (Epoch, Bid);

/// The head, read.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) revision: i64,
    pub(super) raft_term: u64,
    pub(super) epoch_value: EpochValue,
    pub(super) identity_modified: i64,
    pub(super) epoch_modified: i64,
    pub(super) lock: Option<Held>,
    pub(super) bid: Option<StandingBid>,
    pub(super) bid_modified: i64,
    pub(super) settings: Settings,
    pub(super) settings_modified: i64,
    /// What else was asked for.
    pub(super) found: Vec<Found>,
}

impl Head {
    pub(super) fn revision(&self) -> Revision {
        revision(self.revision)
    }

    /// The epoch that was given last.
    pub(super) fn epoch(&self) -> Epoch {
        self.view().epoch
    }

    pub(super) fn view(&self) -> LockView {
        view(self.epoch_value, self.epoch_modified, self.lock.as_ref(), self.bid.as_ref())
    }

    /// The lock, where `token` is its holder's: the same epoch, and the secret that its hash was made from.
    pub(super) fn held_by(&self, token: LockToken) -> Option<&Held> {
        self.lock.as_ref().filter(|lock| {
            lock.value.generation == self.epoch_value.generation
                && self.epoch_value.epoch(lock.kv.created) == token.epoch
                && lock.value.secret_hash == hash_of(token.secret)
        })
    }

    /// Whether records, members and settings may be changed here.
    pub(super) fn open(&self) -> Result<(), ProviderError> {
        self.settings.standstill().map_or(Ok(()), |why| Err(ProviderError::NotApplied(why)))
    }

    /// That the cluster is the same, no restore raised its generation, and no move of its state made a step: a write that
    /// was sent before the state was frozen must not land after it was copied.
    pub(super) fn same_cluster(&self, keys: &Keys) -> Vec<Unchanged> {
        vec![
            Unchanged::new(keys.identity(), self.identity_modified),
            Unchanged::new(keys.epoch(), self.epoch_modified),
            Unchanged::new(keys.settings(), self.settings_modified),
        ]
    }

    /// The same, and that the lock is still the one that was read.
    pub(super) fn same_lock(&self, keys: &Keys) -> Vec<Unchanged> {
        let mut unchanged = self.same_cluster(keys);
        unchanged.push(Unchanged::since(keys.lock(), self.lock.as_ref().map(|lock| &lock.kv)));
        unchanged
    }

    /// The `index`th of what else was asked for.
    pub(super) fn take(&mut self, index: usize) -> Vec<Kv> {
        self.found.get_mut(index).map(|found| std::mem::take(&mut found.kvs)).unwrap_or_default()
    }
}

/// Who holds the lock. A lock of an older generation is nobody's: whoever raised the generation ended every epoch before.
pub(super) fn view(
    epoch: EpochValue,
    epoch_modified: i64,
    lock: Option<&Held>,
    bid: Option<&StandingBid>,
) -> LockView {
    let lock = lock.filter(|lock| lock.value.generation == epoch.generation);
    let epoch = epoch.epoch(lock.map_or(epoch_modified, |lock| lock.kv.created));
    LockView {
        epoch,
        holder: lock.map(|lock| lock.value.holder.clone()),
        // What was said in another epoch is nothing in this one.
        bid: bid.filter(|(of, _)| *of == epoch).map(|(_, bid)| bid.clone()),
    }
}

pub(super) fn revision(revision: i64) -> Revision {
    Revision(revision.unsigned_abs())
}

pub(super) fn held(kv: &Kv) -> Result<Held, values::Damaged> {
    Ok(Held { value: values::read::<LockDoc>(&kv.key, &kv.value)?, kv: kv.clone() })
}

/// A hint that cannot be understood is none: nothing depends on it, and whoever bids writes over it.
pub(super) fn bid_at(kv: &Kv) -> Option<StandingBid> {
    let bid = values::read::<BidDoc>(&kv.key, &kv.value);
    bid.inspect_err(|error| tracing::warn!(%error, "passed over")).ok()
}

impl Store {
    pub(super) fn new(options: EtcdOptions) -> Result<Self, FatalError> {
        let keys = Keys::new(&options.prefix, &options.identity.cluster)
            .map_err(|rule| FatalError::Config(format!("the prefix {:?} {rule}", options.prefix)))?;
        let endpoints = Endpoints::new(&options, keys.identity())?;
        let mut limits = options.limits.clone();
        limits.changes_per_request = limits.changes_per_request.min(CHANGES_PER_REQUEST);
        Ok(Self { options, keys, endpoints, limits, seen: AtomicBool::new(false) })
    }

    /// The head, and what else is asked for, all at one revision. Reads only (or makes what everybody makes alike), so
    /// whatever was to come after it was surely not applied where this fails.
    pub(super) async fn head(&self, more: Vec<Get>) -> Result<Head, ProviderError> {
        self.look(more).await.map_err(|error| match error {
            ProviderError::Unknown(text) => ProviderError::NotApplied(text),
            ProviderError::NotApplied(_) | ProviderError::Fatal(_) => error,
        })
    }

    async fn look(&self, more: Vec<Get>) -> Result<Head, ProviderError> {
        let mut gets: Vec<Get> = [
            self.keys.identity(),
            self.keys.epoch(),
            self.keys.lock(),
            self.keys.settings(),
            self.keys.bid(),
        ]
        .map(Get::Key)
        .into();
        gets.extend(more);
        for _ in 0..ATTEMPTS {
            let answer = txn::read(&self.endpoints, &gets).await.map_err(Failure::into_error)?;
            match self.understand(answer)? {
                Some(head) => {
                    self.seen.store(true, Ordering::Relaxed);
                    return Ok(head);
                }
                None if self.seen.load(Ordering::Relaxed) => {
                    let gone =
                        "is gone from etcd; restore it, or start all coordinators anew for a new cluster";
                    return Err(ProviderError::NotApplied(format!("{} {gone}", self.keys.identity())));
                }
                None if !self.options.found => {
                    return Err(ProviderError::NotApplied(format!("there is no {}", self.keys.identity())));
                }
                None => self.found_cluster().await?,
            }
        }
        Err(ProviderError::NotApplied("the cluster's keys cannot be made in etcd".to_owned()))
    }

    /// `None` where the cluster has no identity yet.
    fn understand(&self, mut answer: Answer) -> Result<Option<Head>, ProviderError> {
        let found = answer.found.split_off(5);
        let mut first = answer.found.into_iter().map(|found| found.kvs.into_iter().next());
        let mut next = || first.next().flatten();
        let (identity, epoch, lock, settings, bid) = (next(), next(), next(), next(), next());
        let Some(identity) = identity else { return Ok(None) };
        let theirs = values::read::<IdentityDoc>(&identity.key, &identity.value)?;
        if self.options.check_identity {
            theirs.check(&self.options.identity).map_err(FatalError::from)?;
        }
        let gone =
            |key: String| FatalError::Protocol(format!("{key} is missing though the cluster is there"));
        let epoch = epoch.ok_or_else(|| gone(self.keys.epoch()))?;
        let settings = settings.ok_or_else(|| gone(self.keys.settings()))?;
        Ok(Some(Head {
            revision: answer.revision,
            raft_term: answer.raft_term,
            epoch_value: values::read::<EpochDoc>(&epoch.key, &epoch.value)?,
            identity_modified: identity.modified,
            epoch_modified: epoch.modified,
            lock: lock.as_ref().map(held).transpose()?,
            bid: bid.as_ref().and_then(bid_at),
            bid_modified: bid.map_or(0, |bid| bid.modified),
            settings: values::read::<SettingsDoc>(&settings.key, &settings.value)?,
            settings_modified: settings.modified,
            found,
        }))
    }

    /// Makes what is not there, the identity last: where it is, the rest is. Repeating it, by anybody, changes nothing.
    async fn found_cluster(&self) -> Result<(), ProviderError> {
        let documents = [
            (self.keys.epoch(), values::write(&EpochDoc::new(EpochValue { generation: 1, above: 0 }))),
            (self.keys.settings(), values::write(&SettingsDoc::from(&self.options.seed_settings))),
            (self.keys.identity(), values::write(&IdentityDoc::from(&self.options.identity))),
        ];
        for (key, value) in documents {
            let absent = [Unchanged::new(key.as_str(), 0)];
            txn::write(&self.endpoints, &absent, &[Do::put(key, value)]).await?;
        }
        Ok(())
    }
}
