//! PostgreSQL: three servers that Baton makes itself, a failover and a switchover of them, and a libpq client that only knows their
//! addresses.

use e2e::host::Engine;
use e2e::logs::{CHANGE_OF_MASTER, ENGINE_ENDS};
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

#[test]
fn a_postgres_master_is_moved_by_plan_and_keeps_everything() {
    play_slowly(&[CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        let plans = prepared(stage);
        let done = stage.ctl(&["switchover", "orders", "--to", "c1"]);
        assert_eq!(done.code, 0, "{done:?}");
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
