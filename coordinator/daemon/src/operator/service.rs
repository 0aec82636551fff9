//! The gRPC service. Every call is checked, bounded in time, and answered from a view or by the machine.

use super::command::{HISTORY_MAX, How, OperatorCommand, Refused, RefusedKind};
use super::tasks::{refusal_to_wire, unanswered};
use super::{settings, what_if};
use crate::view::{ClusterView, Views};
use baton_client::decision::DecisionRecord;
use baton_client::refusal;
use baton_client::status::{ClusterStatus, IssueStatus, ReplicaSetStatus, rfc3339};
use baton_client::wire;
use baton_core::arbiter::Forcing;
use baton_core::ids::{ClusterName, InstanceName, ReplicaSetName, TaskId};
use baton_core::record::HistoryEntry;
use baton_core::time::Span;
use baton_core::timing::Timing;
use baton_proto::v1;
use baton_proto::v1::operator_server::{Operator, OperatorServer};
use baton_provider::StateProvider;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

/// Longest that a machine may take over a question that only reads.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest timeout of a switchover: a master stays fenced for so long.
const SWITCHOVER_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// The timeout of a switchover that names none.
const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of a drill that names none: an engine that was killed has to start and to catch up.
const DRILL_TIMEOUT: Duration = Duration::from_secs(60);
const HISTORY_DEFAULT: u32 = 20;
/// Largest request: settings in which every set and member has some of its own.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest name of whoever asks, in characters.
const ASKED_BY_MAX: usize = 120;
/// Furthest ahead that a switchover is planned.
const PLAN_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// What a coordinator says that knows of no active arbiter.
fn no_active_arbiter(answered_by: &str) -> IssueStatus {
    IssueStatus {
        code: "no_active_arbiter".to_owned(),
        severity: "critical".to_owned(),
        text: format!("{answered_by} knows of no active arbiter: nothing is decided until there is one"),
        suggestion: "look whether the state provider is reached, and whether a coordinator runs that may be the arbiter"
            .to_owned(),
        command: "batonctl doctor".to_owned(),
        ..IssueStatus::default()
    }
}

/// Answers operators.
#[derive(Clone)]
pub struct OperatorService {
    cluster: ClusterName,
    pub(super) views: Views,
    commands: mpsc::Sender<OperatorCommand>,
    provider: Option<Arc<dyn StateProvider>>,
}

impl OperatorService {
    /// The service of a coordinator of this cluster; the arbiter's shell holds the other end of `commands`.
    #[must_use]
    pub fn new(cluster: ClusterName, views: Views, commands: mpsc::Sender<OperatorCommand>) -> Self {
        Self { cluster, views, commands, provider: None }
    }

    /// Where the record is kept: not every provider's lock is as short as the settings would have it, and `timing` has
    /// to be true.
    #[must_use]
    pub fn kept_by(self, provider: Arc<dyn StateProvider>) -> Self {
        Self { provider: Some(provider), ..self }
    }

