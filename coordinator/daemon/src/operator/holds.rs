//! Pauses, and the end of whatever holds sets: checked here, taken in by the machine, and in force when the records say so.

use super::command::{OperatorCommand, Refused, RefusedKind};
use super::service::{OperatorService, invalid};
use super::tasks::unanswered;
use baton_client::status::ClusterStatus;
use baton_core::ids::ReplicaSetName;
use baton_core::record::Pin;
use baton_core::time::Span;
use baton_proto::v1;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tonic::Status;

/// How long the machine may take to hear of it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause with an end.
const PAUSE_MAX: Duration = Duration::from_secs(30 * 86_400);

impl OperatorService {
    pub(super) async fn pause_sets(&self, request: v1::PauseRequest) -> Result<v1::PauseResponse, Status> {
        let view = self.active(&request.cluster)?;
        let replicasets = self.sets_of(&view.status, &request.replicasets)?;
        let span = Duration::from_micros(request.for_us);
        if span > PAUSE_MAX {
            return Err(invalid("a pause lasts at most 30 days, or for good"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = u64::try_from((now + span).as_millis()).unwrap_or(u64::MAX);
        let pin = match request.for_us {
            0 => Pin { span: Pin::FOR_GOOD, until_unix_millis: 0 },
            _ => Pin { span: Span::from_duration(span), until_unix_millis: until },
        };
        let names = replicasets.iter().map(ToString::to_string).collect();
        let (reply, answer) = oneshot::channel();
        self.send(OperatorCommand::Pause { replicasets, pin, reply }).await?;
        self.heard(answer).await?;
        Ok(v1::PauseResponse { replicasets: names })
    }

    pub(super) async fn resume_sets(&self, request: v1::ResumeRequest) -> Result<v1::ResumeResponse, Status> {
        let view = self.active(&request.cluster)?;
        let found = self.sets_of(&view.status, &request.replicasets)?;
        let names = found.iter().map(ToString::to_string).collect();
        let replicasets = (!request.replicasets.is_empty()).then_some(found);
        let (reply, answer) = oneshot::channel();
        self.send(OperatorCommand::Resume { replicasets, reply }).await?;
        self.heard(answer).await?;
        Ok(v1::ResumeResponse { replicasets: names })
    }

    async fn heard(&self, answer: oneshot::Receiver<Result<(), Refused>>) -> Result<(), Status> {
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer.map_err(|refused| self.refuse(&refused)),
            Ok(Err(_)) | Err(_) => Err(self.refuse(&unanswered())),
        }
    }

    /// The sets that are named, or all.
    fn sets_of(&self, status: &ClusterStatus, named: &[String]) -> Result<Vec<ReplicaSetName>, Status> {
        let parse = |name: &str| ReplicaSetName::parse(name).map_err(invalid);
        if named.is_empty() {
            let all: Result<Vec<_>, _> =
                status.replicasets.iter().map(|set| parse(&set.replicaset)).collect();
            let all = all?;
            if all.is_empty() {
                let message = "no replica set is known yet";
                return Err(self.refuse(&Refused::new(RefusedKind::NotFound, message, "start the members")));
            }
            return Ok(all);
        }
        named
            .iter()
            .map(|name| {
                let name = parse(name)?;
                self.known_set(status, &name)?;
                Ok(name)
            })
            .collect()
    }
}
