//! The pages of a run and of a folder of runs: one HTML file each, with everything in it, for any browser without a network. They show what
//! the verdict found; nothing is judged here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use askama::Template;

use super::picture::{self, Picture, WIDTH, seconds, span};
use crate::evidence::{Allowed, Decision, Evidence, Fault, Micros, file};
use crate::verdict::{Counts, Finding, Judgement, Outage, Totals, Verdict, end_of};

/// The page's name, in the folder of a run and in one of many.
pub const PAGE: &str = "index.html";

/// A figure with its name.
struct Tile {
    name: &'static str,
    value: String,
    class: &'static str,
}

/// An outage against its budget.
struct Against {
    name: String,
    what: String,
    took: String,
    allowed: String,
    bound: String,
    /// Percent of the widest bar.
    bar: f64,
    /// Where the budget's line stands, in percent; none where there is no bound.
    line: Option<f64>,
    over: bool,
    measured: bool,
}

/// A row of the faults.
struct Struck {
    at: String,
    name: String,
    what: String,
    healed: String,
    allowed: String,
    bite: String,
    bit: bool,
}

/// A decision.
struct Decided {
    at: String,
    term: u64,
    master: String,
    class: String,
    rule: String,
    others: Vec<String>,
    phases: Vec<Phase>,
}

/// A phase of a decision.
struct Phase {
    name: String,
    took: String,
    budget: String,
}

/// An instance with the number of its colour.
struct Key {
    name: String,
    colour: usize,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage<'a> {
    evidence: &'a Evidence,
    verdict: Verdict,
    headline: String,
    started: String,
    length: String,
    tiles: Vec<Tile>,
    picture: Picture,
    keys: Vec<Key>,
    outages: Vec<Against>,
    findings: &'a [Finding],
    faults: Vec<Struck>,
    decisions: Vec<Decided>,
    files: Vec<(&'static str, &'static str)>,
    width: f64,
}

/// The page of one run.
///
/// # Errors
/// Never, as far as the template was compiled.
pub fn of_run(evidence: &Evidence, judgement: &Judgement) -> anyhow::Result<String> {
    let colour = |name: &String| Key { name: name.clone(), colour: picture::colour(evidence, name) };
    let page = RunPage {
        evidence,
        verdict: judgement.verdict,
        headline: headline(judgement),
        started: day_and_time(evidence.run.started_unix_ms),
        length: span(end_of(evidence)),
        tiles: tiles(judgement),
        picture: picture::draw(evidence, judgement),
        keys: evidence.run.instances.iter().map(colour).collect(),
        outages: against(evidence, &judgement.outages),
        findings: &judgement.findings,
        faults: evidence.faults.iter().map(struck).collect(),
        decisions: evidence.decisions.iter().map(decided).collect(),
        files: files(),
        width: WIDTH,
    };
    page.render().context("fill in the page")
}

