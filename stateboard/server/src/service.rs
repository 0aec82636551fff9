//! gRPC to input, output to gRPC, and nothing else. Who may speak is checked here, before the machine is asked. A read and
//! a watch are answered with ready bytes, which the framework does not know how to send: they come from `direct.rs`.

use crate::fault::{self, malformed};
use crate::feed::{self, Follower};
use crate::gate;
use crate::keeping::Keeping;
use crate::limits::Limits;
use crate::names::Names;
use crate::ready::framed;
use crate::shell::{DISK_FULL, Rejected, SessionHandle, Shell};
use baton_board::{
    AppointOutcome, Identity, Input, LockSecret, RefusalReason, Reply, Request, Resume, SessionMessage,
    SettingsOutcome, Snapshot, TaskOutcome, Update, WatchStart, WriteOutcome,
};
use baton_core::ids::{ReplicaSetName, Revision, TaskId, Version};
use baton_core::time::Span;
use baton_proto::v1;
use baton_provider::wire::{self, Malformed};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::codegen::Bytes;
use tonic::{Response, Status, Streaming};
use v1::campaign_request::Message as FromCandidate;
use v1::campaign_response::Message as ToCandidate;

/// How long a candidate may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) shell: Shell,
    pub(crate) identity: Arc<Identity>,
    pub(crate) any_identity: bool,
    pub(crate) keeping: Arc<Keeping>,
    pub(crate) limits: Arc<Limits>,
}

pub(crate) type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(crate) fn rejected(rejected: Rejected) -> Status {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    match rejected {
        Rejected::Stopping => fault::stopping(),
        Rejected::Busy(max) => fault::limit(
            "requests",
            count(max),
            "one request too many",
            "try again later, and ask less often",
        ),
        Rejected::DiskFull => fault::disk_full(),
        Rejected::Watchers(max) => {
            let what_to_do = "watch through fewer processes, or raise the limit";
            fault::limit("watchers", count(max), "one watch too many", what_to_do)
        }
    }
}

impl Service {
    fn check(&self, identity: Option<v1::ClusterIdentity>) -> Result<(), Status> {
        let identity = wire::identity_from_wire(identity).map_err(malformed)?;
        if self.any_identity {
            return Ok(());
        }
        self.identity.check(&identity).map_err(|error| fault::foreign(&error))
    }

    async fn ask(&self, request: Request) -> Result<Reply, Status> {
        self.shell.ask(request).await.map_err(rejected)
    }

    /// Everything that is there, as an answer that is ready to be sent.
    pub(crate) async fn snapshot(&self, request: v1::ReadRequest) -> Result<Bytes, Status> {
        self.check(request.identity)?;
        let last = self.shell.last_read();
        if let Some(kept) = last.get().filter(|_| !self.shell.is_stopping()) {
            return Ok(kept);
        }
        let events = last.events();
        match self.ask(Request::Read).await? {
            Reply::Snapshot(snapshot) => {
                let answer = framed(&wire::snapshot_to_wire(&snapshot))?;
                last.keep(events, || answer.clone());
                Ok(answer)
            }
            other => Err(other_kind(&other)),
        }
    }

    /// What a watcher is told, each message ready to be sent.
    pub(crate) async fn events(
        &self,
        request: v1::WatchRequest,
    ) -> Result<impl Stream<Item = Result<Bytes, Status>> + use<>, Status> {
        self.check(request.identity)?;
        let watching = self.shell.watch(request.after_revision.map(Revision)).await.map_err(rejected)?;
        let first = match watching.start {
            WatchStart::Snapshot(snapshot) => First::Snapshot(snapshot),
            WatchStart::Updates(updates) => First::Updates(updates.into_iter()),
        };
        let state = Some((first, watching.updates));
        Ok(futures_util::stream::unfold(state, async |state: Option<(First, Follower)>| {
            let (mut first, mut updates) = state?;
            let event = match first.next() {
                Some(event) => event,
                None => updates.next().await,
            };
            // The reason is the last thing that is said.
            let state = event.is_ok().then_some((first, updates));
            Some((event, state))
        }))
    }

    fn names(&self) -> Names {
        Names(self.limits.name_bytes)
    }

    /// The framework's refusal of a long message, typed.
    fn too_long(&self, status: Status) -> Status {
        if gate::is_too_long(&status) { gate::too_long(self.limits.message_bytes) } else { status }
    }
}

