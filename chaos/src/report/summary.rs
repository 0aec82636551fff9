//! The summary: one row a step, as a table for people and as the JSON of the contract.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::timeline::span;
use crate::cli::Common;
use crate::demo::attempt::Attempt;
use crate::demo::step::Step;
use crate::workload::history::micros;

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    engine: &'static str,
    provider: &'static str,
    lease_ttl_ms: u64,
    seed: u64,
    steps: Vec<StepReport>,
}

/// All attempts at one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    name: &'static str,
    attempts: u32,
    writes: u64,
    term_before: u64,
    term_after: u64,
    /// The median of the attempts; absent where none could be measured.
    write_gap_ms: Option<f64>,
    /// The longest of the attempts.
    write_gap_ms_max: Option<f64>,
    budget_ms: f64,
    lost_writes: u64,
    unconfirmed_lost_writes: u64,
    stale_writes: u64,
    woken_writes: u64,
    ok: bool,
}

impl Report {
    /// Sums the attempts up. A step of which fewer attempts were made than asked for is not ok.
    #[must_use]
    pub fn new(common: &Common, lease_ttl: Duration, seed: u64, attempts: u32, done: &[Attempt]) -> Self {
        let mut steps = Vec::new();
        for step in &common.steps {
            let own: Vec<&Attempt> = done.iter().filter(|attempt| attempt.step == *step).collect();
            steps.push(StepReport::new(*step, &own, attempts, common.count_unconfirmed));
        }
        Self {
            engine: common.engine.name(),
            provider: common.provider.name(),
            lease_ttl_ms: micros(lease_ttl) / 1_000,
            seed,
            steps,
        }
    }

    /// Whether every step is ok.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header([
            "step",
            "gap",
            "longest",
            "budget",
            "writes",
            "lost",
            "unconfirmed",
            "stale",
            "woken",
            "tries",
            "",
        ]);
        for step in &self.steps {
            let gap = |gap: Option<f64>| gap.map_or_else(|| "?".to_owned(), |gap| span(of_millis(gap)));
            table.add_row([
                step.name.to_owned(),
                gap(step.write_gap_ms),
                gap(step.write_gap_ms_max),
                span(of_millis(step.budget_ms)),
                step.writes.to_string(),
                step.lost_writes.to_string(),
                step.unconfirmed_lost_writes.to_string(),
                step.stale_writes.to_string(),
                step.woken_writes.to_string(),
                step.attempts.to_string(),
                if step.ok { "ok" } else { "NOT OK" }.to_owned(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let lease = humantime::format_duration(Duration::from_millis(self.lease_ttl_ms));
        format!("{} · {} · lease_ttl {lease} · seed {}\n{table}", self.engine, self.provider, self.seed)
    }
}

impl StepReport {
    fn new(step: Step, own: &[&Attempt], asked: u32, count_unconfirmed: bool) -> Self {
        let sum = |count: fn(&Attempt) -> u64| own.iter().map(|attempt| count(attempt)).sum::<u64>();
        let unconfirmed = sum(|attempt| attempt.counts.unconfirmed_lost);
        let confirmed = sum(|attempt| attempt.counts.lost);
        let gaps: Vec<f64> = own.iter().filter_map(|attempt| attempt.counts.gap).map(millis).collect();
        let made = u32::try_from(own.len()).unwrap_or(u32::MAX);
        Self {
            name: step.name(),
            attempts: made,
            writes: sum(|attempt| attempt.counts.writes),
            term_before: own.first().map_or(0, |attempt| attempt.counts.before.1),
            term_after: own.last().map_or(0, |attempt| attempt.counts.after.1),
            write_gap_ms: median(&gaps),
            write_gap_ms_max: gaps.iter().copied().reduce(f64::max),
            budget_ms: own.first().map_or(0.0, |attempt| millis(attempt.counts.budget)),
            lost_writes: if count_unconfirmed { confirmed + unconfirmed } else { confirmed },
            unconfirmed_lost_writes: unconfirmed,
            stale_writes: sum(|attempt| attempt.counts.stale),
            woken_writes: sum(|attempt| attempt.counts.woken),
            ok: made == asked && own.iter().all(|attempt| attempt.problems.is_empty()),
        }
    }
}

/// The middle value, or the mean of the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => sorted.get(middle).copied(),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Milliseconds with a tenth.
fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 10_000.0).round() / 10.0
}

fn of_millis(millis: f64) -> Duration {
    Duration::from_secs_f64((millis / 1_000.0).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::demo::stage::Standing;
    use crate::demo::verdict::Counts;
    use crate::workload::history::Moment;
    use clap::Parser;

    fn common(line: &str) -> Common {
        match Cli::parse_from(line.split_whitespace()).command {
            Command::Demo(demo) => demo.common,
            Command::Bench(bench) => bench.common,
            other => panic!("no demo: {other:?}"),
        }
    }

    fn attempt(gap_ms: u64, problems: &[&str]) -> Attempt {
        Attempt {
            step: Step::KillEngine,
            before: Standing { master: "a1".to_owned(), term: 3, arbiter: "host-b".to_owned() },
            fault: Moment(0),
            counts: Counts {
                writes: 200,
                before: ("a1".to_owned(), 3),
                after: ("b1".to_owned(), 4),
                gap: Some(Duration::from_millis(gap_ms)),
                budget: Duration::from_secs(1),
                unconfirmed_lost: 1,
                ..Counts::default()
            },
            gap: None,
            problems: problems.iter().map(ToString::to_string).collect(),
            events: Vec::new(),
            decision: None,
            broken: false,
        }
    }

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    /// Programs of other people read this line.
    #[test]
    fn the_json_has_the_fields_of_the_contract() {
        let common = common("chaos demo --steps kill_engine");
        let report = Report::new(&common, Duration::from_secs(3), 7, 1, &[attempt(8, &[])]);
        let text = serde_json::to_string(&report).expect("plain values");
        assert_eq!(
            text,
            "{\"engine\":\"redis\",\"provider\":\"stateboard\",\"lease_ttl_ms\":3000,\"seed\":7,\"steps\":[{\"name\":\
             \"kill_engine\",\"attempts\":1,\"writes\":200,\"term_before\":3,\"term_after\":4,\"write_gap_ms\":8.0,\
             \"write_gap_ms_max\":8.0,\"budget_ms\":1000.0,\"lost_writes\":0,\"unconfirmed_lost_writes\":1,\
             \"stale_writes\":0,\"woken_writes\":0,\"ok\":true}]}"
        );
        assert!(report.ok() && report.table().contains("kill_engine"));
    }

    #[test]
    fn one_bad_or_missing_attempt_makes_the_step_not_ok() {
        let common = common("chaos demo --steps kill_engine,switchover");
        let lease = Duration::from_secs(3);
        let report = Report::new(&common, lease, 7, 2, &[attempt(8, &[]), attempt(20, &["1 stale write"])]);
        assert!(!report.ok() && !report.steps[0].ok && !report.steps[1].ok);
        assert_eq!(
            (report.steps[0].write_gap_ms, report.steps[0].write_gap_ms_max),
            (Some(14.0), Some(20.0))
        );
        let short = Report::new(&common, lease, 7, 2, &[attempt(8, &[])]);
        assert!(!short.steps[0].ok);
    }

    #[test]
    fn asynchronously_lost_writes_count_where_that_is_asked_for() {
        let common = common("chaos demo --steps kill_engine --async");
        let report = Report::new(&common, Duration::from_secs(3), 7, 1, &[attempt(8, &["lost"])]);
        assert_eq!(report.steps[0].lost_writes, 1);
    }
}
