//! etcd (v3) as state provider. This file has the options and hands each call to the file that knows it.
//!
//! Everything of a cluster is below `PREFIX/CLUSTER/`, one line of JSON for a key:
//!
//! | key | what |
//! | --- | --- |
//! | `identity` | the cluster's name and the hash of its secret; made by the first coordinator |
//! | `epoch` | the generation; its revision is the number of the last epoch |
//! | `lock` | who holds the arbiter's lock, attached to a lease; the revision that created it is the epoch's number |
//! | `released/EPOCH` | the last grant of an arbiter that resigned lives as long as this key |
//! | `settings` | the cluster's settings |
//! | `tasks/ID` | what an operator asked for |
//! | `replicasets/NAME/record` | the appointment |
//! | `replicasets/NAME/members/INSTANCE` | a member |
//! | `replicasets/NAME/history/TERM` | an appointment of the past |
//!
//! Two clusters of different names live side by side; of two with one name and different secrets the second is refused.
//! Nothing outside that folder is read or written, no call older than 3.4 and none that later versions removed is used.
//!
//! What is not limited here, otherwise than on a stateboard: how many records and members there are altogether, and how
//! many coordinators wait for the lock. etcd has a quota of its own, and says so when it is reached.

mod appoint;
mod bid;
mod documents;
mod endpoints;
mod keys;
mod lock;
mod moving;
mod outcome;
mod pause;
mod read;
mod session;
mod store;
mod tasks;
mod txn;
mod values;
mod watch;

pub use keys::check_prefix;

use crate::error::ProviderError;
use crate::password::Password;
use crate::tls::TlsFiles;
use crate::{LockSession, StateProvider, WatchStream};
use async_trait::async_trait;
use baton_board::{
    AppointOutcome, Candidate, Identity, Limits, LockToken, SettingsOutcome, Snapshot, Status, TaskOutcome,
    WriteOutcome,
};
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision, TaskId, Version};
use baton_core::record::{Change, HistoryEntry, Member, Move, Settings};
use baton_core::rules::Rules;
use baton_core::task::StoredTask;
use baton_core::time::Span;
use baton_core::timing::Timing;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// Where everything is kept unless somebody says otherwise.
pub const DEFAULT_PREFIX: &str = "/baton";

/// How to reach etcd.
#[derive(Clone)]
pub struct EtcdOptions {
    /// The members of one etcd cluster: `https://host:port`, `http://host:port` or `host:port`.
    pub endpoints: Vec<String>,
    /// The folder of all clusters: `/NAME`.
    pub prefix: String,
    /// Who we are.
    pub identity: Identity,
    /// Whether another identity is refused. Off only for somebody who moves a cluster to another secret.
    pub check_identity: bool,
    /// After how long without an answer the outcome of a request is unknown.
    pub request_timeout: Duration,
    /// User and password, where etcd asks for them.
    pub credentials: Option<(String, Password)>,
    /// The files for TLS; `None` for connections without it.
    pub tls: Option<TlsFiles>,
    /// The settings of a cluster that has none yet.
    pub seed_settings: Settings,
    /// Whether a cluster that is not there is made. Off for the other end of a move: there it comes from elsewhere.
    pub found: bool,
    /// How much is kept and taken.
    pub limits: Limits,
    /// Which rules are kept (all, outside tests).
    pub rules: Rules,
}

impl EtcdOptions {
    /// Without TLS, user and password, below [`DEFAULT_PREFIX`].
    #[must_use]
    pub fn new(endpoints: Vec<String>, identity: Identity, request_timeout: Duration) -> Self {
        Self {
            endpoints,
            prefix: DEFAULT_PREFIX.to_owned(),
            identity,
            check_identity: true,
            request_timeout,
            credentials: None,
            tls: None,
            seed_settings: Settings::default(),
            found: true,
            limits: Limits::default(),
            rules: Rules::default(),
        }
    }
}

impl std::fmt::Debug for EtcdOptions {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// A client of etcd.
#[derive(Clone)]
pub struct EtcdProvider {
    store: Arc<Store>,
}

impl EtcdProvider {
    /// Makes the client; connects with the first request, so it must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`crate::FatalError::Config`] where an endpoint is no address, the prefix is none, or a file for TLS cannot be used.
    pub fn new(options: EtcdOptions) -> Result<Self, ProviderError> {
        Ok(Self { store: Arc::new(Store::new(options)?) })
    }
}

impl std::fmt::Debug for EtcdProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdProvider").field("options", &self.store.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl StateProvider for EtcdProvider {
    fn kind(&self) -> &'static str {
        "etcd"
    }

    fn lock_ttl(&self, timing: &Timing) -> Span {
        lock::lives_at_most(timing)
    }

    async fn join(&self) -> Result<(), ProviderError> {
        self.store.head(Vec::new()).await.map(|_| ())
    }

    async fn campaign(
        &self,
        candidate: &Candidate,
        resume: Option<LockToken>,
    ) -> Result<Box<dyn LockSession>, ProviderError> {
        lock::campaign(Arc::clone(&self.store), candidate, resume).await
    }

    async fn appoint(&self, token: LockToken, changes: Vec<Change>) -> Result<AppointOutcome, ProviderError> {
        self.store.appoint(token, changes).await
    }

    async fn read(&self) -> Result<Snapshot, ProviderError> {
        self.store.snapshot().await
    }

    async fn watch(&self, after: Option<Revision>) -> Result<WatchStream, ProviderError> {
        // Checked here, so that a foreign cluster is told at once and not by the stream.
        match self.join().await {
            Err(error @ ProviderError::Fatal(_)) => Err(error),
            Ok(()) | Err(_) => Ok(watch::watch(Arc::clone(&self.store), after)),
        }
    }

    async fn put_member(&self, token: LockToken, member: Member) -> Result<WriteOutcome, ProviderError> {
        self.store.put_member(token, member).await
    }

    async fn remove_member(
        &self,
        token: LockToken,
        replicaset: &ReplicaSetName,
        instance: &InstanceName,
    ) -> Result<WriteOutcome, ProviderError> {
        self.store.remove_member(token, replicaset, instance).await
    }

    async fn put_settings(
        &self,
        expected: Version,
        settings: Settings,
    ) -> Result<SettingsOutcome, ProviderError> {
        self.store.put_settings(expected, settings).await
    }

    async fn put_move(
        &self,
        expected: Version,
        moving: Option<Move>,
    ) -> Result<SettingsOutcome, ProviderError> {
        self.store.put_move(expected, moving).await
    }

    async fn put_task(
        &self,
        token: LockToken,
        expected: Option<Version>,
        task: StoredTask,
    ) -> Result<TaskOutcome, ProviderError> {
        self.store.put_task(token, expected, task).await
    }

    async fn remove_task(&self, token: LockToken, id: TaskId) -> Result<WriteOutcome, ProviderError> {
        self.store.remove_task(token, id).await
    }

    async fn put_bid(
        &self,
        epoch: Epoch,
        expected: u64,
        bid: Option<Bid>,
    ) -> Result<WriteOutcome, ProviderError> {
        self.store.put_bid(epoch, expected, bid).await
    }

    async fn history(
        &self,
        replicaset: &ReplicaSetName,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, ProviderError> {
        self.store.history(replicaset, limit).await
    }

    async fn status(&self) -> Result<Status, ProviderError> {
        self.store.status().await
    }
}
