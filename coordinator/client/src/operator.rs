//! The client of operators' tools: finds the active arbiter from any coordinator, and tells "refused", "nothing
//! reachable" and "nobody knows whether it happened" apart, because a person acts differently on each.

mod asking;
mod reaching;

use crate::drill::DrillAsked;
use crate::endpoint::{self, BadEndpoint};
use crate::forecast::ForecastStatus;
use crate::status::{ClusterStatus, IssueStatus};
use crate::wire;
use asking::Repeat;
use baton_core::arbiter::Forcing;
use baton_proto::v1::directory_client::DirectoryClient;
use baton_proto::v1::operator_client::OperatorClient as Wire;
use baton_proto::v1::{
    AbortTaskRequest, ClusterStatusRequest, DrillRequest, ExplainRequest, FailoverRequest, GetMastersRequest,
    IssuesRequest, ListedMember, MastersChange, MemberRemoval, MembersRequest, OperatorTask, PauseRequest,
    Refusal, ResumeRequest, SetHistory, SetHistoryRequest, SetRemoval, SettingsChange, SettingsRequest,
    SettingsResponse, SwitchoverRequest, TaskRequest, TasksRequest, TimingRequest, TimingResponse,
    WhatIfRequest,
};
use std::time::Duration;
use tonic::Code;
use tonic::transport::Channel;

/// Calls the active arbiter, wherever it is.
#[derive(Clone, Debug)]
pub struct OperatorClient {
    endpoints: Vec<String>,
    timeout: Duration,
    /// Of one connection; a call that awaits the end of what it asks for has no longer one.
    connect_timeout: Duration,
}

/// A planned change of master, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchoverAsked {
    /// Of this replica set.
    pub replicaset: String,
    /// To whom; `None`: the arbiter chooses.
    pub to: Option<String>,
    /// How long the fenced master waits for the target to hold its final position.
    pub timeout: Duration,
    /// When to begin, in milliseconds since 1970; `None`: at once.
    pub start_at_unix_millis: Option<u64>,
    /// Who asks, for people.
    pub by: String,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The arbiter refused; nothing was changed.
    #[error("{message}")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// One sentence.
        message: String,
        /// The typed detail, where one was given.
        refusal: Option<Box<Refusal>>,
    },
    /// No coordinator could be asked.
    #[error("no coordinator could be reached")]
    Unreachable {
        /// Each address with what went wrong.
        tried: Vec<(String, String)>,
    },
    /// The request was sent and no answer came: it may have happened, or may yet.
    #[error("{address} did not answer, so whether it was done is not known: {cause}")]
    OutcomeUnknown {
        /// Whom it was sent to.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// An answer that is not what this version understands.
    #[error("the answer cannot be read: {0}")]
    BadAnswer(String),
}

/// Largest answer: the status of 10,000 replica sets, each with its last decision.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