/// Writes the page of one run into its folder.
///
/// # Errors
/// The folder cannot be written.
pub fn write(folder: &Path, evidence: &Evidence, judgement: &Judgement) -> anyhow::Result<PathBuf> {
    let path = folder.join(PAGE);
    fs::write(&path, of_run(evidence, judgement)?).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// The verdict in a sentence.
fn headline(judgement: &Judgement) -> String {
    let gravest = judgement.findings.iter().filter(|finding| finding.verdict == judgement.verdict);
    let reason = gravest.clone().find_map(|finding| finding.because.first());
    match (judgement.verdict, reason) {
        (Verdict::Valid, _) => "Everything that was promised was kept.".to_owned(),
        (Verdict::Unknown, Some(reason)) => {
            format!("Nothing was broken, but this run cannot show it: {reason}.")
        }
        (Verdict::Invalid, Some(reason)) => {
            let more = gravest.map(|finding| finding.found).sum::<u64>() - 1;
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!("A promise was broken: {reason}{more}.")
        }
        (Verdict::Unknown | Verdict::Invalid, None) => String::new(),
    }
}

fn tiles(judgement: &Judgement) -> Vec<Tile> {
    let Counts { faults, term_changes, writes, stale_writes, woken_writes, lost_writes, over_budget, .. } =
        judgement.counts;
    let unconfirmed = judgement.counts.unconfirmed_lost_writes;
    let bad = |count: u64| if count > 0 { "bad" } else { "good" };
    let longest = judgement.outages.iter().filter_map(|outage| outage.took_us).max();
    let tile = |name, value: String, class| Tile { name, value, class };
    let mut tiles = vec![
        tile("faults", faults.to_string(), ""),
        tile("changes of master", term_changes.to_string(), ""),
        tile("writes acknowledged", thousands(writes), ""),
        tile("longest outage", longest.map_or_else(|| "–".to_owned(), span), ""),
        tile("lost writes", lost_writes.to_string(), bad(lost_writes)),
        tile("stale writes", stale_writes.to_string(), bad(stale_writes)),
        tile("over budget", over_budget.to_string(), bad(over_budget)),
        tile("woken writes", woken_writes.to_string(), ""),
        tile("gone, never confirmed", thousands(unconfirmed), ""),
    ];
    let accepted = judgement.counts.accepted_lost_writes;
    if accepted > 0 {
        tiles.push(tile("gone, as a person accepted", thousands(accepted), ""));
    }
    tiles
}

/// `12 345`, with a space that does not break.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn against(evidence: &Evidence, outages: &[Outage]) -> Vec<Against> {
    let widest = outages
        .iter()
        .flat_map(|outage| [outage.took_us, outage.allowed_us])
        .flatten()
        .max()
        .unwrap_or(1)
        .max(1) as f64
        * 1.04;
    let percent = |length: Micros| (length as f64 / widest * 1000.0).round() / 10.0;
    let row = |outage: &Outage| {
        let fault = evidence.faults.iter().find(|fault| fault.id == outage.fault);
        Against {
            name: outage.name.clone(),
            what: fault.map_or_else(String::new, |fault| format!("at {}", seconds(fault.injected_us))),
            took: outage.took_us.map_or_else(|| "not measured".to_owned(), span),
            allowed: outage
                .allowed_us
                .map_or_else(|| "no bound".to_owned(), |allowed| format!("of {}", span(allowed))),
            bound: outage.bound.clone(),
            bar: outage.took_us.map_or(0.0, percent),
            line: outage.allowed_us.map(percent),
            over: outage.is_over(),
            measured: outage.took_us.is_some(),
        }
    };
    outages.iter().map(row).collect()
}

fn struck(fault: &Fault) -> Struck {
    let allowed = match &fault.allowed {
        Allowed::Nothing => "nothing may be interrupted".to_owned(),
        Allowed::Late { by_us } => format!("nothing may be interrupted, {} late", span(*by_us)),
        Allowed::Class { class } => format!("class {class}"),
        Allowed::UntilHealed { class } => format!("until healed, then class {class}"),
        Allowed::Unbounded { why } => format!("no bound: {why}"),
    };
    Struck {
        at: seconds(fault.injected_us),
        name: fault.name.clone(),
        what: fault.what.clone(),
        healed: fault.healed_us.map_or_else(|| "never".to_owned(), seconds),
        allowed,
        bite: fault.bite.as_ref().map_or_else(|| "nobody looked".to_owned(), |bite| bite.how.clone()),
        bit: fault.bite.as_ref().is_some_and(|bite| bite.bit),
    }
}

fn decided(decision: &Decision) -> Decided {
    let made = &decision.decision;
    let phases = made.phases.iter().map(|phase| Phase {
        name: phase.name.clone(),
        took: span(phase.took_us),
        budget: phase.budget_us.map_or_else(String::new, |budget| format!("of {}", span(budget))),
    });
    Decided {
        at: seconds(decision.at_us),
        term: made.term_after,
        master: made.ranking.first().map_or_else(String::new, |chosen| chosen.instance.clone()),
        class: made.class.clone(),
        rule: made.rule.clone(),
        others: made
            .ranking
            .iter()
            .skip(1)
            .map(|other| format!("{}: {}", other.instance, other.verdict))
            .collect(),
        phases: phases.collect(),
    }
}

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        (file::RUN, "what the run was"),
        (file::HISTORY, "what every client asked, and what it was told"),
        (file::FAULTS, "what struck whom, and whether it bit"),
        (file::MASTERS, "who was said to be master, and by whom"),
        (file::DECISIONS, "why"),
        (file::HEALTH, "how the cluster felt"),
        (file::FINAL, "what every instance held in the end"),
        ("verdict.json", "this verdict"),
        (file::LOGS, "the programs' own logs"),
    ]
}

