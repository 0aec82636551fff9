//! Is the run worth anything? A run in which nothing was written, nothing bit or nothing ended cannot have shown a flaw, and is
//! unknown whatever the others say.

use std::collections::BTreeSet;

use super::stale::reigns;
use super::{Counts, Finding, Findings, at, end_of};
use crate::evidence::{Asked, Evidence, Fault, Micros, Operation, Outcome};

/// Fewest acknowledged writes of clients that follow the directory.
const WRITES_MIN: u64 = 100;
/// The faults after which no process of an engine is left; a coordinator alone that is killed may leave its engine.
const KILLS: [&str; 3] = ["kill", "kill-engine", "power-off"];

/// What needs no judgement.
pub(super) fn counts(evidence: &Evidence) -> Counts {
    let is_write = |operation: &&Operation| matches!(operation.op, Asked::Append | Asked::Write);
    let ended = |outcome| {
        let routed = evidence.history.iter().filter(|operation| operation.is_routed());
        routed.filter(move |operation| operation.outcome == outcome)
    };
    Counts {
        faults: evidence.faults.len() as u64,
        term_changes: changes(evidence),
        writes: ended(Outcome::Ok).filter(is_write).count() as u64,
        failed: ended(Outcome::Failed).count() as u64,
        unknown: ended(Outcome::Unknown).count() as u64,
        ..Counts::default()
    }
}

/// Changes of master since the first fault struck. What came before it set the stage.
fn changes(evidence: &Evidence) -> u64 {
    let Some(first) = evidence.faults.iter().map(|fault| fault.injected_us).min() else { return 0 };
    let reigns = reigns(evidence);
    reigns.values().filter(|reign| reign.known_from.0 >= first).count() as u64
}

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut findings =
        Findings::new("worth", "the run is whole, its faults bit, and its clients would have seen a flaw");
    let counts = counts(evidence);
    for note in &evidence.notes {
        findings.open(note.to_string());
    }
    if counts.writes < WRITES_MIN {
        findings.open(format!("only {} acknowledged writes, fewer than {WRITES_MIN}", counts.writes));
    }
    if counts.term_changes < evidence.run.expected_changes {
        findings.open(format!(
            "the scenario is about {} changes of master, and {} happened since its first fault",
            evidence.run.expected_changes, counts.term_changes
        ));
    }
    if evidence.faults.is_empty() {
        findings.open("no fault struck");
    }
    for fault in &evidence.faults {
        match &fault.bite {
            Some(bite) if bite.bit => {}
            Some(bite) => findings.open(format!("{} did not bite: {}", name(fault), bite.how)),
            None => findings.open(format!("{}: nobody looked whether it bit", name(fault))),
        }
        for instance in untried(evidence, fault) {
            findings.open(format!("no client tried {instance} directly from {} on", name(fault)));
        }
    }
    let bit = evidence.faults.iter().filter(|fault| fault.bite.as_ref().is_some_and(|bite| bite.bit)).count();
    findings.end(format!(
        "{} faults of which {bit} bit, {} changes of master, {} writes acknowledged, {} requests refused, {} unanswered, over {}",
        counts.faults,
        counts.term_changes,
        counts.writes,
        counts.failed,
        counts.unknown,
        at(end_of(evidence))
    ))
}

fn name(fault: &Fault) -> String {
    format!("{} at {}", fault.name, at(fault.injected_us))
}

/// Instances that no direct client tried after the fault struck: a stale master there would not have been seen. One that was dead from
/// then on to the end accepts nothing, and cannot be tried.
fn untried<'a>(evidence: &'a Evidence, fault: &Fault) -> Vec<&'a str> {
    let tried: BTreeSet<&str> = evidence
        .history
        .iter()
        .filter(|operation| operation.op == Asked::DirectWrite && operation.end() >= fault.injected_us)
        .map(|operation| operation.instance.as_str())
        .collect();
    let instances = evidence.run.instances.iter().map(String::as_str);
    instances
        .filter(|instance| !tried.contains(instance) && !is_dead_from(evidence, instance, fault.injected_us))
        .collect()
}

/// Whether the engine of an instance was killed by then, for good.
fn is_dead_from(evidence: &Evidence, instance: &str, from: Micros) -> bool {
    evidence.faults.iter().any(|fault| {
        let kills = KILLS.contains(&fault.name.as_str()) && fault.targets.iter().any(|it| it == instance);
        let bit = fault.bite.as_ref().is_some_and(|bite| bite.bit);
        kills && bit && fault.injected_us <= from && fault.healed_us.is_none_or(|at| at >= end_of(evidence))
    })
}
