//! Each command: its exit code, its text for people and its JSON.

use crate::server::{Server, decision, status, task};
use baton_client::decision::DecisionRecord;
use baton_client::status::ClusterStatus;
use baton_proto::v1;
use baton_proto::v1::operator_task::State;
use batonctl::args::Cli;
use batonctl::render::Palette;
use batonctl::{Exit, Io};
use clap::Parser;
use std::net::SocketAddr;

/// Runs a command line against an address: exit, standard output, standard error.
async fn run_colored(address: SocketAddr, line: &str, color: bool) -> (Exit, String, String) {
    run_with(address, &line.split(' ').collect::<Vec<_>>(), color).await
}

async fn run_with(address: SocketAddr, words: &[&str], color: bool) -> (Exit, String, String) {
    let endpoint = format!("--endpoint={address}");
    let words = ["batonctl"].into_iter().chain(words.iter().copied()).chain([endpoint.as_str()]);
    let cli = Cli::try_parse_from(words).expect("a good command line");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut io = Io { out: Box::new(&mut out), err: Box::new(&mut err), palette: Palette { color } };
    let exit = batonctl::run(&cli, &mut io).await;
    drop(io);
    (exit, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

pub async fn run(address: SocketAddr, line: &str) -> (Exit, String, String) {
    run_colored(address, line, false).await
}

/// The same with arguments that have spaces of their own.
pub async fn run_words(address: SocketAddr, words: &[&str]) -> (Exit, String, String) {
    run_with(address, words, false).await
}

#[tokio::test]
async fn a_status_is_readable_at_three_in_the_morning() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "status").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_eq!(
        out,
        "\
cluster orders, as host-b sees it
arbiter host-b, at 10.0.0.2:4402, epoch 1.12, lock good for 3.4s

orders-1  term 7  master a2 at 10.0.0.2:6379  active
  ! a1 was never heard
  INSTANCE  ROLE     HEALTH   IN SYNC  LAG  POSITION  LAST BEAT  ZONE  COORDINATOR
  a1        unknown  unknown  no       -    unknown   never      -     -
  a2        master   up       yes      0 B  7:5200    120ms ago  dc1   host-b
  last decision: the engine of a1 ended (crashed), 2026-11-21T19:03:11.123Z
"
    );
    let (_, colored, _) = run_colored(server.address, "status", true).await;
    assert!(colored.contains("\u{1b}[31m!\u{1b}[0m a1 was never heard"), "{colored:?}");
}

#[tokio::test]
async fn a_status_as_json_is_the_shared_shape_on_one_line() {
    let server = Server::start([]).await;
    let (exit, out, _) = run(server.address, "status --json").await;
    assert_eq!((exit, out.lines().count()), (Exit::Done, 1));
    let shown: ClusterStatus = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown, status());
}

#[tokio::test]
async fn an_issue_says_what_to_do_about_it() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "issues orders-1").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_eq!(
        out,
        "\
critical  cluster  the provider is away
  bring it back (store_blind)
  $ batonctl status
warning  orders-1  a1: no coordinator is attached (heard 5s ago)
  start it (not_attached)
  $ systemctl status baton-coordinator
"
    );
    let (_, out, _) = run(server.address, "issues other --json").await;
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown["issues"].as_array().map(Vec::len), Some(1), "the cluster's concerns every set");
    assert_eq!(shown["issues"][0]["code"], "store_blind");
}

#[tokio::test]
async fn one_frame_of_the_live_view_is_text() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "top --once").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert!(
        out.starts_with("orders  arbiter host-b, epoch 1.12  0/1 sets healthy  1 critical  1 warning\n"),
        "{out}"
    );
    assert!(out.contains("\norders-1  7      a2      active "), "{out}");
    let (_, out, _) = run(server.address, "top --json").await;
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown["issues"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_loss_that_is_imagined_shows_who_would_take_over() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "what-if --lose a2,zone:dc1").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_eq!(
        out,
        "\
orders-1  a3 replaces a2, within 4.5s
  commits would wait: for 1 replicas, and 0 would be left
  a1: its engine is down
1 replica sets would lose nothing
"
    );
    let (exit, out, _) = run(server.address, "switchover orders-1 --dry-run").await;
    assert_eq!((exit, out.lines().next()), (Exit::Failed, Some("orders-1  nobody replaces a2: a dry run")));
    let (_, out, _) = run(server.address, "what-if --lose a2,zone:dc1 orders-1 --json").await;
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown["forecasts"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        shown["forecasts"][0]["lost"],
        serde_json::json!(["a2", "dc1"]),
        "names and zones are told apart"
    );
}

#[tokio::test]
async fn a_wait_ends_with_what_is_still_missing() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "wait --until master orders-1").await;
    assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Done, "", ""));
    let (exit, out, err) = run(server.address, "wait --until healthy orders-1 --timeout 300ms").await;
    assert_eq!((exit, out.as_str()), (Exit::Running, ""));
    let waiting = "waiting: orders-1: the provider is away\n";
    assert_eq!(err, format!("{waiting}not reached in 300ms: orders-1: the provider is away\n"));
    let (exit, out, _) = run(server.address, "wait --until replica a2 --timeout 1ms --json").await;
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (exit, &shown["met"], &shown["missing"]),
        (Exit::Running, &false.into(), &"a2 is master".into())
    );
}

