//! Points 5 and 6 of the contract: epochs rise, and nobody is told to wait too short a time.

use crate::driver::{Driver, LOCK};
use baton_board::{Request, Resume, SessionMessage, SettingsOutcome};
use baton_core::ids::Version;
use baton_core::record::Settings;
use baton_core::time::Span;

#[test]
fn a_connected_holder_keeps_the_lock_until_it_expires() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    driver.campaign(2, "host-b", None);
    driver.pass(Span::from_secs(4));
    driver.renew(1);
    driver.pass(Span::from_millis(4_999));
    assert_eq!(driver.grant(2), None);
    driver.pass(Span::from_millis(1));
    let (token, bound) = driver.grant(2).expect("it expired at this moment");
    assert_eq!((token.epoch.number, bound), (2, Span::ZERO));
    assert_eq!(driver.last_told(1), Some(&SessionMessage::Lost { current: token.epoch }));
}

#[test]
fn a_closed_connection_hands_over_at_once_with_what_is_left_as_bound() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    driver.campaign(2, "host-b", None);
    driver.pass(Span::from_secs(2));
    driver.close(1);
    let (_, bound) = driver.grant(2).expect("at once");
    assert_eq!(bound, LOCK - Span::from_secs(2));
}

#[test]
fn the_bound_is_the_latest_over_all_earlier_holders() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    driver.close(1);
    driver.campaign(2, "host-b", None);
    driver.pass(Span::from_secs(1));
    driver.resign(2, Span::from_millis(10));
    driver.campaign(3, "host-c", None);
    let (_, bound) = driver.grant(3).expect("free");
    assert_eq!(bound, LOCK - Span::from_secs(1), "host-a may believe in its lock so long");
}

#[test]
fn a_resignation_ends_its_own_part_only_up_to_its_last_grant() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    driver.resign(1, Span::from_millis(700));
    driver.campaign(2, "host-b", None);
    assert_eq!(driver.grant(2).map(|(_, bound)| bound), Some(Span::from_millis(700)));
}

#[test]
fn a_restart_counts_the_longest_ttl_from_itself() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let longer = Settings { lease_ttl: Span::from_secs(40), ..Settings::default() };
    driver.ask(Request::PutSettings { expected: Version(0), settings: Box::new(longer) });
    driver.renew(1);
    let shorter = Settings { lease_ttl: Span::from_secs(4), ..Settings::default() };
    let id = driver.ask(Request::PutSettings { expected: Version(1), settings: Box::new(shorter) });
    assert!(matches!(driver.reply(id), Some(baton_board::Reply::Settings(SettingsOutcome::Applied(_)))));
    driver.pass(Span::from_secs(3));
    driver.crash();
    driver.campaign(2, "host-b", None);
    driver.pass(Span::from_millis(49_999));
    assert_eq!(driver.grant(2), None, "host-a was given 50 s and may believe in them");
    driver.pass(Span::from_millis(1));
    assert_eq!(driver.grant(2).map(|(token, bound)| (token.epoch.number, bound)), Some((2, Span::ZERO)));
}

#[test]
fn after_a_restart_the_holder_resumes_with_its_secret_and_nobody_else_does() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let (token, _) = driver.grant(1).expect("free");
    driver.crash();
    driver.campaign(2, "host-b", None);
    let mut guess = token;
    guess.secret.0 += 1;
    driver.campaign(3, "host-a", Some(Resume { token: guess, only: true }));
    assert_eq!(driver.last_told(3), Some(&SessionMessage::Lost { current: token.epoch }));
    driver.campaign(4, "host-a", Some(Resume { token, only: true }));
    match driver.last_told(4) {
        Some(SessionMessage::Granted { token: resumed, resumed: true, .. }) => assert_eq!(*resumed, token),
        other => panic!("{other:?}"),
    }
    assert_eq!(driver.grant(2), None);
}

#[test]
fn after_a_restart_a_resigned_lock_is_free_but_its_grants_are_waited_for() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    driver.resign(1, Span::from_secs(4));
    driver.crash();
    driver.campaign(2, "host-b", None);
    assert_eq!(driver.grant(2).map(|(_, bound)| bound), Some(LOCK));
}

#[test]
fn the_end_of_a_replaced_connection_frees_nothing() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let (token, _) = driver.grant(1).expect("free");
    driver.campaign(2, "host-a", Some(Resume { token, only: true }));
    driver.campaign(3, "host-b", None);
    driver.close(1);
    assert_eq!(driver.grant(3), None, "host-a holds it over its newer connection");
    driver.close(2);
    assert!(driver.grant(3).is_some());
}
