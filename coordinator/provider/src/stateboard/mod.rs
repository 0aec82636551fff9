//! The stateboard as state provider: requests over gRPC, each with its deadline and its three endings. What the lock's
//! connection and a watch do when the stateboard goes away is in the files beside this one.

mod backoff;
mod backup;
pub(crate) mod channel;
mod credentials;
mod endpoint;
mod link;
mod outcome;
mod session;
mod watch;

pub use backup::{Progress, RestoreDone, RestoreOptions, TakeError};

use crate::error::{FatalError, ProviderError, unless_moving};
use crate::password::Password;
use crate::tls::TlsFiles;
use crate::{LockSession, StateProvider, WatchStream, wire};
use async_trait::async_trait;
use baton_board::{
    AppointOutcome, Candidate, Identity, LockToken, SettingsOutcome, Snapshot, Status, TaskOutcome,
    WriteOutcome,
};
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision, TaskId, Version};
use baton_core::record::{Change, HistoryEntry, Member, Move, Settings};
use baton_core::task::StoredTask;
use baton_proto::v1;
use channel::Stream;
use credentials::Credentials;
pub use endpoint::Address;
use link::Link;
use outcome::{malformed, of_status};
use std::future::Future;
use std::time::Duration;
use tonic::service::interceptor::InterceptedService;
use tonic::{Response, Status as GrpcStatus};
use v1::stateboard_client::StateboardClient;

/// Largest message that is taken from a stateboard: a snapshot of its limits fits several times.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

type Client = StateboardClient<InterceptedService<Link<Stream>, Credentials>>;

/// How to reach a stateboard.
#[derive(Clone, Debug)]
pub struct StateboardOptions {
    /// Addresses of one and the same stateboard: `https://host:port`, `http://host:port` or `host:port`. Tried in this
    /// order.
    pub endpoints: Vec<String>,
    /// Who we are.
    pub identity: Identity,
    /// After how long without an answer the outcome of a request is unknown.
    pub request_timeout: Duration,
    /// The files for TLS; `None` for a connection without it.
    pub tls: Option<TlsFiles>,
    /// The password, where the stateboard asks for one.
    pub password: Option<Password>,
}

impl StateboardOptions {
    /// Without TLS and without a password.
    #[must_use]
    pub fn new(endpoints: Vec<String>, identity: Identity, request_timeout: Duration) -> Self {
        Self { endpoints, identity, request_timeout, tls: None, password: None }
    }
}

/// A client of a stateboard.
#[derive(Clone)]
pub struct StateboardProvider {
    options: StateboardOptions,
    client: Client,
}

impl StateboardProvider {
    /// Makes the client; connects with the first request, so it must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`FatalError::Config`] where an endpoint is no address, or a file for TLS cannot be used.
    pub fn new(options: StateboardOptions) -> Result<Self, ProviderError> {
        let client = client(&options)?;
        Ok(Self { options, client })
    }

    fn identity(&self) -> Option<v1::ClusterIdentity> {
        Some(wire::identity_to_wire(&self.options.identity))
    }

    /// Sends one request, under its deadline.
    async fn ask<T, F>(&self, call: F) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<Response<T>, GrpcStatus>>,
    {
        match tokio::time::timeout(self.options.request_timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(of_status(&status)),
            Err(_) => {
                let waited = humantime::format_duration(self.options.request_timeout);
                Err(ProviderError::Unknown(format!("the stateboard did not answer within {waited}")))
            }
        }
    }
}

