//! gRPC to input, output to gRPC, and nothing else. Who may speak is checked here, before the machine is asked.

use crate::keeping::Keeping;
use crate::shell::{Rejected, SessionHandle, Shell};
use baton_board::{ForeignCluster, Identity, Input, LockSecret, Reply, Request, Resume, SessionMessage};
use baton_core::ids::{ReplicaSetName, Revision, Version};
use baton_core::time::Span;
use baton_proto::v1;
use baton_provider::wire::{self, Malformed};
use prost::Message as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Response, Status, Streaming};
use v1::campaign_request::Message as FromCandidate;
use v1::campaign_response::Message as ToCandidate;

/// How long a candidate may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) shell: Shell,
    pub(crate) identity: Arc<Identity>,
    pub(crate) keeping: Arc<Keeping>,
}

pub(crate) type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(crate) fn error(
    code: Code,
    reason: &str,
    message: String,
    what_to_do: &str,
    facts: &[(&str, &str)],
) -> Status {
    let detail = v1::StateboardError {
        reason: reason.to_owned(),
        message: message.clone(),
        what_to_do: what_to_do.to_owned(),
        facts: facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    Status::with_details(code, message, detail.encode_to_vec().into())
}

pub(crate) fn malformed(fault: Malformed) -> Status {
    let what_to_do = "use a client of this stateboard's version, or of the one before or after it";
    error(Code::InvalidArgument, "malformed", fault.to_string(), what_to_do, &[])
}

pub(crate) fn rejected(rejected: Rejected) -> Status {
    match rejected {
        Rejected::Stopping => {
            let message = "this stateboard is stopping".to_owned();
            error(Code::Unavailable, "stopping", message, "try again when it is back", &[])
        }
        Rejected::Busy => {
            let message = "too many requests are under way".to_owned();
            error(Code::ResourceExhausted, "limit", message, "try again later, and ask less often", &[])
        }
        Rejected::DiskFull => {
            let message = "there is no room on the stateboard's disk: nothing was changed".to_owned();
            let what_to_do = "make room on it; then changes are taken again by themselves";
            error(Code::ResourceExhausted, "disk_full", message, what_to_do, &[])
        }
    }
}

pub(crate) fn foreign(foreign: &ForeignCluster) -> Status {
    let message = foreign.to_string();
    match foreign {
        ForeignCluster::Name { ours, theirs } => {
            let what_to_do =
                "give each cluster a stateboard of its own, or set cluster.name to the same value";
            let facts = [("ours", ours.as_str()), ("theirs", theirs.as_str())];
            error(Code::FailedPrecondition, "foreign_cluster", message, what_to_do, &facts)
        }
        ForeignCluster::Secret { cluster } => {
            let what_to_do = "use the same secret_file on every host of the cluster";
            error(Code::Unauthenticated, "wrong_secret", message, what_to_do, &[("cluster", cluster)])
        }
    }
}

impl Service {
    fn check(&self, identity: Option<v1::ClusterIdentity>) -> Result<(), Status> {
        let identity = wire::identity_from_wire(identity).map_err(malformed)?;
        self.identity.check(&identity).map_err(|error| foreign(&error))
    }

    async fn ask(&self, request: Request) -> Result<Reply, Status> {
        self.shell.ask(request).await.map_err(rejected)
    }
}

/// A reply of another kind than the request's would be a fault of our own; it is told rather than hidden.
fn other_kind(reply: &Reply) -> Status {
    tracing::error!(?reply, "the board answered with a reply of another kind");
    Status::internal("the board answered with a reply of another kind")
}

#[tonic::async_trait]
impl v1::stateboard_server::Stateboard for Service {
    type CampaignStream = Out<v1::CampaignResponse>;
    type WatchStream = Out<v1::WatchResponse>;
    type BackupStream = Out<v1::BackupChunk>;

    async fn join(
        &self,
        request: tonic::Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        self.check(request.into_inner().identity)?;
        match self.ask(Request::Status).await? {
            Reply::Status(status) => Ok(Response::new(v1::JoinResponse { revision: status.revision.0 })),
            other => Err(other_kind(&other)),
        }
    }

    async fn campaign(
        &self,
        request: tonic::Request<Streaming<v1::CampaignRequest>>,
    ) -> Result<Response<Self::CampaignStream>, Status> {
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(HELLO_TIMEOUT, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the candidate did not say who it is"))??;
        let Some(FromCandidate::Campaign(campaign)) = first.and_then(|first| first.message) else {
            return Err(malformed(Malformed::Missing("the campaign as first message")));
        };
        self.check(campaign.identity)?;
        let candidate = campaign.candidate.ok_or_else(|| malformed(Malformed::Missing("candidate")))?;
        let candidate = wire::candidate_from_wire(candidate).map_err(malformed)?;
        let token = campaign.resume.map(|token| wire::token_from_wire(Some(token))).transpose();
        let only = campaign.resume_only;
        let resume = token.map_err(malformed)?.map(|token| Resume { token, only });
        let secret = LockSecret(rand::random());
        let opened = self.shell.open(|session| Input::Campaign { session, candidate, resume, secret });
        let (session, messages) = opened.map_err(rejected)?;
        tokio::spawn(listen(inbound, session));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages).map(to_candidate))))
    }

    async fn appoint(
        &self,
        request: tonic::Request<v1::AppointRequest>,
    ) -> Result<Response<v1::AppointResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let token = wire::token_from_wire(request.token).map_err(malformed)?;
        let changes: Result<Vec<_>, _> = request.changes.into_iter().map(wire::change_from_wire).collect();
        match self.ask(Request::Appoint { token, changes: changes.map_err(malformed)? }).await? {
            Reply::Appointed(outcome) => Ok(Response::new(wire::appointed_to_wire(&outcome))),
            other => Err(other_kind(&other)),
        }
    }

    async fn read(&self, request: tonic::Request<v1::ReadRequest>) -> Result<Response<v1::Snapshot>, Status> {
        self.check(request.into_inner().identity)?;
        match self.ask(Request::Read).await? {
            Reply::Snapshot(snapshot) => Ok(Response::new(wire::snapshot_to_wire(&snapshot))),
            other => Err(other_kind(&other)),
        }
    }

    async fn watch(
        &self,
        request: tonic::Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let watching = self.shell.watch(request.after_revision.map(Revision)).await.map_err(rejected)?;
        let start: Vec<v1::watch_response::Event> = match watching.start {
            baton_board::WatchStart::Snapshot(snapshot) => {
                vec![v1::watch_response::Event::Snapshot(wire::snapshot_to_wire(&snapshot))]
            }
            baton_board::WatchStart::Updates(updates) => updates.iter().map(update_event).collect(),
        };
        let updates = ReceiverStream::new(watching.updates).map(|update| update_event(&update));
        let events = tokio_stream::iter(start).chain(updates);
        Ok(Response::new(Box::pin(events.map(|event| Ok(v1::WatchResponse { event: Some(event) })))))
    }

    async fn put_member(
        &self,
        request: tonic::Request<v1::PutMemberRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let token = wire::token_from_wire(request.token).map_err(malformed)?;
        let member = request.member.ok_or_else(|| malformed(Malformed::Missing("member")))?;
        let member = Box::new(wire::member_from_wire(member).map_err(malformed)?);
        match self.ask(Request::PutMember { token, member }).await? {
            Reply::Written(outcome) => Ok(Response::new(wire::written_to_wire(&outcome))),
            other => Err(other_kind(&other)),
        }
    }

    async fn remove_member(
        &self,
        request: tonic::Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let token = wire::token_from_wire(request.token).map_err(malformed)?;
        let (replicaset, instance) = wire::member_key_from_wire(request.member).map_err(malformed)?;
        match self.ask(Request::RemoveMember { token, replicaset, instance }).await? {
            Reply::Written(outcome) => Ok(Response::new(wire::written_to_wire(&outcome))),
            other => Err(other_kind(&other)),
        }
    }

    async fn put_settings(
        &self,
        request: tonic::Request<v1::PutSettingsRequest>,
    ) -> Result<Response<v1::PutSettingsResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let settings = request.settings.ok_or_else(|| malformed(Malformed::Missing("settings")))?;
        let settings = Box::new(wire::settings_from_wire(settings).map_err(malformed)?);
        let expected = Version(request.expected_version);
        match self.ask(Request::PutSettings { expected, settings }).await? {
            Reply::Settings(outcome) => Ok(Response::new(wire::settings_outcome_to_wire(&outcome))),
            other => Err(other_kind(&other)),
        }
    }

    async fn history(
        &self,
        request: tonic::Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let replicaset =
            ReplicaSetName::parse(&request.replicaset).map_err(|error| malformed(error.into()))?;
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        match self.ask(Request::History { replicaset, limit }).await? {
            Reply::History(entries) => {
                let entries = entries.iter().map(wire::history_to_wire).collect();
                Ok(Response::new(v1::HistoryResponse { entries }))
            }
            other => Err(other_kind(&other)),
        }
    }

    async fn status(
        &self,
        request: tonic::Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        self.check(request.into_inner().identity)?;
        match self.ask(Request::Status).await? {
            Reply::Status(status) => {
                let status = wire::status_to_wire(&status, env!("CARGO_PKG_VERSION"));
                Ok(Response::new(self.keeping.status(status)))
            }
            other => Err(other_kind(&other)),
        }
    }

    async fn backup(
        &self,
        request: tonic::Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        self.check(request.into_inner().identity)?;
        self.keeping.backup().map(Response::new)
    }

    async fn restore(
        &self,
        request: tonic::Request<Streaming<v1::RestoreRequest>>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        let mut inbound = request.into_inner();
        let begin = crate::keeping::begin(&mut inbound).await?;
        self.check(begin.identity.clone())?;
        self.keeping.restore(&self.identity, &begin, inbound).await.map(Response::new)
    }
}

