//! The state moves to another provider: what each step closes, and what opens where it arrives.

use crate::driver::{Driver, LOCK, genesis, record};
use baton_board::{
    AppointOutcome, Board, Limits, RefusalReason, Reply, Request, Resume, SessionMessage, SettingsOutcome,
};
use baton_core::ids::{Epoch, Version};
use baton_core::record::{Move, MovePhase, Settings};
use baton_core::time::{Span, Time};

fn at(phase: MovePhase) -> Move {
    Move { id: 7, phase, other: "etcd http://10.0.0.1:2379".into(), lock: LOCK }
}

fn step(driver: &mut Driver, moving: Option<Move>) -> SettingsOutcome {
    let expected = driver.disk.settings.version;
    let id = driver.ask(Request::PutMove { expected, moving });
    match driver.reply(id) {
        Some(Reply::Settings(outcome)) => outcome.clone(),
        other => panic!("{other:?}"),
    }
}

fn must(driver: &mut Driver, moving: Option<Move>) {
    let outcome = step(driver, moving);
    assert!(matches!(outcome, SettingsOutcome::Applied(_)), "{outcome:?}");
}

/// All steps of a move away from here.
pub fn leave(driver: &mut Driver) {
    for phase in [MovePhase::Announced, MovePhase::Frozen, MovePhase::Moved] {
        must(driver, Some(at(phase)));
    }
}

#[test]
fn a_frozen_board_keeps_its_holder_and_changes_nothing() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let (token, _) = driver.grant(1).expect("free");
    must(&mut driver, Some(at(MovePhase::Announced)));
    let first = driver.appoint(token, record(1, 1, "a1", token.epoch));
    assert!(driver.applied(first), "an announcement closes nothing");
    must(&mut driver, Some(at(MovePhase::Frozen)));
    let refused = driver.appoint(token, record(2, 2, "a2", token.epoch));
    let Some(Reply::Appointed(AppointOutcome::Refused(refusal))) = driver.reply(refused) else {
        panic!("{:?}", driver.reply(refused))
    };
    assert_eq!(refusal.reason, RefusalReason::Moving);
    driver.renew(1);
    assert!(matches!(driver.last_told(1), Some(SessionMessage::Renewed { .. })), "its holder leads on");
    driver.campaign(2, "host-b", None);
    driver.close(1);
    driver.pass(LOCK * 3);
    assert_eq!(driver.grant(2), None, "no epoch is given that the copy does not know");
    must(&mut driver, None);
    assert!(driver.grant(2).is_some(), "taken back, it goes on");
}

#[test]
fn a_board_that_was_left_serves_nobody_even_after_a_restart() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let (token, _) = driver.grant(1).expect("free");
    driver.campaign(2, "host-b", None);
    leave(&mut driver);
    assert_eq!(driver.last_told(1), Some(&SessionMessage::Lost { current: token.epoch }));
    let refused = |driver: &Driver, session| match driver.last_told(session) {
        Some(SessionMessage::Refused(refusal)) => refusal.reason == RefusalReason::Moving,
        _ => false,
    };
    assert!(refused(&driver, 2), "{:?}", driver.last_told(2));
    driver.crash();
    let late = driver.appoint(token, record(1, 1, "a1", token.epoch));
    assert!(!driver.applied(late));
    driver.campaign(3, "host-a", Some(Resume { token, only: false }));
    assert!(refused(&driver, 3), "{:?}", driver.last_told(3));
    assert!(matches!(step(&mut driver, None), SettingsOutcome::Refused(_)), "no step leads back");
}

#[test]
fn what_arrives_is_closed_until_it_is_opened_and_then_waits_for_the_old_holder() {
    let mut there = Driver::new();
    there.campaign(1, "host-a", None);
    let (token, _) = there.grant(1).expect("free");
    there.appoint(token, record(5, 1, "a1", token.epoch));
    let arriving = Move { lock: LOCK * 2, ..at(MovePhase::Arriving) };
    assert!(genesis().may_be_filled(token.epoch) && !there.disk.may_be_filled(token.epoch));
    let here = there.disk.clone().arriving_over(Some(&genesis()), arriving);
    assert!(here.may_be_filled(token.epoch), "an earlier run may be made anew");
    assert!(!here.may_be_filled(Epoch { number: 0, ..token.epoch }), "but not from an older state");
    let mut driver = Driver::of(Board::new(Time(0), here.clone(), Limits::default()));
    driver.disk = here;
    driver.campaign(2, "host-b", None);
    driver.pass(LOCK * 3);
    assert_eq!(driver.grant(2), None, "nobody knows yet whether the move is committed");
    must(&mut driver, None);
    let (next, bound) = driver.grant(2).expect("open");
    assert_eq!((next.epoch.generation, next.epoch.number), (token.epoch.generation, token.epoch.number + 1));
    assert_eq!(bound, LOCK * 2, "whoever held the lock there may believe in it so long");
    let outcome = driver.appoint(next, record(6, 2, "a1", next.epoch));
    assert!(driver.applied(outcome));
}

#[test]
fn settings_that_know_no_move_leave_it_as_it_is() {
    let mut driver = Driver::new();
    must(&mut driver, Some(at(MovePhase::Announced)));
    let settings = Box::new(Settings { lease_ttl: Span::from_secs(2), ..Settings::default() });
    let id = driver.ask(Request::PutSettings { expected: Version(1), settings });
    assert!(matches!(driver.reply(id), Some(Reply::Settings(SettingsOutcome::Applied(_)))));
    assert_eq!(driver.disk.settings.moving, Some(at(MovePhase::Announced)));
    let other = Move { id: 8, ..at(MovePhase::Frozen) };
    assert!(matches!(step(&mut driver, Some(other)), SettingsOutcome::Refused(_)), "another run's step");
    let late = Request::PutMove { expected: Version(1), moving: None };
    let late = driver.ask(late);
    assert!(matches!(driver.reply(late), Some(Reply::Settings(SettingsOutcome::Conflict(_)))));
}
