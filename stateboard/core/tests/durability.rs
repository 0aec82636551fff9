//! Points 1 to 3 of the contract: nothing is said before it is durable, and nothing that was said is lost.

use crate::driver::{Driver, record};
use baton_board::{AppointOutcome, Input, Reply, Request, SessionMessage, WatchStart};
use baton_core::ids::Revision;

fn holder() -> (Driver, baton_board::LockToken) {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let (token, _) = driver.grant(1).expect("the lock is free");
    (driver, token)
}

#[test]
fn an_epoch_is_durable_before_its_holder_learns_of_it() {
    let mut driver = Driver::new();
    driver.prompt = false;
    driver.campaign(1, "host-a", None);
    assert_eq!(driver.last_told(1), None);
    driver.crash();
    driver.campaign(2, "host-b", None);
    driver.persist_all();
    let (token, _) = driver.grant(2).expect("nobody was ever told of an earlier epoch");
    assert_eq!(token.epoch.number, 1);
}

#[test]
fn replies_reads_and_updates_wait_for_the_disk_and_come_in_order() {
    let (mut driver, token) = holder();
    driver.prompt = false;
    let told_before = driver.published.len();
    let first = driver.appoint(token, record(1, 1, "a1", token.epoch));
    let second = driver.appoint(token, record(2, 2, "a2", token.epoch));
    let conflict = driver.appoint(token, record(2, 2, "a1", token.epoch));
    let read = driver.ask(Request::Read);
    assert_eq!(driver.waiting.len(), 2, "both are on their way to the disk, in one commit if it wants");
    for id in [first, second, conflict, read] {
        assert_eq!(driver.reply(id), None);
    }
    driver.persist(1);
    assert!(driver.applied(first));
    assert_eq!(driver.reply(second), None);
    // The conflict tells of version 2 and the read shows it: both would be lies after a crash here.
    assert_eq!(driver.reply(conflict), None);
    assert_eq!(driver.reply(read), None);
    driver.persist(1);
    assert!(driver.applied(second));
    assert!(matches!(driver.reply(conflict), Some(Reply::Appointed(AppointOutcome::Conflict(_)))));
    let revisions: Vec<Revision> =
        driver.published.iter().skip(told_before).map(|update| update.revision).collect();
    assert_eq!(revisions, [Revision(2), Revision(3)]);
}

#[test]
fn a_crash_loses_nothing_that_was_answered() {
    let (mut driver, token) = holder();
    driver.prompt = false;
    let mut answered = Vec::new();
    for version in 1..=6 {
        answered.push(driver.appoint(token, record(version, version, "a1", token.epoch)));
    }
    driver.persist(4);
    let applied = answered.iter().filter(|id| driver.applied(**id)).count();
    assert_eq!(applied, 4);
    driver.crash();
    let version = driver.disk.records.values().next().map(|record| record.version.0);
    assert_eq!(version, Some(4));
}

#[test]
fn a_watch_sees_each_change_after_its_start_once() {
    let (mut driver, token) = holder();
    driver.prompt = false;
    driver.appoint(token, record(1, 1, "a1", token.epoch));
    let watch = driver.ask(Request::Watch { after: None });
    driver.appoint(token, record(2, 2, "a1", token.epoch));
    assert_eq!(driver.reply(watch), None, "its snapshot tells of what is not durable");
    driver.persist_all();
    let start = match driver.reply(watch) {
        Some(Reply::Watching(WatchStart::Snapshot(snapshot))) => snapshot.revision,
        other => panic!("{other:?}"),
    };
    assert_eq!(start, Revision(2));
    let later: Vec<u64> =
        driver.published.iter().map(|update| update.revision.0).filter(|it| *it > 2).collect();
    assert_eq!(later, [3]);
    let resumed = driver.ask(Request::Watch { after: Some(Revision(1)) });
    match driver.reply(resumed) {
        Some(Reply::Watching(WatchStart::Updates(updates))) => assert_eq!(updates.len(), 2),
        other => panic!("{other:?}"),
    }
    driver.crash();
    let resumed = driver.ask(Request::Watch { after: Some(Revision(1)) });
    assert!(
        matches!(driver.reply(resumed), Some(Reply::Watching(WatchStart::Snapshot(_)))),
        "a gap is never hidden"
    );
}

#[test]
fn renewals_write_nothing() {
    let (mut driver, _) = holder();
    driver.prompt = false;
    driver.renew(1);
    assert!(driver.waiting.is_empty());
    assert!(matches!(driver.last_told(1), Some(SessionMessage::Renewed { .. })));
    driver.step(Input::Tick);
}
