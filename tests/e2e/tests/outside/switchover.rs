//! A planned change of master, asked for with `batonctl`.

use e2e::logs::CHANGE_OF_MASTER;
use e2e::stage::play;
use e2e::{HostPlan, InstancePlan, store};

#[test]
fn a_master_is_moved_by_plan_and_keeps_everything() {
    play(&[CHANGE_OF_MASTER], |stage| {
        let before = stage.trio();
        store::set(stage.instance(0).port, "kept", "yes").expect("the master accepts");
        let done = stage.ctl(&["switchover", "orders", "--to", "c1"]);
        assert_eq!(done.code, 0, "{done:?}");
        assert!(done.out.contains("c1"), "{done:?}");
        stage.next_master("orders", before.term);
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.master.as_deref(), after.term), (Some("c1"), before.term + 1));
        assert_eq!(store::get(stage.instance(2).port, "kept").as_deref(), Ok("yes"));
        store::set(stage.instance(2).port, "more", "yes").expect("the new master accepts");
        store::set(stage.instance(0).port, "more", "no").expect_err("the old one does not");

        let again = stage.ctl(&["switchover", "orders", "--json"]);
        assert_eq!(again.code, 0, "{again:?}");
        assert_eq!(again.json()["state"], "done", "{again:?}");
        stage.next_master("orders", after.term);
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.master.as_deref(), after.term), (Some("a1"), before.term + 2), "the preferred one");
        assert_eq!(store::get(stage.instance(0).port, "more").as_deref(), Ok("yes"));
        let seen = stage.ctl(&["watch", "orders", "--for", "1s", "--json"]).json();
        assert_eq!((&seen["master"], &seen["state"]), (&"a1".into(), &"active".into()), "{seen}");
        let history = stage.ctl(&["history", "orders", "--json"]).json();
        assert_eq!(history[0]["decision"]["class"], "switchover", "{history}");
    });
}

#[test]
fn a_switchover_that_cannot_be_is_refused_with_the_reason() {
    play(&[], |stage| {
        stage.start_board();
        let mut never = InstancePlan::new("b1", "orders", 2);
        never.electable = false;
        stage.add(HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 2).preferred()]));
        stage.add(HostPlan::new("host-b", vec![never]));
        let before = stage.whole("orders", &["a1", "b1"]);
        stage.everybody_knows_the_arbiter();
        for (arguments, reason) in [
            (["switchover", "orders", "--to=z9"].as_slice(), "z9 is no member of orders"),
            (&["switchover", "orders", "--to=a1"], "is the master already"),
            (&["switchover", "orders", "--to=b1"], "is not electable"),
            (&["switchover", "orders"], "no other member"),
            (&["switchover", "other"], "no replica set other"),
        ] {
            let refused = stage.ctl(arguments);
            assert_eq!(refused.code, 1, "{arguments:?}: {refused:?}");
            assert!(
                refused.err.contains(reason) || refused.out.contains(reason),
                "{arguments:?}: {refused:?}"
            );
        }
        let after = stage.whole("orders", &["a1", "b1"]);
        assert_eq!((after.term, after.master), (before.term, before.master), "nothing has happened");
    });
}
