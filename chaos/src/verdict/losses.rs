//! Lost writes. In synchronous mode what a replica had confirmed may not be absent from the master when all is well again. In asynchronous
//! mode what only the master had may go with it, but no more than the decision reported: an end of what one master acknowledged, behind
//! what the decision had seen of it. The same holds in synchronous mode for the term that a person ended by force: what was accepted as lost
//! is what that decision says, and no more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Counts, Finding, Findings, at};
use crate::checker::lost::{Lost, lost_writes};
use crate::evidence::{Asked, Decision, Evidence, InstanceEnding, Micros, Mode, Operation, Outcome};
use crate::workload::history::{Session, Written};

/// Fewest bytes that an append adds to any engine's stream: what was reported in bytes covers at most so many appends.
const APPEND_BYTES_MIN: u64 = 32;
/// How long an acknowledgement may be on its way to the client, and how coarse a decision's own time is.
const SLACK_US: Micros = 5_000;

/// The class of a decision that a person forced.
const FORCED: &str = "forced";

const STATEMENT_SYNC: &str = "no write is lost that a replica had confirmed";
const STATEMENT_ASYNC: &str =
    "no more is lost than the end of what a master acknowledged alone, as its decision reported";

pub(super) fn check(evidence: &Evidence, counts: &mut Counts) -> Finding {
    let statement = match evidence.run.mode {
        Mode::Sync => STATEMENT_SYNC,
        Mode::Async => STATEMENT_ASYNC,
    };
    let mut findings = Findings::new("lost", statement);
    let Some(held) = held_in_the_end(evidence, &mut findings) else {
        findings.open("the master's data was not read in the end");
        return findings.end("no final reads");
    };
    let appends: BTreeMap<u64, &Operation> = evidence
        .history
        .iter()
        .filter(|operation| operation.op == Asked::Append && operation.outcome == Outcome::Ok)
        .filter_map(|operation| Some((operation.value?, operation)))
        .collect();
    let (mut lost, promised) = lost(evidence, &appends, &held);
    if evidence.run.mode == Mode::Async {
        lost.unconfirmed.append(&mut lost.confirmed);
    }
    counts.lost_writes = lost.confirmed.len() as u64;
    counts.unconfirmed_lost_writes = lost.unconfirmed.len() as u64;
    match evidence.run.mode {
        Mode::Sync => {
            let forced = forced_terms(evidence);
            let of_forced = |value: &u64| {
                appends.get(value).and_then(|append| append.term).is_some_and(|term| forced.contains(&term))
            };
            let accepted: BTreeSet<u64> = lost.confirmed.iter().copied().filter(of_forced).collect();
            let mut gone: BTreeSet<u64> = lost.unconfirmed.iter().copied().filter(of_forced).collect();
            gone.extend(&accepted);
            let beyond = reported(evidence, &appends, &gone, &mut findings);
            lost.confirmed.retain(|value| !accepted.contains(value));
            counts.lost_writes = lost.confirmed.len() as u64 + beyond;
            counts.accepted_lost_writes = (accepted.len() as u64).saturating_sub(beyond);
            for value in &lost.confirmed {
                findings
                    .broken(format!("{} was confirmed by a replica, and is gone", tell(&appends, *value)));
            }
            if promised == 0 {
                findings.open("no replica ever confirmed anything");
            }
        }
        Mode::Async => {
            counts.lost_writes = reported(evidence, &appends, &lost.unconfirmed, &mut findings);
        }
    }
    findings.end(format!(
        "{} acknowledged appends, {promised} of them promised; {} promised ones gone, {} others gone{}",
        appends.len(),
        counts.lost_writes,
        counts.unconfirmed_lost_writes,
        match counts.accepted_lost_writes {
            0 => String::new(),
            accepted => format!(", and {accepted} promised ones by a loss that a person accepted"),
        }
    ))
}

/// The terms that a person ended by force, where the decision itself says so and what may be lost. A decision that nobody asked
/// for excuses nothing.
fn forced_terms(evidence: &Evidence) -> BTreeSet<u64> {
    let asked_for = |decision: &&Decision| {
        let before = |fault: &&crate::evidence::Fault| {
            fault.may_lose && fault.injected_us <= decision.at_us.saturating_add(SLACK_US)
        };
        evidence.faults.iter().any(|fault| before(&fault))
    };
    let forced = evidence.decisions.iter().filter(asked_for);
    let forced = forced.filter(|made| made.decision.class == FORCED && made.decision.accepted.is_some());
    forced.map(|made| made.decision.term_before).collect()
}

/// What the master held in the end. Where the recorded one takes no writes there is none, and whoever leads next may hold what another
/// has now: absent is then what nobody holds.
fn held_in_the_end(evidence: &Evidence, findings: &mut Findings) -> Option<BTreeSet<u64>> {
    let ending = evidence.ending.as_ref()?;
    let master = ending.instances.iter().find(|instance| Some(&instance.name) == ending.master.as_ref())?;
    let values =
        |instance: &InstanceEnding| instance.keys.values().flatten().copied().collect::<BTreeSet<u64>>();
    if master.writable {
        return master.reachable.then(|| values(master));
    }
    findings.open(format!("{} takes no writes in the end: nobody knows who will lead", master.name));
    // What nobody holds who was read may be held by one who was not.
    let all_read = ending.instances.iter().all(|instance| instance.reachable);
    all_read.then(|| ending.instances.iter().flat_map(values).collect())
}