/// For the two requests that never come this way.
fn not_here() -> Status {
    tracing::error!("a request came the framework's way that is answered before");
    Status::internal("a request came the framework's way that is answered before")
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
            .map_err(|_| fault::late(HELLO_TIMEOUT.as_secs()))?
            .map_err(|status| self.too_long(status))?;
        let Some(FromCandidate::Campaign(campaign)) = first.and_then(|first| first.message) else {
            return Err(malformed(Malformed::Missing("the campaign as first message")));
        };
        self.check(campaign.identity)?;
        let candidate = campaign.candidate.ok_or_else(|| malformed(Malformed::Missing("candidate")))?;
        self.names().of_candidate(&candidate)?;
        let candidate = wire::candidate_from_wire(candidate).map_err(malformed)?;
        let text_bytes = self.limits.kept.text_bytes;
        if candidate.address.0.len() > text_bytes {
            let value = u64::try_from(text_bytes).unwrap_or(u64::MAX);
            let what_to_do = "advertise a shorter address";
            return Err(fault::limit("text_bytes", value, "the candidate's address is too long", what_to_do));
        }
        let token = campaign.resume.map(|token| wire::token_from_wire(Some(token))).transpose();
        let only = campaign.resume_only;
        let resume = token.map_err(malformed)?.map(|token| Resume { token, only });
        let secret = LockSecret(rand::random());
        let opened = self.shell.open(|session| Input::Campaign { session, candidate, resume, secret });
        let (session, messages) = opened.map_err(rejected)?;
        tokio::spawn(listen(inbound, session));
        // A stop is said as such: a candidate then knows that it may come back and go on.
        let shell = self.shell.clone();
        let end = futures_util::stream::once(async move { shell.is_stopping() });
        let end = end.filter_map(|stopping| stopping.then(|| Err(fault::stopping())));
        let waiting = self.limits.kept.waiting;
        let messages = ReceiverStream::new(messages).map(move |message| to_candidate(message, waiting));
        Ok(Response::new(Box::pin(messages.chain(end))))
    }

    async fn appoint(
        &self,
        request: tonic::Request<v1::AppointRequest>,
    ) -> Result<Response<v1::AppointResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let token = wire::token_from_wire(request.token).map_err(malformed)?;
        self.names().of_changes(&request.changes)?;
        let changes: Result<Vec<_>, _> = request.changes.into_iter().map(wire::change_from_wire).collect();
        match self.ask(Request::Appoint { token, changes: changes.map_err(malformed)? }).await? {
            Reply::Appointed(outcome) => {
                let ended = match &outcome {
                    AppointOutcome::Applied(_) => "applied",
                    AppointOutcome::Conflict(_) => "conflict",
                    AppointOutcome::StaleEpoch(_) => "stale_epoch",
                    AppointOutcome::Refused(_) => "refused",
                };
                Ok(ending(wire::appointed_to_wire(&outcome), ended))
            }
            other => Err(other_kind(&other)),
        }
    }

    async fn read(&self, _: tonic::Request<v1::ReadRequest>) -> Result<Response<v1::Snapshot>, Status> {
        Err(not_here())
    }

    async fn watch(
        &self,
        _: tonic::Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_here())
    }

    async fn put_member(
        &self,
        request: tonic::Request<v1::PutMemberRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let token = wire::token_from_wire(request.token).map_err(malformed)?;
        let member = request.member.ok_or_else(|| malformed(Malformed::Missing("member")))?;
        self.names().of_member(&member)?;
        let member = Box::new(wire::member_from_wire(member).map_err(malformed)?);
        match self.ask(Request::PutMember { token, member }).await? {
            Reply::Written(outcome) => Ok(ending(wire::written_to_wire(&outcome), ended(&outcome))),
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
            Reply::Written(outcome) => Ok(ending(wire::written_to_wire(&outcome), ended(&outcome))),
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
        self.names().of_settings(&settings)?;
        let settings = Box::new(wire::settings_from_wire(settings).map_err(malformed)?);
        let expected = Version(request.expected_version);
        match self.ask(Request::PutSettings { expected, settings }).await? {
            Reply::Settings(outcome) => Ok(settings_ending(&outcome)),
            other => Err(other_kind(&other)),
        }
    }

    async fn put_move(
        &self,
        request: tonic::Request<v1::PutMoveRequest>,
    ) -> Result<Response<v1::PutSettingsResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let moving = request.moving.map(wire::move_from_wire).transpose().map_err(malformed)?;
        let expected = Version(request.expected_version);
        match self.ask(Request::PutMove { expected, moving }).await? {
            Reply::Settings(outcome) => Ok(settings_ending(&outcome)),
            other => Err(other_kind(&other)),
        }
    }

    async fn put_task(
        &self,
        request: tonic::Request<v1::PutTaskRequest>,
    ) -> Result<Response<v1::PutTaskResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let token = wire::token_from_wire(request.token).map_err(malformed)?;
        let task = request.task.ok_or_else(|| malformed(Malformed::Missing("task")))?;
        let task = Box::new(wire::task_from_wire(task).map_err(malformed)?);
        let expected = request.expected_version.map(Version);
        match self.ask(Request::PutTask { token, expected, task }).await? {
            Reply::Task(outcome) => {
                let ended = match &outcome {
                    TaskOutcome::Applied(_) => "applied",
                    TaskOutcome::Conflict(_) => "conflict",
                    TaskOutcome::StaleEpoch(_) => "stale_epoch",
                    TaskOutcome::Refused(_) => "refused",
                };
                Ok(ending(wire::task_outcome_to_wire(&outcome), ended))
            }
            other => Err(other_kind(&other)),
        }
    }

    async fn remove_task(
        &self,
        request: tonic::Request<v1::RemoveTaskRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let token = wire::token_from_wire(request.token).map_err(malformed)?;
        match self.ask(Request::RemoveTask { token, id: TaskId(request.id) }).await? {
            Reply::Written(outcome) => Ok(ending(wire::written_to_wire(&outcome), ended(&outcome))),
            other => Err(other_kind(&other)),
        }
    }

    async fn put_bid(
        &self,
        request: tonic::Request<v1::PutBidRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request = request.into_inner();
        self.check(request.identity)?;
        let epoch = wire::epoch_from_wire(request.epoch).map_err(malformed)?;
        let bid = request.bid.map(wire::bid_from_wire).transpose().map_err(malformed)?.map(Box::new);
        match self.ask(Request::PutBid { epoch, expected: request.expected, bid }).await? {
            Reply::Written(outcome) => Ok(ending(wire::written_to_wire(&outcome), ended(&outcome))),
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

/// A response that says how its request ended, for the metrics.
fn ending<T>(message: T, ended: &'static str) -> Response<T> {
    let mut response = Response::new(message);
    response.extensions_mut().insert(gate::Outcome(ended));
    response
}

fn settings_ending(outcome: &SettingsOutcome) -> Response<v1::PutSettingsResponse> {
    let ended = match outcome {
        SettingsOutcome::Applied(_) => "applied",
        SettingsOutcome::Conflict(_) => "conflict",
        SettingsOutcome::Refused(_) => "refused",
    };
    ending(wire::settings_outcome_to_wire(outcome), ended)
}

fn ended(outcome: &WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::Applied(_) => "applied",
        WriteOutcome::StaleEpoch(_) => "stale_epoch",
        WriteOutcome::Refused(_) => "refused",
    }
}

/// What a watch begins with. Converted when it is sent and not before: a message is larger than what it is made of.
enum First {
    Snapshot(Box<Snapshot>),
    Updates(std::vec::IntoIter<Update>),
    Done,
}

impl First {
    fn next(&mut self) -> Option<Result<Bytes, Status>> {
        match std::mem::replace(self, Self::Done) {
            Self::Snapshot(snapshot) => {
                let event = v1::watch_response::Event::Snapshot(wire::snapshot_to_wire(&snapshot));
                Some(framed(&v1::WatchResponse { event: Some(event) }))
            }
            Self::Updates(mut updates) => {
                let event = updates.next().map(|update| feed::event(&update));
                *self = Self::Updates(updates);
                event
            }
            Self::Done => None,
        }
    }
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

fn to_candidate(message: SessionMessage, waiting: usize) -> Result<v1::CampaignResponse, Status> {
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
        SessionMessage::Refused(refusal) if refusal.detail == DISK_FULL => return Err(fault::disk_full()),
        SessionMessage::Refused(refusal) if refusal.reason == RefusalReason::Moving => {
            return Err(fault::moving(&refusal.detail));
        }
        SessionMessage::Refused(refusal) => {
            let what_to_do = "run fewer candidates, or stop those that are not needed";
            let value = u64::try_from(waiting).unwrap_or(u64::MAX);
            return Err(fault::limit("candidates", value, &refusal.to_string(), what_to_do));
        }
    };
    Ok(v1::CampaignResponse { message: Some(message) })
}
