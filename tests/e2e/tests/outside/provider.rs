//! The stateboard goes away: for a moment, and for longer than the arbiter's lock lives.

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS};
use e2e::stage::{LEASE, play};
use e2e::writer::{Writer, boot_clock};
use e2e::{poll, store};

const BOARD_IS_AWAY: &[Allowed] = &[
    ("the arbiter's lock cannot be renewed", "the stateboard is away"),
    ("no campaign for the arbiter's lock", "the stateboard is away"),
    ("the provider does not answer the read after the takeover", "the stateboard is away"),
    ("a starting guard waits for the state provider", "the stateboard is away"),
];

#[test]
fn a_stateboard_that_is_back_at_once_is_not_noticed() {
    play(&[BOARD_IS_AWAY], |stage| {
        let before = stage.trio();
        let writer = Writer::start(stage.instance(0).port);
        poll::until("a write", || {
            if writer.accepted().is_empty() { Err("none") } else { Ok(()) }.map_err(str::to_owned)
        });
        let epoch = stage.status().arbiter.epoch;
        let struck = boot_clock();
        stage.kill_board();
        stage.start_board();
        let over = boot_clock() + LEASE * 2;
        poll::until(
            "two leases pass",
            || if boot_clock() > over { Ok(()) } else { Err("not yet".to_owned()) },
        );
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.term, after.master), (before.term, before.master), "nothing has happened");
        assert_eq!(stage.status().arbiter.epoch, epoch, "the arbiter has resumed its epoch");
        assert_eq!(writer.refused_after(struck), 0, "no write was refused");
        assert!(writer.accepted_after(over - LEASE) > 0, "and they went on");
    });
}

#[test]
fn masters_are_fenced_while_the_stateboard_stays_away_and_lead_again_after() {
    play(&[BOARD_IS_AWAY, CHANGE_OF_MASTER, COORDINATOR_ENDS], |stage| {
        let before = stage.trio();
        let port = stage.instance(0).port;
        store::set(port, "kept", "yes").expect("the master accepts");
        let engine = stage.engine(&stage.instance(0)).pid();
        stage.kill_board();
        poll::until("the master is fenced", || match store::set(port, "late", "no") {
            Ok(()) => Err("it accepts".to_owned()),
            Err(refused) if refused.to_lowercase().contains("read") => Ok(()),
            Err(other) => Err(other),
        });
        assert_eq!(store::get(port, "kept").as_deref(), Ok("yes"), "reads go on");
        assert_eq!(stage.engine(&stage.instance(0)).pid(), engine, "it was fenced, not killed");
        let primary = || match stage.check(0, "/instances/a1/primary")? {
            503 => Ok(()),
            other => Err(other.to_string()),
        };
        poll::until("no primary", primary);
        stage.start_board();
        let after = stage.next_master("orders", before.term);
        let master = stage.instance(stage.host_of(after.master.as_deref().expect("it is active")));
        assert_eq!(store::get(master.port, "kept").as_deref(), Ok("yes"), "the data is there");
        store::set(master.port, "more", "yes").expect("and it accepts");
        stage.whole("orders", &["a1", "b1", "c1"]);
    });
}
