//! The commands `run`, `soak`, `list` and `clean`: each scenario is played by a thread of its own, inside the network from which its
//! cluster is watched, and everything is removed before the next one begins.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use super::progress::Progress;
use super::{Order, Played, play};
use crate::check;
use crate::cli::{FieldArguments, ProviderKind, Run, Soak};
use crate::evidence::{Evidence, Mode, file};
use crate::field::{Ground, Plan, leftovers};
use crate::nemesis::kind::Kind;
use crate::report::narrator::Narrator;
use crate::scenario::{self, Scenario};
use crate::told::{ToldToEnd, until_told_to_end};
use crate::verdict::{Judgement, Line, Totals, Verdict};

/// Nothing can be played here. The codes below are those of the verdicts.
const NOT_HERE: u8 = 4;

/// Plays what was asked for, one after another, and judges each by its evidence.
///
/// # Errors
/// There is no such scenario, it was told to end, or evidence cannot be read back.
pub fn run(arguments: &Run, narrator: &Narrator) -> anyhow::Result<ExitCode> {
    let seed = seed(&arguments.field);
    let scenarios = chosen(&arguments.scenarios, &arguments.field, seed)?;
    if !may_play(narrator) {
        return Ok(ExitCode::from(NOT_HERE));
    }
    let (mut totals, mut not_played) = (Totals::default(), 0_u32);
    for scenario in scenarios {
        match judged(&arguments.field, scenario, seed, narrator)? {
            Some((evidence, judgement, _)) => totals.add(&evidence, &judgement),
            None => not_played += 1,
        }
    }
    if arguments.field.json {
        println!("{}", serde_json::to_string(&totals)?);
    }
    let verdict = totals.verdict();
    let code = if not_played > 0 && verdict == Verdict::Valid { Verdict::Unknown } else { verdict };
    Ok(ExitCode::from(code.exit_code()))
}

/// Plays drawn scenarios until their time together has come. What was played before into the same folder counts.
///
/// # Errors
/// It was told to end, or evidence or progress cannot be read or written.
pub fn soak(arguments: &Soak, narrator: &Narrator) -> anyhow::Result<ExitCode> {
    if !may_play(narrator) {
        return Ok(ExitCode::from(NOT_HERE));
    }
    let mut progress = Progress::open(&arguments.field.out, || seed(&arguments.field))?;
    narrator.say(&progress.tell());
    while progress.seconds < arguments.time.as_secs_f64() {
        let began = Instant::now();
        let number = progress.next;
        let outcome = judged(&arguments.field, scenario::random::drawn(number), number, narrator)?;
        progress.add(outcome.as_ref().map(|(_, judgement, _)| judgement), began.elapsed())?;
        if let Some((_, _, folder)) = outcome.filter(|(_, judgement, _)| judgement.verdict == Verdict::Valid)
        {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        narrator.say(&progress.tell());
    }
    if arguments.field.json {
        println!("{}", serde_json::to_string(&progress)?);
    }
    let verdict = match (progress.invalid, progress.unknown) {
        (0, 0) => Verdict::Valid,
        (0, _) => Verdict::Unknown,
        (_, _) => Verdict::Invalid,
    };
    Ok(ExitCode::from(verdict.exit_code()))
}

/// Whether machines can be made here; if so, nothing of earlier runs is left.
fn may_play(narrator: &Narrator) -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "chaos: machines are network namespaces and control groups, which only root may make: run it as root"
        );
        return false;
    }
    for swept in leftovers::sweep() {
        narrator.say(&format!("left by an earlier run, removed: {swept}"));
    }
    true
}

/// Short enough to be typed again.
fn seed(arguments: &FieldArguments) -> u64 {
    arguments.seed.unwrap_or_else(|| rand::random_range(1..1_000_000))
}

