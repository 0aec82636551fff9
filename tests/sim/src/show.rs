//! What happens in a world, as short lines for people: made from values, never from a log.
//!
//! It must not know the world, only the values of the core.

use baton_core::arbiter::{MasterState, TaskId, TaskState};
use baton_core::decision::{Decision, Verdict};
use baton_core::engine::EngineCommand;
use baton_core::guard::Note;
use baton_core::message::{Directive, Order};
use baton_core::record::Record;

fn list(names: impl IntoIterator<Item = impl ToString>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(",")
}

/// A directive.
#[must_use]
pub fn order(directive: &Directive) -> String {
    let Directive { version, term, order, .. } = directive;
    let what = match order {
        Order::Lead { in_sync, .. } => format!("lead, in sync {}", list(in_sync)),
        Order::Follow { master, .. } => format!("follow {master}"),
        Order::Sever { reach: None, .. } => "sever".to_owned(),
        Order::Sever { reach: Some(reach), .. } => format!("sever at {reach}"),
        Order::Relinquish => "relinquish".to_owned(),
        Order::Grow { member, .. } => format!("need {member} too"),
        Order::Shrink { member, ack_quorum, .. } => {
            format!("count {member} no more (waits for {ack_quorum})")
        }
        Order::Quorum { ack_quorum, .. } => format!("let commits wait for {ack_quorum}"),
        Order::Unpin => "give the pin up".to_owned(),
        Order::EndEngine { within, .. } => format!("end your engine within {within} of your beat"),
        Order::StandDown => return "stand down".to_owned(),
    };
    format!("{what} (v{version}, term {term})")
}

/// A command for an engine.
#[must_use]
pub fn command(command: &EngineCommand) -> String {
    match command {
        EngineCommand::Probe => "look".to_owned(),
        EngineCommand::Quorum { ack_quorum, .. } => format!("let commits wait for {ack_quorum}"),
        EngineCommand::Fence => "fence".to_owned(),
        EngineCommand::Promote { term, .. } => format!("promote for term {term}"),
        EngineCommand::Follow { endpoint } => format!("follow {endpoint}"),
    }
}

/// A note of a guard; what the engine's own line says already is left out.
#[must_use]
pub fn note(note: &Note) -> Option<String> {
    Some(match note {
        Note::Read { floor } => format!("has read the provider: leads only above term {floor}"),
        Note::Candidate(term) => format!("is a candidate for term {term}"),
        Note::GivingUp { term, why } => format!("gives term {term} up: {}", why.text()),
        Note::Relinquished { term, position } => format!("has relinquished term {term} at {position}"),
        Note::Severed { version, position } => format!("is severed by v{version} at {position}"),
        Note::Intruder => "found its engine writable without the right".to_owned(),
        Note::Beyond { own, start } => format!("holds {own}, beyond {start}: the rest will be lost"),
        Note::Foreign => "holds foreign data and follows nobody".to_owned(),
        Note::EngineEnded { restart_in: Some(span) } => format!("saw its engine end; starts it in {span}"),
        Note::EngineEnded { restart_in: None } => "saw its engine end".to_owned(),
        Note::Killed(why) => format!("has the engine killed: {}", why.text()),
        Note::OnPromises(term) => format!("goes on at term {term} by the promises of the others"),
        Note::OnGrants(term) => format!("is granted leases of term {term} again"),
        Note::Promised { to, term } => format!("promises {to} to lead nothing (term {term})"),
        Note::PromiseRefused { by, why } => format!("gets no promise from {by}: {}", why.text()),
        Note::Writable(_) | Note::Follows { .. } => return None,
    })
}

/// A decision: its sentence, then the ranking.
#[must_use]
pub fn decision(decision: &Decision) -> Vec<String> {
    let mut lines = vec![decision.sentence()];
    for ranked in &decision.ranking {
        let verdict = match &ranked.verdict {
            Verdict::Chosen => "chosen".to_owned(),
            Verdict::Eligible => "eligible".to_owned(),
            Verdict::Refused(refusal) => format!("refused: {refusal}"),
        };
        lines.push(format!("  {} {verdict}", ranked.instance));
    }
    lines
}

/// A task's state.
#[must_use]
pub fn task(task: TaskId, state: &TaskState) -> String {
    match state {
        TaskState::Running => format!("task {}: running", task.0),
        TaskState::Done { master, term } => {
            format!("task {}: done, {master} is master at term {term}", task.0)
        }
        TaskState::Aborted { master, term } => {
            format!("task {}: aborted, {master} is master at term {term}", task.0)
        }
        TaskState::Failed { why, master, term } => {
            let master = master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
            format!("task {}: failed: {why} ({master} is master, term {term})", task.0)
        }
    }
}

/// What routers see.
#[must_use]
pub fn master(record: &Record, state: MasterState) -> String {
    let master = record.master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
    format!("{master} at term {}, {}", record.term, state.name())
}
