//! The master's coordinator stops or dies, and its engine goes on: nobody may be told of a write that it accepted after
//! its lease, whoever kills it.

use std::time::Duration;

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::{LEASE, Stage, play};
use e2e::writer::{Writer, boot_clock};
use e2e::{poll, store};

const DEADMAN_ACTS: &[Allowed] = &[
    ("the engine of an earlier run may be writable", "a new daemon finds its deadman armed"),
    ("killing the engine", "the guard woke after its deadline"),
    ("the engine's main process ended, others are left", "its control group is emptied a moment later"),
];

/// Waits until the writer has got through, so that what follows is under load.
fn under_load(writer: &Writer) {
    poll::until("a hundred writes", || match writer.accepted().len() {
        enough if enough >= 100 => Ok(()),
        few => Err(format!("{few}")),
    });
}

/// The old master accepts until its lease ends at the latest, and another one leads. `struck` was read after the signal,
/// so every beat that was granted had been sent before it, and no right reaches beyond `struck` and a lease.
fn nothing_accepted_after(stage: &Stage, writer: &Writer, struck: Duration, term: u64) {
    let engine = stage.instance(0);
    let last = struck + LEASE;
    let after = stage.next_master("orders", term);
    assert_ne!(after.master.as_deref(), Some(engine.name));
    poll::until("the lease is over", || if boot_clock() > last { Ok(()) } else { Err("not yet".to_owned()) });
    assert!(
        writer.accepted_after(struck) > 0,
        "a stopped coordinator alone must not stop its engine at once"
    );
    assert_eq!(writer.accepted_after(last), 0, "writes were accepted after the lease");
}

/// The struck instance is a replica of the new master again, and has not accepted a write since its lease.
fn back_as_replica(stage: &Stage, writer: &Writer, struck: Duration) {
    let after = stage.whole("orders", &["a1", "b1", "c1"]);
    assert_ne!(after.master.as_deref(), Some("a1"));
    let port = stage.instance(0).port;
    assert_eq!(poll::until("its role", || store::info(port, "role")), "slave");
    let back = boot_clock();
    poll::until("the writer is refused", || match writer.refused_after(back) {
        enough if enough >= 100 => Ok(()),
        few => Err(format!("{few}")),
    });
    assert_eq!(writer.accepted_after(struck + LEASE), 0, "the old master accepted writes again");
}

#[test]
fn a_stopped_coordinator_costs_its_master_the_engine_at_the_lease() {
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, COORDINATOR_ENDS, DEADMAN_ACTS], |stage| {
        let before = stage.trio();
        let writer = Writer::start(stage.instance(0).port);
        under_load(&writer);
        let engine = stage.engine(&stage.instance(0));
        stage.daemon(0).process().freeze();
        let struck = boot_clock();
        nothing_accepted_after(stage, &writer, struck, before.term);
        assert!(!engine.runs(), "its deadman has killed it");
        stage.daemon(0).process().thaw();
        back_as_replica(stage, &writer, struck);
    });
}

#[test]
fn a_killed_coordinator_leaves_the_deadman_which_ends_the_engine_at_the_lease() {
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, COORDINATOR_ENDS, DEADMAN_ACTS], |stage| {
        let before = stage.trio();
        let writer = Writer::start(stage.instance(0).port);
        under_load(&writer);
        let deadman = stage.deadman(&stage.instance(0));
        stage.daemon(0).process().kill();
        let struck = boot_clock();
        stage.daemon(0).ended_within(poll::PATIENCE);
        nothing_accepted_after(stage, &writer, struck, before.term);
        assert!(deadman.runs(), "the deadman lives on");
        stage.start(0);
        back_as_replica(stage, &writer, struck);
        assert_eq!(stage.deadman(&stage.instance(0)).pid(), deadman.pid(), "it was taken over, not replaced");
    });
}

#[test]
fn a_coordinator_restarted_within_its_lease_costs_its_master_a_new_term() {
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, COORDINATOR_ENDS, DEADMAN_ACTS], |stage| {
        let before = stage.trio();
        store::set(stage.instance(0).port, "kept", "yes").expect("the master accepts");
        assert_eq!(store::ask::<i64>(stage.instance(0).port, &["WAIT", "2", "5000"]), Ok(2));
        stage.daemon(0).process().kill();
        stage.daemon(0).ended_within(poll::PATIENCE);
        stage.start(0);
        let after = stage.next_master("orders", before.term);
        let master = stage.instance(stage.host_of(after.master.as_deref().expect("it is active")));
        assert_eq!(store::get(master.port, "kept").as_deref(), Ok("yes"));
        stage.whole("orders", &["a1", "b1", "c1"]);
    });
}
