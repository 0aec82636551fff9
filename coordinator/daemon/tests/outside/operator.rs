//! Operators' calls over gRPC, through the client that `batonctl` uses, against a shell that the test plays.

use crate::support::Fake;
use baton_client::decision::DecisionRecord;
use baton_client::status::ArbiterStatus;
use baton_client::{OperatorClient, OperatorError};
use baton_coordinator::operator::{Imagined, OperatorCommand, Refused, RefusedKind, SwitchoverDone};
use baton_core::arbiter::{Fate, Forecast};
use baton_core::ids::{ReplicaSetName, Term};
use baton_core::time::Span;
use baton_proto::v1::operator_task::State;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::Code;

const WAIT: Duration = Duration::from_secs(10);

fn client(addresses: &[SocketAddr]) -> OperatorClient {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    OperatorClient::new(texts.iter().map(String::as_str), WAIT).expect("good addresses")
}

fn decision() -> DecisionRecord {
    DecisionRecord {
        replicaset: "orders-1".into(),
        term_before: 7,
        term_after: 8,
        ..DecisionRecord::default()
    }
}

#[tokio::test]
async fn a_switchover_is_answered_when_the_shell_has_ended_it() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let shell = tokio::spawn(async move {
        let Some(OperatorCommand::Switchover { replicaset, to, timeout, reply }) = commands.recv().await
        else {
            panic!("a switchover was asked for")
        };
        assert_eq!((replicaset.as_str(), to.as_ref().map(|to| to.as_str())), ("orders-1", Some("a2")));
        assert_eq!(timeout, Span::from_secs(5));
        let master = crate::support::instance("a2");
        let done = SwitchoverDone { term_before: Term(7), term_after: Term(8), master, decision: decision() };
        reply.send(Ok(done)).expect("the service waits");
    });
    let task = client(&[address]).switchover("orders-1", Some("a2"), Duration::from_secs(5), WAIT).await;
    let task = task.expect("it was done");
    assert_eq!(task.state(), State::Done);
    assert_eq!((task.term_before, task.term_after, task.master.as_str()), (7, 8, "a2"));
    assert_eq!(DecisionRecord::from_json(&task.decision), Ok(decision()));
    shell.await.expect("the shell saw what it should");
}

#[tokio::test]
async fn a_task_runs_on_when_nobody_waits_and_can_be_asked_for() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let client = client(&[address]);
    let task = client.switchover("orders-1", None, Duration::from_secs(5), Duration::ZERO).await;
    let task = task.expect("it was started");
    assert_eq!(task.state(), State::Running);
    let Some(OperatorCommand::Switchover { reply, to: None, .. }) = commands.recv().await else {
        panic!("a switchover without a target was asked for")
    };
    let refused =
        Refused::new(RefusedKind::TimedOut, "a2 did not reach 7:900 in 5s", "look at its replication");
    reply.send(Err(refused.with_fact("position", "7:800"))).expect("the task waits");
    let ended = client.task(task.id, WAIT).await.expect("it is known");
    assert_eq!(ended.state(), State::Failed);
    let refusal = ended.refusal.expect("it says why");
    assert_eq!(refusal.reason, "timed_out");
    assert_eq!(refusal.facts["position"], "7:800");
    assert_eq!(refusal.facts["message"], "a2 did not reach 7:900 in 5s");

    let unknown = client.task(999, Duration::ZERO).await.expect_err("there is none");
    assert!(matches!(unknown, OperatorError::Refused { code: Code::NotFound, .. }), "{unknown:?}");
}

#[tokio::test]
async fn a_shell_that_dies_leaves_an_unknown_outcome_not_a_failure() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let asking =
        tokio::spawn(async move { client(&[address]).switchover("orders-1", None, WAIT, WAIT).await });
    drop(commands.recv().await);
    let task = asking.await.expect("no panic").expect("an answer");
    assert_eq!(task.refusal.expect("it says why").reason, "outcome_unknown");
}