    /// The service as tonic's router takes it.
    #[must_use]
    pub fn into_server(self) -> OperatorServer<Self> {
        OperatorServer::new(self).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.views.cluster.borrow())
    }

    fn check_cluster(&self, named: &str) -> Result<(), Status> {
        crate::directory::check_cluster(&self.cluster, named)
    }

    /// The view of the active arbiter, if that is this coordinator.
    pub(super) fn active(&self, cluster: &str) -> Result<Arc<ClusterView>, Status> {
        self.check_cluster(cluster)?;
        let view = self.view();
        if view.status.arbiter.active_here {
            return Ok(view);
        }
        Err(self.not_active(&view))
    }

    fn not_active(&self, view: &ClusterView) -> Status {
        let (name, arbiter) = (&view.status.answered_by, &view.status.arbiter);
        let (message, what_to_do) = match &arbiter.coordinator {
            Some(other) => (format!("{name} is not the active arbiter, {other} is"), "ask there".to_owned()),
            None => (
                format!("{name} is not the active arbiter, and knows of none"),
                "look at whether the state provider is reachable and a coordinator with [arbiter] enabled runs"
                    .to_owned(),
            ),
        };
        let refused = Refused::new(RefusedKind::NotActiveArbiter, message, what_to_do);
        self.refuse(&refused)
    }

    pub(super) fn refuse(&self, refused: &Refused) -> Status {
        let address = match refused.kind {
            RefusedKind::NotActiveArbiter => self.view().status.arbiter.address.clone().unwrap_or_default(),
            _ => String::new(),
        };
        refusal::to_status(refused.kind.code(), refused.message.clone(), &refusal_to_wire(refused, address))
    }

    fn provider(&self) -> Result<&dyn StateProvider, Status> {
        self.provider.as_deref().ok_or_else(|| {
            let message = "this coordinator has no state provider";
            self.refuse(&Refused::new(RefusedKind::ProviderUnavailable, message, "ask another"))
        })
    }

    async fn remove(&self, view: &ClusterView, removal: &v1::MemberRemoval) -> Result<(), Status> {
        let instance = InstanceName::parse(&removal.instance).map_err(invalid)?;
        let provider = self.provider()?;
        let refuse = |refused| self.refuse(&refused);
        if removal.expel {
            // First of all: whoever is turned away leaves the in-sync set, and does not come back between.
            let changes = vec![format!("member.{instance}.expelled=true")];
            let change = v1::SettingsChange { changes, ..v1::SettingsChange::default() };
            settings::put(provider, &change).await.map_err(refuse)?;
        }
        let replicaset =
            settings::removal(provider, &view.status, &instance, removal.expel).await.map_err(refuse)?;
        let (reply, answer) = oneshot::channel();
        self.send(OperatorCommand::RemoveMember { replicaset, instance, reply }).await?;
        match tokio::time::timeout(READ_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer.map_err(refuse),
            Ok(Err(_)) | Err(_) => Err(refuse(unanswered())),
        }
    }

    async fn remove_set(&self, view: &ClusterView, removal: v1::SetRemoval) -> Result<(), Status> {
        let replicaset = ReplicaSetName::parse(&removal.replicaset).map_err(invalid)?;
        self.known_set(&view.status, &replicaset)?;
        let (reply, answer) = oneshot::channel();
        self.send(OperatorCommand::RemoveSet { replicaset, dry_run: removal.dry_run, reply }).await?;
        self.answer(answer).await
    }

    pub(super) async fn send(&self, command: OperatorCommand) -> Result<(), Status> {
        self.commands.try_send(command).map_err(|error| {
            let refused = match error {
                mpsc::error::TrySendError::Full(_) => {
                    Refused::new(RefusedKind::Busy, "too many requests wait for the arbiter", "try again")
                }
                mpsc::error::TrySendError::Closed(_) => Refused::new(
                    RefusedKind::ProviderUnavailable,
                    "this coordinator is stopping",
                    "ask another",
                ),
            };
            self.refuse(&refused)
        })
    }

    async fn read_history(
        &self,
        replicaset: ReplicaSetName,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, Status> {
        let (reply, answer) = oneshot::channel();
        self.send(OperatorCommand::History { replicaset, limit, reply }).await?;
        match tokio::time::timeout(READ_TIMEOUT, answer).await {
            Ok(Ok(Ok(entries))) => Ok(entries),
            Ok(Ok(Err(refused))) => Err(self.refuse(&refused)),
            Ok(Err(_)) => Err(self.refuse(&unanswered())),
            Err(_) => Err(self.refuse(&Refused::new(
                RefusedKind::ProviderUnavailable,
                format!("the history was not read within {READ_TIMEOUT:?}"),
                "look at the state provider",
            ))),
        }
    }

    /// What the shell answers to a command that it has been sent.
    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T, Refused>>) -> Result<T, Status> {
        match tokio::time::timeout(READ_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer.map_err(|refused| self.refuse(&refused)),
            Ok(Err(_)) | Err(_) => Err(self.refuse(&unanswered())),
        }
    }

    pub(super) fn known_set<'a>(
        &self,
        status: &'a ClusterStatus,
        name: &ReplicaSetName,
    ) -> Result<&'a ReplicaSetStatus, Status> {
        let found = status.replicasets.iter().find(|set| set.replicaset == name.as_str());
        found.ok_or_else(|| {
            let names: Vec<&str> =
                status.replicasets.iter().map(|set| set.replicaset.as_str()).take(20).collect();
            let what_to_do = match names.as_slice() {
                [] => "no replica set is known yet".to_owned(),
                names => format!("known are: {}", names.join(", ")),
            };
            let message = format!("there is no replica set {name}");
            self.refuse(
                &Refused::new(RefusedKind::NotFound, message, what_to_do).with_fact("replicaset", name),
            )
        })
    }

    /// A change of master as a task.
    async fn change_master(
        &self,
        request: v1::SwitchoverRequest,
        how: How,
    ) -> Result<Response<v1::OperatorTask>, Status> {
        let view = self.active(&request.cluster)?;
        let replicaset = replicaset(&request.replicaset)?;
        let set = self.known_set(&view.status, &replicaset)?;
        let to = match request.to.as_str() {
            "" => None,
            name => Some(InstanceName::parse(name).map_err(invalid)?),
        };
        if let Some(target) = &to
            && !set.members.iter().any(|member| member.instance == target.as_str())
        {
            let members: Vec<&str> = set.members.iter().map(|member| member.instance.as_str()).collect();
            let message = format!("{target} is no member of {replicaset}");
            let what_to_do = format!("its members are: {}", members.join(", "));
            return Err(self.refuse(&Refused::new(RefusedKind::NotFound, message, what_to_do)));
        }
        let timeout = match Duration::from_micros(request.timeout_us) {
            Duration::ZERO if matches!(how, How::Drill(_)) => DRILL_TIMEOUT,
            Duration::ZERO => SWITCHOVER_TIMEOUT,
            timeout => timeout.min(SWITCHOVER_TIMEOUT_MAX),
        };
        let (reply, answer) = oneshot::channel();
        let timeout = Span::from_duration(timeout);
        let start_at = request.start_at_unix_millis;
        let asked_by = Some(request.asked_by.chars().take(ASKED_BY_MAX).collect::<String>());
        let asked_by = asked_by.filter(|name| !name.is_empty());
        self.send(OperatorCommand::Switchover { replicaset, to, timeout, asked_by, start_at, how, reply })
            .await?;
        let id = self.answer(answer).await?;
        self.task_or_not_found(&request.cluster, id.0, Duration::from_micros(request.wait_us)).await
    }
}

