//! The state provider as the rest of Baton sees it: the lock with its epoch, the records, members, settings, history.
//! Who keeps them (a stateboard, etcd, memory) is decided where the provider is made, and known nowhere else.
//!
//! Every call that writes ends in one of three ways: an answer (applied, or refused with its reason), surely not
//! applied, or unknown ([`ProviderError`]). Each call says below what it is atomic over and what a time-out means.

pub mod backup;
mod error;
pub mod etcd;
pub mod files;
mod identity;
pub mod memory;
pub mod moving;
pub mod password;
pub mod stateboard;
mod status;
pub mod switching;
pub mod tls;
pub mod wire;

pub use baton_board::{
    AppointOutcome, Candidate, Durable, ForeignCluster, Identity, Item, Limits, LockSecret, LockToken,
    LockView, Refusal, RefusalReason, Restored, SettingsOutcome, Snapshot, Status, TaskOutcome, Update,
    WriteOutcome,
};
pub use error::{FatalError, ProviderError};
pub use identity::identity_of;

use async_trait::async_trait;
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision, TaskId, Version};
use baton_core::record::{Change, HistoryEntry, Member, Move, Settings};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use baton_core::timing::Timing;
use std::pin::Pin;
use tokio_stream::Stream;

/// What keeps the durable record. Cheap to share: used as `Arc<dyn StateProvider>`.
#[async_trait]
pub trait StateProvider: Send + Sync + 'static {
    /// The kind, for people and metrics: `stateboard`, `etcd`, `memory`.
    fn kind(&self) -> &'static str;

    /// How long after its last renewal a dead holder's lock is the next one's, at most, where the settings' timing is
    /// `timing`: what an outage is reckoned with. Longer than the timing's own where a provider cannot do as short.
    fn lock_ttl(&self, timing: &Timing) -> Span {
        timing.lock_ttl
    }

    /// Checks that the provider is there and belongs to our cluster. Changes nothing; may be repeated.
    ///
    /// # Errors
    /// [`FatalError::ForeignCluster`] where it belongs to another; `NotApplied` where it is not reached.
    async fn join(&self) -> Result<(), ProviderError>;

    /// Waits in line until the lock is ours. With `resume` the epoch of that token is taken up again where nobody has
    /// taken the lock since; otherwise a new epoch is given in turn. There is no deadline: dropping the future leaves
    /// the line. A stateboard that is not reached is tried again until it is.
    ///
    /// # Errors
    /// `Fatal`, or `NotApplied` where the provider refuses another place in line.
    async fn campaign(
        &self,
        candidate: &Candidate,
        resume: Option<LockToken>,
    ) -> Result<Box<dyn LockSession>, ProviderError>;

    /// Changes records: all of them or none, only under the epoch of `token` and only from the versions that are
    /// expected. On `Unknown` the same request may be repeated as it is: if the first one was applied, the repetition
    /// ends in a conflict that shows our own records.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn appoint(&self, token: LockToken, changes: Vec<Change>) -> Result<AppointOutcome, ProviderError>;

    /// Everything, linearizable: what any call answered before this one started is in it.
    ///
    /// # Errors
    /// No answer. Reading changes nothing, so it may be repeated.
    async fn read(&self) -> Result<Snapshot, ProviderError>;

    /// All changes after a revision, in order, without gaps and without repetition, as far as the connection goes and
    /// across reconnections. Begins with a [`WatchEvent::Snapshot`] where nothing is given or where the revisions
    /// after it are no longer kept; a snapshot may also come in between for the same reason, and replaces everything.
    /// The stream ends only after an error, which is `Fatal`.
    ///
    /// # Errors
    /// `Fatal`. A provider that is not reached is tried again by the stream.
    async fn watch(&self, after: Option<Revision>) -> Result<WatchStream, ProviderError>;

    /// Adds or changes a member, under the epoch of `token`. The provider sets its version. May be repeated.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn put_member(&self, token: LockToken, member: Member) -> Result<WriteOutcome, ProviderError>;

    /// Removes a member, under the epoch of `token`; refused while it is the recorded master or in the in-sync set.
    /// May be repeated: a member that is not there counts as removed.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn remove_member(
        &self,
        token: LockToken,
        replicaset: &ReplicaSetName,
        instance: &InstanceName,
    ) -> Result<WriteOutcome, ProviderError>;

    /// Replaces the settings, only from the version that is expected; under no epoch, since people may do it through
    /// any coordinator. The provider sets the new version (`expected + 1`).
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn put_settings(
        &self,
        expected: Version,
        settings: Settings,
    ) -> Result<SettingsOutcome, ProviderError>;

    /// One step of a move of the cluster's state to another provider, only from the version of the settings that is
    /// expected; changes nothing else of the settings. A step that is none from where this end stands is refused.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn put_move(
        &self,
        expected: Version,
        moving: Option<Move>,
    ) -> Result<SettingsOutcome, ProviderError>;

    /// Adds a task of an operator, or changes one, under the epoch of `token` and only from the version that is expected
    /// (`None`: there must be no such task). The provider sets the new version (1, or `expected + 1`). On `Unknown` the
    /// same request may be repeated as it is: if the first one was applied, the repetition shows our own task.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn put_task(
        &self,
        token: LockToken,
        expected: Option<Version>,
        task: StoredTask,
    ) -> Result<TaskOutcome, ProviderError>;

    /// Forgets a task, under the epoch of `token`. May be repeated: a task that is not there counts as forgotten.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn remove_task(&self, token: LockToken, id: TaskId) -> Result<WriteOutcome, ProviderError>;

    /// Puts a call or a bid beside the lock of `epoch`, in place of the one with the number `expected` (0: none), or takes
    /// away what stands there; refused where another stands there. The provider sets its number (`expected + 1`). Under no
    /// lock, since whoever bids does not hold it; a hint by which nobody gets a right, and which a provider may forget. May
    /// be repeated: what stands is told by the watch.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`].
    async fn put_bid(
        &self,
        epoch: Epoch,
        expected: u64,
        bid: Option<Bid>,
    ) -> Result<WriteOutcome, ProviderError>;

    /// Past appointments of one set, newest first, at most `limit`. Bounded by the provider as well.
    ///
    /// # Errors
    /// No answer. Reading changes nothing.
    async fn history(
        &self,
        replicaset: &ReplicaSetName,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, ProviderError>;

    /// A glance, for people.
    ///
    /// # Errors
    /// No answer. Reading changes nothing.
    async fn status(&self) -> Result<Status, ProviderError>;
}