/// Plays and judges one; `None` where it could not be played.
fn judged(
    arguments: &FieldArguments,
    scenario: Scenario,
    seed: u64,
    narrator: &Narrator,
) -> anyhow::Result<Option<(Evidence, Judgement, PathBuf)>> {
    let order = order(arguments, scenario, seed)?;
    narrator.say(&format!("\n{}, seed {seed}\n  {}", order.scenario.name, order.scenario.story));
    let played = match one(&order, narrator) {
        Ok(played) => played,
        Err(error) if error.is::<ToldToEnd>() => return Err(error),
        Err(error) => {
            narrator.say(&format!("  it could not be played: {error:#}"));
            return Ok(None);
        }
    };
    let (evidence, judgement) = check::folder_of(&played.evidence)?;
    narrator.say(&check::tell(&evidence, &judgement));
    narrator.say(&format!("the evidence is in {}", played.evidence.display()));
    if arguments.json {
        println!("{}", serde_json::to_string(&Line::new(&evidence, &judgement))?);
    }
    Ok(Some((evidence, judgement, played.evidence)))
}

fn chosen(names: &[String], field: &FieldArguments, seed: u64) -> anyhow::Result<Vec<Scenario>> {
    let provider = field.provider;
    let suits = |scenario: &Scenario| scenario.provider.is_none_or(|about| about == provider);
    let possible = |scenario: &Scenario| field.previous.is_some() || !scenario.upgrades();
    if names.iter().any(|name| name == "all") {
        return Ok(scenario::all().into_iter().filter(suits).filter(possible).collect());
    }
    let named = |name: &String| {
        if name == scenario::random::NAME {
            return Ok(scenario::random::drawn(seed));
        }
        let scenario = scenario::named(name)?;
        anyhow::ensure!(
            possible(&scenario),
            "{name} begins with an earlier build: say with --previous in which folder its programs are"
        );
        let wrong = || format!("{name} is about {}", scenario.provider.map_or("any", ProviderKind::name));
        anyhow::ensure!(suits(&scenario), "{}, and with {} it shows nothing", wrong(), provider.name());
        Ok(scenario)
    };
    names.iter().map(named).collect()
}

fn order(arguments: &FieldArguments, scenario: Scenario, seed: u64) -> anyhow::Result<Order> {
    let mode = if arguments.asynchronous { Mode::Async } else { Mode::Sync };
    let plan = Plan {
        engine: arguments.engine,
        provider: arguments.provider,
        mode,
        lease_ttl: arguments.lease_ttl,
        disks: scenario.has(Kind::needs_disks),
        clocks: scenario.has(Kind::needs_clocks),
        spare: scenario.has(Kind::needs_spare),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let name = format!("{}-{}-{}-{seed}-{now}", scenario.name, plan.provider.name(), mode.name());
    let out = std::path::absolute(arguments.out.join(name)).context("find the folder for the evidence")?;
    let previous = arguments.previous.clone().filter(|_| scenario.upgrades());
    Ok(Order { scenario, plan, seed, out, previous })
}

/// A thread that never leaves the network which it enters, with a runtime of its own.
fn one(order: &Order, narrator: &Narrator) -> anyhow::Result<Played> {
    let work = || {
        let ground = Ground::lay(&order.out.join(file::LOGS))?;
        ground.enter()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(until_told_to_end(play(order, ground, narrator)))
    };
    std::thread::scope(|scope| {
        let joined = scope.spawn(work).join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Prints every scenario with its story.
pub fn list() {
    for scenario in scenario::all() {
        println!("{}\n    {}", scenario.name, scenario.story);
    }
    println!("{}\n    {}", scenario::random::NAME, scenario::random::STORY);
}

/// Removes what runs left that are over, and says what.
pub fn clean() {
    let swept = leftovers::sweep();
    for thing in &swept {
        println!("removed: {thing}");
    }
    if swept.is_empty() {
        println!("nothing was left");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    /// As evidence names the command that repeats it.
    #[test]
    fn a_drawn_scenario_is_played_again_by_its_name_and_seed() {
        let line = "chaos run random --engine redis --provider etcd --sync --lease-ttl 3s --seed 10002";
        let Command::Run(run) = Cli::parse_from(line.split(' ')).command else { panic!("it is a run") };
        let chosen = chosen(&run.scenarios, &run.field, seed(&run.field)).expect("there is one");
        let told = |scenario: &Scenario| format!("{:?}", scenario.steps);
        assert_eq!(chosen.iter().map(told).collect::<Vec<_>>(), [told(&scenario::random::drawn(10_002))]);
        assert_ne!(told(&chosen[0]), told(&scenario::random::drawn(10_003)));
    }
}
