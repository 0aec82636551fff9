//! Daemons with parts switched off, and one with all of them inside.

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::play;
use e2e::{HostPlan, InstancePlan, http, poll, store};

#[test]
fn a_single_coordinator_brings_its_own_stateboard() {
    let nobody_else: &[Allowed] = &[("has no successor", "while it stops, there is no other member")];
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, nobody_else], |stage| {
        let mut plan = HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 1)]);
        plan.embedded = true;
        let host = stage.add(plan);
        let before = stage.whole("orders", &["a1"]);
        let port = stage.instance(host).port;
        store::set(port, "kept", "yes").expect("the master accepts");
        // Stopped and started again it remembers what it had decided.
        stage.daemon(host).process().terminate();
        assert!(stage.daemon(host).ended_within(poll::PATIENCE).success(), "{}", stage.log_of(host));
        stage.start(host);
        let after = stage.next_master("orders", before.term);
        assert_eq!(after.master.as_deref(), Some("a1"));
        assert_eq!(store::get(port, "kept").as_deref(), Ok("yes"));
        poll::until("it accepts", || store::set(port, "more", "yes"));
    });
}

#[test]
fn a_coordinator_without_arbiter_and_directory_is_a_guard_only() {
    let earlier: &[Allowed] =
        &[("the engine of an earlier run may be writable", "the restarted daemon finds it")];
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, COORDINATOR_ENDS, earlier], |stage| {
        stage.start_board();
        let mut guard = HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 2).preferred()]);
        (guard.arbiter, guard.directory) = (false, false);
        let a = stage.add(guard);
        let b = stage.add(HostPlan::new("host-b", vec![InstancePlan::new("b1", "orders", 2)]));
        let before = stage.whole("orders", &["a1", "b1"]);
        assert_eq!(before.master.as_deref(), Some("a1"));
        assert_eq!(
            http::get(stage.hosts[a].ports.http, "/v1/masters").expect("it answers").0,
            404,
            "no directory"
        );
        assert_eq!(stage.check(a, "/instances/a1/primary"), Ok(200));

        let port = stage.instance(a).port;
        store::set(port, "kept", "yes").expect("the master accepts");
        assert_eq!(store::ask::<i64>(port, &["WAIT", "1", "5000"]), Ok(1), "the replica has it");
        stage.engine(&stage.instance(a)).kill();
        let after = stage.next_master("orders", before.term);
        assert_eq!(after.master.as_deref(), Some("b1"));
        stage.whole("orders", &["a1", "b1"]);
        // Without the only arbiter nothing is decided, and the guard alone never becomes one.
        stage.daemon(b).process().kill();
        stage.daemon(b).ended_within(poll::PATIENCE);
        let status = |stage: &e2e::Stage| stage.ctl(&["status", "--json"]).json();
        poll::until("no arbiter", || {
            let seen = status(stage);
            if seen["arbiter"]["active_here"] == false { Ok(()) } else { Err(seen.to_string()) }
        });
        stage.start(b);
        stage.is_arbiter(b);
        stage.whole("orders", &["a1", "b1"]);
    });
}
