//! Watches a cluster while a scenario plays: how it feels, and who is master by the record. Every look is a line of the
//! evidence. It asks from the watching machine, which no fault cuts off, and strikes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use baton_proto::v1::{ClusterStatus, ReplicaSetStatus};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::config::REPLICASET;
use crate::cluster::missing_in;
use crate::cluster::operator::Operator;
use crate::evidence::clock::Clock;
use crate::evidence::{Folder, Health, Lines, Sighting, Source};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A running watch; it ends with this value.
#[derive(Debug)]
pub struct Watch {
    _task: JoinSet<()>,
}

impl Watch {
    /// Starts to look.
    ///
    /// # Errors
    /// The system has no more handles.
    pub fn start(
        operator: Operator,
        instances: Vec<String>,
        evidence: &Folder,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let (health, masters) = (evidence.health.try_clone()?, evidence.masters.try_clone()?);
        let mut task = JoinSet::new();
        task.spawn(look_for_ever(operator, instances, health, masters, clock));
        Ok(Self { _task: task })
    }
}

async fn look_for_ever(
    operator: Operator,
    instances: Vec<String>,
    mut health: Lines<Health>,
    mut masters: Lines<Sighting>,
    clock: Clock,
) {
    let names: BTreeSet<&str> = instances.iter().map(String::as_str).collect();
    let mut last = (0, false);
    loop {
        let status = operator.status().await;
        let at_us = clock.now();
        let sample = match &status {
            Ok(status) => {
                let set = set_of(status);
                let issue =
                    set.map_or(Some("the set is not known".to_owned()), |set| missing_in(set, &names));
                let arbiter = status.arbiter.as_ref().map(|arbiter| arbiter.coordinator.clone());
                Health { at_us, healthy: issue.is_none(), arbiter, issues: issue.into_iter().collect() }
            }
            Err(error) => Health { at_us, issues: vec![format!("{error:#}")], ..Health::default() },
        };
        let mut written = health.write(&sample);
        if let Some(sighting) = status.ok().as_ref().and_then(set_of).and_then(|set| sighting(set, at_us)) {
            let seen = (sighting.term, sighting.active_us.is_some());
            if seen != last {
                last = seen;
                written = written.and(masters.write(&sighting));
            }
        }
        if let Err(error) = written {
            // Without its evidence a run proves nothing; the verdict will miss the samples.
            eprintln!("cannot write what was seen: {error}");
            return;
        }
        sleep(LOOK).await;
    }
}

/// The set that the clients use.
#[must_use]
pub fn set_of(status: &ClusterStatus) -> Option<&ReplicaSetStatus> {
    status.replicasets.iter().find(|set| set.replicaset == REPLICASET)
}

fn sighting(set: &ReplicaSetStatus, seen_us: u64) -> Option<Sighting> {
    let record = set.record.as_ref().filter(|record| !record.master.is_empty())?;
    Some(Sighting {
        set: set.replicaset.clone(),
        instance: record.master.clone(),
        term: record.term,
        source: Source::Record,
        seen_us,
        recorded_us: None,
        active_us: (set.state == "active").then_some(seen_us),
        version: Some(record.version),
        reason: Some(record.reason.clone()).filter(|reason| !reason.is_empty()),
        decided_by: Some(record.decided_by.clone()).filter(|arbiter| !arbiter.is_empty()),
    })
}
