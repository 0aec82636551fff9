//! Many seeds: what they came to together, and the shortest story of one that went wrong.
//!
//! It must not know how any of that is shown.

use crate::run::{Outcome, Plan, run};
use crate::swarm::script;
use baton_core::rules::Rules;
use baton_core::time::Span;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// A run is one only with so much simulated time, …
pub const SIMULATED_LEAST: Span = Span::from_secs(120);
/// … so many faults that overlap at some moment, …
pub const OVERLAPPING_LEAST: u32 = 3;
/// … and so many changes of the term.
pub const TERM_CHANGES_LEAST: u32 = 1;

/// How often each number was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<u64, u64>);

impl Counts {
    fn add(&mut self, number: u64) {
        *self.0.entry(number).or_default() += 1;
    }

    /// The number in the middle.
    #[must_use]
    pub fn median(&self) -> u64 {
        let half = self.0.values().sum::<u64>() / 2;
        let mut passed = 0;
        for (number, times) in &self.0 {
            passed += times;
            if passed > half {
                return *number;
            }
        }
        0
    }
}

/// What runs came to together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs that are counted.
    pub seeds: u64,
    /// Runs that lack something, and are not counted.
    pub lacking: u64,
    /// Simulated time of all of them, in whole seconds.
    pub simulated_seconds: u64,
    /// Faults.
    pub faults: u64,
    /// Changes of the term.
    pub term_changes: u64,
    /// Clients' requests that were answered.
    pub answered: u64,
    /// Those that were judged as parts of one history.
    pub judged: u64,
    /// Runs in which a person had to do something before there was a master.
    pub by_people: u64,
    /// Runs that broke a property.
    pub violations: u64,
    /// Simulated seconds of the runs.
    pub seconds_each: Counts,
    /// Faults that lasted at the same moment, at most.
    pub overlapping: Counts,
    /// Changes of the term.
    pub terms: Counts,
}

/// Whether a run has all that makes it one. One that broke a property is always counted.
#[must_use]
pub fn counts(outcome: &Outcome) -> bool {
    outcome.violation.is_some()
        || outcome.simulated >= SIMULATED_LEAST
            && outcome.overlapping >= OVERLAPPING_LEAST
            && outcome.term_changes >= TERM_CHANGES_LEAST
}

impl Totals {
    /// Takes one run in.
    pub fn add(&mut self, outcome: &Outcome) {
        if !counts(outcome) {
            self.lacking += 1;
            return;
        }
        let seconds = outcome.simulated.as_millis() / 1_000;
        self.seeds += 1;
        self.simulated_seconds += seconds;
        self.faults += u64::from(outcome.faults);
        self.term_changes += u64::from(outcome.term_changes);
        self.answered += outcome.answers[0];
        self.judged += outcome.judged as u64;
        self.by_people += u64::from(outcome.recovery.as_ref().is_some_and(|it| !it.acts.is_empty()));
        self.violations += u64::from(outcome.violation.is_some());
        self.seconds_each.add(seconds);
        self.overlapping.add(outcome.overlapping.into());
        self.terms.add(outcome.term_changes.into());
    }
}

/// What to search.
#[derive(Clone, Debug)]
pub struct Search {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Which rules the machines keep.
    pub rules: Rules,
    /// How many threads run.
    pub threads: usize,
    /// After how many violations nothing new is begun.
    pub enough: u64,
}

