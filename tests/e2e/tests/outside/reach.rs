//! An arbiter that reaches the provider and too few hosts; every host is a machine of its own.

use e2e::logs::{Allowed, COORDINATOR_ENDS};
use e2e::stage::play_in_namespaces;
use e2e::{HostPlan, InstancePlan, poll, store};

const LINKS_ARE_CUT: &[Allowed] = &[
    ("waiting for the state provider", "three hosts start on one busy machine"),
    ("detached from the arbiter", "the links to it are cut"),
    ("this arbiter hears too few guards", "which is what this is about"),
    ("this coordinator is no longer the arbiter", "it gave its lock up"),
    (
        "store-blind: no arbiter extends the lease",
        "the new one does not reach the master, which is alone in its in-sync set",
    ),
    (
        "orders: a1 has no successor (its outer bound has passed, never heard",
        "nobody else is in its in-sync set",
    ),
    ("giving the mastership up: the arbiter ordered it", "it comes back after that bound"),
    ("relinquished: the engine accepts no writes", "it comes back after that bound"),
];

#[test]
fn an_arbiter_that_two_of_three_hosts_do_not_reach_gives_its_lock_up_to_one_of_them() {
    play_in_namespaces(&[LINKS_ARE_CUT, COORDINATOR_ENDS], |stage| {
        stage.start_board();
        for (host, name) in [("host-a", "a1"), ("host-b", "b1"), ("host-c", "c1")] {
            let instance = InstancePlan::new(name, "orders", 3);
            let instance = if name == "a1" { instance.preferred() } else { instance };
            let host = stage.add(HostPlan::new(host, vec![instance]));
            // The first is the arbiter before the others contend.
            stage.is_arbiter(if host == 0 { host } else { 0 });
        }
        let before = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!(before.master.as_deref(), Some("a1"));
        stage.everybody_knows_the_arbiter();

        let links = [("host-a", "host-b"), ("host-a", "host-c")];
        for (one, other) in links {
            stage.network().cut(one, other);
            stage.network().cut(other, one);
        }
        let holder = || stage.at(1, || stage.page(1, "/v1/replicasets/orders")).map(|(_, body)| body);
        let new = poll::within(poll::PATIENCE * 3, "another has the lock", || {
            let body = holder()?;
            match body["arbiter"]["coordinator"].as_str() {
                Some(name @ ("host-b" | "host-c")) => Ok(name.to_owned()),
                other => Err(format!("{other:?}")),
            }
        });
        let said = stage.log_of(0);
        assert!(said.contains("gives its lock up for one that hears more"), "{said}");
        assert!(said.contains(&format!("to={new}")) || said.contains(&format!("to: {new}")), "{new}: {said}");
        // The master is alone in its in-sync set by then, or holds on by what it is granted: it was not replaced.
        let alive = stage.at(0, || store::set(stage.instance(0).port, "still", "here"));
        assert_eq!(alive, Ok(()), "its clients were not cut off");

        stage.network().mend();
        let after = poll::within(poll::PATIENCE * 3, "all is well again", || {
            stage.is_whole("orders", &["a1", "b1", "c1"])
        });
        assert_eq!(after.master, before.master, "nobody else leads");
        // It comes back when TCP tries the lines again. That may be after the outer bound that its successor counts: then it is
        // appointed again, once.
        assert!(after.term <= before.term + 1, "{} after {}", after.term, before.term);
    });
}
