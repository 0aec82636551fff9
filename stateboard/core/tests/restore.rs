//! A board that begins with a backup: what rises, who is waited for, what may be written without room.

use crate::driver::{Driver, LOCK, candidate, genesis, record};
use baton_board::{
    AppointOutcome, Board, Durable, Input, Limits, LockSecret, Reply, Request, RequestId, Resume, SessionId,
};
use baton_core::ids::{Epoch, Revision};
use baton_core::time::{Span, Time};

/// A disk on which `host-a` took the lock so many times and appointed once.
fn used(times: u64) -> Durable {
    let mut driver = Driver::new();
    for session in 1..=times {
        driver.campaign(session, "host-a", None);
        driver.close(session);
    }
    driver.campaign(99, "host-a", None);
    let (token, _) = driver.grant(99).expect("nobody holds it");
    let request = driver.appoint(token, record(1, 1, "a1", token.epoch));
    assert!(driver.applied(request));
    driver.disk
}

#[test]
fn no_epoch_of_an_earlier_life_is_given_again() {
    let (backup, over) = (used(2), used(7));
    let restored = backup.clone().restored_over(Some(&over), 0, 5, 6);
    assert!(restored.revision > over.revision.max(backup.revision));
    let board = Board::new(Time(0), restored.clone(), Limits::default());
    let mut driver = Driver::of(board);
    driver.campaign(1, "host-b", None);
    let (token, bound) = driver.grant(1).expect("nobody holds it");
    assert!(token.epoch > over.lock.epoch && token.epoch.generation == 2, "{}", token.epoch);
    assert_eq!(bound, LOCK, "whoever held it before the restore may believe in it");

    // The holder of the life before: neither its epoch nor its secret is worth anything.
    let (_, secret) = over.lock.holder.clone().expect("it was held");
    let old = baton_board::LockToken { epoch: over.lock.epoch, secret };
    let request = driver.appoint(old, record(2, 2, "a1", old.epoch));
    let stale = Reply::Appointed(AppointOutcome::StaleEpoch(token.epoch));
    assert_eq!(driver.reply(request), Some(&stale));

    // Twice from the same backup, the second time over nothing: only a person knows of the life between.
    assert_eq!(backup.clone().restored_over(None, 0, 5, 6).lock.epoch.generation, 2);
    assert_eq!(backup.clone().restored_over(None, 3, 5, 6).lock.epoch.generation, 3);
    assert_eq!(backup.restored_over(Some(&restored), 0, 5, 6).lock.epoch.generation, 3);
}

#[test]
fn a_backup_of_a_board_that_was_never_used_still_waits_for_whoever_held_the_lock() {
    let restored = genesis().restored_over(Some(&used(0)), 0, 5, 6);
    assert_eq!(restored.lock.epoch, Epoch { generation: 2, number: 1 });
    let mut driver = Driver::of(Board::new(Time(0), restored, Limits::default()));
    driver.campaign(1, "host-b", None);
    assert_eq!(driver.grant(1).map(|(_, bound)| bound), Some(LOCK));
}

#[test]
fn the_longest_lease_of_the_life_before_is_kept() {
    let (backup, mut over) = (used(1), used(1));
    over.settings.lease_ttl = Span::from_secs(60);
    let restored = backup.clone().restored_over(Some(&over), 0, 5, 6);
    assert_eq!(restored.settings.lease_ttl, backup.settings.lease_ttl);
    assert_eq!(restored.settings.longest(), Span::from_secs(60));
    assert_eq!(backup.clone().restored_over(None, 0, 5, 6).settings.longest(), backup.settings.longest());
}

#[test]
fn only_a_board_that_was_never_used_is_empty() {
    assert!(genesis().is_empty());
    assert!(!used(0).is_empty());
    assert!(!genesis().restored_over(None, 0, 5, 6).is_empty());
}

#[test]
fn what_may_write_is_told_before_it_is_done() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let (token, _) = driver.grant(1).expect("nobody holds it");
    let campaign = |resume| Input::Campaign {
        session: SessionId(2),
        candidate: candidate("host-b"),
        resume,
        secret: LockSecret(1),
    };
    let ask = |request| Input::Request { id: RequestId(77), request };
    let other = baton_board::LockToken { secret: LockSecret(0), ..token };
    for (writes, input) in [
        (true, campaign(None)),
        (true, campaign(Some(Resume { token: other, only: false }))),
        (false, campaign(Some(Resume { token: other, only: true }))),
        (false, campaign(Some(Resume { token, only: false }))),
        (false, Input::Renew { session: SessionId(1) }),
        (false, ask(Request::Read)),
        (false, ask(Request::Status)),
        (false, ask(Request::Watch { after: Some(Revision(1)) })),
        (true, ask(Request::Appoint { token, changes: Vec::new() })),
        (false, Input::Resign { session: SessionId(1), last_grant_remaining: Span::ZERO }),
    ] {
        assert_eq!(driver.board.may_write(&input), writes, "{input:?}");
        let mut tried = Driver::of(driver.board.clone());
        tried.step(input.clone());
        let wrote = tried.board.revision() > driver.board.revision();
        let ends = matches!(input, Input::Resign { .. });
        assert!(writes || ends || !wrote, "{input:?} wrote");
    }
}
