//! The verdict over a folder of evidence: one checker a file, each a pure function of the evidence alone. Nothing here asks a
//! cluster or a clock, so a saved run is judged again with the same outcome.
//!
//! Three verdicts. *Invalid* wins over everything: a counter-example stays one however thin the rest is. *Unknown* is what a run
//! says that could not have shown a flaw: too little traffic, a fault that did not bite, no end.

mod contents;
mod health;
mod losses;
mod outages;
mod registers;
pub(crate) mod stale;
mod terms;
mod worth;

use std::fmt;

use serde::Serialize;

use crate::evidence::Evidence;
pub use outages::Outage;

/// How many counter-examples a finding names; it says how many there are.
const NAMED: usize = 5;

/// What a run showed. The greater one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// What was promised was kept, and the run could have shown otherwise.
    Valid,
    /// Nothing was broken, but the run could not have shown it.
    Unknown,
    /// Something that was promised was broken.
    Invalid,
}

impl Verdict {
    /// As it stands in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        }
    }

    /// What a program that printed it ends with: 0, 1 for invalid, 3 for unknown. (2 is bad usage.)
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Unknown => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What one checker found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The checker's name.
    pub checker: &'static str,
    /// What must hold.
    pub statement: &'static str,
    /// What it found.
    pub verdict: Verdict,
    /// What it looked at, with numbers.
    pub looked_at: String,
    /// Counter-examples, or why it could not tell; the first few.
    pub because: Vec<String>,
    /// How many of those there are.
    pub found: u64,
}

/// Collects what a checker finds; the gravest word counts.
struct Findings {
    checker: &'static str,
    statement: &'static str,
    broken: Vec<String>,
    open: Vec<String>,
}

impl Findings {
    fn new(checker: &'static str, statement: &'static str) -> Self {
        Self { checker, statement, broken: Vec::new(), open: Vec::new() }
    }

    /// A counter-example.
    fn broken(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }

    /// A reason why it cannot tell.
    fn open(&mut self, why: impl Into<String>) {
        self.open.push(why.into());
    }

    fn end(self, looked_at: impl Into<String>) -> Finding {
        let (verdict, mut because) = if !self.broken.is_empty() {
            (Verdict::Invalid, self.broken)
        } else if !self.open.is_empty() {
            (Verdict::Unknown, self.open)
        } else {
            (Verdict::Valid, Vec::new())
        };
        let found = because.len() as u64;
        because.truncate(NAMED);
        let (checker, statement) = (self.checker, self.statement);
        Finding { checker, statement, verdict, looked_at: looked_at.into(), because, found }
    }
}

/// What was counted, for the contract's line and for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Faults that struck.
    pub faults: u64,
    /// Changes of master since the first fault.
    pub term_changes: u64,
    /// Acknowledged writes of clients that follow the directory.
    pub writes: u64,
    /// Requests of these clients, reads among them, that were refused.
    pub failed: u64,
    /// The same without an answer.
    pub unknown: u64,
    /// Accepted by an instance that had been replaced.
    pub stale_writes: u64,
    /// The same from the queue of a frozen engine.
    pub woken_writes: u64,
    /// Promised and gone.
    pub lost_writes: u64,
    /// Acknowledged by a master alone, and gone with it.
    pub unconfirmed_lost_writes: u64,
    /// Promised, and gone by a loss that a person accepted, as the decision reported it.
    pub accepted_lost_writes: u64,
    /// Faults whose outage was longer than allowed.
    pub over_budget: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The gravest of the findings.
    pub verdict: Verdict,
    /// What was counted.
    pub counts: Counts,
    /// One for each checker, in the order in which people read them.
    pub findings: Vec<Finding>,
    /// The longest silence that clients saw for each fault.
    pub outages: Vec<Outage>,
}

/// Judges a run.
#[must_use]
pub fn judge(evidence: &Evidence) -> Judgement {
    let mut counts = worth::counts(evidence);
    let (outages, outage) = outages::check(evidence);
    counts.over_budget = outages.iter().filter(|outage| outage.is_over()).count() as u64;
    let findings = vec![
        losses::check(evidence, &mut counts),
        contents::check(evidence),
        stale::check(evidence, &mut counts),
        registers::check(evidence),
        terms::check(evidence),
        outage,
        health::check(evidence),
        worth::check(evidence),
    ];
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Unknown);
    Judgement { verdict, counts, findings, outages }
}

/// The line of the contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line<'a> {
    scenario: &'a str,
    engine: &'a str,
    provider: &'a str,
    verdict: Verdict,
    faults: u64,
    stale_writes: u64,
    woken_writes: u64,
    lost_writes: u64,
    over_budget: u64,
    seconds: f64,
}

impl<'a> Line<'a> {
    /// Of one run.
    #[must_use]
    pub fn new(evidence: &'a Evidence, judgement: &Judgement) -> Self {
        let counts = &judgement.counts;
        Self {
            scenario: &evidence.run.scenario,
            engine: &evidence.run.engine,
            provider: &evidence.run.provider,
            verdict: judgement.verdict,
            faults: counts.faults,
            stale_writes: counts.stale_writes,
            woken_writes: counts.woken_writes,
            lost_writes: counts.lost_writes,
            over_budget: counts.over_budget,
            seconds: (end_of(evidence) as f64 / 100_000.0).round() / 10.0,
        }
    }
}

/// The contract's last line: all runs together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    scenarios: u64,
    verdict: Option<Verdict>,
    /// Runs in which everything was kept.
    pub valid: u64,
    /// Runs that could not show it.
    pub unknown: u64,
    /// Runs in which something was broken.
    pub invalid: u64,
    faults: u64,
    stale_writes: u64,
    woken_writes: u64,
    lost_writes: u64,
    over_budget: u64,
    seconds: f64,
}

impl Totals {
    /// Adds a run.
    pub fn add(&mut self, evidence: &Evidence, judgement: &Judgement) {
        let line = Line::new(evidence, judgement);
        self.scenarios += 1;
        self.verdict = self.verdict.max(Some(judgement.verdict));
        match judgement.verdict {
            Verdict::Valid => self.valid += 1,
            Verdict::Unknown => self.unknown += 1,
            Verdict::Invalid => self.invalid += 1,
        }
        self.faults += line.faults;
        self.stale_writes += line.stale_writes;
        self.woken_writes += line.woken_writes;
        self.lost_writes += line.lost_writes;
        self.over_budget += line.over_budget;
        self.seconds += line.seconds;
    }

    /// The gravest verdict; unknown where there was no run.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict.unwrap_or(Verdict::Unknown)
    }
}

/// The last moment that the evidence speaks of.
#[must_use]
pub fn end_of(evidence: &Evidence) -> u64 {
    let operations = evidence.history.iter().map(crate::evidence::Operation::end);
    let faults = evidence.faults.iter().map(|fault| fault.healed_us.unwrap_or(fault.injected_us));
    let health = evidence.health.iter().map(|health| health.at_us);
    let masters = evidence.masters.iter().map(|sighting| sighting.seen_us);
    let ending = evidence.ending.iter().map(|ending| ending.ended_us);
    operations.chain(faults).chain(health).chain(masters).chain(ending).max().unwrap_or(0)
}

/// Seconds for people.
fn at(micros: u64) -> String {
    format!("{:.3} s", micros as f64 / 1e6)
}

#[cfg(test)]
mod tests;