#[tokio::test]
async fn the_active_arbiter_is_found_from_any_coordinator() {
    let mut other = Fake::new("host-b", &[]);
    other.make_active();
    let (active, _commands) = other.operator().await;
    let mut asked = Fake::new("host-a", &[]);
    asked.publish_masters(42, &[("orders-1", 7, "a2")]);
    let point_to = |address: Option<String>| {
        asked.publish_status(|status| {
            let coordinator = address.is_some().then(|| "host-b".into());
            status.arbiter = ArbiterStatus { coordinator, address, ..ArbiterStatus::default() };
        });
    };
    point_to(Some(active.to_string()));
    let (address, _commands) = asked.operator().await;
    let status = client(&[address]).status().await.expect("it was redirected");
    assert_eq!(status.answered_by, "host-b");
    assert_eq!(status.replicasets[0].members.len(), 2);
    let timing = client(&[address]).timing().await.expect("it was redirected");
    assert_eq!(timing.lease_ttl_us, 3_000_000);
    assert_eq!(timing.classes.len(), 5);
    for class in &timing.classes {
        assert_eq!(
            class.parts.iter().map(|part| part.span_us).sum::<u64>(),
            class.worst_us,
            "{}",
            class.class
        );
    }
}

#[tokio::test]
async fn without_an_arbiter_a_status_shows_what_is_known_here_and_says_so() {
    let mut fake = Fake::new("host-a", &[]);
    fake.publish_masters(42, &[("orders-1", 7, "a2")]);
    let (address, _commands) = fake.operator().await;
    let status = client(&[address]).status().await.expect("better than nothing");
    assert_eq!(status.replicasets[0].replicaset, "orders-1");
    assert!(status.issues[0].starts_with("no active arbiter is known here"), "{:?}", status.issues);
    let refused = client(&[address]).switchover("orders-1", None, WAIT, WAIT).await;
    let Err(OperatorError::Refused { code, refusal: Some(refusal), .. }) = refused else {
        panic!("nobody can decide: {refused:?}")
    };
    assert_eq!((code, refusal.reason.as_str()), (Code::FailedPrecondition, "not_active_arbiter"));
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_what_there_is() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, _commands) = fake.operator().await;
    let client = client(&[address]);
    for (set, to, message, what_to_do) in [
        ("orders-9", None, "there is no replica set orders-9", "known are: orders-1"),
        ("orders-1", Some("zz"), "zz is no member of orders-1", "its members are: a1, a2"),
    ] {
        let refused = client.switchover(set, to, WAIT, WAIT).await;
        let Err(OperatorError::Refused { code: Code::NotFound, message: said, refusal: Some(refusal) }) =
            refused
        else {
            panic!("{set} {to:?} was taken: {refused:?}")
        };
        assert_eq!((said.as_str(), refusal.what_to_do.as_str()), (message, what_to_do));
    }
}

#[tokio::test]
async fn nothing_reachable_is_told_apart_from_a_refusal() {
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let error = client(&[closed]).status().await.expect_err("nobody listens");
    let OperatorError::Unreachable { tried } = error else { panic!("{error:?}") };
    assert_eq!(tried.len(), 1);
    assert!(tried[0].1.contains("refused"), "{tried:?}");
}

#[tokio::test]
async fn a_loss_is_named_in_words_that_the_cluster_knows() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let shell = tokio::spawn(async move {
        let Some(OperatorCommand::WhatIf { imagined: Imagined::Loss(loss), reply }) = commands.recv().await
        else {
            panic!("a forecast was asked for")
        };
        assert_eq!((loss.instances.len(), loss.provider), (1, true));
        let forecast = Forecast {
            replicaset: ReplicaSetName::parse("orders-1").expect("a good name"),
            master: Some(crate::support::instance("a2")),
            lost: loss.instances,
            fate: Fate::Stops("failsafe is off".into()),
            ranking: Vec::new(),
            within: None,
            commits_short: Some((1, 0)),
            may_lose: None,
        };
        reply.send(Ok(vec![forecast])).expect("the service waits");
    });
    let client = client(&[address]);
    let forecasts = client.what_if(&["a1".to_owned()], &[], true).await.expect("it was answered");
    let told = &forecasts[0];
    assert_eq!((told.fate.as_str(), told.why.as_deref()), ("stops", Some("failsafe is off")));
    assert_eq!(told.lost, ["a1"]);
    shell.await.expect("the shell saw what it should");
    for (instances, zones) in [(vec!["a9".to_owned()], vec![]), (vec![], vec!["dc9".to_owned()])] {
        let refused = client.what_if(&instances, &zones, false).await;
        assert!(matches!(refused, Err(OperatorError::Refused { code: Code::NotFound, .. })), "{refused:?}");
    }
}
