//! Moving house: the state of a live cluster goes from a stateboard to etcd and back, while somebody writes.

use e2e::ctl;
use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::poll;
use e2e::stage::{LEASE, Stage, play};
use e2e::writer::{Writer, boot_clock};
use std::process::Stdio;

use crate::provider::STORE_BLIND;

pub const MOVED: &[Allowed] = &[
    ("the cluster's state was moved: this coordinator follows", "it was"),
    ("restored from a backup", "the way back fills the stateboard anew"),
    ("no campaign for the arbiter's lock", "the lock's queue ends at the end that was left"),
    ("waiting for the state provider", "the state has not arrived yet"),
];

/// Where the ends are, in the words of the command.
fn ends(stage: &Stage) -> (String, String) {
    (format!("stateboard:{}", stage.board_url()), format!("etcd:{}", stage.etcd_url()))
}

fn moved(stage: &Stage, from: &str, to: &str) -> serde_json::Value {
    let said = ctl::run(&mut stage.migrate(from, to));
    assert_eq!(said.code, 0, "{said:?}");
    let value = said.json();
    assert_eq!(value["outcome"], "moved", "{value}");
    eprintln!("{value}");
    value
}

fn number_of(stage: &Stage) -> u64 {
    let epoch = stage.status().arbiter.epoch.expect("there is an arbiter");
    let (generation, number) = epoch.split_once('.').expect("GENERATION.NUMBER");
    assert_eq!(generation, "1", "a move is no restore");
    number.parse().expect("a number")
}

/// An arbiter of a later epoch than `before` is at work, and nothing else has changed for two leases.
fn goes_on(stage: &Stage, before: &baton_client::status::ReplicaSetStatus, epoch: u64) {
    poll::until("an arbiter at the new provider", || {
        let status = stage.status();
        let now = status.arbiter.epoch.as_deref().and_then(|it| it.split_once('.'));
        match now.and_then(|(_, number)| number.parse::<u64>().ok()) {
            Some(now) if now > epoch && status.arbiter.active_here => Ok(()),
            _ => Err(format!("{:?}", status.arbiter)),
        }
    });
    let over = boot_clock() + LEASE * 2;
    poll::until("two leases pass", || if boot_clock() > over { Ok(()) } else { Err("not yet".to_owned()) });
    let after = stage.whole("orders", &["a1", "b1", "c1"]);
    assert_eq!((after.term, &after.master), (before.term, &before.master), "nothing has happened");
}

#[test]
fn a_live_cluster_moves_to_etcd_and_back_and_no_write_is_refused() {
    play(&[MOVED, STORE_BLIND, COORDINATOR_ENDS, CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        stage.start_etcd();
        let before = stage.trio();
        let writer = Writer::start(stage.instance(0).port);
        let (board, etcd) = ends(stage);
        let struck = boot_clock();
        let first = number_of(stage);
        moved(stage, &board, &etcd);
        goes_on(stage, &before, first);
        let second = number_of(stage);
        // What was left serves nobody, and says where the state is.
        let again = ctl::run(&mut stage.migrate(&board, &etcd));
        assert_eq!((again.code, &again.json()["outcome"]), (0, &serde_json::json!("nothing_to_do")));
        moved(stage, &etcd, &board);
        goes_on(stage, &before, second);
        let third = number_of(stage);
        moved(stage, &board, &etcd);
        goes_on(stage, &before, third);
        let over = boot_clock();
        assert_eq!(writer.refused_after(struck), 0, "no write was refused");
        poll::until("writes go on", || {
            if writer.accepted_after(over) > 10 { Ok(()) } else { Err("none".to_owned()) }
        });
        // The new end is as good as the old one.
        stage.kill_board();
        stage.engine(&stage.instance(0)).kill();
        let next = stage.next_master("orders", before.term);
        assert_ne!(next.master, before.master);
    });
}

#[test]
fn a_move_that_a_host_cannot_follow_is_taken_back_and_one_that_was_killed_is_made_anew() {
    play(&[MOVED, COORDINATOR_ENDS], |stage| {
        // The first hosts do not know the etcd.
        let before = stage.trio();
        stage.start_etcd();
        let writer = Writer::start(stage.instance(0).port);
        let (board, etcd) = ends(stage);
        let struck = boot_clock();
        let mut command = stage.migrate(&board, &etcd);
        let refused = ctl::run(command.args(["--ready-within", "2s"]));
        assert_eq!((refused.code, refused.json()["error"]["reason"].as_str()), (1, Some("taken_back")));
        let text = refused.json()["error"]["message"].to_string();
        for part in ["host-a", "host-b", "host-c", "provider.next"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // One that is killed while it waits leaves its announcement.
        let mut child = stage.migrate(&board, &etcd).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        poll::until("the move is announced", || {
            stage.status().moving.map(|_| ()).ok_or_else(|| "not yet".to_owned())
        });
        let child = child.as_mut().expect("it was started");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(stage.status().moving.is_some_and(|moving| moving.phase == "announced"));
        let mut command = stage.migrate(&board, &etcd);
        let again = ctl::run(command.args(["--ready-within", "1s"]));
        assert_eq!(again.json()["error"]["reason"].as_str(), Some("taken_back"), "{again:?}");
        poll::until("nothing is left of it", || match stage.status().moving {
            None => Ok(()),
            Some(moving) => Err(format!("{moving:?}")),
        });
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.term, after.master), (before.term, before.master), "nothing has happened");
        assert_eq!(writer.refused_after(struck), 0, "no write was refused");
    });
}