/// What the winner of a campaign is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockGrant {
    /// The epoch and the secret that every write shows.
    pub token: LockToken,
    /// How long the lock lives without a renewal. For information: no time may be counted on before the first
    /// [`LockSession::renew`] was answered, since the moment at which the provider gave the lock is not known here.
    pub ttl: Span,
    /// How long to wait, from the receipt of this, before an earlier holder can surely not believe in its lock any
    /// more, and no grant of one that resigned lives: the latest over all earlier holders. Zero if there is nobody.
    pub predecessor_bound: Span,
    /// Whether it is the epoch that was held before.
    pub resumed: bool,
}

/// How a renewal was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lock lives for `ttl` more, counted by the caller from *before* it called.
    Granted {
        /// For how long.
        ttl: Span,
    },
    /// Somebody else has the lock, or it was resigned. The session is of no more use.
    Lost {
        /// The epoch now.
        current: Epoch,
    },
}

/// The lock while it is ours. Dropping it closes its connection, which frees the lock at once (whoever takes it is
/// told until when we could believe in it).
#[async_trait]
pub trait LockSession: Send + Sync {
    /// What was given.
    fn grant(&self) -> LockGrant;

    /// Renews. A broken connection is made again, and the epoch resumed, within this call and between calls; so a
    /// provider that is back before the lock has run out loses nothing. The caller bounds the call by a time-out of
    /// its own, after which the renewal counts as not granted; the call may then be dropped and made again.
    ///
    /// # Errors
    /// `Fatal`.
    async fn renew(&mut self) -> Result<Renewal, ProviderError>;

    /// Gives the lock up at once and says how long the last grant that was given still lives; our own belief in the
    /// lock must have ended before the call.
    ///
    /// # Errors
    /// No answer. The connection is closed all the same, which frees the lock, but with our whole ttl as bound.
    async fn resign(self: Box<Self>, last_grant_remaining: Span) -> Result<(), ProviderError>;
}

/// One event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Everything at one revision; replaces what was known.
    Snapshot(Box<Snapshot>),
    /// One atomic change.
    Update(Update),
}

/// The events of a watch.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, ProviderError>> + Send>>;
