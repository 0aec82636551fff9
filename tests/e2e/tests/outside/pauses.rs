//! Pauses and forced failovers as a person asks for them.

use baton_client::status::ReplicaSetStatus;
use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::{Stage, play};
use e2e::writer::boot_clock;
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

/// What whoever forces a failover accepts.
const FORCED: &[Allowed] =
    &[("this engine holds writes beyond", "the target may not have received all of it yet")];

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
    play(&[CHANGE_OF_MASTER, FORCED], |stage| {
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

/// Waits until one of these hosts is the active arbiter, and the set is as it was.
fn another_arbiter(stage: &Stage, before: &ReplicaSetStatus, hosts: &[usize]) {
    let names: Vec<&str> = hosts.iter().map(|host| stage.hosts[*host].plan.name).collect();
    poll::until("another arbiter", || {
        let arbiter = stage.status().arbiter;
        let known = arbiter.coordinator.as_deref().is_some_and(|name| names.contains(&name));
        if known && arbiter.active_here { Ok(()) } else { Err(format!("{arbiter:?}")) }
    });
    // Of the arbiter itself: the page of another host may be a second old.
    let seen = poll::until("it is active", || {
        let seen = stage.status().replicasets.into_iter().find(|set| set.replicaset == "orders");
        seen.filter(|seen| seen.state == "active").ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!((seen.term, &seen.master), (before.term, &before.master), "nothing has happened");
    assert_eq!(seen.hold.as_deref(), Some("paused"), "the pause is the next arbiter's too");
}

#[test]
fn an_arbiter_that_is_stopped_leaves_a_paused_master_as_it_is() {
    play(&[COORDINATOR_ENDS, CHANGE_OF_MASTER, ENGINE_ENDS, ARBITERS_AWAY], |stage| {
        let before = stage.trio();
        let paused = stage.ctl(&["pause", "orders", "--for=10m"]);
        assert_eq!(paused.code, 0, "{paused:?}");
        let writer = stage.writer(0);
        poll::until("a write", || match writer.accepted().len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
        let asked = boot_clock();
        stage.daemon(1).process().terminate();
        assert_eq!(stage.daemon(1).ended_within(poll::PATIENCE).code(), Some(0), "{}", stage.log_of(1));
        another_arbiter(stage, &before, &[0, 2]);
        std::thread::sleep(LEASES / 2); // tidy: waits because what must not happen has to be given its time
        assert_eq!(writer.refused_after(asked), 0, "nobody was waited for");
        assert!(writer.accepted_after(asked) > 0, "it was at work");
        stage.start(1);
        stage.whole("orders", &["a1", "b1", "c1"]);
        let resumed = stage.ctl(&["resume", "orders"]);
        assert_eq!(resumed.code, 0, "{resumed:?}");
        let after = stage.set("orders").expect("it is known");
        assert_eq!((after.term, after.master), (before.term, before.master), "the same right goes on");
    });
}

#[test]
fn on_etcd_a_pause_outlives_its_arbiter_and_a_person_may_still_force() {
    play(&[COORDINATOR_ENDS, CHANGE_OF_MASTER, ENGINE_ENDS, ARBITERS_AWAY, FORCED], |stage| {
        let before = stage.trio_on_etcd();
        let old = stage.instance(0);
        store::set(old.port, "kept", "yes").expect("the master accepts");
        let paused = stage.ctl(&["pause", "orders", "--for-good"]);
        assert_eq!(paused.code, 0, "{paused:?}");
        // It is recorded; the master is told with its next beats, which come several times a lease.
        std::thread::sleep(LEASES / 6); // tidy: waits because no page shows what the master was told
        stage.daemon(1).process().kill();
        stage.daemon(1).ended_within(poll::PATIENCE);
        another_arbiter(stage, &before, &[0, 2]);
        store::set(old.port, "more", "yes").expect("it still accepts");

        let forced = stage.ctl(&["failover", "orders", "--to=c1", "--force", "--json"]);
        assert_eq!(forced.code, 0, "{forced:?}");
        let task = forced.json();
        assert_eq!((&task["kind"], &task["master"]), (&"failover".into(), &"c1".into()), "{task}");
        assert_eq!(task["term_after"], before.term + 1, "{task}");
        assert_eq!(store::get(stage.instance(2).port, "more").as_deref(), Ok("yes"));
        store::set(old.port, "late", "no").expect_err("the old master has let go");
        stage.start(1);
        stage.whole("orders", &["a1", "b1", "c1"]);
    });
}
