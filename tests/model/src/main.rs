//! The command that searches one world, or all of them: progress and prose on standard error, one line of JSON on standard
//! output.

use baton_core::rules::Rule;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use model::report::{Line, commit, done, forget_peak, keep, tell_violation};
use model::search::{Found, search, search_deep};
use model::world::World;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Search a world of the model for a broken invariant.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Which world (see --list), or `all`, one after the other.
    #[arg(long, default_value = "lease")]
    world: String,
    /// Break this rule; then a violation is what is expected.
    #[arg(long = "break", value_name = "RULE")]
    broken: Option<String>,
    /// Print one line of JSON on standard output.
    #[arg(long)]
    json: bool,
    /// How many threads search breadth first. With one, the story of a violation is the shortest.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Search depth first: a few bytes for each state, and a long story. `all` does.
    #[arg(long)]
    deep: bool,
    /// End with "not exhausted" after so many states (breadth first: made ones, 1 to 3 KB each of a wide layer; depth first:
    /// different ones, 20 bytes each).
    #[arg(long, value_name = "STATES")]
    most: Option<usize>,
    /// Where `all` keeps what is done; a world that is done at the same commit is not searched again.
    #[arg(long, default_value = "target/model/done.jsonl", value_name = "FILE")]
    state: PathBuf,
    /// List the worlds and what can be broken.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        list();
        return ExitCode::SUCCESS;
    }
    let broken = match &options.broken {
        None => None,
        Some(name) => match Rule::named(name) {
            Some(broken) => Some(broken),
            None => return usage(&format!("there is no rule {name:?}; --list shows all")),
        },
    };
    let worlds: Vec<World> =
        World::all().into_iter().filter(|world| ["all", world.name].contains(&&*options.world)).collect();
    if worlds.is_empty() {
        return usage(&format!("there is no world {:?}; --list shows all", options.world));
    }
    let commit = commit();
    let together = options.world == "all";
    let before = if together && broken.is_none() { done(&options.state, &commit) } else { Vec::new() };
    let mut lines = Vec::new();
    for world in worlds {
        if let Some(line) = before.iter().find(|line| line.world == world.name) {
            eprintln!("{}: {} states, done before", world.name, line.unique_states);
            lines.push(line.clone());
            continue;
        }
        let world = broken.map_or(world.clone(), |broken| world.breaking(broken));
        let line = one(&world, &options, &commit, together);
        if together && let Err(error) = keep(&options.state, &line) {
            eprintln!("{} cannot be written: {error}", options.state.display());
        }
        let ends = line.violations > 0;
        lines.push(line);
        if ends {
            break;
        }
    }
    let line = if together { Line::total(&lines, &commit) } else { lines.remove(0) };
    if together {
        line.tell();
    }
    if options.json {
        match serde_json::to_string(&line) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("the result cannot be written as JSON: {error}"),
        }
    }
    if line.is_as_expected() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(2)
}

/// One world, with its story where something is broken.
fn one(world: &World, options: &Options, commit: &str, together: bool) -> Line {
    forget_peak();
    let deep = options.deep || together;
    let found = with_progress(world, deep, options.threads.max(1), options.most);
    let line = Line::new(world, &found, deep, commit);
    line.tell();
    if deep && found.violation.is_some() {
        eprintln!("broken; the shortest way there is searched for");
        let shortest = with_progress(world, false, 1, Some(SHORTEST_MOST));
        tell_violation(world, if shortest.violation.is_some() { &shortest } else { &found });
    } else {
        tell_violation(world, &found);
    }
    line
}

/// How many states are made for the shortest way of a violation: what a layer of them needs fits into a few GiB.
const SHORTEST_MOST: usize = 5_000_000;

fn with_progress(world: &World, deep: bool, threads: usize, most: Option<usize>) -> Found {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    let mut told = Instant::now();
    let watch = |states: usize, depth: usize| {
        bar.set_message(format!("{}: {states} states, depth {depth}", world.name));
        bar.tick();
        if bar.is_hidden() && told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            eprintln!("{}: {states} states, depth {depth}", world.name);
        }
    };
    let found = if deep { search_deep(world, most, watch) } else { search(world, threads, most, watch) };
    bar.finish_and_clear();
    found
}

fn list() {
    for world in World::all() {
        println!("{:<14} {}", world.name, world.story);
    }
    let rules = Rule::ALL.map(Rule::name);
    println!("\nto break: {}", rules.join(", "));
}
