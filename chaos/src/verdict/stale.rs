//! Stale writes: acknowledged by an instance for a request that was sent after the first acknowledgement at a higher term had been
//! received. Woken writes, from the queue of a frozen engine, are counted and are no breach.

use std::collections::BTreeMap;

use super::{Counts, Finding, Findings, at, end_of};
use crate::checker::stale::{FirstAcknowledgements, Frozen, note_first, stale_writes};
use crate::evidence::{Asked, Evidence, Micros, Operation};
use crate::workload::history::{self, Author, Moment, Reign};

/// How coarse a record's own time is.
const COARSE_US: Micros = 2_000;

/// What was found, in the order in which it was sent.
pub(crate) struct Found<'a> {
    /// Accepted by an instance that had been replaced.
    pub(crate) stale: Vec<&'a Operation>,
    /// The same from the queue of a frozen engine.
    pub(crate) woken: Vec<&'a Operation>,
    looked_at: usize,
    first: FirstAcknowledgements,
}

/// Looks at every acknowledgement. What an instance took that a person had opened by hand is nobody's fault but that person's.
pub(crate) fn find(evidence: &Evidence) -> Found<'_> {
    let reigns = reigns(evidence);
    let acknowledged: Vec<&Operation> = evidence
        .history
        .iter()
        .filter(|operation| operation.op != Asked::Read && operation.acknowledged().is_some())
        .collect();
    let operations: Vec<history::Operation> = acknowledged.iter().map(|operation| seen(operation)).collect();
    let mut first = FirstAcknowledgements::new();
    note_first(&mut first, &operations, &reigns);
    let found = stale_writes(&operations, &reigns, &first, &frozen(evidence));
    let pick =
        |indices: &[usize]| indices.iter().filter_map(|index| acknowledged.get(*index).copied()).collect();
    let mut stale: Vec<&Operation> = pick(&found.stale);
    stale.retain(|operation| !was_opened(evidence, operation));
    Found { stale, woken: pick(&found.woken), looked_at: acknowledged.len(), first }
}

pub(super) fn check(evidence: &Evidence, counts: &mut Counts) -> Finding {
    let mut findings = Findings::new(
        "stale",
        "no instance acknowledges what was sent after a higher term had acknowledged something",
    );
    let found = find(evidence);
    counts.stale_writes = found.stale.len() as u64;
    counts.woken_writes = found.woken.len() as u64;
    for operation in &found.stale {
        let spoke = |(_, at): &(&u64, &Moment)| at.0 < operation.sent_us;
        let higher = found.first.iter().rev().find(spoke).map_or(0, |(term, _)| *term);
        findings.broken(format!(
            "{} acknowledged at {} to {} what was sent at {}, when term {higher} had spoken",
            operation.instance,
            at(operation.end()),
            operation.client,
            at(operation.sent_us)
        ));
    }
    let reigns = reigns(evidence);
    let terms = reigns.len();
    for term in reigns.keys().skip(1).filter(|term| !is_dated(evidence, **term)) {
        findings
            .open(format!("no record says when term {term} began, so that its master may have been early"));
    }
    if terms == 0 {
        findings.open("nobody said who was master");
    }
    findings.end(format!(
        "{} acknowledgements under {terms} terms; {} stale, {} woken",
        found.looked_at, counts.stale_writes, counts.woken_writes
    ))
}

fn seen(operation: &Operation) -> history::Operation {
    history::Operation {
        author: if operation.is_routed() { Author::Writer } else { Author::Prober },
        sequence: operation.value.unwrap_or(0),
        instance: operation.instance.as_str().into(),
        sent: Moment(operation.sent_us),
        outcome: history::Outcome::Acknowledged(Moment(operation.end())),
    }
}

/// Each term with the earliest moment at which it may have been made: what the record says itself, unless that is before the term
/// below it (a wall clock that jumped), and at the latest when it was heard of.
pub(crate) fn reigns(evidence: &Evidence) -> BTreeMap<u64, Reign> {
    let mut reigns: BTreeMap<u64, Reign> = BTreeMap::new();
    for sighting in evidence.masters.iter().filter(|sighting| sighting.set == evidence.run.replicaset) {
        let recorded = sighting.recorded_us.map_or(sighting.seen_us, |at| at.saturating_sub(COARSE_US));
        let known = Moment(recorded.min(sighting.seen_us));
        let reign = reigns.entry(sighting.term).or_insert_with(|| Reign {
            term: sighting.term,
            master: sighting.instance.as_str().into(),
            known_from: known,
        });
        reign.known_from = reign.known_from.min(known);
    }
    let mut below = Moment(0);
    for reign in reigns.values_mut() {
        // Heard of only, it may have begun at any time since the term below it.
        let earliest = if is_dated(evidence, reign.term) { reign.known_from } else { below };
        reign.known_from = earliest.max(below);
        below = reign.known_from;
    }
    reigns
}

/// Whether a record says when the term began.
fn is_dated(evidence: &Evidence, term: u64) -> bool {
    let own = evidence.masters.iter().filter(|sighting| sighting.set == evidence.run.replicaset);
    own.filter(|sighting| sighting.term == term).any(|sighting| sighting.recorded_us.is_some())
}

/// Whether a person had opened that instance by hand, and it did not have to be fenced yet.
fn was_opened(evidence: &Evidence, operation: &Operation) -> bool {
    let end = end_of(evidence);
    evidence.faults.iter().any(|fault| {
        let lasted = fault.injected_us..=fault.healed_us.unwrap_or(end);
        fault.opened.contains(&operation.instance) && lasted.contains(&operation.sent_us)
    })
}

fn frozen(evidence: &Evidence) -> Vec<Frozen> {
    let end = end_of(evidence);
    let mut found = Vec::new();
    for fault in &evidence.faults {
        for instance in &fault.froze {
            found.push(Frozen {
                instance: instance.as_str().into(),
                from: Moment(fault.injected_us),
                until: Moment(fault.healed_us.unwrap_or(end)),
            });
        }
    }
    found
}