fn update_event(
    update: &(impl std::borrow::Borrow<baton_board::Update> + ?Sized),
) -> v1::watch_response::Event {
    v1::watch_response::Event::Update(wire::update_to_wire(update.borrow()))
}

/// Reads what a candidate says until its connection ends; dropping the handle closes the session, which frees the
/// lock at once.
async fn listen(mut inbound: Streaming<v1::CampaignRequest>, session: SessionHandle) {
    while let Ok(Some(request)) = inbound.message().await {
        let sent = match request.message {
            Some(FromCandidate::Renew(_)) => session.renew().await,
            Some(FromCandidate::Resign(resign)) => session.resign(Span(resign.last_grant_remaining_us)).await,
            // A second campaign, or a message of a newer candidate: neither has a meaning here.
            Some(FromCandidate::Campaign(_)) | None => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn to_candidate(message: SessionMessage) -> Result<v1::CampaignResponse, Status> {
    let message = match message {
        SessionMessage::Granted { token, ttl, predecessor_bound, resumed } => {
            ToCandidate::Granted(v1::LockGranted {
                token: Some(wire::token_to_wire(token)),
                ttl_us: ttl.0,
                predecessor_bound_us: predecessor_bound.0,
                resumed,
            })
        }
        SessionMessage::Renewed { ttl } => ToCandidate::Renewed(v1::LockRenewed { ttl_us: ttl.0 }),
        SessionMessage::Lost { current } => {
            ToCandidate::Lost(v1::LockLost { current: Some(wire::epoch_to_wire(current)) })
        }
        SessionMessage::Resigned => ToCandidate::Resigned(v1::LockResigned {}),
        SessionMessage::Refused(refusal) => {
            let what_to_do = "run fewer candidates, or stop those that are not needed";
            return Err(error(Code::ResourceExhausted, "limit", refusal.to_string(), what_to_do, &[]));
        }
    };
    Ok(v1::CampaignResponse { message: Some(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_carries_its_reason_and_what_to_do() {
        let name = ForeignCluster::Name { ours: "orders".into(), theirs: "billing".into() };
        let secret = ForeignCluster::Secret { cluster: "orders".into() };
        for (status, reason) in [
            (foreign(&name), "foreign_cluster"),
            (foreign(&secret), "wrong_secret"),
            (rejected(Rejected::Stopping), "stopping"),
            (rejected(Rejected::Busy), "limit"),
            (rejected(Rejected::DiskFull), "disk_full"),
            (malformed(Malformed::Missing("record")), "malformed"),
        ] {
            let detail = v1::StateboardError::decode(status.details()).expect("a detail of ours");
            assert_eq!(detail.reason, reason);
            assert!(!detail.what_to_do.is_empty(), "{reason} does not say what to do");
        }
    }
}