#[tokio::test]
async fn a_decision_shows_what_it_rests_on() {
    let server = Server::start([]).await;
    let (exit, out, _) = run(server.address, "explain orders-1").await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        out,
        "\
orders-1: crashed, term 6 → 7
  decided by host-b in epoch 1.12, 2026-11-21T19:03:11.123Z
  rule: the engine of a1 ended

  what was seen
    INSTANCE  LAST BEAT  HEALTH  POSITION  IN SYNC  STAND
    a1        3ms ago    down    unknown   yes      standby
    a2        41ms ago   up      6:5120    yes      standby

  ranking
        INSTANCE  VERDICT
    1.  a2        chosen
    -   a1        its engine is down

  what was done
    record a2 at term 7
    promote a2

  how long it took
    PHASE    TOOK   BUDGET
    sever    900us  250ms
    promote  2s     1.5s    over budget
    total    2s     1.75s
"
    );
    let (_, out, _) = run(server.address, "explain orders-1 7 --json").await;
    assert_eq!(DecisionRecord::from_json(out.trim()), Ok(decision()));
}

#[tokio::test]
async fn a_switchover_ends_with_the_code_of_its_ending() {
    let done = Server::start([task(State::Running), task(State::Running), task(State::Done)]).await;
    let (exit, out, _) = run(done.address, "switchover orders-1 --to a1").await;
    assert_eq!(
        (exit, out.as_str()),
        (Exit::Done, "done: orders-1 has the master a1 at term 8 (was term 7)\n")
    );

    let failed = Server::start([task(State::Failed)]).await;
    let (exit, out, _) = run(failed.address, "switchover orders-1").await;
    assert_eq!(exit, Exit::Failed);
    assert_eq!(
        out,
        "not done: orders-1: a1 did not reach 7:900 in 10s\n  position: 7:800\n  → look at its replication\n"
    );

    let running = Server::start([task(State::Running)]).await;
    let (exit, out, _) = run(running.address, "switchover orders-1 --wait 1ms --json").await;
    assert_eq!(exit, Exit::Running);
    assert!(
        out.starts_with(
            r#"{"abort_asked":false,"asked_by":"ann","body":null,"created_at_unix_millis":1795287791123,"#
        ),
        "{out}"
    );
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&json["task"], &json["state"]), (&3.into(), &"running".into()));
    assert_eq!(
        json["phases"][1],
        serde_json::json!({"name": "relinquish", "at_unix_millis": 1_795_287_791_125_u64})
    );
}

#[tokio::test]
async fn a_task_that_was_taken_in_and_not_kept_is_said_to_be_that() {
    let accepted =
        || v1::OperatorTask { phases: task(State::Running).phases[..1].to_vec(), ..task(State::Running) };
    let none = v1::OperatorTask::default;
    let not_kept = "error: task 3, a switchover of orders-1, was not kept: the arbiter that took it in lost its lock \
                    first. Nothing was done for it: ask again (if the provider was restored meanwhile, first look at: \
                    batonctl history orders-1)\n";
    // The next arbiter does not know of it, or has given its number to what somebody else asked it for.
    let others = v1::OperatorTask { created_at_unix_millis: 5, ..task(State::Done) };
    for next in [none(), others] {
        let server = Server::start([accepted(), next]).await;
        let (exit, out, err) = run(server.address, "switchover orders-1 --to a1").await;
        assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Failed, "", not_kept));
    }
    let server = Server::start([accepted(), none()]).await;
    let (_, out, _) = run(server.address, "switchover orders-1 --to a1 --json").await;
    let error: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(error["error"]["reason"], "not_kept");

    // Of one that was seen to have begun nobody says that nothing was done.
    let server = Server::start([task(State::Running), none()]).await;
    let (exit, _, err) = run(server.address, "task 3 --wait").await;
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("had begun, and no arbiter knows of it any more"), "{err}");
    assert!(err.contains("batonctl history orders-1"), "{err}");
    // A number that was never given is still just that.
    let (_, _, err) = run(Server::start([none()]).await.address, "task 3").await;
    assert_eq!(err, "error: there is no such task\n");
}

