//! The end of a run: what every instance holds, who would accept a write, and why each master was made. Reads, and writes
//! it down.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::{sleep, timeout};

use super::LOOK;
use super::watch::set_of;
use crate::evidence::clock::Clock;
use crate::evidence::{Decision, Ending, Folder, InstanceEnding, Sighting, Source};
use crate::field::Field;
use crate::field::host::Host;
use crate::workload::engine::{self, Answer};

/// How long one instance may take to be read.
const READ: Duration = Duration::from_secs(30);
/// How long the history may be asked for.
const LEARN: Duration = Duration::from_secs(15);
/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(2);

/// Completes the ending with what is found.
///
/// # Errors
/// The evidence cannot be written.
pub(super) async fn read(
    field: &Field,
    evidence: &mut Folder,
    clock: Clock,
    mut ending: Ending,
) -> anyhow::Result<Ending> {
    match field.operator.status().await {
        Ok(status) => {
            let record = set_of(&status).and_then(|set| set.record.clone()).unwrap_or_default();
            ending.master = Some(record.master).filter(|master| !master.is_empty());
            ending.term = record.term;
        }
        Err(error) => ending.issues.push(format!("{error:#}")),
    }
    for host in &field.hosts {
        ending.instances.push(read_instance(field, host, &mut ending.issues).await);
    }
    for problem in why_each_master(field, evidence, clock).await? {
        ending.issues.push(problem);
    }
    Ok(ending)
}

async fn read_instance(field: &Field, host: &Host, issues: &mut Vec<String>) -> InstanceEnding {
    let mut found = InstanceEnding { name: host.instance.clone(), ..InstanceEnding::default() };
    let read = async {
        let mut session = engine::connect(field.plan.engine, &host.endpoint().to_string(), CONNECT).await?;
        found.reachable = true;
        match session.lists().await {
            Answer::Yes(lists) => found.keys = lists,
            Answer::No(why) | Answer::Unknown(why) => anyhow::bail!(why),
        }
        found.writable =
            matches!(session.write(&format!("final:{}", host.instance), 1).await, Answer::Yes(()));
        Ok(())
    };
    let outcome = timeout(READ, read).await.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
    if let Err(error) = outcome {
        issues.push(format!("{} could not be read: {error:#}", host.instance));
    }
    found
}

/// Writes down every appointment and the decision behind it. Returns what could not be learned.
pub(super) async fn why_each_master(
    field: &Field,
    evidence: &mut Folder,
    clock: Clock,
) -> anyhow::Result<Vec<String>> {
    // A provider whose leader has only just changed may refuse for a moment.
    let deadline = Instant::now() + LEARN;
    let records = loop {
        match field.operator.history().await.context("read the history") {
            Ok(records) => break records,
            Err(_) if Instant::now() < deadline => sleep(LOOK).await,
            Err(error) => return Ok(vec![format!("{error:#}")]),
        }
    };
    let mut problems = Vec::new();
    for record in records.into_iter().rev().filter(|record| !record.master.is_empty()) {
        let recorded_us = clock.of_unix_ms(record.at_unix_millis);
        evidence.masters.write(&Sighting {
            set: record.replicaset.clone(),
            instance: record.master.clone(),
            term: record.term,
            source: Source::Record,
            seen_us: clock.now(),
            recorded_us,
            active_us: None,
            version: Some(record.version),
            reason: Some(record.reason.clone()).filter(|reason| !reason.is_empty()),
            decided_by: Some(record.decided_by.clone()).filter(|arbiter| !arbiter.is_empty()),
        })?;
        // What was decided before the clients came is nobody's concern here.
        let Some(at_us) = recorded_us else { continue };
        match field.operator.explain(record.term).await {
            Ok(decision) => evidence.decisions.write(&Decision { at_us, decision })?,
            Err(error) => problems.push(format!("the decision of term {}: {error:#}", record.term)),
        }
    }
    Ok(problems)
}
