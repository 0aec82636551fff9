//! Each safety rule has a switch that breaks it, and the check that catches it: a rule without such a check is a
//! rule that nobody would miss.

use crate::driver::{Driver, genesis, record};
use baton_board::{Board, Limits};
use baton_core::ids::{InstanceName, Term};
use baton_core::rules::{Keeper, Rule, Rules};
use baton_core::time::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What can be seen to be wrong from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Violation {
    /// I1.
    TwoMastersOfOneTerm,
    /// I1.
    TermFell,
    /// I6.
    ChangedUnderAnOldEpoch,
    /// An update that was told was not based on the one before it.
    LostUpdate,
    /// I4.
    ToldBeforeDurable,
    /// I2.
    BoundTooShort,
    /// I6.
    ChangedAfterItMoved,
}

/// One story that comes near to every rule, and what goes wrong in it.
fn story(rule: Option<Rule>) -> BTreeSet<Violation> {
    let board = Board::new(Time(0), genesis(), Limits::default());
    let board = match rule {
        Some(rule) => board.with_rules(Rules::without(rule)),
        None => board,
    };
    let mut driver = Driver::of(board);
    let mut violations = BTreeSet::new();
    // One that resigns ends its own part of the bound, and not that of who believed in the lock before it.
    driver.campaign(11, "host-x", None);
    driver.close(11);
    driver.campaign(12, "host-y", None);
    driver.resign(12, Span::from_millis(10));
    driver.campaign(1, "host-a", None);
    let (old, bound) = driver.grant(1).expect("free");
    if bound < Span::from_secs(5) {
        violations.insert(Violation::BoundTooShort);
    }
    driver.appoint(old, record(5, 1, "a1", old.epoch));
    // The holder loses its connection while it may believe in its lock for five seconds.
    driver.campaign(2, "host-b", None);
    driver.close(1);
    let (new, bound) = driver.grant(2).expect("freed");
    if bound < Span::from_secs(5) {
        violations.insert(Violation::BoundTooShort);
    }
    let late = driver.appoint(old, record(6, 2, "a2", old.epoch));
    if driver.applied(late) {
        violations.insert(Violation::ChangedUnderAnOldEpoch);
    }
    driver.appoint(new, record(6, 2, "a1", new.epoch));
    // A writer that read version 1 overwrites what came after it; another reuses and lowers a term.
    let stale = driver.appoint(new, record(9, 2, "a2", new.epoch));
    if driver.applied(stale) {
        violations.insert(Violation::LostUpdate);
    }
    for (term, master) in [(6, "a2"), (3, "a2")] {
        let version = next_version(&driver);
        driver.appoint(new, record(term, version, master, new.epoch));
    }
    driver.prompt = false;
    let told = driver.replies.len();
    let version = next_version(&driver);
    driver.appoint(new, record(20, version, "a1", new.epoch));
    if driver.replies.len() > told {
        violations.insert(Violation::ToldBeforeDurable);
    }
    driver.persist_all();
    driver.prompt = true;
    crate::moving::leave(&mut driver);
    let version = next_version(&driver);
    let late = driver.appoint(new, record(30, version, "a1", new.epoch));
    if driver.applied(late) {
        violations.insert(Violation::ChangedAfterItMoved);
    }
    violations.extend(check_history(&driver));
    violations
}

fn next_version(driver: &Driver) -> u64 {
    driver.disk.records.values().next().map_or(1, |record| record.version.0 + 1)
}

/// I1 over everything that was told.
fn check_history(driver: &Driver) -> BTreeSet<Violation> {
    let mut violations = BTreeSet::new();
    let mut masters: BTreeMap<Term, Option<InstanceName>> = BTreeMap::new();
    let mut highest = Term(0);
    for update in &driver.published {
        for item in &update.items {
            let baton_board::Item::Record(record) = item else { continue };
            if masters.entry(record.term).or_insert_with(|| record.master.clone()) != &record.master {
                violations.insert(Violation::TwoMastersOfOneTerm);
            }
            if record.term < highest {
                violations.insert(Violation::TermFell);
            }
            highest = highest.max(record.term);
        }
    }
    violations
}

#[test]
fn nothing_goes_wrong_with_all_rules() {
    assert_eq!(story(None), BTreeSet::new());
}

#[test]
fn every_broken_rule_is_caught_by_its_check() {
    for rule in Rule::ALL.into_iter().filter(|rule| rule.keeper() == Keeper::Board) {
        let expected = match rule {
            Rule::WriteUnderEpoch => Violation::ChangedUnderAnOldEpoch,
            Rule::WriteFromVersion => Violation::LostUpdate,
            Rule::UseTermOnce => Violation::TwoMastersOfOneTerm,
            Rule::SyncBeforeAnswer => Violation::ToldBeforeDurable,
            Rule::TellPredecessorBound | Rule::KeepEarlierBounds => Violation::BoundTooShort,
            Rule::ServeUnmoved => Violation::ChangedAfterItMoved,
            other => panic!("no check is known to catch {other:?}"),
        };
        let found = story(Some(rule));
        assert!(found.contains(&expected), "{rule:?} was not caught: {found:?}");
        if rule == Rule::UseTermOnce {
            assert!(found.contains(&Violation::TermFell), "{found:?}");
        }
    }
}