#[tokio::test]
async fn one_comes_back_to_a_task_and_calls_it_off() {
    let server = Server::start([task(State::Running)]).await;
    let (exit, out, _) = run(server.address, "switchover orders-1 --wait 1ms").await;
    assert_eq!(exit, Exit::Running);
    assert_eq!(
        out,
        "still running: task 3 of orders-1: waits for the master to relinquish\n  it goes on without this command\n  \
         → come back with: batonctl task 3 --wait; call it off with: batonctl task 3 --abort\n"
    );
    let (exit, out, _) = run(server.address, "task 3").await;
    assert_eq!(exit, Exit::Done, "to look at it is done");
    assert!(out.contains("  task 3: switchover of orders-1 from a2 (term 7) to a1\n"), "{out}");
    assert!(out.contains("+2ms   relinquish  waits for the master to relinquish\n"), "{out}");

    let aborted = Server::start([task(State::Running), task(State::Aborted)]).await;
    let (exit, out, _) = run(aborted.address, "task 3 --abort").await;
    assert_eq!(exit, Exit::Done);
    assert!(out.starts_with("aborted: orders-1 keeps the master a2, at term 8\n"), "{out}");
    let (exit, _, _) = run(aborted.address, "task 3 --wait").await;
    assert_eq!(exit, Exit::Failed, "it was not done");
    let (exit, _, err) = run(aborted.address, "task 9 --abort").await;
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("cannot be aborted any more: the next term is being written"), "{err}");
}

#[tokio::test]
async fn what_is_planned_is_left_to_its_time() {
    let server = Server::start([task(State::Planned)]).await;
    let (exit, out, _) = run(server.address, "switchover orders-1 --to a1 --at 02:30").await;
    assert_eq!(exit, Exit::Done, "nobody waits for it");
    assert_eq!(
        out,
        "planned: task 3 of orders-1 begins at 2026-11-22T02:30:00.000Z\n  \
         → look at it with: batonctl task 3; call it off with: batonctl task 3 --abort\n"
    );
}

#[tokio::test]
async fn the_tasks_are_a_list_and_one_of_a_later_version_is_in_it() {
    let states = [State::Planned, State::NotUnderstood, State::Done, State::Failed];
    let server = Server::start(states.map(task)).await;
    let (exit, out, _) = run(server.address, "task").await;
    assert_eq!(exit, Exit::Done);
    let words: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(words, ["planned", "not_understood", "done", "failed"], "{out}");
    assert!(out.contains("a1 is master at term 8"), "{out}");
    let (_, out, _) = run(server.address, "task --json").await;
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["tasks"][1]["body"], r#"{"format":2}"#);
}

#[tokio::test]
async fn a_refusal_says_why_and_what_to_do() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "switchover orders-9").await;
    assert_eq!((exit, out.as_str()), (Exit::Failed, ""));
    assert_eq!(
        err,
        "error: there is no replica set orders-9\n  replicaset: orders-9\n  → known are: orders-1\n"
    );
    let (_, out, _) = run(server.address, "switchover orders-9 --json").await;
    let error: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(error["error"]["reason"], "not_found");
    assert_eq!(error["error"]["detail"]["facts"]["replicaset"], "orders-9");
}

#[tokio::test]
async fn the_history_is_a_list() {
    let server = Server::start([]).await;
    let (exit, out, _) = run(server.address, "history orders-1").await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        out,
        "\
TERM  MASTER  WHY      WHEN                      DECIDED BY  IN SYNC
7     a2      crashed  2026-11-21T19:03:11.123Z  host-b      a2, a3
"
    );
    let (_, out, _) = run(server.address, "history orders-1 --json").await;
    let items: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(items[0]["record"]["term"], 7);
    assert_eq!(items[0]["decision"]["rule"], "the engine of a1 ended");
}

#[tokio::test]
async fn nothing_reachable_has_its_own_code_and_names_what_was_tried() {
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let (exit, out, err) = run(closed, "status").await;
    assert_eq!((exit, out.as_str()), (Exit::Unreachable, ""));
    assert!(err.starts_with("error: no coordinator could be reached\n"), "{err}");
    assert!(err.contains(&format!("  http://{closed}: ")) && err.contains("refused"), "{err}");
}

#[tokio::test]
async fn timing_works_without_a_cluster_and_adds_up() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let (exit, out, _) = run(nobody, "timing --lease-ttl 3s").await;
    assert_eq!(exit, Exit::Done);
    assert!(out.starts_with("lease_ttl 3s, stall_timeout 3s, clock_drift 0.5 %\n"), "{out}");
    let silent = "\
silent: at most 5.5s
           3s  outer bound: the last grant runs out
  +     250ms  sever: final positions of the replicas
  +     750ms  record: one durable write
  +      1.5s  promote: directive, lease and the engine's own promotion
  =      5.5s
";
    assert!(out.contains(silent), "{out}");
    let (_, out, _) = run(nobody, "timing --lease-ttl 300ms --json").await;
    let timing: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    for class in timing["classes"].as_array().expect("a list") {
        let parts = class["parts"].as_array().expect("a list");
        let sum: u64 = parts.iter().filter_map(|part| part["span_us"].as_u64()).sum();
        assert_eq!(Some(sum), class["worst_us"].as_u64(), "{}", class["class"]);
    }
    let server = Server::start([]).await;
    let (_, online, _) = run(server.address, "timing").await;
    let (_, offline, _) = run(nobody, "timing --lease-ttl 3s").await;
    assert_eq!(online, offline);
    let (exit, _, err) = run(nobody, "timing --lease-ttl 1ms").await;
    assert_eq!((exit, err.as_str()), (Exit::Usage, "error: lease_ttl = 1ms is outside 300ms to 600s\n"));
}
