//! Runs the steps one after another on one cluster and collects what came of each. Decides only the order and when it is
//! no use to go on.

pub mod attempt;
pub mod stage;
pub mod step;
pub mod verdict;

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::attempt::Attempt;
use self::stage::Stage;
use crate::cli::Common;
use crate::cluster::binaries::Binaries;
use crate::report::narrator::Narrator;
use crate::report::summary::Report;
use crate::report::timeline;

/// Does every step `attempts` times on a cluster of its own, tells each, and reports. `with_stage` looks at the cluster
/// when all attempts are over and all is well.
///
/// # Errors
/// A program is missing, the cluster did not start, or the look at its end failed.
pub async fn run<T>(
    common: &Common,
    lease_ttl: Duration,
    attempts: u32,
    seed: u64,
    narrator: &Narrator,
    with_stage: impl AsyncFnOnce(&Stage) -> anyhow::Result<T>,
) -> anyhow::Result<(Report, Option<T>)> {
    let binaries = Binaries::find(common.engine, common.provider)?;
    let random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::open(&binaries, common.provider, lease_ttl, random, narrator).await?;
    narrator.say(&timeline::opening(&stage));
    let (done, given_up) = play_all(&mut stage, common, attempts, narrator).await;
    let path = stage.cluster.path().display().to_string();
    let report = Report::new(common, lease_ttl, seed, attempts, &done);
    let looked = if given_up { None } else { Some(with_stage(&stage).await?) };
    if common.keep || !report.ok() {
        stage.cluster.keep_folder();
        narrator.say(&format!("the logs are in {path}"));
    }
    Ok((report, looked))
}

/// All attempts that could be made, and whether the rest was given up: a report of some is better than none.
async fn play_all(
    stage: &mut Stage,
    common: &Common,
    attempts: u32,
    narrator: &Narrator,
) -> (Vec<Attempt>, bool) {
    let mut done = Vec::new();
    for step in &common.steps {
        for number in 1..=attempts {
            let attempt = match stage.attempt(*step, common.count_unconfirmed, narrator).await {
                Ok(attempt) => attempt,
                Err(error) => {
                    narrator.say(&format!("\n{step} could not begin: {error:#}"));
                    return (done, true);
                }
            };
            narrator.say(&timeline::tell_one_of(&attempt, number, attempts, narrator.colours()));
            let broken = attempt.broken;
            done.push(attempt);
            if broken {
                return (done, true);
            }
        }
    }
    (done, false)
}
