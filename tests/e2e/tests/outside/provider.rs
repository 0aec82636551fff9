//! The stateboard goes away: for a moment, and for longer than the arbiter's lock lives.

use e2e::logs::{Allowed, COORDINATOR_ENDS};
use e2e::poll;
use e2e::stage::{LEASE, play, play_slowly};
use e2e::writer::{Writer, boot_clock};
use std::time::Duration;

use crate::failsafe::leads;

pub const BOARD_IS_AWAY: &[Allowed] = &[
    ("the arbiter's lock cannot be renewed", "the stateboard is away"),
    ("no campaign for the arbiter's lock", "the stateboard is away"),
    ("the provider does not answer the read after the takeover", "the stateboard is away"),
    ("a starting guard waits for the state provider", "the stateboard is away"),
];

pub const STORE_BLIND: &[Allowed] = &[
    ("store-blind: no arbiter extends the lease", "the arbiter's lock runs out"),
    ("no promise: it hears the arbiter", "the lock is granted again while a request is under way"),
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

/// How long the stateboard stays away. `BATON_OUTAGE` says how many seconds; a nightly run has ten minutes.
fn outage() -> Duration {
    let asked = std::env::var("BATON_OUTAGE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(60))
}

#[test]
fn no_write_is_refused_while_the_stateboard_stays_away() {
    play_slowly(&[BOARD_IS_AWAY, STORE_BLIND, COORDINATOR_ENDS], |stage| {
        let before = stage.trio();
        let writer = Writer::start(stage.instance(0).port);
        leads(stage, 0, false).expect("the arbiter grants");
        let struck = boot_clock();
        stage.kill_board();
        poll::until("a1 leads by promises", || leads(stage, 0, true));
        let over = struck + outage();
        poll::within(outage() + poll::PATIENCE, "the outage ends", || {
            leads(stage, 0, true)?;
            if boot_clock() > over { Ok(()) } else { Err("not yet".to_owned()) }
        });
        stage.start_board();
        poll::until("the arbiter grants again", || leads(stage, 0, false));
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.term, after.master), (before.term, before.master), "nothing has happened");
        assert_eq!(writer.refused_after(struck), 0, "no write was refused");
        assert!(writer.accepted_after(over) > 0, "and they went on");
    });
}
