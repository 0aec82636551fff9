//! Engines that run already and that somebody else started: adopted as they are, and never made to lose what they hold.

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::{Stage, play};
use e2e::{HostPlan, InstancePlan, issues, poll, store};

const NOT_OURS_TO_START: &[Allowed] = &[("is not ours to start", "the engine was adopted")];
const INTRUDER: &[Allowed] = &[("found writable without a right", "somebody made it writable")];

/// A running pair with data, `b1` the master and `a1` its replica, both adopted. The smaller name and the higher priority
/// are the replica's, so that only the adoption explains who leads.
fn adopted_pair(stage: &mut Stage) -> (InstancePlan, InstancePlan) {
    stage.start_board();
    let (a1, b1) = (
        InstancePlan::new("a1", "orders", 2).adopted().preferred(),
        InstancePlan::new("b1", "orders", 2).adopted(),
    );
    let a = stage.prepare(HostPlan::new("host-a", vec![a1.clone()]));
    let b = stage.prepare(HostPlan::new("host-b", vec![b1.clone()]));
    stage.start_engine(&b1, &[]);
    for number in 0..100 {
        store::set(b1.port, &format!("old:{number}"), "yes").expect("a master accepts");
    }
    stage.start_engine(&a1, &["--replicaof", "127.0.0.1", &b1.port.to_string()]);
    poll::until("the replica has the data", || store::get(a1.port, "old:99"));
    stage.keep_engines = true;
    stage.start(a);
    stage.start(b);
    (a1, b1)
}

fn has_all(port: u16) {
    for number in 0..100 {
        assert_eq!(store::get(port, &format!("old:{number}")).as_deref(), Ok("yes"), "{number} on {port}");
    }
}

#[test]
fn a_running_pair_keeps_its_master_and_its_data_and_then_fails_over() {
    play(&[CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS, NOT_OURS_TO_START, INTRUDER], |stage| {
        let (a1, b1) = adopted_pair(stage);
        let runs = [store::info(a1.port, "run_id"), store::info(b1.port, "run_id")];
        let before = stage.whole("orders", &["a1", "b1"]);
        assert_eq!(before.master.as_deref(), Some("b1"), "the writable one with data is adopted");
        assert_eq!(
            [store::info(a1.port, "run_id"), store::info(b1.port, "run_id")],
            runs,
            "nothing was restarted"
        );
        has_all(a1.port);
        has_all(b1.port);
        let host = stage.host_of("b1");
        stage.daemon(host).process().terminate();
        assert_eq!(stage.daemon(host).ended_within(poll::PATIENCE).code(), Some(0), "{}", stage.log_of(host));
        store::set(b1.port, "meanwhile", "yes").expect("its right was left to it");
        stage.start(host);
        poll::until("another process goes on", || match stage.log_of(host) {
            log if log.contains("goes on from the hand-over") => Ok(()),
            log => Err(log),
        });
        let kept = stage.whole("orders", &["a1", "b1"]);
        assert_eq!((kept.term, kept.master.as_deref()), (before.term, Some("b1")), "{}", stage.log_of(host));
        store::set(b1.port, "new", "yes").expect("the master accepts");
        assert_eq!(store::ask::<i64>(b1.port, &["WAIT", "1", "5000"]), Ok(1));

        stage.engine(&b1).kill();
        let after = stage.next_master("orders", before.term);
        assert_eq!(after.master.as_deref(), Some("a1"));
        // Somebody starts the old master again, and it comes up writable: fenced, then made to follow.
        stage.start_engine(&b1, &[]);
        stage.whole("orders", &["a1", "b1"]);
        store::set(b1.port, "x", "y").expect_err("a replica");
        has_all(a1.port);
        has_all(b1.port);
        assert_eq!(store::get(a1.port, "new").as_deref(), Ok("yes"));
    });
}

#[test]
fn a_replica_made_writable_by_hand_is_fenced_at_once() {
    play(&[CHANGE_OF_MASTER, INTRUDER], |stage| {
        let before = stage.trio();
        let replica = stage.instance(2);
        store::ask::<String>(replica.port, &["REPLICAOF", "NO", "ONE"]).expect("it obeys");
        poll::until("it is fenced", || match store::set(replica.port, "x", "y") {
            Ok(()) => Err("it accepts".to_owned()),
            Err(_) => Ok(()),
        });
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.term, after.master.as_deref()), (before.term, Some("a1")));
        assert!(stage.log_of(2).contains("found writable without a right"), "{}", stage.log_of(2));
        issues::until(stage, "orders", "writable_by_hand", "c1");
        store::set(stage.instance(0).port, "more", "yes").expect("the master goes on");
        poll::until("it follows again", || store::get(replica.port, "more"));
    });
}

#[test]
fn a_stranger_with_other_data_is_neither_wiped_nor_chosen() {
    let foreign: &[Allowed] = &[("the engine holds another data set", "that is the point")];
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, INTRUDER, NOT_OURS_TO_START, foreign], |stage| {
        stage.start_board();
        stage.add(HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 2)]));
        stage.add(HostPlan::new("host-b", vec![InstancePlan::new("b1", "orders", 2)]));
        let before = stage.whole("orders", &["a1", "b1"]);
        let stranger = InstancePlan::new("c1", "orders", 2).adopted().preferred();
        let host = stage.prepare(HostPlan::new("host-c", vec![stranger.clone()]));
        stage.start_engine(&stranger, &[]);
        store::set(stranger.port, "theirs", "yes").expect("it runs alone");
        stage.start(host);
        let seen = poll::until("the issue is shown", || {
            let seen = stage.set("orders")?;
            let named = seen.issues.iter().any(|issue| issue.contains("c1") && issue.contains("data"));
            if named { Ok(seen) } else { Err(format!("{:?}", seen.issues)) }
        });
        assert!(!seen.record.expect("it is active").in_sync.contains(&"c1".to_owned()));
        assert_eq!(store::get(stranger.port, "theirs").as_deref(), Ok("yes"), "it was not wiped");

        let master = stage.instance(stage.host_of(before.master.as_deref().expect("it is active")));
        stage.engine(&master).kill();
        let after = stage.next_master("orders", before.term);
        assert!(after.master.is_some() && after.master.as_deref() != Some("c1"), "{after:?}");
        assert_eq!(store::get(stranger.port, "theirs").as_deref(), Ok("yes"), "it was not wiped");
    });
}
