//! A coordinator with canned answers on a port that the kernel chose.

use crate::house;
use baton_client::decision::{CHOSEN, DecisionRecord, Observed, Phase, Ranked};
use baton_client::forecast::{CommitsShort, ForecastRank, ForecastStatus, RailStatus};
use baton_client::status::{
    ArbiterStatus, ClusterStatus, IssueStatus, MemberStatus, RecordStatus, ReplicaSetStatus,
};
use baton_client::{refusal, wire};
use baton_core::record::Settings;
use baton_core::timing::Timing;
use baton_proto::v1;
use baton_proto::v1::operator_server::{Operator, OperatorServer};
use baton_proto::v1::operator_task::State;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// Answers the tasks one after another, the last one for ever. One with the number 0 stands for none.
#[derive(Clone)]
struct Canned {
    tasks: Arc<Mutex<VecDeque<v1::OperatorTask>>>,
    house: house::Shared,
}

impl Canned {
    fn next_task(&self) -> Result<Response<v1::OperatorTask>, Status> {
        let mut tasks = self.tasks.lock().expect("no test panics with it");
        let task = if tasks.len() > 1 { tasks.pop_front() } else { tasks.front().cloned() };
        let task = task.expect("the test gave one");
        if task.id == 0 {
            let detail = v1::Refusal { reason: "not_found".into(), ..v1::Refusal::default() };
            return Err(refusal::to_status(Code::NotFound, "there is no such task", &detail));
        }
        Ok(Response::new(task))
    }
}

#[tonic::async_trait]
impl Operator for Canned {
    async fn status(
        &self,
        _: Request<v1::ClusterStatusRequest>,
    ) -> Result<Response<v1::ClusterStatus>, Status> {
        Ok(Response::new(wire::status_to_wire(&status()).expect("good texts")))
    }

    async fn switchover(
        &self,
        request: Request<v1::SwitchoverRequest>,
    ) -> Result<Response<v1::OperatorTask>, Status> {
        let request = request.into_inner();
        if request.replicaset == "orders-9" {
            let detail = v1::Refusal {
                reason: "not_found".into(),
                what_to_do: "known are: orders-1".into(),
                facts: [("replicaset".to_owned(), "orders-9".to_owned())].into(),
                active_arbiter: String::new(),
            };
            return Err(refusal::to_status(Code::NotFound, "there is no replica set orders-9", &detail));
        }
        self.next_task()
    }

    async fn failover(&self, _: Request<v1::FailoverRequest>) -> Result<Response<v1::OperatorTask>, Status> {
        self.next_task()
    }