fn client(options: &StateboardOptions) -> Result<Client, ProviderError> {
    let (link, origin) =
        channel::connect_lazy(&options.endpoints, options.tls.as_ref()).map_err(FatalError::Config)?;
    let credentials = Credentials::new(options.password.as_ref()).map_err(FatalError::Config)?;
    Ok(StateboardClient::with_origin(InterceptedService::new(link, credentials), origin)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Whether an address agrees with whether there are files for TLS.
///
/// # Errors
/// The rule.
pub fn check_scheme(address: &Address, tls: bool) -> Result<(), &'static str> {
    channel::check_scheme(address, tls)
}

#[async_trait]
impl StateProvider for StateboardProvider {
    fn kind(&self) -> &'static str {
        "stateboard"
    }

    async fn join(&self) -> Result<(), ProviderError> {
        let request = v1::JoinRequest { identity: self.identity() };
        self.ask(self.client.clone().join(request)).await.map(|_| ())
    }

    async fn campaign(
        &self,
        candidate: &Candidate,
        resume: Option<LockToken>,
    ) -> Result<Box<dyn LockSession>, ProviderError> {
        // A connection of its own: its end is what frees the lock, and no large snapshot stands before a renewal.
        let line = session::Line {
            client: client(&self.options)?,
            identity: self.options.identity.clone(),
            candidate: candidate.clone(),
        };
        session::campaign(line, resume).await
    }

    async fn appoint(&self, token: LockToken, changes: Vec<Change>) -> Result<AppointOutcome, ProviderError> {
        let request = v1::AppointRequest {
            identity: self.identity(),
            token: Some(wire::token_to_wire(token)),
            changes: changes.iter().map(wire::change_to_wire).collect(),
        };
        let response = self.ask(self.client.clone().appoint(request)).await?;
        wire::appointed_from_wire(response).map_err(|error| malformed(&error)).and_then(unless_moving)
    }

    async fn read(&self) -> Result<Snapshot, ProviderError> {
        let request = v1::ReadRequest { identity: self.identity() };
        let response = self.ask(self.client.clone().read(request)).await?;
        wire::snapshot_from_wire(response).map_err(|error| malformed(&error))
    }

    async fn watch(&self, after: Option<Revision>) -> Result<WatchStream, ProviderError> {
        Ok(watch::watch(self.client.clone(), self.options.identity.clone(), after))
    }

    async fn put_member(&self, token: LockToken, member: Member) -> Result<WriteOutcome, ProviderError> {
        let request = v1::PutMemberRequest {
            identity: self.identity(),
            token: Some(wire::token_to_wire(token)),
            member: Some(wire::member_to_wire(&member)),
        };
        let response = self.ask(self.client.clone().put_member(request)).await?;
        wire::written_from_wire(response).map_err(|error| malformed(&error)).and_then(unless_moving)
    }

    async fn remove_member(
        &self,
        token: LockToken,
        replicaset: &ReplicaSetName,
        instance: &InstanceName,
    ) -> Result<WriteOutcome, ProviderError> {
        let request = v1::RemoveMemberRequest {
            identity: self.identity(),
            token: Some(wire::token_to_wire(token)),
            member: Some(wire::member_key_to_wire(replicaset, instance)),
        };
        let response = self.ask(self.client.clone().remove_member(request)).await?;
        wire::written_from_wire(response).map_err(|error| malformed(&error)).and_then(unless_moving)
    }

    async fn put_settings(
        &self,
        expected: Version,
        settings: Settings,
    ) -> Result<SettingsOutcome, ProviderError> {
        let request = v1::PutSettingsRequest {
            identity: self.identity(),
            expected_version: expected.0,
            settings: Some(wire::settings_to_wire(&settings)),
        };
        let response = self.ask(self.client.clone().put_settings(request)).await?;
        wire::settings_outcome_from_wire(response).map_err(|error| malformed(&error)).and_then(unless_moving)
    }

    async fn put_move(
        &self,
        expected: Version,
        moving: Option<Move>,
    ) -> Result<SettingsOutcome, ProviderError> {
        let request = v1::PutMoveRequest {
            identity: self.identity(),
            expected_version: expected.0,
            moving: moving.as_ref().map(wire::move_to_wire),
        };
        let response = self.ask(self.client.clone().put_move(request)).await?;
        wire::settings_outcome_from_wire(response).map_err(|error| malformed(&error))
    }

    async fn put_task(
        &self,
        token: LockToken,
        expected: Option<Version>,
        task: StoredTask,
    ) -> Result<TaskOutcome, ProviderError> {
        let request = v1::PutTaskRequest {
            identity: self.identity(),
            token: Some(wire::token_to_wire(token)),
            expected_version: expected.map(|version| version.0),
            task: Some(wire::task_to_wire(&task)),
        };
        let response = self.ask(self.client.clone().put_task(request)).await?;
        wire::task_outcome_from_wire(response).map_err(|error| malformed(&error)).and_then(unless_moving)
    }

    async fn remove_task(&self, token: LockToken, id: TaskId) -> Result<WriteOutcome, ProviderError> {
        let token = Some(wire::token_to_wire(token));
        let request = v1::RemoveTaskRequest { identity: self.identity(), token, id: id.0 };
        let response = self.ask(self.client.clone().remove_task(request)).await?;
        wire::written_from_wire(response).map_err(|error| malformed(&error)).and_then(unless_moving)
    }

    async fn put_bid(
        &self,
        epoch: Epoch,
        expected: u64,
        bid: Option<Bid>,
    ) -> Result<WriteOutcome, ProviderError> {
        let request = v1::PutBidRequest {
            identity: self.identity(),
            epoch: Some(wire::epoch_to_wire(epoch)),
            expected,
            bid: bid.as_ref().map(wire::bid_to_wire),
        };
        let response = self.ask(self.client.clone().put_bid(request)).await?;
        wire::written_from_wire(response).map_err(|error| malformed(&error)).and_then(unless_moving)
    }

    async fn history(
        &self,
        replicaset: &ReplicaSetName,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, ProviderError> {
        let request = v1::HistoryRequest {
            identity: self.identity(),
            replicaset: replicaset.to_string(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let response = self.ask(self.client.clone().history(request)).await?;
        let entries: Result<Vec<_>, _> = response.entries.into_iter().map(wire::history_from_wire).collect();
        entries.map_err(|error| malformed(&error))
    }

    async fn status(&self) -> Result<Status, ProviderError> {
        let request = v1::StatusRequest { identity: self.identity() };
        let response = self.ask(self.client.clone().status(request)).await?;
        wire::status_from_wire(response).map_err(|error| malformed(&error))
    }
}
