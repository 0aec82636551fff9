//! A replica set that is no more, and one that comes under its name later.

use std::time::Duration;

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS};
use e2e::poll;
use e2e::stage::play;

const REMOVED: &[Allowed] = &[
    ("the replica set is removed", "which is what this is about"),
    ("has no successor", "all its coordinators were stopped"),
];

#[test]
fn a_set_is_removed_once_its_coordinators_are_stopped_and_comes_back_under_its_name() {
    play(&[REMOVED, CHANGE_OF_MASTER, COORDINATOR_ENDS], |stage| {
        stage.trio_and_an_arbiter();
        let arbiter = 3;

        let against = stage.ctl(&["member", "remove-set", "orders", "--dry-run"]);
        assert_eq!(against.code, 1, "{against:?}");
        for name in ["a1", "b1", "c1"] {
            assert!(against.err.contains(&format!("{name} is attached by coordinator")), "{against:?}");
        }
        let refused = stage.ctl(&["member", "remove-set", "orders"]);
        assert_eq!(refused.code, 1, "{refused:?}");

        (0..arbiter).for_each(|host| stage.daemon(host).process().terminate());
        for host in 0..arbiter {
            let ended = stage.daemon(host).ended_within(Duration::from_secs(10));
            assert_eq!(ended.code(), Some(0), "{}", stage.log_of(host));
        }
        let term = stage.set("orders").expect("it is still known").term;
        let removed = stage.ctl(&["member", "remove-set", "orders", "--timeout", "30s"]);
        assert_eq!(removed.code, 0, "{removed:?}");
        poll::until("routers hear of it no more", || {
            let masters = stage.ctl(&["masters", "--json"]);
            if masters.out.contains("orders") { Err(format!("{masters:?}")) } else { Ok(()) }
        });
        let members = stage.ctl(&["member", "list", "--json"]);
        assert!(!members.out.contains("\"a1\""), "nobody is listed: {members:?}");
        let history = stage.ctl(&["history", "orders"]);
        assert!(history.code == 0 && history.out.contains("first-appointment"), "{history:?}");
        poll::until("there is none", || {
            // What people see is a moment old; to remove it once more is no harm.
            let again = stage.ctl(&["member", "remove-set", "orders"]);
            if again.code == 1 && again.err.contains("orders") { Ok(()) } else { Err(format!("{again:?}")) }
        });

        (0..arbiter).for_each(|host| stage.start(host));
        let back =
            poll::within(poll::PATIENCE * 2, "it is back", || stage.is_whole("orders", &["a1", "b1", "c1"]));
        assert!(back.term > term + 1, "above the tombstone: {} after {term}", back.term);
    });
}
