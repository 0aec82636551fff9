//! Sidecars that are restarted on purpose, with `--keep-engine`: masters go on at their terms, and what they leave to nobody
//! ends in time.

use std::fs;
use std::time::Duration;

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::process::Process;
use e2e::stage::{LEASE, Stage, play};
use e2e::writer::boot_clock;
use e2e::{InstancePlan, poll, store};

const LATE: &[Allowed] =
    &[("killing the engine: its lease ran out", "its right has ended before anybody came")];

const MIDDLE: &[Allowed] = &[
    ("nothing can be handed over", "a failover is under way"),
    ("a1 has no successor", "the one whose report is missing is being restarted"),
];

/// A trio whose commits wait for one replica, and whose coordinators leave their rights behind.
fn trio(stage: &mut Stage) -> u64 {
    let settings = stage.path().join("settings.toml");
    let text = fs::read_to_string(&settings).expect("the stage writes it");
    fs::write(settings, format!("{text}ack_quorum = 1\n")).expect("writable");
    stage.keep_engines = true;
    stage.trio().term
}

fn stop(stage: &mut Stage, host: usize) {
    stage.daemon(host).process().terminate();
    let ended = stage.daemon(host).ended_within(Duration::from_secs(5));
    assert_eq!(ended.code(), Some(0), "{}", stage.log_of(host));
}

fn held(stage: &Stage, plan: &InstancePlan) -> (Process, Process) {
    (stage.engine(plan), stage.deadman(plan))
}

/// Host 0 has the master, host 1 the arbiter, host 2 a replica.
#[test]
fn sidecars_upgraded_in_turn_cost_neither_a_term_nor_a_write() {
    play(&[COORDINATOR_ENDS, CHANGE_OF_MASTER, ENGINE_ENDS, MIDDLE], |stage| {
        let term = trio(stage);
        let master = stage.instance(0);
        let writer = stage.writer(0);
        poll::until("it writes", || {
            writer.numbered().first().map(|_| ()).ok_or_else(|| "not yet".to_owned())
        });
        let began = boot_clock();
        let record = |stage: &Stage| stage.set("orders").map(|set| set.record.map(|record| record.in_sync));
        for host in 0..3 {
            let plan = stage.instance(host);
            let (engine, deadman) = held(stage, &plan);
            stop(stage, host);
            let stopped = boot_clock();
            assert!(engine.runs() && deadman.runs(), "both are left");
            stage.start(host);
            poll::until("its right outlives the one that was left", || {
                let (code, page) = stage.page(host, "/health")?;
                let (late, log) = (boot_clock() > stopped + LEASE * 3 / 2, stage.log_of(host));
                if code == 200 && late && log.contains("goes on from the hand-over") {
                    Ok(())
                } else {
                    Err(page.to_string())
                }
            });
            assert!(engine.runs() && deadman.runs(), "both are the same as before");
            let seen = stage.whole("orders", &["a1", "b1", "c1"]);
            assert_eq!((seen.term, seen.master.as_deref()), (term, Some("a1")), "{}", stage.log_of(host));
            assert_eq!(record(stage).map(|in_sync| in_sync.map(|names| names.len())), Ok(Some(3)));
        }
        let written = writer.numbered();
        assert_eq!(writer.refused_after(began), 0, "no write was refused");
        let (_, last) = written.last().expect("it writes");
        let pauses = written.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let numbers = written.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1);
        assert!(numbers, "the connection never broke, and no answer is missing: {:?}", pauses.max());
        drop(writer);
        let kept: u64 = poll::until("it is there", || store::get(master.port, e2e::writer::KEY))
            .parse()
            .expect("a number");
        assert!(kept >= *last, "{kept} is before {last}");

        // In the middle of a failover a sidecar waits for what is under way, or gives up; it comes back either way.
        stage.engine(&master).kill();
        stop(stage, 1);
        stage.start(1);
        stage.next_master("orders", term);
        stage.whole("orders", &["a1", "b1", "c1"]);
    });
}

#[test]
fn a_right_that_is_left_to_nobody_ends_in_time_and_whoever_comes_late_relinquishes_it() {
    play(&[COORDINATOR_ENDS, CHANGE_OF_MASTER, ENGINE_ENDS, MIDDLE, LATE], |stage| {
        let term = trio(stage);
        let old = stage.instance(0);
        let writer = stage.writer(0);
        let (engine, deadman) = held(stage, &old);
        stop(stage, 0);
        let left = boot_clock();
        assert!(engine.runs() && deadman.runs(), "both are left");
        let after = stage.next_master("orders", term);
        assert_ne!(after.master.as_deref(), Some("a1"));
        assert!(!engine.runs(), "its deadman ended it before anybody else led");
        assert!(deadman.runs());
        assert_eq!(writer.accepted_after(left + LEASE), 0, "nothing was accepted after the lease");
        drop(writer);
        stage.start(0);
        stage.whole("orders", &["a1", "b1", "c1"]);
        let log = stage.log_of(0);
        assert!(log.contains("goes on from the hand-over") && log.contains("its lease ran out"), "{log}");

        // Stopped for good, a master gives its term up as ever.
        let second = stage.host_of(after.master.as_deref().expect("it is active"));
        let engine = stage.engine(&stage.instance(second));
        stage.daemon(second).process().interrupt();
        assert_eq!(stage.daemon(second).ended_within(Duration::from_secs(5)).code(), Some(0));
        assert!(engine.runs(), "it is fenced, and so needs not end");
        assert!(stage.log_of(second).contains("giving the mastership up: the daemon stops"));
        stage.start(second);
        stage.next_master("orders", after.term);
    });
}