fn wire_of(channel: Channel) -> Wire<Channel> {
    Wire::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

impl OperatorClient {
    /// Any coordinators of the cluster, `host:port` or `http://host:port`; `timeout` bounds each single call.
    ///
    /// # Errors
    /// [`BadEndpoint`] if an address is none, or there is none at all.
    pub fn new<'a>(
        endpoints: impl IntoIterator<Item = &'a str>,
        timeout: Duration,
    ) -> Result<Self, BadEndpoint> {
        let endpoints = endpoint::normalize_all(endpoints)?;
        if endpoints.is_empty() {
            endpoint::normalize("")?;
        }
        Ok(Self { endpoints, timeout, connect_timeout: timeout })
    }

    /// The coordinators that are asked first.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The state of the cluster. Where the active arbiter is known but out of reach, what the first coordinator that
    /// answers knows by itself.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn status(&self) -> Result<ClusterStatus, OperatorError> {
        let answer = match self.status_once(false).await {
            Err(OperatorError::Unreachable { .. }) => self.status_once(true).await?,
            other => other?,
        };
        wire::status_from_wire(&answer).map_err(|error| OperatorError::BadAnswer(error.to_string()))
    }

    /// What the first coordinator that answers knows by itself, whoever is the active arbiter.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn own_status(&self) -> Result<ClusterStatus, OperatorError> {
        let answer = self.status_once(true).await?;
        wire::status_from_wire(&answer).map_err(|error| OperatorError::BadAnswer(error.to_string()))
    }

    async fn status_once(&self, local: bool) -> Result<baton_proto::v1::ClusterStatus, OperatorError> {
        self.call(Repeat::Safe, move |channel| async move {
            let request = ClusterStatusRequest { cluster: String::new(), local };
            wire_of(channel).status(request).await
        })
        .await
    }

    /// The map of masters as the first coordinator that answers knows it.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn masters(&self) -> Result<MastersChange, OperatorError> {
        self.call(Repeat::Safe, move |channel| async move {
            DirectoryClient::new(channel)
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .get_masters(GetMastersRequest::default())
                .await
        })
        .await
    }

    /// Asks for a planned change of master, now or at a time, and awaits its end for at most `wait` (of at most a minute).
    ///
    /// # Errors
    /// See [`OperatorError`]; [`OperatorError::OutcomeUnknown`] is to be followed up in the list of tasks.
    pub async fn switchover(
        &self,
        asked: &SwitchoverAsked,
        wait: Duration,
    ) -> Result<OperatorTask, OperatorError> {
        let request = SwitchoverRequest {
            cluster: String::new(),
            replicaset: asked.replicaset.clone(),
            to: asked.to.clone().unwrap_or_default(),
            timeout_us: micros(asked.timeout),
            wait_us: micros(wait),
            asked_by: asked.by.clone(),
            start_at_unix_millis: asked.start_at_unix_millis,
        };
        let longer = Self { timeout: self.timeout + wait, ..self.clone() };
        longer
            .call(Repeat::Never, move |channel| {
                let request = request.clone();
                async move { wire_of(channel).switchover(request).await }
            })
            .await
    }

    /// Asks for a change of master whatever may be lost, and awaits its end for at most `wait` (of at most a minute).
    ///
    /// # Errors
    /// See [`OperatorError`]; [`OperatorError::OutcomeUnknown`] is to be followed up in the list of tasks.
    pub async fn failover(
        &self,
        asked: &SwitchoverAsked,
        forcing: Forcing,
        wait: Duration,
    ) -> Result<OperatorTask, OperatorError> {
        let request = FailoverRequest {
            cluster: String::new(),
            replicaset: asked.replicaset.clone(),
            to: asked.to.clone().unwrap_or_default(),
            timeout_us: micros(asked.timeout),
            wait_us: micros(wait),
            asked_by: asked.by.clone(),
            fence: forcing.fence,
            others_off: forcing.others_off,
        };
        let longer = Self { timeout: self.timeout + wait, ..self.clone() };
        longer
            .call(Repeat::Never, move |channel| {
                let request = request.clone();
                async move { wire_of(channel).failover(request).await }
            })
            .await
    }

    /// Asks for a drill, now or at a time, and awaits its end for at most `wait` (of at most a minute).
    ///
    /// # Errors
    /// See [`OperatorError`]; [`OperatorError::OutcomeUnknown`] is to be followed up in the list of tasks.
    pub async fn drill(&self, asked: &DrillAsked, wait: Duration) -> Result<OperatorTask, OperatorError> {
        let request = DrillRequest { wait_us: micros(wait), ..drill_request(asked) };
        let longer = Self { timeout: self.timeout + wait, ..self.clone() };
        longer
            .call(Repeat::Never, move |channel| {
                let request = request.clone();
                async move { wire_of(channel).drill(request).await }
            })
            .await
    }

    /// The tasks that are kept, of one replica set or of all, the newest first.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn tasks(&self, replicaset: Option<&str>) -> Result<Vec<OperatorTask>, OperatorError> {
        let replicaset = replicaset.unwrap_or_default().to_owned();
        let request = TasksRequest { cluster: String::new(), replicaset };
        let answer = self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).tasks(request).await }
        });
        Ok(answer.await?.tasks)
    }

    /// Ends a planned task, or wants the old master back; the task as it stands when it has ended, or after `wait`.
    ///
    /// # Errors
    /// See [`OperatorError`]. Asking again for the same is harmless.
    pub async fn abort_task(&self, id: u64, wait: Duration) -> Result<OperatorTask, OperatorError> {
        let request = AbortTaskRequest { cluster: String::new(), id, wait_us: micros(wait) };
        let longer = Self { timeout: self.timeout + wait, ..self.clone() };
        longer
            .call(Repeat::Safe, move |channel| {
                let request = request.clone();
                async move { wire_of(channel).abort_task(request).await }
            })
            .await
    }

    /// How a task stands, ended or still running after `wait`.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn task(&self, id: u64, wait: Duration) -> Result<OperatorTask, OperatorError> {
        let request = TaskRequest { cluster: String::new(), id, wait_us: micros(wait) };
        let longer = Self { timeout: self.timeout + wait, ..self.clone() };
        longer
            .call(Repeat::Safe, move |channel| {
                let request = request.clone();
                async move { wire_of(channel).task(request).await }
            })
            .await
    }

    /// The appointments of a set, newest first.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn history(&self, replicaset: &str, limit: u32) -> Result<SetHistory, OperatorError> {
        let request = SetHistoryRequest { cluster: String::new(), replicaset: replicaset.to_owned(), limit };
        self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).history(request).await }
        })
        .await
    }

    /// One decision record as JSON: that of a term, or the last one.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn explain(&self, replicaset: &str, term: Option<u64>) -> Result<String, OperatorError> {
        let request = ExplainRequest { cluster: String::new(), replicaset: replicaset.to_owned(), term };
        let answer = self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).explain(request).await }
        });
        Ok(answer.await?.decision)
    }

    /// What a person should look at, the most urgent first.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn issues(&self) -> Result<Vec<IssueStatus>, OperatorError> {
        let answer = self.call(Repeat::Safe, move |channel| async move {
            wire_of(channel).issues(IssuesRequest { cluster: String::new() }).await
        });
        Ok(answer.await?.issues.into_iter().map(wire::issue_from_wire).collect())
    }

    /// What would become of each set if these instances, zones, or the provider were lost now.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn what_if(
        &self,
        instances: &[String],
        zones: &[String],
        provider: bool,
    ) -> Result<Vec<ForecastStatus>, OperatorError> {
        let (lose_instances, lose_zones) = (instances.to_vec(), zones.to_vec());
        self.forecast(WhatIfRequest {
            lose_instances,
            lose_zones,
            lose_provider: provider,
            ..Default::default()
        })
        .await
    }

    /// What would become of a set if a switchover were asked for now; refused where it would be.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn what_if_switchover(
        &self,
        replicaset: &str,
        to: Option<&str>,
    ) -> Result<Vec<ForecastStatus>, OperatorError> {
        let (switchover, to) = (replicaset.to_owned(), to.unwrap_or_default().to_owned());
        self.forecast(WhatIfRequest { switchover, to, ..Default::default() }).await
    }

    /// What would become of a set if a failover were forced now; refused where it would be.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn what_if_failover(
        &self,
        replicaset: &str,
        to: Option<&str>,
    ) -> Result<Vec<ForecastStatus>, OperatorError> {
        let (failover, to) = (replicaset.to_owned(), to.unwrap_or_default().to_owned());
        self.forecast(WhatIfRequest { failover, to, ..Default::default() }).await
    }

    /// Every guard rail of a drill, and what it would lead to.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn what_if_drill(&self, asked: &DrillAsked) -> Result<Vec<ForecastStatus>, OperatorError> {
        let drill = Some(drill_request(asked));
        self.forecast(WhatIfRequest { drill, ..Default::default() }).await
    }

    /// Pauses sets, or all where none is named; for good where no span is given. Answers with those that are being paused.
    ///
    /// # Errors
    /// See [`OperatorError`]. It may be asked again.
    pub async fn pause(
        &self,
        replicasets: &[String],
        span: Option<Duration>,
    ) -> Result<Vec<String>, OperatorError> {
        let request = PauseRequest {
            cluster: String::new(),
            replicasets: replicasets.to_vec(),
            for_us: span.map_or(0, |span| micros(span).max(1)),
        };
        let answer = self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).pause(request).await }
        });
        Ok(answer.await?.replicasets)
    }

    /// Ends pauses, and what holds sets after too many failovers; of all sets where none is named.
    ///
    /// # Errors
    /// See [`OperatorError`]. It may be asked again.
    pub async fn resume(&self, replicasets: &[String]) -> Result<Vec<String>, OperatorError> {
        let request = ResumeRequest { cluster: String::new(), replicasets: replicasets.to_vec() };
        let answer = self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).resume(request).await }
        });
        Ok(answer.await?.replicasets)
    }

    async fn forecast(&self, request: WhatIfRequest) -> Result<Vec<ForecastStatus>, OperatorError> {
        let answer = self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).what_if(request).await }
        });
        Ok(answer.await?.forecasts.into_iter().map(ForecastStatus::from).collect())
    }

    /// The timing that holds in the cluster.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn timing(&self) -> Result<TimingResponse, OperatorError> {
        self.call(Repeat::Safe, move |channel| async move {
            wire_of(channel).timing(TimingRequest { cluster: String::new() }).await
        })
        .await
    }

    /// The cluster-wide settings, after a change if one is asked for. Any coordinator answers. A change is made once, however
    /// often it is asked for: it names the values, or the version that it is made from.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn settings(&self, change: Option<SettingsChange>) -> Result<SettingsResponse, OperatorError> {
        let request = SettingsRequest { cluster: String::new(), change };
        self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).settings(request).await }
        })
        .await
    }

    /// The members list, after a removal if one is asked for (by the active arbiter; to remove twice removes once).
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn members(&self, remove: Option<MemberRemoval>) -> Result<Vec<ListedMember>, OperatorError> {
        self.ask_members(MembersRequest { remove, ..MembersRequest::default() }).await
    }

    /// Removes a replica set for good, or only says what stands against that (by the active arbiter). To remove twice removes
    /// once: the second time there is none.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn remove_set(&self, replicaset: &str, dry_run: bool) -> Result<(), OperatorError> {
        let remove_set = Some(SetRemoval { replicaset: replicaset.to_owned(), dry_run });
        self.ask_members(MembersRequest { remove_set, ..MembersRequest::default() }).await.map(|_| ())
    }

    async fn ask_members(&self, request: MembersRequest) -> Result<Vec<ListedMember>, OperatorError> {
        let answer = self.call(Repeat::Safe, move |channel| {
            let request = request.clone();
            async move { wire_of(channel).members(request).await }
        });
        Ok(answer.await?.members)
    }
}

fn drill_request(asked: &DrillAsked) -> DrillRequest {
    DrillRequest {
        cluster: String::new(),
        replicaset: asked.replicaset.clone(),
        fault: asked.fault.clone(),
        spares: asked.spares,
        accept_loss: asked.accept_loss,
        back: asked.back,
        timeout_us: micros(asked.timeout),
        wait_us: 0,
        asked_by: asked.by.clone(),
        start_at_unix_millis: asked.start_at_unix_millis,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
