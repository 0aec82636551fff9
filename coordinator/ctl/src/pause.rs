//! `batonctl pause` and `resume`: asks the arbiter, and stays until the records say that it is so.

use crate::args::{Cli, PauseArgs, ResumeArgs};
use crate::{Exit, Failure, Io, write_json};
use baton_client::OperatorClient;
use baton_client::status::{ClusterStatus, ReplicaSetStatus};
use serde_json::json;
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(100);
/// After so long a person is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked again: an arbiter that ended may have taken it in and done nothing.
const AGAIN: Duration = Duration::from_secs(3);

pub(crate) async fn pause(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &PauseArgs,
) -> Result<Exit, Failure> {
    let span = (!args.for_good).then_some(args.span);
    let sets = client.pause(&args.replicasets, span).await?;
    let began = Instant::now();
    let mut asked = Instant::now();
    let mut told = false;
    loop {
        let status = client.status().await?;
        let waiting = missing(&status, &sets, |set| set.record.as_ref().is_some_and(|record| record.pinned));
        if waiting.is_empty() {
            show_paused(cli, io, &status, &sets)?;
            return Ok(Exit::Done);
        }
        if began.elapsed() >= args.timeout {
            return not_yet(cli, io, "paused", &waiting);
        }
        tell(cli, io, &mut told, began, &waiting)?;
        if asked.elapsed() >= AGAIN {
            client.pause(&waiting, span).await?;
            asked = Instant::now();
        }
        tokio::time::sleep(EVERY).await;
    }
}

pub(crate) async fn resume(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &ResumeArgs,
) -> Result<Exit, Failure> {
    let sets = client.resume(&args.replicasets).await?;
    let began = Instant::now();
    let mut asked = Instant::now();
    let mut told = false;
    let free = |set: &ReplicaSetStatus| {
        set.hold.is_none() && set.record.as_ref().is_none_or(|record| !record.pinned)
    };
    loop {
        let waiting = missing(&client.status().await?, &sets, free);
        if waiting.is_empty() {
            if cli.json {
                write_json(io, &json!({"resumed": sets}))?;
            } else {
                writeln!(io.out, "resumed: {}", sets.join(", "))?;
            }
            return Ok(Exit::Done);
        }
        if began.elapsed() >= args.timeout {
            return not_yet(cli, io, "resumed", &waiting);
        }
        tell(cli, io, &mut told, began, &waiting)?;
        if asked.elapsed() >= AGAIN {
            client.resume(&waiting).await?;
            asked = Instant::now();
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Those of `sets` that are not as wanted; a set that is gone is not waited for.
fn missing(
    status: &ClusterStatus,
    sets: &[String],
    wanted: impl Fn(&ReplicaSetStatus) -> bool,
) -> Vec<String> {
    let of_them = status.replicasets.iter().filter(|set| sets.contains(&set.replicaset));
    // One without a record has no master that could be pinned.
    let open = of_them.filter(|set| set.record.is_some() && !wanted(set));
    open.map(|set| set.replicaset.clone()).collect()
}

fn tell(
    cli: &Cli,
    io: &mut Io<'_>,
    told: &mut bool,
    began: Instant,
    waiting: &[String],
) -> Result<(), Failure> {
    if !cli.json && !*told && began.elapsed() >= PATIENCE {
        *told = true;
        writeln!(io.err, "waiting for the masters' word: {}", waiting.join(", "))?;
    }
    Ok(())
}

fn not_yet(cli: &Cli, io: &mut Io<'_>, what: &str, waiting: &[String]) -> Result<Exit, Failure> {
    if cli.json {
        write_json(io, &json!({"done": false, "waiting": waiting}))?;
    } else {
        let sets = waiting.join(", ");
        writeln!(io.err, "not {what} yet (it goes on): {sets}")?;
        writeln!(
            io.err,
            "a master that is not heard has to come back, or to be replaced: batonctl failover SET"
        )?;
    }
    Ok(Exit::Running)
}

fn show_paused(cli: &Cli, io: &mut Io<'_>, status: &ClusterStatus, sets: &[String]) -> Result<(), Failure> {
    let of_them = status.replicasets.iter().filter(|set| sets.contains(&set.replicaset));
    let until = |set: &ReplicaSetStatus| set.record.as_ref().and_then(|record| record.pinned_until.clone());
    if cli.json {
        let paused: Vec<_> = of_them
            .map(|set| json!({"replicaset": set.replicaset, "master": set.master, "until": until(set)}))
            .collect();
        write_json(io, &json!({"paused": paused}))?;
        return Ok(());
    }
    for set in of_them {
        let end = until(set).map_or("until somebody resumes it".to_owned(), |until| format!("until {until}"));
        let master = set.master.as_deref().unwrap_or("nobody");
        writeln!(io.out, "{} is paused {end}; its master stays {master}", set.replicaset)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_client::status::RecordStatus;

    #[test]
    fn a_set_is_waited_for_until_its_record_says_so_and_not_where_it_has_none() {
        let record = |pinned| Some(RecordStatus { pinned, ..RecordStatus::default() });
        let set = |name: &str, record| ReplicaSetStatus {
            replicaset: name.into(),
            record,
            ..ReplicaSetStatus::default()
        };
        let status = ClusterStatus {
            replicasets: vec![set("s1", record(true)), set("s2", record(false)), set("s3", None)],
            ..ClusterStatus::default()
        };
        let sets: Vec<String> = ["s1", "s2", "s3", "gone"].map(String::from).into();
        let pinned = |set: &ReplicaSetStatus| set.record.as_ref().is_some_and(|record| record.pinned);
        assert_eq!(missing(&status, &sets, pinned), ["s2"]);
    }
}
