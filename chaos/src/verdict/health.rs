//! In the end everything is well: the cluster says so itself, every instance answers, and the master alone accepts writes.

use super::{Finding, Findings};
use crate::evidence::Evidence;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut findings = Findings::new(
        "healthy",
        "in the end all is well: every instance answers, and the master alone accepts writes",
    );
    let Some(ending) = &evidence.ending else {
        findings.open("nobody looked in the end");
        return findings.end("nothing");
    };
    if !ending.healthy {
        findings.broken(format!("the cluster did not become well again: {}", list(&ending.issues)));
    }
    match &ending.master {
        None => findings.broken("there is no master"),
        Some(master)
            if !ending.instances.iter().any(|instance| instance.name == *master && instance.writable) =>
        {
            findings.broken(format!("the master {master} does not accept writes"));
        }
        Some(_) => {}
    }
    for instance in &ending.instances {
        if !instance.reachable {
            findings.broken(format!("{} does not answer", instance.name));
        } else if instance.writable && ending.master.as_ref() != Some(&instance.name) {
            findings.broken(format!("{} accepts writes and is not the master", instance.name));
        }
    }
    for name in &evidence.run.instances {
        if !ending.instances.iter().any(|instance| instance.name == *name) {
            findings.open(format!("nobody looked at {name}"));
        }
    }
    findings.end(format!("{} instances", ending.instances.len()))
}

fn list(issues: &[String]) -> String {
    if issues.is_empty() { "it does not say why".to_owned() } else { issues.join("; ") }
}
