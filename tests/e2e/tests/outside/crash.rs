//! An engine or its deadman dies: the class *crashed*.

use baton_client::status::ReplicaSetStatus;
use e2e::logs::{CHANGE_OF_MASTER, ENGINE_ENDS};
use e2e::stage::{Stage, play};
use e2e::{poll, store};

/// The set is whole again under another master; the newest decision is of `class`.
fn replaced(stage: &Stage, before: &ReplicaSetStatus, class: &str) -> ReplicaSetStatus {
    let after = stage.whole("orders", &["a1", "b1", "c1"]);
    assert!(after.term > before.term, "{} after {}", after.term, before.term);
    let history = stage.ctl(&["history", "orders", "--json"]).json();
    let decision = &history[0]["decision"];
    assert_eq!(decision["class"], class, "{history}");
    assert_eq!(decision["term_after"], after.term, "{history}");
    assert_eq!(history[0]["record"]["master"].as_str(), after.master.as_deref(), "{history}");
    after
}

#[test]
fn a_killed_master_is_replaced_and_comes_back_as_a_replica() {
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        let before = stage.trio();
        let old = stage.instance(0);
        store::set(old.port, "kept", "yes").expect("the master accepts");
        assert_eq!(store::ask::<i64>(old.port, &["WAIT", "2", "5000"]), Ok(2), "both replicas have it");
        stage.engine(&old).kill();

        stage.next_master("orders", before.term);
        let after = replaced(stage, &before, "crashed");
        let master = after.master.expect("it is active");
        assert_ne!(master, "a1");
        assert_eq!(poll::until("a1 is told to follow", || store::info(old.port, "role")), "slave");
        poll::until("a1 has the write", || store::get(old.port, "kept"));
        let refused = store::set(old.port, "x", "y").expect_err("a replica");
        assert!(refused.to_lowercase().contains("read only") || refused.contains("READONLY"), "{refused}");
        let new = stage.instance(stage.host_of(&master));
        assert_eq!(store::get(new.port, "kept").as_deref(), Ok("yes"));
        store::set(new.port, "new", "yes").expect("the new master accepts");
    });
}

#[test]
fn an_engine_dies_with_its_deadman() {
    let lost =
        [("the deadman is lost", "it was killed"), ("killing the engine", "no fence is answered any more")];
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, &lost], |stage| {
        let before = stage.trio();
        let old = stage.instance(0);
        store::set(old.port, "kept", "yes").expect("the master accepts");
        assert_eq!(store::ask::<i64>(old.port, &["WAIT", "2", "5000"]), Ok(2), "both replicas have it");
        let engine = stage.engine(&old);
        stage.deadman(&old).kill();
        poll::until("the engine ends", || if engine.runs() { Err("it runs".to_owned()) } else { Ok(()) });
        let after = stage.next_master("orders", before.term);
        assert_ne!(after.master.as_deref(), Some("a1"));
        replaced(stage, &before, "crashed");
    });
}