    async fn drill(&self, _: Request<v1::DrillRequest>) -> Result<Response<v1::OperatorTask>, Status> {
        self.next_task()
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseResponse>, Status> {
        Ok(Response::new(v1::PauseResponse { replicasets: request.into_inner().replicasets }))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        Ok(Response::new(v1::ResumeResponse { replicasets: request.into_inner().replicasets }))
    }

    async fn task(&self, _: Request<v1::TaskRequest>) -> Result<Response<v1::OperatorTask>, Status> {
        self.next_task()
    }

    async fn tasks(&self, _: Request<v1::TasksRequest>) -> Result<Response<v1::TasksResponse>, Status> {
        let tasks = self.tasks.lock().expect("no test panics with it").iter().cloned().collect();
        Ok(Response::new(v1::TasksResponse { tasks }))
    }

    async fn abort_task(
        &self,
        request: Request<v1::AbortTaskRequest>,
    ) -> Result<Response<v1::OperatorTask>, Status> {
        if request.into_inner().id == 9 {
            let detail = v1::Refusal { reason: "not_possible".into(), ..v1::Refusal::default() };
            let message = "task 9 cannot be aborted any more: the next term is being written";
            return Err(refusal::to_status(Code::FailedPrecondition, message, &detail));
        }
        self.next_task()
    }

    async fn history(&self, _: Request<v1::SetHistoryRequest>) -> Result<Response<v1::SetHistory>, Status> {
        let record = v1::Record {
            replicaset: "orders-1".into(),
            term: 7,
            master: "a2".into(),
            reason: "crashed".into(),
            decided_by: "host-b".into(),
            in_sync: vec!["a2".into(), "a3".into()],
            at_unix_millis: 1_795_287_791_123,
            ..v1::Record::default()
        };
        let item = v1::SetHistoryItem { record: Some(record), decision: decision().to_json(), drill: None };
        Ok(Response::new(v1::SetHistory { items: vec![item] }))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        Ok(Response::new(v1::ExplainResponse { decision: decision().to_json() }))
    }

    async fn timing(&self, _: Request<v1::TimingRequest>) -> Result<Response<v1::TimingResponse>, Status> {
        let timing = Timing::new(&Settings::default()).expect("the defaults are safe");
        Ok(Response::new(wire::timing_to_wire(&timing, 5_000)))
    }

    async fn what_if(
        &self,
        request: Request<v1::WhatIfRequest>,
    ) -> Result<Response<v1::WhatIfResponse>, Status> {
        let request = request.into_inner();
        if !request.switchover.is_empty() {
            let none = ForecastStatus {
                replicaset: request.switchover,
                master: Some("a2".into()),
                fate: "no_successor".into(),
                why: Some("a dry run".into()),
                ..ForecastStatus::default()
            };
            return Ok(Response::new(v1::WhatIfResponse { forecasts: vec![v1::Forecast::from(&none)] }));
        }
        if let Some(drill) = request.drill {
            let rail =
                |name: &str, holds, seen: &str| RailStatus { name: name.into(), holds, seen: seen.into() };
            let forecast = ForecastStatus {
                replicaset: drill.replicaset,
                master: Some("a2".into()),
                fate: "replaced".into(),
                successor: Some("a1".into()),
                within_ms: Some(2_625),
                rails: vec![
                    rail("master", true, "a2 accepts writes, heard 9ms ago"),
                    rail("spares", drill.spares == 1, "1 of 2 could take over at once"),
                ],
                ..ForecastStatus::default()
            };
            return Ok(Response::new(v1::WhatIfResponse { forecasts: vec![v1::Forecast::from(&forecast)] }));
        }
        let lost = [request.lose_instances, request.lose_zones].concat();
        let replaced = ForecastStatus {
            replicaset: "orders-1".into(),
            master: Some("a2".into()),
            lost,
            fate: "replaced".into(),
            successor: Some("a3".into()),
            within_ms: Some(4_500),
            ranking: vec![
                ForecastRank { instance: "a3".into(), verdict: "chosen".into() },
                ForecastRank { instance: "a1".into(), verdict: "its engine is down".into() },
            ],
            commits_short: Some(CommitsShort { wait_for: 1, left: 0 }),
            ..ForecastStatus::default()
        };
        let idle =
            ForecastStatus { fate: "stays".into(), replicaset: "orders-2".into(), ..Default::default() };
        let forecasts = [replaced, idle].iter().map(v1::Forecast::from).collect();
        Ok(Response::new(v1::WhatIfResponse { forecasts }))
    }

    async fn issues(&self, _: Request<v1::IssuesRequest>) -> Result<Response<v1::IssuesResponse>, Status> {
        let issues = issues().iter().map(wire::issue_to_wire).collect();
        Ok(Response::new(v1::IssuesResponse { issues }))
    }

    async fn settings(
        &self,
        request: Request<v1::SettingsRequest>,
    ) -> Result<Response<v1::SettingsResponse>, Status> {
        house::settings(&self.house, request.into_inner()).map(Response::new)
    }

    async fn members(
        &self,
        request: Request<v1::MembersRequest>,
    ) -> Result<Response<v1::MembersResponse>, Status> {
        house::members(&self.house, request.into_inner()).map(Response::new)
    }
}

pub fn issues() -> Vec<IssueStatus> {
    let of_set = IssueStatus {
        code: "not_attached".into(),
        severity: "warning".into(),
        replicaset: Some("orders-1".into()),
        instance: Some("a1".into()),
        text: "a1: no coordinator is attached (heard 5s ago)".into(),
        suggestion: "start it".into(),
        command: "systemctl status baton-coordinator".into(),
    };
    let of_cluster = IssueStatus {
        code: "store_blind".into(),
        severity: "critical".into(),
        replicaset: None,
        instance: None,
        text: "the provider is away".into(),
        suggestion: "bring it back".into(),
        command: "batonctl status".into(),
    };
    vec![of_cluster, of_set]
}

/// Serves until dropped.
pub struct Server {
    pub address: SocketAddr,
    pub house: house::Shared,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    pub async fn start(tasks: impl IntoIterator<Item = v1::OperatorTask>) -> Self {
        let tasks = Arc::new(Mutex::new(tasks.into_iter().collect()));
        let house = house::Shared::default();
        let canned = Canned { tasks, house: house.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serving = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(OperatorServer::new(canned));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it listens");
        });
        Self { address, house, serving }
    }
}

