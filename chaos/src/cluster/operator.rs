//! Asks the active arbiter, whoever that is: every coordinator is asked until one does not refuse for not being it.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use baton_client::decision::DecisionRecord;
use baton_client::refusal;
use baton_proto::v1::operator_client::OperatorClient;
use baton_proto::v1::operator_task::State;
use baton_proto::v1::{
    ClusterStatus, ClusterStatusRequest, ExplainRequest, OperatorTask, Record, SetHistoryRequest,
    SwitchoverRequest, TimingRequest, TimingResponse,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::workload::history::micros;

/// How long a question may take that only reads.
const READ: Duration = Duration::from_millis(1_000);
/// How many appointments and changes of one are asked for: more than any one attempt makes.
const HISTORY: u32 = 100;
/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_millis(250);

/// The operators' entrance of a cluster.
#[derive(Clone, Debug)]
pub struct Operator {
    addresses: Vec<String>,
    replicaset: String,
}

impl Operator {
    /// For the coordinators at `addresses` (gRPC, host:port) and one replica set.
    #[must_use]
    pub fn new(addresses: Vec<String>, replicaset: &str) -> Self {
        Self { addresses, replicaset: replicaset.to_owned() }
    }

    /// What the active arbiter sees.
    ///
    /// # Errors
    /// Nobody answers as the active arbiter.
    pub async fn status(&self) -> anyhow::Result<ClusterStatus> {
        let ask = |mut client: OperatorClient<Channel>| async move {
            let status = client.status(ClusterStatusRequest::default()).await?.into_inner();
            // One that knows of no active arbiter answers with what it knows itself, which is not the whole.
            if status.arbiter.as_ref().is_some_and(|arbiter| arbiter.active_here) {
                Ok(status)
            } else {
                Err(Status::unavailable(format!("{} knows of no active arbiter", status.answered_by)))
            }
        };
        self.ask(READ, ask).await.context("ask for the status")
    }

    /// Each failure class with its worst outage.
    ///
    /// # Errors
    /// Nobody answers as the active arbiter.
    pub async fn timing(&self) -> anyhow::Result<TimingResponse> {
        let ask = |mut client: OperatorClient<Channel>| async move {
            client.timing(TimingRequest::default()).await.map(tonic::Response::into_inner)
        };
        self.ask(READ, ask).await.context("ask for the timing")
    }

    /// The decision that made `term`.
    ///
    /// # Errors
    /// Nobody answers as the active arbiter, it does not remember, or what it remembers is no decision record.
    pub async fn explain(&self, term: u64) -> anyhow::Result<DecisionRecord> {
        let request =
            ExplainRequest { replicaset: self.replicaset.clone(), term: Some(term), ..Default::default() };
        let ask = |mut client: OperatorClient<Channel>| {
            let request = request.clone();
            async move { client.explain(request).await.map(tonic::Response::into_inner) }
        };
        let answer = self.ask(READ, ask).await.context("ask for the decision")?;
        serde_json::from_str(&answer.decision).context("read the decision record")
    }

    /// The appointments that are remembered, newest first.
    ///
    /// # Errors
    /// Nobody answers as the active arbiter.
    pub async fn history(&self) -> anyhow::Result<Vec<Record>> {
        let request =
            SetHistoryRequest { replicaset: self.replicaset.clone(), limit: HISTORY, ..Default::default() };
        let ask = |mut client: OperatorClient<Channel>| {
            let request = request.clone();
            async move { client.history(request).await.map(tonic::Response::into_inner) }
        };
        let history = self.ask(READ, ask).await.context("ask for the history")?;
        Ok(history.items.into_iter().filter_map(|item| item.record).collect())
    }

    /// A planned change of master to `target`, to its end.
    ///
    /// # Errors
    /// Nobody answers as the active arbiter, or the change was refused or failed.
    pub async fn switchover(&self, target: &str, limit: Duration) -> anyhow::Result<OperatorTask> {
        let request = SwitchoverRequest {
            replicaset: self.replicaset.clone(),
            to: target.to_owned(),
            timeout_us: micros(limit / 2),
            wait_us: micros(limit),
            ..Default::default()
        };
        let ask = |mut client: OperatorClient<Channel>| {
            let request = request.clone();
            async move { client.switchover(request).await.map(tonic::Response::into_inner) }
        };
        let task = self.ask(limit + READ, ask).await.with_context(|| format!("switch over to {target}"))?;
        match task.state() {
            State::Done => Ok(task),
            State::Running | State::Planned => {
                anyhow::bail!("the switchover to {target} still runs after {limit:?}")
            }
            State::Failed | State::Aborted | State::NotUnderstood => {
                let refusal = task.refusal.unwrap_or_default();
                anyhow::bail!("the switchover to {target} failed: {} {}", refusal.reason, refusal.what_to_do)
            }
        }
    }

    async fn ask<T, F>(
        &self,
        limit: Duration,
        call: impl Fn(OperatorClient<Channel>) -> F,
    ) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut last = Status::unavailable("no coordinator is known");
        for address in &self.addresses {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CONNECT);
            let channel = match endpoint.connect().await {
                Ok(channel) => channel,
                Err(error) => {
                    last = Status::unavailable(format!("{address} cannot be reached: {error}"));
                    continue;
                }
            };
            match tokio::time::timeout(limit, call(OperatorClient::new(channel))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) if status.code() == Code::Unavailable || is_elsewhere(&status) => {
                    last = status
                }
                Ok(Err(status)) => return Err(status.into()),
                Err(_) => last = Status::deadline_exceeded(format!("{address} did not answer")),
            }
        }
        Err(last.into())
    }
}

/// Refused only for not being the active arbiter.
fn is_elsewhere(status: &Status) -> bool {
    refusal::of_status(status).is_some_and(|refusal| refusal.reason == refusal::NOT_ACTIVE_ARBITER)
}