#[tonic::async_trait]
impl Operator for OperatorService {
    async fn status(
        &self,
        request: Request<v1::ClusterStatusRequest>,
    ) -> Result<Response<v1::ClusterStatus>, Status> {
        let request = request.into_inner();
        self.check_cluster(&request.cluster)?;
        let view = self.view();
        // Where nobody is known to be active, what is known here is the best that a person can get.
        let redirect = !view.status.arbiter.active_here && view.status.arbiter.address.is_some();
        if redirect && !request.local {
            return Err(self.not_active(&view));
        }
        let status = crate::directory::local_status(&view, &self.views.masters.borrow(), Instant::now());
        let wire = wire::status_to_wire(&status);
        wire.map(Response::new)
            .map_err(|error| Status::internal(format!("a view was published wrongly: {error}")))
    }

    async fn switchover(
        &self,
        request: Request<v1::SwitchoverRequest>,
    ) -> Result<Response<v1::OperatorTask>, Status> {
        let request = request.into_inner();
        if let Some(at) = request.start_at_unix_millis {
            check_start(at).map_err(|refused| self.refuse(&refused))?;
        }
        self.change_master(request, How::Planned).await
    }

    async fn failover(
        &self,
        request: Request<v1::FailoverRequest>,
    ) -> Result<Response<v1::OperatorTask>, Status> {
        let request = request.into_inner();
        let how = How::Forced(Forcing { fence: request.fence, others_off: request.others_off });
        let request = v1::SwitchoverRequest {
            cluster: request.cluster,
            replicaset: request.replicaset,
            to: request.to,
            timeout_us: request.timeout_us,
            wait_us: request.wait_us,
            asked_by: request.asked_by,
            start_at_unix_millis: None,
        };
        self.change_master(request, how).await
    }

