//! Settings that change while a cluster is at work, with each provider.

use baton_client::status::ReplicaSetStatus;
use e2e::ctl;
use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::poll;
use e2e::stage::{Stage, play};
use e2e::writer::{Writer, boot_clock};
use std::time::Duration;

use crate::moving::MOVED;
use crate::provider::STORE_BLIND;

/// What a lease that becomes shorter may say.
const NEW_LOCK: &[Allowed] = &[
    ("detached from the arbiter", "etcd's lock is taken anew for a shorter lease"),
    ("this coordinator is no longer the arbiter", "for a moment"),
];

/// Puts a lease, waits until it is the cluster's on every host, and for a while; nothing else may have happened.
fn lease(stage: &Stage, before: &ReplicaSetStatus, lease_ttl: &str, micros: u64) {
    let said = stage.ctl(&["settings", "set", &format!("lease_ttl={lease_ttl}"), "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    poll::until("the arbiter reckons with it", || {
        let timing = stage.ctl(&["timing", "--json"]).json();
        if timing["lease_ttl_us"] == micros { Ok(()) } else { Err(timing.to_string()) }
    });
    for host in 0..3 {
        poll::until("the host knows it", || {
            let log = stage.log_of(host);
            let told = log.lines().any(|line| {
                line.contains("the cluster's settings changed") && line.contains(&format!("→ {lease_ttl}"))
            });
            if told { Ok(()) } else { Err("not yet".to_owned()) }
        });
    }
    let over = boot_clock() + Duration::from_secs(4);
    poll::until("some leases pass", || if boot_clock() > over { Ok(()) } else { Err("not yet".to_owned()) });
    let after = stage.whole("orders", &["a1", "b1", "c1"]);
    let version = |set: &ReplicaSetStatus| set.record.as_ref().map(|record| record.version);
    assert_eq!((after.term, &after.master), (before.term, &before.master), "no failover");
    assert_eq!(version(&after), version(before), "and nobody left the in-sync set for it");
}

/// 1 s → 3 s → 600 ms under load; then the master dies, and the outage is within the new budget.
fn changes(stage: &mut Stage, before: &ReplicaSetStatus) {
    let writer = Writer::start(stage.instance(0).port);
    poll::until("a write", || if writer.accepted().is_empty() { Err("none".to_owned()) } else { Ok(()) });
    let struck = boot_clock();
    lease(stage, before, "3s", 3_000_000);
    lease(stage, before, "600ms", 600_000);
    assert_eq!(writer.refused_after(struck), 0, "no write was refused");
    let accepted = writer.accepted();
    let gaps = accepted.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max().unwrap_or_default();
    eprintln!("{{\"writes\":{},\"longest_gap_ms\":{}}}", accepted.len(), longest.as_millis());

    let engine = stage.engine(&stage.instance(0));
    let killed = boot_clock();
    engine.kill();
    let next = stage.next_master("orders", before.term);
    let outage = boot_clock() - killed;
    assert_ne!(next.master, before.master);
    eprintln!("{{\"outage_ms\":{}}}", outage.as_millis());
}

#[test]
fn the_lease_changes_under_load_and_nothing_else_does() {
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        let before = stage.trio();
        changes(stage, &before);
    });
}

#[test]
fn the_lease_changes_under_load_where_etcd_keeps_the_lock() {
    play(&[MOVED, STORE_BLIND, COORDINATOR_ENDS, CHANGE_OF_MASTER, ENGINE_ENDS, NEW_LOCK], |stage| {
        stage.start_etcd();
        let before = stage.trio();
        let (board, etcd) =
            (format!("stateboard:{}", stage.board_url()), format!("etcd:{}", stage.etcd_url()));
        let moved = ctl::run(&mut stage.migrate(&board, &etcd));
        assert_eq!(moved.code, 0, "{moved:?}");
        changes(stage, &before);
    });
}

#[test]
fn a_person_sees_and_changes_what_holds_and_two_do_not_overwrite_each_other() {
    play(&[], |stage| {
        stage.trio();
        let shown = stage.ctl(&["settings", "show", "--json"]).json();
        let version = shown["version"].as_u64().expect("a number").to_string();
        assert_eq!(shown["settings"]["lease_ttl"], "1s", "{shown}");
        let refused = stage.ctl(&["settings", "set", "lease_ttl=1ms"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("lease_ttl = 1ms is outside 300ms to 600s"), "{refused:?}");
        let done = stage.ctl(&["settings", "set", "immunity=1s", "--set", "orders", "--expected", &version]);
        assert_eq!(done.code, 0, "{done:?}");
        let late = stage.ctl(&["settings", "set", "immunity=2s", "--expected", &version]);
        assert_eq!(late.code, 1, "{late:?}");
        let unknown = stage.ctl(&["settings", "set", "immunity=2s", "--set", "order"]);
        assert!(unknown.err.contains("known are: orders"), "{unknown:?}");
        let said = stage.ctl(&["member", "set-priority", "c1", "500"]);
        assert_eq!(said.code, 0, "{said:?}");
        let members = stage.ctl(&["member", "list"]);
        assert!(members.out.contains("priority 500 (host: "), "{members:?}");
        for (who, why) in
            [("a1", "is the recorded master of orders"), ("c1", "is in the in-sync set of orders")]
        {
            let refused = stage.ctl(&["member", "remove", who]);
            assert_eq!(refused.code, 1, "{refused:?}");
            assert!(refused.err.contains(why), "{refused:?}");
        }
    });
}
