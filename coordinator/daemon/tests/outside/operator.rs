//! Operators' calls over gRPC, through the client that `batonctl` uses, against a shell that the test plays.

use crate::support::Fake;
use baton_client::status::ArbiterStatus;
use baton_client::{OperatorClient, OperatorError, SwitchoverAsked};
use baton_coordinator::operator::{How, Imagined, OperatorCommand, Refused, RefusedKind};
use baton_coordinator::view::TasksView;
use baton_core::arbiter::{Fate, Forecast};
use baton_core::ids::{ReplicaSetName, TaskId};
use baton_core::time::Span;
use baton_core::timing::FailureClass;
use baton_proto::v1::OperatorTask;
use baton_proto::v1::operator_task::State;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::Code;

const WAIT: Duration = Duration::from_secs(10);

fn client(addresses: &[SocketAddr]) -> OperatorClient {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    OperatorClient::new(texts.iter().map(String::as_str), WAIT).expect("good addresses")
}

fn asked(set: &str, to: Option<&str>) -> SwitchoverAsked {
    SwitchoverAsked {
        replicaset: set.into(),
        to: to.map(str::to_owned),
        timeout: Duration::from_secs(5),
        start_at_unix_millis: None,
        by: "ann".into(),
    }
}

fn running(id: u64) -> OperatorTask {
    OperatorTask {
        id,
        state: State::Running.into(),
        replicaset: "orders-1".into(),
        ..OperatorTask::default()
    }
}

/// What the shell publishes.
fn publish(tasks: &watch::Sender<Arc<TasksView>>, task: OperatorTask) {
    tasks.send_modify(|view| {
        let mut next = TasksView::clone(view);
        next.insert(task.id, Arc::new(task));
        *view = Arc::new(next);
    });
}

#[tokio::test]
async fn a_switchover_is_answered_when_it_has_ended() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let tasks = fake.publishers.tasks.clone();
    let shell = tokio::spawn(async move {
        let Some(OperatorCommand::Switchover {
            replicaset,
            to,
            timeout,
            asked_by,
            start_at: None,
            how: How::Planned,
            reply,
        }) = commands.recv().await
        else {
            panic!("a switchover was asked for")
        };
        assert_eq!((replicaset.as_str(), to.as_ref().map(|to| to.as_str())), ("orders-1", Some("a2")));
        assert_eq!((timeout, asked_by.as_deref()), (Span::from_secs(5), Some("ann")));
        publish(&tasks, running(7));
        reply.send(Ok(TaskId(7))).expect("the service waits");
        publish(&tasks, OperatorTask { state: State::Done.into(), master: "a2".into(), ..running(7) });
    });
    let task = client(&[address]).switchover(&asked("orders-1", Some("a2")), WAIT).await;
    let task = task.expect("it was done");
    assert_eq!((task.id, task.state(), task.master.as_str()), (7, State::Done, "a2"));
    shell.await.expect("the shell saw what it should");
}

#[tokio::test]
async fn a_task_runs_on_when_nobody_waits_and_can_be_asked_for() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let tasks = fake.publishers.tasks.clone();
    publish(&tasks, running(7));
    let shell = tokio::spawn(async move {
        let Some(OperatorCommand::Switchover { reply, to: None, .. }) = commands.recv().await else {
            panic!("a switchover without a target was asked for")
        };
        reply.send(Ok(TaskId(7))).expect("the service waits");
        let Some(OperatorCommand::AbortTask { task: TaskId(7), reply }) = commands.recv().await else {
            panic!("it was to be aborted")
        };
        reply.send(Ok(())).expect("the service waits");
    });
    let client = client(&[address]);
    let task = client.switchover(&asked("orders-1", None), Duration::ZERO).await.expect("it was started");
    assert_eq!(task.state(), State::Running);
    let aborting = client.abort_task(7, Duration::ZERO).await.expect("it was accepted");
    assert_eq!(aborting.state(), State::Running);
    shell.await.expect("the shell saw what it should");
    publish(&tasks, OperatorTask { state: State::Aborted.into(), ..running(7) });
    assert_eq!(client.task(7, WAIT).await.expect("it is known").state(), State::Aborted);
    let listed = client.tasks(Some("orders-1")).await.expect("a list");
    assert_eq!(listed.iter().map(|task| task.id).collect::<Vec<_>>(), [7]);
    assert!(client.tasks(Some("orders-2")).await.expect("a list").is_empty());

    let unknown = client.task(999, Duration::ZERO).await.expect_err("there is none");
    assert!(matches!(unknown, OperatorError::Refused { code: Code::NotFound, .. }), "{unknown:?}");
}

#[tokio::test]
async fn what_is_refused_leaves_no_task() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let shell = tokio::spawn(async move {
        let Some(OperatorCommand::Switchover { reply, .. }) = commands.recv().await else {
            panic!("a switchover was asked for")
        };
        let refused = Refused::new(RefusedKind::NotPossible, "a2 is not electable", "look at the members");
        reply.send(Err(refused)).expect("the service waits");
    });
    let refused = client(&[address]).switchover(&asked("orders-1", None), WAIT).await;
    let Err(OperatorError::Refused { code: Code::FailedPrecondition, message, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(message, "a2 is not electable");
    shell.await.expect("the shell saw what it should");
    for (at, why) in [(1_000, "is over"), (u64::MAX / 2_000, "is more than a year ahead")] {
        let asked = SwitchoverAsked { start_at_unix_millis: Some(at), ..asked("orders-1", None) };
        let refused = client(&[address]).switchover(&asked, WAIT).await.expect_err("no time to plan for");
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[tokio::test]
async fn a_shell_that_dies_leaves_an_unknown_outcome_not_a_failure() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, mut commands) = fake.operator().await;
    let asking =
        tokio::spawn(async move { client(&[address]).switchover(&asked("orders-1", None), WAIT).await });
    drop(commands.recv().await);
    let refused = asking.await.expect("no panic").expect_err("nobody knows");
    let OperatorError::Refused { refusal: Some(refusal), .. } = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.reason, "outcome_unknown");
}

#[tokio::test]
async fn who_waits_while_the_arbiter_changes_is_sent_on() {
    let mut fake = Fake::new("host-a", &[]);
    fake.make_active();
    let (address, _commands) = fake.operator().await;
    let tasks = fake.publishers.tasks.clone();
    publish(&tasks, running(7));
    let waiting = tokio::spawn(async move { client(&[address]).task(7, WAIT).await });
    // Whether it waits already or comes later: it is not told that there is no such task.
    fake.publish_status(|status| status.arbiter = ArbiterStatus::default());
    tasks.send_replace(Arc::default());
    let refused = waiting.await.expect("no panic").expect_err("not here any more");
    let OperatorError::Refused { refusal: Some(refusal), .. } = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.reason, "not_active_arbiter");
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
    assert_eq!(timing.classes.len(), FailureClass::ALL.len());
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
    let issues = client(&[address]).issues().await.expect("that there is nobody is an issue");
    assert_eq!((issues[0].code.as_str(), issues[0].severity.as_str()), ("no_active_arbiter", "critical"));
    let refused = client(&[address]).switchover(&asked("orders-1", None), WAIT).await;
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
        let refused = client.switchover(&asked(set, to), WAIT).await;
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
            rails: Vec::new(),
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