/// What is absent, and how many appends were promised. Stays are told apart by client and session.
fn lost(evidence: &Evidence, appends: &BTreeMap<u64, &Operation>, held: &BTreeSet<u64>) -> (Lost, usize) {
    let mut stays: BTreeMap<(&str, u64), Session> = BTreeMap::new();
    for operation in &evidence.history {
        let next = stays.len() as Session;
        stays.entry((&operation.client, operation.session)).or_insert(next);
    }
    let stay = |operation: &Operation| stays.get(&(operation.client.as_str(), operation.session)).copied();
    let mut confirmed: BTreeMap<Session, u64> = BTreeMap::new();
    for operation in evidence.history.iter().filter(|operation| operation.op == Asked::Confirm) {
        if let (Some(value), Some(stay)) = (operation.value, stay(operation)) {
            let highest = confirmed.entry(stay).or_default();
            *highest = value.max(*highest);
        }
    }
    let written: Vec<Written> = appends
        .iter()
        .filter_map(|(value, operation)| Some(Written { sequence: *value, session: stay(operation)? }))
        .collect();
    let promised = written
        .iter()
        .filter(|write| confirmed.get(&write.session).is_some_and(|highest| write.sequence <= *highest))
        .count();
    (lost_writes(&written, &confirmed, |value| held.contains(&value)), promised)
}

fn tell(appends: &BTreeMap<u64, &Operation>, value: u64) -> String {
    match appends.get(&value) {
        Some(append) => format!(
            "value {value}, appended to {} by {} and acknowledged by {} at {},",
            append.key,
            append.client,
            append.instance,
            at(append.end())
        ),
        None => format!("value {value}"),
    }
}

/// Asynchronous losses beyond what was reported; how many.
fn reported(
    evidence: &Evidence,
    appends: &BTreeMap<u64, &Operation>,
    gone: &BTreeSet<u64>,
    findings: &mut Findings,
) -> u64 {
    let mut of_term: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for append in appends.values() {
        of_term.entry(append.term.unwrap_or(0)).or_default().push(append);
    }
    let mut beyond = 0;
    for (term, mut written) in of_term {
        written.sort_by_key(|append| append.end());
        let is_gone = |append: &&Operation| append.value.is_some_and(|value| gone.contains(&value));
        let lost: Vec<&Operation> = written.iter().copied().filter(is_gone).collect();
        let Some(first) = lost.first() else { continue };
        let survivors = || written.iter().filter(|append| !is_gone(append));
        // Sent after the lost one was acknowledged, and still there: that is a hole, not an end.
        if let Some(later) =
            survivors().find(|append| append.sent_us > first.end() && append.session == first.session)
        {
            beyond += 1;
            findings.broken(format!(
                "{} is gone, and value {} that came after it is there",
                tell(appends, first.value.unwrap_or(0)),
                later.value.unwrap_or(0)
            ));
        }
        let Some(decision) = evidence.decisions.iter().find(|decision| decision.decision.term_before == term)
        else {
            findings.open(format!(
                "{} writes of term {term} are gone, and no decision ended that term",
                lost.len()
            ));
            continue;
        };
        beyond += beyond_report(decision, &lost, findings);
    }
    beyond
}

/// What a decision had seen of the old master, and may therefore not be lost without a word.
fn beyond_report(decision: &Decision, lost: &[&Operation], findings: &mut Findings) -> u64 {
    let made = &decision.decision;
    let first = lost.first().map_or("", |append| append.instance.as_str());
    let seen = |name: &str| made.observed.iter().find(|seen| seen.instance == name);
    let chosen = made.ranking.first().and_then(|ranked| seen(&ranked.instance));
    let old = seen(first).and_then(|old| Some((offset(&old.position)?, old.seen_ago_ms?)));
    let (Some((old, ago_ms)), Some(new)) = (old, chosen.and_then(|chosen| offset(&chosen.position))) else {
        let term = made.term_before;
        findings.open(format!(
            "{} writes of term {term} are gone, and its decision knew no positions",
            lost.len()
        ));
        return 0;
    };
    let beat = decision.at_us.saturating_sub(ago_ms.saturating_mul(1_000) + SLACK_US);
    let before = lost.iter().filter(|append| append.end() < beat).count() as u64;
    let covered = if old.0 == new.0 { old.1.saturating_sub(new.1) / APPEND_BYTES_MIN } else { u64::MAX };
    let beyond = before.saturating_sub(covered);
    if beyond > 0 {
        findings.broken(format!(
            "{before} writes are gone that {first} had acknowledged before its last beat at {}, and the decision of term {} reported room for {covered}",
            at(beat),
            made.term_after
        ));
    }
    beyond
}

/// `TERM:OFFSET`.
fn offset(position: &str) -> Option<(u64, u64)> {
    let (term, offset) = position.split_once(':')?;
    Some((term.parse().ok()?, offset.parse().ok()?))
}