pub fn task(state: State) -> v1::OperatorTask {
    let phase =
        |name: &str, at: u64| v1::TaskPhase { name: name.into(), at_unix_millis: 1_795_287_791_123 + at };
    let task = v1::OperatorTask {
        id: 3,
        state: state.into(),
        replicaset: "orders-1".into(),
        kind: "switchover".into(),
        to: "a1".into(),
        old_master: "a2".into(),
        term_before: 7,
        timeout_us: 10_000_000,
        asked_by: "ann".into(),
        created_at_unix_millis: 1_795_287_791_123,
        phases: vec![phase("accepted", 0), phase("relinquish", 2)],
        ..Default::default()
    };
    match state {
        State::Running => task,
        State::Planned => v1::OperatorTask {
            start_at_unix_millis: Some(1_795_314_600_000),
            old_master: String::new(),
            phases: vec![phase("planned", 0)],
            ..task
        },
        State::Aborted => v1::OperatorTask { term_after: 8, master: "a2".into(), ..task },
        State::NotUnderstood => v1::OperatorTask {
            id: 4,
            state: state.into(),
            body: r#"{"format":2}"#.into(),
            ..Default::default()
        },
        State::Done => v1::OperatorTask { term_after: 8, master: "a1".into(), ..task },
        State::Failed => {
            let message = ("message".to_owned(), "a1 did not reach 7:900 in 10s".to_owned());
            let refusal = v1::Refusal {
                reason: "timed_out".into(),
                what_to_do: "look at its replication".into(),
                facts: [message, ("position".to_owned(), "7:800".to_owned())].into(),
                active_arbiter: String::new(),
            };
            v1::OperatorTask { refusal: Some(refusal), ..task }
        }
    }
}

pub fn decision() -> DecisionRecord {
    let seen = |instance: &str, seen_ago_ms, health: &str, position: &str| Observed {
        instance: instance.into(),
        seen_ago_ms,
        health: health.into(),
        position: position.into(),
        in_sync: true,
        stand: "standby".into(),
    };
    let ranked =
        |instance: &str, verdict: &str| Ranked { instance: instance.into(), verdict: verdict.into() };
    let phase = |name: &str, took_us, budget_us| Phase { name: name.into(), took_us, budget_us };
    DecisionRecord {
        accepted: None,
        inputs: None,
        replicaset: "orders-1".into(),
        term_before: 6,
        term_after: 7,
        class: "crashed".into(),
        rule: "the engine of a1 ended".into(),
        observed: vec![seen("a1", Some(3), "down", "unknown"), seen("a2", Some(41), "up", "6:5120")],
        ranking: vec![ranked("a2", CHOSEN), ranked("a1", "its engine is down")],
        effects: vec!["record a2 at term 7".into(), "promote a2".into()],
        phases: vec![phase("sever", 900, Some(250_000)), phase("promote", 2_000_000, Some(1_500_000))],
        at_unix_millis: 1_795_287_791_123,
        decided_by: "host-b".into(),
        epoch: "1.12".into(),
    }
}

pub fn status() -> ClusterStatus {
    let member = |instance: &str, role: &str, health: &str| MemberStatus {
        instance: instance.into(),
        role: role.into(),
        health: health.into(),
        position: "7:5200".into(),
        lag_bytes: Some(0),
        in_sync: true,
        incarnation: None,
        beat_age_ms: Some(120),
        coordinator: Some("host-b".into()),
        endpoint: "10.0.0.2:6379".into(),
        zone: Some("dc1".into()),
        priority: 100,
        electable: true,
    };
    let lost = MemberStatus {
        beat_age_ms: None,
        lag_bytes: None,
        in_sync: false,
        coordinator: None,
        position: "unknown".into(),
        zone: None,
        ..member("a1", "unknown", "unknown")
    };
    let record = RecordStatus {
        format: 1,
        replicaset: "orders-1".into(),
        term: 7,
        version: 19,
        master: Some("a2".into()),
        endpoint: Some("10.0.0.2:6379".into()),
        start: "6:5120".into(),
        in_sync: vec!["a2".into()],
        epoch: "1.12".into(),
        at: "2026-11-21T19:03:11.123Z".into(),
        ..RecordStatus::default()
    };
    ClusterStatus {
        cluster: "orders".into(),
        answered_by: "host-b".into(),
        arbiter: ArbiterStatus {
            active_here: true,
            coordinator: Some("host-b".into()),
            address: Some("10.0.0.2:4402".into()),
            epoch: Some("1.12".into()),
            lock_valid_ms: Some(3_400),
        },
        replicasets: vec![ReplicaSetStatus {
            replicaset: "orders-1".into(),
            term: 7,
            master: record.master.clone(),
            endpoint: record.endpoint.clone(),
            state: "active".into(),
            record: Some(record),
            members: vec![lost, member("a2", "master", "up")],
            phase: "steady".into(),
            hold: None,
            issues: vec!["a1 was never heard".into()],
            last_decision: Some(decision()),
            last_drill: None,
        }],
        issues: vec![],
        moving: None,
    }
}