    async fn drill(&self, request: Request<v1::DrillRequest>) -> Result<Response<v1::OperatorTask>, Status> {
        let request = request.into_inner();
        self.active(&request.cluster)?;
        if let Some(at) = request.start_at_unix_millis {
            check_start(at).map_err(|refused| self.refuse(&refused))?;
        }
        let (_, asked) = what_if::drill_asked(&request).map_err(|refused| self.refuse(&refused))?;
        let request = v1::SwitchoverRequest {
            cluster: request.cluster,
            replicaset: request.replicaset,
            to: String::new(),
            timeout_us: request.timeout_us,
            wait_us: request.wait_us,
            asked_by: request.asked_by,
            start_at_unix_millis: request.start_at_unix_millis,
        };
        self.change_master(request, How::Drill(asked)).await
    }

    async fn task(&self, request: Request<v1::TaskRequest>) -> Result<Response<v1::OperatorTask>, Status> {
        let request = request.into_inner();
        self.active(&request.cluster)?;
        self.task_or_not_found(&request.cluster, request.id, Duration::from_micros(request.wait_us)).await
    }

    async fn tasks(&self, request: Request<v1::TasksRequest>) -> Result<Response<v1::TasksResponse>, Status> {
        let request = request.into_inner();
        self.active(&request.cluster)?;
        Ok(Response::new(v1::TasksResponse { tasks: self.listed(&request.replicaset) }))
    }

    async fn abort_task(
        &self,
        request: Request<v1::AbortTaskRequest>,
    ) -> Result<Response<v1::OperatorTask>, Status> {
        let request = request.into_inner();
        self.active(&request.cluster)?;
        let (reply, answer) = oneshot::channel();
        self.send(OperatorCommand::AbortTask { task: TaskId(request.id), reply }).await?;
        self.answer(answer).await?;
        self.task_or_not_found(&request.cluster, request.id, Duration::from_micros(request.wait_us)).await
    }