fn day_and_time(unix_ms: u64) -> String {
    let moment = UNIX_EPOCH + Duration::from_millis(unix_ms);
    humantime::format_rfc3339_seconds(moment).to_string().replace('T', " ").replace('Z', " UTC")
}

/// A row of a folder of runs.
struct Row {
    link: String,
    verdict: Verdict,
    scenario: String,
    engine: String,
    provider: String,
    mode: &'static str,
    seed: u64,
    started: String,
    counts: Counts,
    length: String,
    worst: Option<Against>,
    reason: String,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    verdict: Verdict,
    totals: Totals,
    tiles: Vec<Tile>,
    rows: Vec<Row>,
}

/// Pages of many runs, collected one by one: only what the page shows is kept of each.
#[derive(Default)]
pub struct Runs {
    totals: Totals,
    counts: Counts,
    rows: Vec<Row>,
}

impl Runs {
    /// Adds the run whose page lies at `link`, seen from this page.
    pub fn add(&mut self, link: &str, evidence: &Evidence, judgement: &Judgement) {
        let run = &evidence.run;
        let rank = |outage: &&Outage| match (outage.took_us, outage.allowed_us) {
            (Some(took), Some(allowed)) => took.saturating_mul(1_000) / allowed.max(1),
            _ => 0,
        };
        let worst = judgement.outages.iter().max_by_key(rank).cloned();
        let gravest = judgement.findings.iter().filter(|finding| finding.verdict == judgement.verdict);
        self.totals.add(evidence, judgement);
        let counts = judgement.counts;
        self.counts.faults += counts.faults;
        self.counts.writes += counts.writes;
        self.counts.lost_writes += counts.lost_writes;
        self.counts.stale_writes += counts.stale_writes;
        self.counts.woken_writes += counts.woken_writes;
        self.counts.over_budget += counts.over_budget;
        self.rows.push(Row {
            link: link.to_owned(),
            verdict: judgement.verdict,
            scenario: run.scenario.clone(),
            engine: run.engine.clone(),
            provider: run.provider.clone(),
            mode: run.mode.name(),
            seed: run.seed,
            started: day_and_time(run.started_unix_ms),
            counts,
            length: span(end_of(evidence)),
            worst: worst.and_then(|worst| against(evidence, &[worst]).pop()),
            reason: gravest.flat_map(|finding| finding.because.first()).next().cloned().unwrap_or_default(),
        });
    }

    /// The page; the gravest runs first, then in the order in which they were added.
    ///
    /// # Errors
    /// Never, as far as the template was compiled.
    pub fn page(mut self) -> anyhow::Result<String> {
        self.rows.sort_by_key(|row| std::cmp::Reverse(row.verdict));
        let bad = |count: u64| if count > 0 { "bad" } else { "good" };
        let counts = self.counts;
        let tile = |name, value: u64, class| Tile { name, value: thousands(value), class };
        let tiles = vec![
            tile("runs", self.rows.len() as u64, ""),
            tile("faults", counts.faults, ""),
            tile("writes acknowledged", counts.writes, ""),
            tile("lost writes", counts.lost_writes, bad(counts.lost_writes)),
            tile("stale writes", counts.stale_writes, bad(counts.stale_writes)),
            tile("over budget", counts.over_budget, bad(counts.over_budget)),
            tile("woken writes", counts.woken_writes, ""),
        ];
        let page = RunsPage { verdict: self.totals.verdict(), totals: self.totals, tiles, rows: self.rows };
        page.render().context("fill in the page")
    }
}

#[cfg(test)]
mod tests;
