//! Every safety rule, broken, is found by the random search: the seeds say what happens, nobody else. A rule whose breach no seed
//! of the bounded number shows would be one that the search does not watch.
//!
//! `BATON_STARTS=21` measures instead: from so many starts, how many seeds it takes (the table in docs/testing.md).

use baton_core::rules::{Keeper, Rule, Rules};
use sim::run::{Plan, run};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds that are tried before the rule counts as not found.
const MOST: u64 = 2_000;

/// How far apart the starts of a measurement are.
const APART: u64 = 1_000_000;

/// What one search gave.
#[derive(Clone, Debug)]
struct Found {
    seeds: u64,
    property: &'static str,
}

/// The first seed from a start on in which something is wrong.
fn search(rule: Rule, from: u64, most: u64) -> Option<Found> {
    (0..most).find_map(|number| {
        let violation = run(&Plan::of(from + number).with(Rules::without(rule))).violation?;
        Some(Found { seeds: number + 1, property: violation.property })
    })
}

fn rules() -> Vec<Rule> {
    // There is no etcd here: its rule is broken where a real one is, in the contract's tests.
    let here = |rule: &Rule| rule.keeper() != Keeper::Etcd;
    Rule::ALL.into_iter().filter(here).collect()
}

/// How many starts are measured; one is what the gate has time for.
fn starts() -> u64 {
    std::env::var("BATON_STARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What each start gave for a rule; the fewest seeds first.
fn measure(rule: Rule) -> Vec<Option<Found>> {
    let mut found: Vec<_> = (0..starts()).map(|start| search(rule, start * APART, MOST)).collect();
    found.sort_by_key(|found| found.as_ref().map_or(u64::MAX, |found| found.seeds));
    found
}

/// A line of the table: the rule, the median number of seeds, by which properties it was found how often.
fn line(rule: Rule, found: &[Option<Found>]) -> String {
    let median = found.get(found.len() / 2).and_then(Option::as_ref).map(|found| found.seeds);
    let median = median.map_or(format!("more than {MOST}"), |seeds| seeds.to_string());
    let mut by = BTreeMap::<&str, usize>::new();
    for found in found.iter().flatten() {
        *by.entry(found.property).or_default() += 1;
    }
    let by: Vec<_> = by.into_iter().map(|(property, times)| format!("{property} {times}")).collect();
    format!("{:28} {median:>6} {}", rule.name(), by.join(", "))
}

#[test]
fn every_broken_rule_is_found_by_some_seed() {
    let rules = rules();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(rule) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = measure(*rule);
                    eprintln!("{}", line(*rule, &found));
                    if found.iter().all(Option::is_none) {
                        missed.lock().expect("nobody panics with it").push(rule.name());
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("nobody panics with it");
    assert!(missed.is_empty(), "not found in {MOST} seeds: {}", missed.join(", "));
}

#[test]
fn a_search_that_breaks_nothing_finds_nothing() {
    for seed in 0..20 {
        assert_eq!(run(&Plan::of(seed)).violation, None, "seed {seed}");
    }
}