thread_local! {
    static RUNNING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The seed that this thread runs: all that is known of a run in which an assertion of a machine failed.
#[must_use]
pub fn running() -> Option<u64> {
    RUNNING.get()
}

/// Runs the seeds in their order, as far as anybody can tell: `each` is told of them one by one. Returns the first seed that
/// was not run.
pub fn search(search: &Search, mut each: impl FnMut(u64, &Outcome)) -> u64 {
    let next = AtomicU64::new(search.from);
    let end = search.from.saturating_add(search.seeds);
    let stop = AtomicBool::new(false);
    let (results, inbox) = sync_channel::<(u64, Outcome)>(64);
    let mut told = search.from;
    std::thread::scope(|scope| {
        for _ in 0..search.threads.max(1) {
            let results = results.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    RUNNING.set(Some(seed));
                    let outcome = run(&Plan::of(seed).with(search.rules));
                    if results.send((seed, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        told = in_order(inbox, search, &stop, &mut each);
    });
    told
}

fn in_order(
    inbox: Receiver<(u64, Outcome)>,
    search: &Search,
    stop: &AtomicBool,
    each: &mut impl FnMut(u64, &Outcome),
) -> u64 {
    let (mut told, mut violations) = (search.from, 0);
    let mut early = BTreeMap::new();
    for (seed, outcome) in inbox {
        early.insert(seed, outcome);
        while let Some(outcome) = early.remove(&told) {
            violations += u64::from(outcome.violation.is_some());
            each(told, &outcome);
            told += 1;
            if violations >= search.enough {
                stop.store(true, Ordering::Relaxed);
                return told;
            }
        }
    }
    told
}

/// A run that goes wrong with as few faults as were found to suffice.
#[derive(Clone, Debug)]
pub struct Shortest {
    /// Which of the seed's faults happen.
    pub only: Vec<usize>,
    /// How many the seed has.
    pub of: usize,
    /// The run, with its journal.
    pub outcome: Outcome,
}

/// Leaves faults out for as long as the same property breaks: first what comes after it, then by halves, then one by one.
/// `None` where the run breaks nothing.
#[must_use]
pub fn shorten(seed: u64, rules: Rules, patience: Duration) -> Option<Shortest> {
    let began = Instant::now();
    let faults = script(seed).faults;
    let plan =
        |only: &[usize], journal| Plan { only: Some(only.to_vec()), journal, ..Plan::of(seed).with(rules) };
    let mut only: Vec<usize> = (0..faults.len()).collect();
    let property = run(&plan(&only, false)).violation?.property;
    let breaks = |only: &[usize]| {
        began.elapsed() < patience
            && run(&plan(only, false)).violation.is_some_and(|it| it.property == property)
    };
    // The shortest prefix: a longer one that breaks it is cut in two.
    let (mut short, mut long) = (0, only.len());
    while short + 1 < long {
        let middle = short.midpoint(long);
        if breaks(&only[..middle]) { long = middle } else { short = middle }
    }
    only.truncate(long);
    let mut chunk = only.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        while start < only.len() {
            let end = (start + chunk).min(only.len());
            let fewer: Vec<usize> = only[..start].iter().chain(&only[end..]).copied().collect();
            if breaks(&fewer) { only = fewer } else { start = end }
        }
        if chunk == 1 {
            break;
        }
        chunk /= 2;
    }
    let outcome = run(&plan(&only, true));
    Some(Shortest { only, of: faults.len(), outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::rules::Rule;

    #[test]
    fn the_median_is_the_number_in_the_middle() {
        let mut counts = Counts::default();
        for number in [5, 1, 9, 5, 7] {
            counts.add(number);
        }
        assert_eq!(counts.median(), 5);
        assert_eq!(Counts::default().median(), 0);
    }

    #[test]
    fn threads_run_every_seed_once_and_tell_of_them_in_order() {
        let asked = Search { from: 3, seeds: 5, rules: Rules::default(), threads: 3, enough: 1 };
        let mut seen = Vec::new();
        let next = search(&asked, |seed, _| seen.push(seed));
        assert_eq!((seen, next), (vec![3, 4, 5, 6, 7], 8));
    }

    #[test]
    fn a_run_that_goes_wrong_is_found_and_told_with_fewer_faults() {
        let rules = Rules::without(Rule::WaitForOuterBound);
        let asked = Search { from: 0, seeds: 40, rules, threads: 2, enough: 1 };
        let mut found = None;
        search(&asked, |seed, outcome| {
            if outcome.violation.is_some() {
                found = Some(seed);
            }
        });
        let seed = found.expect("a rule is broken");
        let shortest = shorten(seed, rules, Duration::from_secs(60)).expect("it is broken there");
        assert!(shortest.only.len() < shortest.of, "{} of {}", shortest.only.len(), shortest.of);
        assert!(shortest.outcome.violation.is_some() && !shortest.outcome.journal.is_empty());
    }
}
