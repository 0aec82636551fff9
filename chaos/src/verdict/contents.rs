//! What the lists hold in the end: only what was sent, nothing that was refused, nothing twice, in the order in which one
//! connection had it acknowledged, and the same on every instance.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Findings, at};
use crate::evidence::{Asked, Evidence, InstanceEnding, Operation, Outcome};

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut findings = Findings::new(
        "contents",
        "every list holds what was sent, nothing refused, nothing twice, in order, and the same everywhere",
    );
    let Some(ending) = &evidence.ending else {
        findings.open("nothing was read in the end");
        return findings.end("no final reads");
    };
    let sent: BTreeMap<u64, &Operation> = evidence
        .history
        .iter()
        .filter(|operation| operation.op == Asked::Append)
        .filter_map(|operation| Some((operation.value?, operation)))
        .collect();
    let master = ending.instances.iter().find(|instance| Some(&instance.name) == ending.master.as_ref());
    let Some(master) = master.filter(|master| master.reachable) else {
        findings.open("the master's data was not read in the end");
        return findings.end("no final reads");
    };
    for (key, values) in &master.keys {
        check_list(key, values, &sent, !evidence.notes.is_empty(), &mut findings);
    }
    let others =
        ending.instances.iter().filter(|instance| instance.reachable && instance.name != master.name);
    let mut compared = 0_usize;
    for other in others {
        compared += 1;
        if let Some(difference) = difference(master, other) {
            findings.broken(difference);
        }
    }
    let held: usize = master.keys.values().map(Vec::len).sum();
    findings.end(format!(
        "{held} values in {} lists of {}, compared with {compared} other instances",
        master.keys.len(),
        master.name
    ))
}

fn check_list(
    key: &str,
    values: &[u64],
    sent: &BTreeMap<u64, &Operation>,
    torn: bool,
    findings: &mut Findings,
) {
    let mut seen = BTreeSet::new();
    // Of each connection the last acknowledged append that was met, walking through the list.
    let mut last: BTreeMap<(&str, u64), &Operation> = BTreeMap::new();
    for value in values {
        if !seen.insert(*value) {
            findings.broken(format!("{key} holds {value} twice"));
        }
        let Some(append) = sent.get(value) else {
            let what = format!("{key} holds {value}, which nobody sent");
            // The line that says who did may be the one that was cut off.
            if torn {
                findings.open(what)
            } else {
                findings.broken(what)
            }
            continue;
        };
        match append.outcome {
            Outcome::Failed => findings.broken(format!(
                "{key} holds {value}, which {} had refused at {}: {}",
                append.instance,
                at(append.end()),
                append.error.as_deref().unwrap_or("no reason given")
            )),
            Outcome::Ok => {
                let before = last.insert((&append.client, append.session), append);
                if let Some(before) = before.filter(|before| before.sent_us > append.end()) {
                    findings.broken(format!(
                        "{key} holds {} before {value}, which had been acknowledged first",
                        before.value.unwrap_or(0)
                    ));
                }
            }
            Outcome::Unknown => {}
        }
    }
}

fn difference(master: &InstanceEnding, other: &InstanceEnding) -> Option<String> {
    let keys: BTreeSet<&String> = master.keys.keys().chain(other.keys.keys()).collect();
    let differing = keys.into_iter().find(|key| master.keys.get(*key) != other.keys.get(*key))?;
    let count = |instance: &InstanceEnding| instance.keys.get(differing).map_or(0, Vec::len);
    Some(format!(
        "{differing} is not the same on {} ({} values) and {} ({} values)",
        master.name,
        count(master),
        other.name,
        count(other)
    ))
}
