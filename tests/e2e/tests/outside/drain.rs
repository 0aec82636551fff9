//! A data centre is emptied of masters and filled again, as `batonctl` is asked to.

use e2e::logs::CHANGE_OF_MASTER;
use e2e::stage::{Stage, play};
use e2e::{HostPlan, InstancePlan, poll};

/// Two sets with a member in each of two zones; those in the second are preferred, so both are led from there.
fn two_sets_in_two_zones(stage: &mut Stage) {
    for line in ["autoreturn = true", "autoreturn_delay = \"1s\"", "immunity = \"1s\""] {
        stage.seed(line);
    }
    stage.start_board();
    let first = [InstancePlan::new("a1", "orders", 2), InstancePlan::new("a2", "bills", 2)];
    let second = [InstancePlan::new("b1", "orders", 2), InstancePlan::new("b2", "bills", 2)];
    let first = first.map(|plan| plan.in_zone("dc1"));
    let second = second.map(|plan| plan.in_zone("dc2").preferred());
    stage.add(HostPlan::new("host-a", first.into()));
    stage.add(HostPlan::new("host-b", second.into()));
    stage.whole("orders", &["a1", "b1"]);
    stage.whole("bills", &["a2", "b2"]);
    stage.everybody_knows_the_arbiter();
    leads(stage, ["b1", "b2"]);
}

fn leads(stage: &Stage, masters: [&str; 2]) {
    poll::until("they lead", || {
        let seen = [stage.set("orders")?.master, stage.set("bills")?.master];
        let names = seen.each_ref().map(|name| name.as_deref().unwrap_or_default());
        if names == masters { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn a_zone_is_emptied_of_masters_and_gets_them_back() {
    play(&[CHANGE_OF_MASTER], |stage| {
        two_sets_in_two_zones(stage);
        let out = stage.ctl(&["drain", "--zone=dc2", "--wait", "--timeout=60s"]);
        assert_eq!(out.code, 0, "{out:?}");
        leads(stage, ["a1", "a2"]);
        let history = stage.ctl(&["history", "orders", "--json"]).json();
        assert_eq!(history[0]["decision"]["class"], "drain", "{history}");
        let refused = stage.ctl(&["drill", "orders", "--fault=switchover"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("dc2 is drained"), "a drill does not fight a drain: {refused:?}");

        let back = stage.ctl(&["undrain", "--zone=dc2", "--wait", "--timeout=60s"]);
        assert_eq!(back.code, 0, "{back:?}");
        leads(stage, ["b1", "b2"]);
        stage.whole("orders", &["a1", "b1"]);
        stage.whole("bills", &["a2", "b2"]);
    });
}
