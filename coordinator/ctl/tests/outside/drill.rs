//! `batonctl drill`: the guard rails before, the outage after, and the code for scripts.

use crate::commands::run;
use crate::server::{Server, task};
use baton_proto::v1;
use baton_proto::v1::operator_task::State;
use batonctl::Exit;
use batonctl::args::Cli;
use clap::Parser as _;

/// A drill that killed an engine, in this state, after an outage of so many microseconds.
fn drilled(state: State, took_us: u64) -> v1::OperatorTask {
    let outage = Some(v1::DrillOutage { term: 8, took_us, budget_us: 2_625_000 });
    let drill = v1::TaskDrill { fault: "kill_engine".into(), spares: 1, outage, ..Default::default() };
    v1::OperatorTask { kind: "drill".into(), to: String::new(), drill: Some(drill), ..task(state) }
}

#[tokio::test]
async fn a_dry_run_shows_every_guard_rail_and_whether_the_drill_would_be_dared() {
    let server = Server::start([]).await;
    let (exit, out, err) = run(server.address, "drill orders-1 --fault kill_engine --dry-run").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert!(out.starts_with("orders-1  a1 replaces a2, within 2.625s\n"), "{out}");
    assert!(out.contains("every guard rail holds: the drill would be begun"), "{out}");
    let dry = "drill orders-1 --fault switchover --spares 2 --dry-run";
    let (exit, out, _) = run(server.address, dry).await;
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("spares      broken  1 of 2 could take over at once\n"), "{out}");
    assert!(out.contains("guard rails that do not hold: 1\n"), "{out}");
    let (exit, out, _) = run(server.address, &format!("{dry} --json")).await;
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((exit, &shown["forecasts"][0]["rails"][1]["holds"]), (Exit::Failed, &false.into()));
}

#[tokio::test]
async fn a_drill_ends_with_what_was_measured_and_the_code_of_its_ending() {
    let well = Server::start([drilled(State::Running, 11_200), drilled(State::Done, 11_200)]).await;
    let (exit, out, _) = run(well.address, "drill orders-1 --fault kill_engine").await;
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        out,
        "done: orders-1 has the master a1 at term 8 (was term 7)\n  \
         kill_engine: writes were refused for up to 11.2ms of 2.625s: within budget\n"
    );
    let late = Server::start([drilled(State::Failed, 3_000_000)]).await;
    let (exit, out, _) = run(late.address, "drill orders-1 --fault kill_engine").await;
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("writes were refused for up to 3s of 2.625s: OVER BUDGET\n"), "{out}");
    let (_, out, _) = run(late.address, "drill orders-1 --fault kill_engine --json").await;
    let shown: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown["drill"]["outage"]["within_budget"], false, "{shown}");
    let (_, out, _) = run(late.address, "task 3").await;
    assert!(out.contains("  task 3: drill (kill_engine) of orders-1 from a2 (term 7)\n"), "{out}");
}

#[test]
fn what_makes_no_drill_is_bad_usage() {
    for line in [
        "",
        " --fault power_off",
        " --fault switchover --spares 0",
        " --fault switchover --at +10m --dry-run",
    ] {
        let line = format!("batonctl drill orders-1{line}");
        let refused = Cli::try_parse_from(line.split(' ')).expect_err(&line);
        assert_eq!(refused.exit_code(), 2, "{line}");
    }
}
