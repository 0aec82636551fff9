//! Registers: in synchronous mode each key's reads and writes must be those of one register. What was not answered may have happened
//! or not; what was refused has not. Where a person accepted a loss there are two registers: the one of before and the one of
//! after, which began with whatever was left.

use std::collections::{BTreeMap, BTreeSet};

use baton_history::register::{self, check_history};
use baton_history::{Moment, WriteId};

use super::{Finding, Findings, at};
use crate::evidence::{Asked, Evidence, Micros, Mode, Operation, Outcome};

/// Fewest confirmed reads that say anything about a run.
const READS_MIN: usize = 20;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut findings =
        Findings::new("registers", "what clients wrote and read of a key is the history of one register");
    if evidence.run.mode == Mode::Async {
        return findings.end("not asked: without confirmation a read may show what is lost later");
    }
    let accepted = evidence.faults.iter().filter(|fault| fault.may_lose);
    let mut losses: Vec<Micros> = accepted.map(|fault| fault.injected_us).collect();
    losses.sort_unstable();
    let mut keys: BTreeMap<(&str, usize), Vec<register::Operation>> = BTreeMap::new();
    let (mut reads, mut writes) = (0, 0);
    for operation in &evidence.history {
        if let Some(asked) = asked(operation) {
            let era = |at: Micros| losses.iter().filter(|loss| **loss <= at).count();
            let own = era(operation.sent_us);
            // What was answered behind a loss may speak of the time before it or after it.
            let answered = operation.acknowledged().filter(|at| era(*at) == own).map(Moment);
            match asked {
                register::Asked::Read(_) => reads += 1,
                register::Asked::Write(_) => writes += 1,
            }
            let sent = Moment(operation.sent_us);
            let of_era = keys.entry((&operation.key, own)).or_default();
            of_era.push(register::Operation { asked, sent, answered });
        }
    }
    let written: BTreeMap<u64, &Operation> = evidence
        .history
        .iter()
        .filter(|operation| operation.op == Asked::Write)
        .filter_map(|operation| Some((operation.value?, operation)))
        .collect();
    // The check of a register takes what nobody wrote for what was there before; here nothing was.
    for (read, value) in evidence.history.iter().filter_map(|operation| Some((operation, operation.read?))) {
        match written.get(&value) {
            Some(write) if write.outcome != Outcome::Failed && write.key == read.key => {}
            Some(write) if write.key == read.key => findings.broken(format!(
                "{}: w{value} was read at {}, and {} had refused it: {}",
                read.key,
                at(read.end()),
                write.instance,
                write.error.as_deref().unwrap_or("no reason given")
            )),
            Some(_) | None if evidence.notes.is_empty() => {
                findings.broken(format!(
                    "{}: w{value} was read at {}, and nobody wrote it",
                    read.key,
                    at(read.end())
                ));
            }
            Some(_) | None => findings.open(format!("{}: w{value} was read, and nobody wrote it", read.key)),
        }
    }
    for ((key, era), history) in &mut keys {
        if let Some(began) = era.checked_sub(1).and_then(|before| losses.get(before)) {
            inherit(history, Moment(*began), &written);
        }
        if let Err(found) = check_history(history) {
            findings.broken(format!("{key}: {found}"));
        }
    }
    let registers: BTreeSet<&str> = keys.keys().map(|(key, _)| *key).collect();
    if reads < READS_MIN {
        findings.open(format!("only {reads} confirmed reads, fewer than {READS_MIN}"));
    }
    findings.end(format!("{writes} writes and {reads} confirmed reads of {} registers", registers.len()))
}

/// What is read and was written before this era is what was left then: one value, if its write was answered at all.
fn inherit(history: &mut Vec<register::Operation>, began: Moment, written: &BTreeMap<u64, &Operation>) {
    let (mut own, mut read) = (BTreeSet::new(), BTreeSet::new());
    for operation in history.iter() {
        match operation.asked {
            register::Asked::Write(value) => _ = own.insert(value),
            register::Asked::Read(value) => read.extend(value),
        }
    }
    for value in read.difference(&own) {
        let sure = written.get(&value.0).is_some_and(|write| write.outcome == Outcome::Ok);
        let answered = sure.then_some(began);
        let asked = register::Asked::Write(*value);
        history.push(register::Operation { asked, sent: Moment(0), answered });
    }
}

fn asked(operation: &Operation) -> Option<register::Asked> {
    match (operation.op, operation.outcome) {
        (Asked::Write, Outcome::Ok | Outcome::Unknown) => {
            operation.value.map(|value| register::Asked::Write(WriteId(value)))
        }
        (Asked::Read, Outcome::Ok) => Some(register::Asked::Read(operation.read.map(WriteId))),
        (Asked::Write, Outcome::Failed)
        | (Asked::Read, Outcome::Failed | Outcome::Unknown)
        | (Asked::Append | Asked::Confirm | Asked::DirectWrite, _) => None,
    }
}
