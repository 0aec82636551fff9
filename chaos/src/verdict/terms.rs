//! Terms: one master each (I1), and they only rise, for the cluster and for each client.

use std::collections::BTreeMap;

use super::{Finding, Findings, at};
use crate::evidence::{Evidence, Micros, Source};

/// How long the news of a term may take to whoever writes the evidence, when it was replaced at once.
const NEWS_US: Micros = 2_000_000;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut findings = Findings::new("terms", "every term has one master, and terms only rise");
    let mut masters: BTreeMap<(&str, u64), (&str, Micros)> = BTreeMap::new();
    for sighting in &evidence.masters {
        let known = masters
            .entry((&sighting.set, sighting.term))
            .or_insert((sighting.instance.as_str(), sighting.seen_us));
        if known.0 != sighting.instance {
            findings.broken(format!(
                "term {} of {} has two masters: {} (said at {}) and {} (said at {})",
                sighting.term,
                sighting.set,
                known.0,
                at(known.1),
                sighting.instance,
                at(sighting.seen_us)
            ));
        }
    }
    late(evidence, &mut findings);
    back(evidence, &mut findings);
    if let Some(ending) = &evidence.ending {
        let highest = masters.iter().filter(|((set, _), _)| *set == evidence.run.replicaset);
        if let Some(((_, highest), (master, _))) = highest.max_by_key(|((_, term), _)| *term)
            && ending.term < *highest
        {
            findings.broken(format!(
                "in the end the term was {}, and {master} had been master at {highest}",
                ending.term
            ));
        }
    }
    if masters.is_empty() {
        findings.open("nobody said who was master");
    }
    findings.end(format!("{} sightings of {} terms", evidence.masters.len(), masters.len()))
}

/// A term that routers hear of for the first time long after a higher one.
fn late(evidence: &Evidence, findings: &mut Findings) {
    let mut first: BTreeMap<u64, Micros> = BTreeMap::new();
    let heard = |sighting: &&crate::evidence::Sighting| {
        sighting.set == evidence.run.replicaset && sighting.source == Source::Directory
    };
    for sighting in evidence.masters.iter().filter(heard) {
        first.entry(sighting.term).or_insert(sighting.seen_us);
    }
    let mut above: Option<(u64, Micros)> = None;
    for (term, at_us) in first.iter().rev() {
        if let Some((higher, before)) = above
            && before + NEWS_US < *at_us
        {
            findings.broken(format!(
                "routers heard of term {term} for the first time at {}, of term {higher} at {}",
                at(*at_us),
                at(before)
            ));
        }
        if above.is_none_or(|(_, before)| *at_us < before) {
            above = Some((*term, *at_us));
        }
    }
}

/// A client that was sent to a lower term than before.
fn back(evidence: &Evidence, findings: &mut Findings) {
    let mut sessions: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    // Of each client the highest term so far, and when it was first used. Several hands of one client leave an old master one
    // after the other, so a connection that was coming up may still be used for a moment.
    let mut highest: BTreeMap<&str, (u64, Micros)> = BTreeMap::new();
    for operation in &evidence.history {
        let Some(term) = operation.term else { continue };
        let client = operation.client.as_str();
        let began = *sessions.entry((client, operation.session)).or_insert(term);
        if began != term {
            findings.broken(format!(
                "{client} used one connection at terms {began} and {term}, the latter at {}",
                at(operation.sent_us)
            ));
        }
        let known = highest.entry(client).or_insert((term, operation.sent_us));
        if term > known.0 {
            *known = (term, operation.sent_us);
        } else if term < known.0 && known.1 + NEWS_US < operation.sent_us {
            findings.broken(format!(
                "{client} was sent to {} at term {term} at {}, and had used term {} since {}",
                operation.instance,
                at(operation.sent_us),
                known.0,
                at(known.1)
            ));
        }
    }
}
