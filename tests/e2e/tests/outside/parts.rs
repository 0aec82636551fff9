//! Many instances in one daemon, and daemons with parts switched off.

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::play;
use e2e::{HostPlan, InstancePlan, http, poll, store};

const SETS: [(&str, &str, &str); 5] =
    [("s1", "a1", "b1"), ("s2", "a2", "b2"), ("s3", "a3", "b3"), ("s4", "a4", "b4"), ("s5", "a5", "b5")];

#[test]
fn one_daemon_guards_many_and_takes_down_only_its_own() {
    play(&[CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS], |stage| {
        stage.start_board();
        // The first host leads the first three sets, the second one the others.
        let plan = |index: usize, name, set, leads: bool| {
            let plan = InstancePlan::new(name, set, 2);
            if (index < 3) == leads { plan.preferred() } else { plan }
        };
        let of = |first: bool| {
            let sets = SETS.iter().enumerate();
            sets.map(|(index, (set, a, b))| plan(index, if first { a } else { b }, set, first)).collect()
        };
        let (a, b) = (
            stage.prepare(HostPlan::new("host-a", of(true))),
            stage.prepare(HostPlan::new("host-b", of(false))),
        );
        stage.start(b);
        stage.is_arbiter(b);
        stage.start(a);
        let mut terms = Vec::new();
        for (index, (set, on_a, on_b)) in SETS.into_iter().enumerate() {
            let seen = stage.whole(set, &[on_a, on_b]);
            assert_eq!(seen.master.as_deref(), Some(if index < 3 { on_a } else { on_b }), "{set}");
            terms.push(seen.term);
        }
        // Which instance is asked about has to be said where there are several.
        assert_eq!(stage.check(a, "/primary"), Ok(404));
        assert_eq!(stage.check(a, "/instances/a1/primary"), Ok(200));

        stage.daemon(a).process().kill();
        stage.daemon(a).ended_within(poll::PATIENCE);
        for (index, (set, _, on_b)) in SETS.into_iter().enumerate() {
            if index < 3 {
                let seen = stage.next_master(set, terms[index]);
                assert_eq!(seen.master.as_deref(), Some(on_b), "{set}");
            } else {
                let seen = stage.set(set).expect("the arbiter answers");
                assert_eq!(
                    (seen.term, seen.state.as_str()),
                    (terms[index], "active"),
                    "{set} was not struck"
                );
            }
            store::set(stage.hosts[b].plan.instances[index].port, "more", "yes")
                .expect("the second host leads all");
        }
    });
}

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
