//! For how many replicas a commit waits, changed while a cluster is at work.

use baton_client::status::ReplicaSetStatus;
use e2e::logs::{CHANGE_OF_MASTER, ENGINE_ENDS};
use e2e::poll;
use e2e::stage::{Stage, play};
use e2e::store;
use e2e::writer::{KEY, Writer, boot_clock};

fn is_set(stage: &Stage, ack_quorum: u32) {
    let said = stage.ctl(&["settings", "set", &format!("ack_quorum={ack_quorum}"), "--set", "orders"]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn recorded(stage: &Stage, ack_quorum: u32) -> ReplicaSetStatus {
    poll::until(&format!("ack_quorum = {ack_quorum} is recorded"), || {
        let set = stage.set("orders")?;
        let record = set.record.clone().ok_or("no record")?;
        if record.ack_quorum == ack_quorum { Ok(set) } else { Err(format!("{record:?}")) }
    })
}

fn writes(writer: &Writer, more: usize) {
    let before = writer.accepted().len();
    poll::until("writes are confirmed", || {
        let now = writer.accepted().len();
        if now >= before + more { Ok(()) } else { Err(format!("{now} after {before}")) }
    });
}

/// 0 → 1 under load, the master's engine is killed, and back to 0: what was confirmed while it was 1 is there.
#[test]
fn a_set_comes_to_wait_for_replicas_under_load_and_loses_nothing_from_then_on() {
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        let before = stage.trio();
        let writer = Writer::start_waiting(stage.instance(0).port);
        writes(&writer, 50);
        let changed = boot_clock();
        is_set(stage, 1);
        let after = recorded(stage, 1);
        assert_eq!((after.term, &after.master), (before.term, &before.master), "no failover");
        writes(&writer, 200);
        assert_eq!(writer.refused_after(changed), 0, "no write was refused for it");
        stage.engine(&stage.instance(0)).kill();
        let next = stage.next_master("orders", before.term);
        let confirmed = writer.numbered().last().map(|(_, number)| *number).expect("some were");
        drop(writer);
        let master = next.master.clone().expect("there is one");
        let port = stage.instance(stage.host_of(&master)).port;
        let held: u64 = store::get(port, KEY).expect("it is there").parse().expect("a number");
        eprintln!("{{\"confirmed\":{confirmed},\"held\":{held}}}");
        assert!(held >= confirmed, "{confirmed} was confirmed, and {master} holds {held}");
        is_set(stage, 0);
        recorded(stage, 0);
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!(after.term, next.term, "no failover");
        writes(&Writer::start(port), 20);
    });
}

/// With too few replicas it stays as it was, and people are told why, and that it will.
#[test]
fn what_a_set_has_too_few_replicas_for_waits_and_says_so() {
    play(&[], |stage| {
        let before = stage.trio();
        let said = stage.ctl(&["settings", "set", "ack_quorum=3", "--set", "orders"]);
        assert!(said.code == 0 && said.out.contains("orders keeps ack_quorum = 0 until 3"), "{said:?}");
        poll::until("it is an issue", || {
            let issues = stage.ctl(&["issues", "orders"]);
            let why = "ack_quorum stays 0: it needs 3 in-sync replicas that follow the master, and has 2";
            if issues.out.contains(why) { Ok(()) } else { Err(format!("{issues:?}")) }
        });
        is_set(stage, 2);
        let after = recorded(stage, 2);
        assert_eq!(after.term, before.term, "no failover");
        assert!(!stage.ctl(&["issues", "orders"]).out.contains("ack_quorum stays"), "it is over");
    });
}
