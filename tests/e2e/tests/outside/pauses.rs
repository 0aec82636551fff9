//! Pauses and forced failovers as a person asks for them.

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::play;
use e2e::{poll, store};
use serde_json::Value;

/// A set that nobody may lead says so.
const NOBODY: &[Allowed] =
    &[("has no successor", "the set is paused, and its master does not run for a moment")];
/// Where no arbiter is left there is nobody to attach to.
const ARBITERS_AWAY: &[Allowed] = &[
    ("silent", "nobody answers"),
    ("not attached", "nobody takes it"),
    ("promises", "it asks, and needs none"),
];

/// Several leases of these clusters.
const LEASES: std::time::Duration = std::time::Duration::from_secs(6);

fn hold(set: &Value) -> Option<String> {
    set["replicasets"][0]["hold"].as_str().map(str::to_owned)
}

#[test]
fn a_paused_master_needs_no_lease_and_one_that_is_resumed_does() {
    play(&[CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS, NOBODY, ARBITERS_AWAY], |stage| {
        let before = stage.trio();
        let old = stage.instance(0);
        store::set(old.port, "kept", "yes").expect("the master accepts");
        let paused = stage.ctl(&["pause", "orders", "--for-good"]);
        assert_eq!(paused.code, 0, "{paused:?}");
        assert!(paused.out.contains("orders is paused until somebody resumes it"), "{paused:?}");
        assert_eq!(hold(&stage.ctl(&["status", "--json"]).json()).as_deref(), Some("paused"));

        // Whoever could extend a lease, or promise anything, is gone.
        for other in [1, 2] {
            stage.daemon(other).process().kill();
            stage.daemon(other).ended_within(poll::PATIENCE);
        }
        std::thread::sleep(LEASES); // tidy: waits because what must not happen has to be given its time
        store::set(old.port, "alone", "yes").expect("it still accepts, long after its last lease");
        for other in [1, 2] {
            stage.start(other);
        }
        stage.whole("orders", &["a1", "b1", "c1"]);

        let resumed = stage.ctl(&["resume", "orders"]);
        assert_eq!(resumed.code, 0, "{resumed:?}");
        assert_eq!(hold(&stage.ctl(&["status", "--json"]).json()), None);
        stage.engine(&old).kill();
        let after = stage.next_master("orders", before.term);
        assert_ne!(after.master.as_deref(), Some("a1"), "silence and ends count again");
    });
}

#[test]
fn a_forced_failover_is_shown_before_it_is_done() {
    play(&[CHANGE_OF_MASTER], |stage| {
        let before = stage.trio();
        let shown = stage.ctl(&["failover", "orders", "--to=c1"]);
        assert_eq!(shown.code, 0, "{shown:?}");
        assert!(shown.out.contains("c1") && shown.err.contains("nothing was changed"), "{shown:?}");
        assert_eq!(stage.set("orders").expect("it is known").term, before.term);

        let done = stage.ctl(&["failover", "orders", "--to=c1", "--force", "--json"]);
        assert_eq!(done.code, 0, "{done:?}");
        let task = done.json();
        assert_eq!((&task["kind"], &task["master"]), (&"failover".into(), &"c1".into()), "{task}");
        assert_eq!(task["term_after"], before.term + 1, "{task}");
        stage.whole("orders", &["a1", "b1", "c1"]);
        let again = stage.ctl(&["explain", "orders", "--replay"]);
        assert_eq!(again.code, 0, "{again:?}");
        assert!(again.out.contains("forced") && again.out.contains("the same ranking"), "{again:?}");
    });
}
