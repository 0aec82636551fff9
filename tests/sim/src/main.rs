//! The command that runs seeds: progress and prose on standard error, one line of JSON on standard output.

mod kept;

use baton_core::rules::{Rule, Rules};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use kept::Kept;
use serde::Serialize;
use sim::run::{Outcome, Plan, run};
use sim::search::{Search, Totals, running, search, shorten};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Run seeds of the simulation, and look for a property that breaks.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Break this rule; then a violation is what is expected, and the first one ends the search.
    #[arg(long = "break", value_name = "RULE")]
    broken: Option<String>,
    /// Print one line of JSON on standard output.
    #[arg(long)]
    json: bool,
    /// How many threads run; all processors if not set.
    #[arg(long)]
    threads: Option<usize>,
    /// Go on from what this file says, and keep it up to date: totals add up over all runs that name it.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// What is run, for that file.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Tell the whole journal of the first seed, and run no other.
    #[arg(long)]
    journal: bool,
    /// Only these of the seed's faults happen, by their numbers; with --journal.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', requires = "journal")]
    only: Option<Vec<usize>>,
    /// List what can be broken.
    #[arg(long)]
    list: bool,
}

/// The line of the contract.
#[derive(Serialize)]
struct Line {
    seeds: u64,
    simulated_seconds: u64,
    faults: u64,
    term_changes: u64,
    violations: u64,
    #[serde(rename = "break")]
    broken: Option<String>,
    found_by: Option<&'static str>,
    first_seed: Option<u64>,
    seconds: f64,
}

/// How often the file is written.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// So many violations are enough to look into.
const ENOUGH: u64 = 5;
/// How long a run that goes wrong is made shorter, at most.
const SHORTEN_FOR: Duration = Duration::from_secs(120);
/// So much of a journal is shown.
const LINES: usize = 60;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for rule in Rule::ALL {
            println!("{}", rule.name());
        }
        return ExitCode::SUCCESS;
    }
    let rules = match options.broken.as_deref().map(|name| (name, Rule::named(name))) {
        None => Rules::default(),
        Some((_, Some(rule))) => Rules::without(rule),
        Some((name, None)) => {
            eprintln!("there is no rule {name:?}; --list shows all");
            return ExitCode::from(2);
        }
    };
    if options.journal {
        return tell_journal(&options, rules);
    }
    let kept = match options.resume.as_deref().map(Kept::read).transpose() {
        Ok(kept) => kept.flatten(),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    many(&options, rules, kept)
}

fn tell_journal(options: &Options, rules: Rules) -> ExitCode {
    let plan = Plan { only: options.only.clone(), journal: true, ..Plan::of(options.from).with(rules) };
    let outcome = run(&plan);
    for line in &outcome.journal {
        println!("{line}");
    }
    match outcome.violation {
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// A failed assertion ends the search, and would not say in which seed.
fn tell_seed_of_panics() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        told(info);
        if let Some(seed) = running() {
            eprintln!("seed {seed}: an assertion failed");
        }
    }));
}

fn many(options: &Options, rules: Rules, kept: Option<Kept>) -> ExitCode {
    tell_seed_of_panics();
    let began = Instant::now();
    let mut state = kept.unwrap_or_else(|| Kept::begin(options.from));
    let earlier = state.seconds;
    let threads = options.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let enough = if options.broken.is_some() { 1 } else { ENOUGH };
    let asked =
        Search { from: state.next, seeds: options.seeds, rules, threads: threads.unwrap_or(2), enough };
    let mut found: Option<(u64, Outcome)> = None;
    let mut written = Instant::now();
    let bar = bar(options.seeds);
    let mut told = Instant::now();
    search(&asked, |seed, outcome| {
        state.totals.add(outcome);
        state.next = seed + 1;
        if let Some(violation) = &outcome.violation {
            bar.suspend(|| eprintln!("seed {seed}: {violation}"));
            found.get_or_insert_with(|| (seed, outcome.clone()));
        }
        bar.inc(1);
        if bar.is_hidden() && told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            eprintln!(
                "{} of {} seeds, {} violations",
                bar.position(),
                options.seeds,
                state.totals.violations
            );
        }
        if written.elapsed() > KEEP_EVERY {
            written = Instant::now();
            state.seconds = earlier + began.elapsed().as_secs_f64();
            keep(options.resume.as_deref(), &options.commit, &state);
        }
    });
    bar.finish_and_clear();
    state.seconds = earlier + began.elapsed().as_secs_f64();
    keep(options.resume.as_deref(), &options.commit, &state);
    tell(&state.totals, state.seconds);
    if let Some((seed, outcome)) = &found {
        tell_violation(*seed, outcome, options.broken.as_deref(), rules);
    }
    if options.json {
        print_line(options, &state, found.as_ref());
    }
    let expected = if options.broken.is_some() { found.is_some() } else { state.totals.violations == 0 };
    if expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bar(seeds: u64) -> ProgressBar {
    let bar = ProgressBar::new(seeds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} seeds ({per_sec}, {eta} left)") {
        bar.set_style(style);
    }
    bar
}

fn keep(file: Option<&Path>, commit: &str, state: &Kept) {
    if let Some(file) = file
        && let Err(error) = state.write(file, commit)
    {
        eprintln!("{error}");
    }
}

fn tell(totals: &Totals, seconds: f64) {
    let Totals { seeds, lacking, simulated_seconds, faults, term_changes, violations, .. } = totals;
    let hours = simulated_seconds / 3_600;
    eprintln!(
        "{seeds} seeds, {hours} simulated hours, {faults} faults, {term_changes} changes of term, {violations} violations, {seconds:.0} s"
    );
    eprintln!(
        "median of a run: {} simulated seconds, {} overlapping faults, {} changes of term; {lacking} runs lack one and are not counted",
        totals.seconds_each.median(),
        totals.overlapping.median(),
        totals.terms.median()
    );
    eprintln!(
        "{} answered requests, {} of them judged as one history; in {} runs a person had to help before there was a master",
        totals.answered, totals.judged, totals.by_people
    );
}

fn tell_violation(seed: u64, outcome: &Outcome, broken: Option<&str>, rules: Rules) {
    if outcome.violation.is_none() {
        return;
    }
    let by = broken.map(|rule| format!(" BREAK={rule}")).unwrap_or_default();
    eprintln!("again: make sim FROM={seed} SEEDS=1{by}");
    let Some(shortest) = shorten(seed, rules, SHORTEN_FOR) else { return };
    let only: Vec<String> = shortest.only.iter().map(ToString::to_string).collect();
    eprintln!("{} of its {} faults suffice; the journal's last lines with these:", only.len(), shortest.of);
    let lines = &shortest.outcome.journal;
    for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
        eprintln!("  {line}");
    }
    if let Some(violation) = &shortest.outcome.violation {
        eprintln!("  {violation}");
    }
    eprintln!("the whole of it: make sim FROM={seed} JOURNAL=1 ONLY={}{by}", only.join(","));
}

fn print_line(options: &Options, state: &Kept, found: Option<&(u64, Outcome)>) {
    let totals = &state.totals;
    let line = Line {
        seeds: totals.seeds,
        simulated_seconds: totals.simulated_seconds,
        faults: totals.faults,
        term_changes: totals.term_changes,
        violations: totals.violations,
        broken: options.broken.clone(),
        found_by: found.and_then(|(_, outcome)| Some(outcome.violation.as_ref()?.property)),
        first_seed: found.map(|(seed, _)| *seed),
        seconds: state.seconds,
    };
    match serde_json::to_string(&line) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("the result cannot be written as JSON: {error}"),
    }
}