    async fn history(
        &self,
        request: Request<v1::SetHistoryRequest>,
    ) -> Result<Response<v1::SetHistory>, Status> {
        let request = request.into_inner();
        self.active(&request.cluster)?;
        let limit = if request.limit == 0 { HISTORY_DEFAULT } else { request.limit.min(HISTORY_MAX) };
        let entries = self.read_history(replicaset(&request.replicaset)?, limit).await?;
        let drills = self.drills_of(&request.replicaset);
        let items = entries.into_iter().map(|entry| v1::SetHistoryItem {
            drill: drills.get(&entry.record.term.0).copied(),
            record: Some(wire::record_to_wire(&entry.record)),
            decision: entry.decision,
        });
        Ok(Response::new(v1::SetHistory { items: items.collect() }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let request = request.into_inner();
        let view = self.active(&request.cluster)?;
        let name = replicaset(&request.replicaset)?;
        let set = self.known_set(&view.status, &name)?;
        // The view may be older than what hosts were told of: then the history has the newest decision.
        let told = self.views.masters.borrow().masters.get(&name).map_or(0, |master| master.term.0);
        let wanted = |decision: &&DecisionRecord| match request.term {
            Some(term) => decision.term_after == term,
            None => decision.term_after >= told,
        };
        if let Some(decision) = set.last_decision.as_ref().filter(wanted) {
            return Ok(Response::new(v1::ExplainResponse { decision: decision.to_json() }));
        }
        // Nothing was decided in this epoch, or an older term is asked for: the history has it.
        let entries = self.read_history(name.clone(), HISTORY_MAX).await?;
        let wanted = |entry: &HistoryEntry| request.term.is_none_or(|term| entry.record.term.0 == term);
        match entries.into_iter().find(wanted) {
            Some(entry) => Ok(Response::new(v1::ExplainResponse { decision: entry.decision })),
            None => {
                let message = match request.term {
                    Some(term) => format!("the history of {name} has no term {term}"),
                    None => format!("nothing was decided about {name} yet"),
                };
                let what_to_do = format!("`batonctl history {name}` lists what there is");
                Err(self.refuse(&Refused::new(RefusedKind::NotFound, message, what_to_do)))
            }
        }
    }

    async fn timing(
        &self,
        request: Request<v1::TimingRequest>,
    ) -> Result<Response<v1::TimingResponse>, Status> {
        let view = self.active(&request.into_inner().cluster)?;
        let mut timing =
            Timing::new(&view.settings).map_err(|error| Status::failed_precondition(error.to_string()))?;
        if let Some(provider) = &self.provider {
            timing.lock_ttl = provider.lock_ttl(&timing);
        }
        Ok(Response::new(wire::timing_to_wire(&timing, view.settings.clock_drift_ppm)))
    }

    async fn what_if(
        &self,
        request: Request<v1::WhatIfRequest>,
    ) -> Result<Response<v1::WhatIfResponse>, Status> {
        let request = request.into_inner();
        let view = self.active(&request.cluster)?;
        let imagined = what_if::imagined(&view.status, &request).map_err(|refused| self.refuse(&refused))?;
        let (reply, answer) = oneshot::channel();
        self.send(OperatorCommand::WhatIf { imagined, reply }).await?;
        let forecasts = match tokio::time::timeout(READ_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer.map_err(|refused| self.refuse(&refused))?,
            Ok(Err(_)) | Err(_) => return Err(self.refuse(&unanswered())),
        };
        let forecasts = forecasts.iter().map(|forecast| v1::Forecast::from(&what_if::shown(forecast)));
        Ok(Response::new(v1::WhatIfResponse { forecasts: forecasts.collect() }))
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseResponse>, Status> {
        self.pause_sets(request.into_inner()).await.map(Response::new)
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        self.resume_sets(request.into_inner()).await.map(Response::new)
    }

    async fn issues(
        &self,
        request: Request<v1::IssuesRequest>,
    ) -> Result<Response<v1::IssuesResponse>, Status> {
        let refused = self.active(&request.into_inner().cluster).err();
        let view = self.view();
        let mut issues: Vec<_> = view.issues.iter().map(wire::issue_to_wire).collect();
        match refused {
            None => {}
            // That there is nobody to ask is what has to be looked at.
            Some(_) if view.status.arbiter.address.is_none() => {
                let nobody = no_active_arbiter(&view.status.answered_by);
                issues.insert(0, wire::issue_to_wire(&nobody));
            }
            Some(refused) => return Err(refused),
        }
        Ok(Response::new(v1::IssuesResponse { issues }))
    }

    async fn settings(
        &self,
        request: Request<v1::SettingsRequest>,
    ) -> Result<Response<v1::SettingsResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(&request.cluster)?;
        let provider = self.provider()?;
        match &request.change {
            None => Ok(Response::new(settings::show(provider, &self.view().settings).await)),
            Some(change) => {
                let done = settings::put(provider, change).await;
                done.map(Response::new).map_err(|refused| self.refuse(&refused))
            }
        }
    }

    async fn members(
        &self,
        request: Request<v1::MembersRequest>,
    ) -> Result<Response<v1::MembersResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(&request.cluster)?;
        if let Some(removal) = &request.remove {
            let view = self.active(&request.cluster)?;
            self.remove(&view, removal).await?;
        }
        if let Some(removal) = request.remove_set {
            let view = self.active(&request.cluster)?;
            self.remove_set(&view, removal).await?;
        }
        let listed = settings::list(self.provider()?).await;
        listed.map(Response::new).map_err(|refused| self.refuse(&refused))
    }
}

/// Whether a time is one to plan for: a mistyped year would never come, or has been.
fn check_start(at: u64) -> Result<(), Refused> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Duration::from_millis(at);
    let wrong = if at + Duration::from_secs(60) < now {
        "is over"
    } else if at > now + PLAN_MAX {
        "is more than a year ahead"
    } else {
        return Ok(());
    };
    let shown = rfc3339(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
    let here = rfc3339(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let what_to_do = format!("the arbiter's clock says {here}");
    Err(Refused::new(RefusedKind::NotPossible, format!("the time {shown} {wrong}"), what_to_do))
}

fn replicaset(text: &str) -> Result<ReplicaSetName, Status> {
    ReplicaSetName::parse(text).map_err(invalid)
}

pub(super) fn invalid(error: impl std::fmt::Display) -> Status {
    let refusal = v1::Refusal { reason: "bad_request".to_owned(), ..v1::Refusal::default() };
    refusal::to_status(Code::InvalidArgument, error.to_string(), &refusal)
}
