//! A coordinator is asked to stop (SIGTERM): it hands its master over, and leaves its engine running.

use std::time::{Duration, Instant};

use e2e::logs::{CHANGE_OF_MASTER, COORDINATOR_ENDS};
use e2e::stage::{LEASE, play};
use e2e::{poll, store};

#[test]
fn a_stopped_sidecar_hands_over_and_leaves_its_engine_running() {
    play(&[CHANGE_OF_MASTER, COORDINATOR_ENDS], |stage| {
        let before = stage.trio();
        let old = stage.instance(0);
        store::set(old.port, "kept", "yes").expect("the master accepts");
        let (engine, deadman) = (stage.engine(&old), stage.deadman(&old));
        stage.daemon(0).process().terminate();
        let after = stage.next_master("orders", before.term);
        let arbiter = stage.log_of(1);
        let why = "in place of a1 (it relinquished: fenced at";
        assert!(arbiter.contains(why), "it gave its mastership up rather than let it run out:\n{arbiter}");
        let ended = stage.daemon(0).ended_within(Duration::from_secs(5));
        assert_eq!(ended.code(), Some(0), "{}", stage.log_of(0));

        let master = stage.instance(stage.host_of(after.master.as_deref().expect("it is active")));
        assert_eq!(store::get(master.port, "kept").as_deref(), Ok("yes"));
        store::set(master.port, "more", "yes").expect("the new master accepts");
        store::set(old.port, "more", "no").expect_err("the old one does not");
        let over = Instant::now() + LEASE * 2;
        poll::until("two leases pass", || {
            if Instant::now() > over { Ok(()) } else { Err("not yet".to_owned()) }
        });
        assert!(engine.runs() && deadman.runs(), "nothing is armed, so nothing is killed");
        assert_eq!(store::get(old.port, "kept").as_deref(), Ok("yes"), "it goes on serving reads");

        stage.start(0);
        stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!(stage.engine(&old).pid(), engine.pid(), "the same run of the engine");
        poll::until("it follows", || store::get(old.port, "more"));
    });
}

#[test]
fn the_arbiters_host_hands_the_lock_over_too() {
    play(&[CHANGE_OF_MASTER, COORDINATOR_ENDS], |stage| {
        let before = stage.trio();
        stage.daemon(1).process().terminate();
        assert_eq!(
            stage.daemon(1).ended_within(Duration::from_secs(5)).code(),
            Some(0),
            "{}",
            stage.log_of(1)
        );
        let after = poll::until("another arbiter", || stage.set("orders"));
        poll::until("it is steady", || {
            let seen = stage.set("orders")?;
            if seen.state == "active" { Ok(()) } else { Err(seen.state) }
        });
        assert_eq!((after.term, after.master), (before.term, before.master), "the master has not changed");
        stage.start(1);
        stage.whole("orders", &["a1", "b1", "c1"]);
    });
}
