//! The command that searches one world: progress and prose on standard error, one line of JSON on standard output.

use baton_core::rules::Rule;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use model::search::{Found, search};
use model::story::story;
use model::world::World;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Search a world of the model for a broken invariant.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Which world (see --list).
    #[arg(long, default_value = "lease")]
    world: String,
    /// Break this rule; then a violation is what is expected.
    #[arg(long = "break", value_name = "RULE")]
    broken: Option<String>,
    /// Print one line of JSON on standard output.
    #[arg(long)]
    json: bool,
    /// How many threads search. With one, the story of a violation is the shortest.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// List the worlds and what can be broken.
    #[arg(long)]
    list: bool,
}

/// The line of the contract.
#[derive(Serialize)]
struct Line {
    world: String,
    unique_states: usize,
    generated_states: usize,
    depth: usize,
    violations: usize,
    #[serde(rename = "break")]
    broken: Option<String>,
    found_by: Option<&'static str>,
    seconds: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        list();
        return ExitCode::SUCCESS;
    }
    let Some(mut world) = World::named(&options.world) else {
        eprintln!("there is no world {:?}; --list shows all", options.world);
        return ExitCode::from(2);
    };
    if let Some(name) = &options.broken {
        let Some(broken) = Rule::named(name) else {
            eprintln!("there is no rule {name:?}; --list shows all");
            return ExitCode::from(2);
        };
        world = world.breaking(broken);
    }
    let found = with_progress(&world, options.threads.max(1));
    tell(&world, &found);
    if options.json {
        let line = Line {
            world: world.name.to_owned(),
            unique_states: found.unique_states,
            generated_states: found.generated_states,
            depth: found.depth,
            violations: usize::from(found.violation.is_some()),
            broken: options.broken.clone(),
            found_by: found.violation.as_ref().map(|(name, _)| *name),
            seconds: found.took.as_secs_f64(),
        };
        match serde_json::to_string(&line) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("the result cannot be written as JSON: {error}"),
        }
    }
    let expected = if world.broken.is_some() {
        found.violation.is_some()
    } else {
        found.violation.is_none() && found.unseen.is_empty()
    };
    if expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn with_progress(world: &World, threads: usize) -> Found {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    let mut told = Instant::now();
    let found = search(world, threads, |states, depth| {
        bar.set_message(format!("{}: {states} states, depth {depth}", world.name));
        bar.tick();
        if bar.is_hidden() && told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            eprintln!("{}: {states} states, depth {depth}", world.name);
        }
    });
    bar.finish_and_clear();
    found
}

fn tell(world: &World, found: &Found) {
    let seconds = found.took.as_secs_f64();
    eprintln!(
        "{}: {} states ({} made), depth {}, {seconds:.1} s",
        world.name, found.unique_states, found.generated_states, found.depth
    );
    if let Some((name, path)) = &found.violation {
        eprintln!("broken: {name}");
        for line in story(world, path) {
            eprintln!("{line}");
        }
    }
    for unseen in &found.unseen {
        eprintln!("never seen: {unseen}");
    }
}

fn list() {
    for world in World::all() {
        println!("{:<12} {}", world.name, world.story);
    }
    let rules = Rule::ALL.map(Rule::name);
    println!("\nto break: {}", rules.join(", "));
}
