//! PostgreSQL: three servers that Baton makes itself, a failover and a switchover of them, and a libpq client that only knows their
//! addresses.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::host::Engine;
use e2e::logs::{Allowed, CHANGE_OF_MASTER, ENGINE_ENDS};
use e2e::{HostPlan, InstancePlan, Stage, play_slowly, poll, postgres};

/// Three servers with a table `t` of one row.
fn prepared(stage: &mut Stage) -> Vec<InstancePlan> {
    stage.trio_of(Engine::Postgres);
    let plans: Vec<_> = (0..3).map(|host| stage.instance(host)).collect();
    postgres::make_clients_role(stage.path(), &plans[0]);
    postgres::write(&plans, "CREATE TABLE t (i int); INSERT INTO t VALUES (1)").expect("the master accepts");
    plans
}

#[test]
fn a_postgres_that_is_killed_is_replaced_and_comes_home_and_clients_follow() {
    play_slowly(&[CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        let plans = prepared(stage);
        stage.engine(&plans[0]).kill();
        let after = stage.next_master("orders", 1);
        assert_ne!(after.master.as_deref(), Some("a1"));
        let inserted = || postgres::write(&plans, "INSERT INTO t VALUES (2) RETURNING i");
        assert_eq!(poll::until("a client finds the new master", inserted), "2");
        let refused = postgres::read(&plans[..1], "INSERT INTO t VALUES (3)");
        assert!(refused.is_err(), "the old one takes nothing");
        stage.whole("orders", &["a1", "b1", "c1"]);
        for plan in &plans {
            let there =
                || match postgres::read(std::slice::from_ref(plan), "SELECT count(*) FROM t")?.as_str() {
                    "2" => Ok(()),
                    other => Err(other.to_owned()),
                };
            poll::until(&format!("{} has both rows", plan.name), there);
        }
    });
}

/// Its clients would go on writing for ever, and no new one could come.
#[test]
fn a_postgres_whose_main_process_is_stopped_is_replaced() {
    const STALLED: Allowed = ("killing the engine: the engine stalled", "it lets nobody in");
    play_slowly(&[CHANGE_OF_MASTER, ENGINE_ENDS, &[STALLED]], |stage| {
        let plans = prepared(stage);
        let stopped = stage.engine(&plans[0]);
        stopped.freeze();
        let after = stage.next_master("orders", 1);
        assert_ne!(after.master.as_deref(), Some("a1"));
        let inserted = || postgres::write(&plans[1..], "INSERT INTO t VALUES (2) RETURNING i");
        assert_eq!(poll::until("a client finds the new master", inserted), "2");
        poll::until(
            "all of it was ended",
            || if stopped.runs() { Err("it runs".to_owned()) } else { Ok(()) },
        );
        stage.whole("orders", &["a1", "b1", "c1"]);
    });
}

#[test]
fn a_postgres_master_is_moved_by_plan_and_keeps_everything() {
    play_slowly(&[CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        let plans = prepared(stage);
        let done = stage.ctl(&["switchover", "orders", "--to", "c1"]);
        assert_eq!(done.code, 0, "{done:?}");
        let log = stage.log_of(0);
        assert!(log.contains("before it is fenced"), "it wrote what it could before it was ended:\n{log}");
        let after = stage.next_master("orders", 1);
        assert_eq!(after.master.as_deref(), Some("c1"));
        assert_eq!(postgres::write(&plans, "INSERT INTO t VALUES (2) RETURNING i").as_deref(), Ok("2"));
        stage.whole("orders", &["a1", "b1", "c1"]);
        let lost = stage.path().join("a1/data.baton/lost");
        assert!(!lost.exists(), "the old master had nothing that the new one has not");
    });
}

/// A server that a person made and ran, with data, and stopped for Baton; and a host with nothing on it.
#[test]
fn a_server_that_was_there_before_leads_with_its_data() {
    play_slowly(&[CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        stage.start_board();
        let plan = |name| InstancePlan::new(name, "orders", 2).on(Engine::Postgres);
        let a = stage.prepare(HostPlan::new("host-a", vec![plan("a1")]));
        let b = stage.prepare(HostPlan::new("host-b", vec![plan("b1").preferred()]));
        let plans = [stage.instance(a), stage.instance(b)];
        let server = postgres::make_primary(stage.path(), &plans[0]);
        stage.start_engine_by(&plans[0], server);
        poll::until("it answers", || postgres::try_make_clients_role(stage.path(), &plans[0]));
        let made = postgres::write(&plans, "CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
        assert_eq!(made.as_deref(), Ok(""));
        stage.end_engine(&plans[0]);

        stage.start(a);
        stage.start(b);
        let seen = stage.whole("orders", &["a1", "b1"]);
        assert_eq!(seen.master.as_deref(), Some("a1"), "the other has nothing, however much it is preferred");
        let there = || postgres::read(&plans[1..], "SELECT i FROM t");
        assert_eq!(poll::until("the other has it too", there), "1");
    });
}

/// I5: where each commit waits for a standby, whatever a client was told survives every failover. `BATON_FAILOVERS` asks for more of them.
#[test]
fn no_acknowledged_commit_is_lost_however_often_the_master_is_killed() {
    const LATE: Allowed = ("has no successor", "a report that is waited for a moment longer");
    let failovers = std::env::var("BATON_FAILOVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    play_slowly(&[CHANGE_OF_MASTER, ENGINE_ENDS, &[LATE]], |stage| {
        let plans = prepared(stage);
        let said = stage.ctl(&["settings", "set", "ack_quorum=1"]);
        assert_eq!(said.code, 0, "{said:?}");
        poll::until("commits wait", || {
            let names = postgres::write(&plans, "SHOW synchronous_standby_names")?;
            if names == "ANY 1 (*)" { Ok(()) } else { Err(names) }
        });
        let over = AtomicBool::new(false);
        let acknowledged = std::thread::scope(|scope| {
            let (plans, over) = (&plans, &over);
            let write_from = |first: u64| {
                let mut acknowledged = Vec::new();
                for number in first.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    if postgres::write(plans, &format!("INSERT INTO t VALUES ({number})")).is_ok() {
                        acknowledged.push(number);
                    }
                }
                acknowledged
            };
            let clients =
                [1_000_000, 2_000_000, 3_000_000].map(|first| scope.spawn(move || write_from(first)));
            for _ in 0..failovers {
                let before = stage.whole("orders", &["a1", "b1", "c1"]);
                let master = stage.host_of(before.master.as_deref().expect("it is active"));
                stage.engine(&stage.instance(master)).kill();
                stage.next_master("orders", before.term);
            }
            over.store(true, Ordering::Relaxed);
            clients.map(|client| client.join().expect("a client goes on")).concat()
        });
        stage.whole("orders", &["a1", "b1", "c1"]);
        let there = postgres::write(&plans, "SELECT i FROM t").expect("the master answers");
        let there: BTreeSet<u64> = there.lines().filter_map(|line| line.parse().ok()).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|number| !there.contains(number)).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
        assert!(acknowledged.len() > 5 * failovers, "hardly anything was written: {}", acknowledged.len());
    });
}
