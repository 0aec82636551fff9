//! Registers: in synchronous mode each key's reads and writes must be those of one register. What was not answered may have happened
//! or not; what was refused has not.

use std::collections::BTreeMap;

use baton_history::register::{self, check_history};
use baton_history::{Moment, WriteId};

use super::{Finding, Findings, at};
use crate::evidence::{Asked, Evidence, Mode, Operation, Outcome};

/// Fewest confirmed reads that say anything about a run.
const READS_MIN: usize = 20;

pub(super) fn check(evidence: &Evidence) -> Finding {
    let mut findings =
        Findings::new("registers", "what clients wrote and read of a key is the history of one register");
    if evidence.run.mode == Mode::Async {
        return findings.end("not asked: without confirmation a read may show what is lost later");
    }
    if let Some(fault) = evidence.faults.iter().find(|fault| fault.may_lose) {
        return findings.end(format!("not asked: {} accepted a loss", fault.name));
    }
    let mut keys: BTreeMap<&str, Vec<register::Operation>> = BTreeMap::new();
    let (mut reads, mut writes) = (0, 0);
    for operation in &evidence.history {
        if let Some(asked) = asked(operation) {
            match asked {
                register::Asked::Read(_) => reads += 1,
                register::Asked::Write(_) => writes += 1,
            }
            let answered = operation.acknowledged().map(Moment);
            let sent = Moment(operation.sent_us);
            keys.entry(&operation.key).or_default().push(register::Operation { asked, sent, answered });
        }
    }
    let sent: BTreeMap<u64, &Operation> = evidence
        .history
        .iter()
        .filter(|operation| operation.op == Asked::Write)
        .filter_map(|operation| Some((operation.value?, operation)))
        .collect();
    // The check of a register takes what nobody wrote for what was there before; here nothing was.
    for (read, value) in evidence.history.iter().filter_map(|operation| Some((operation, operation.read?))) {
        match sent.get(&value) {
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
    for (key, history) in &keys {
        if let Err(found) = check_history(history) {
            findings.broken(format!("{key}: {found}"));
        }
    }
    if reads < READS_MIN {
        findings.open(format!("only {reads} confirmed reads, fewer than {READS_MIN}"));
    }
    findings.end(format!("{writes} writes and {reads} confirmed reads of {} registers", keys.len()))
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
