//! Tasks of operators: one with its phases, and the list of them.

use super::{Palette, decision, drill, line, refusal_lines, table};
use baton_client::decision::DecisionRecord;
use baton_client::status::rfc3339;
use baton_core::time::Span;
use baton_proto::v1::OperatorTask;
use baton_proto::v1::operator_task::State;
use comfy_table::Cell;

/// The word of a state.
pub(crate) fn state_word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Done => "done",
        State::Failed => "failed",
        State::Planned => "planned",
        State::Aborted => "aborted",
        State::NotUnderstood => "not_understood",
    }
}

/// What a phase is about, for people.
fn phase_text(name: &str) -> &str {
    match name {
        "planned" => "was planned",
        "accepted" => "was accepted and kept",
        "taken_up" => "was taken up by another arbiter",
        "relinquish" => "waits for the master to relinquish",
        "catch_up" => "the master is fenced; waits for the target to hold everything",
        "record" => "writes the next term",
        "confirm" => "the next term is recorded; waits until its master accepts writes",
        "done" => "was done",
        "check" => "looks at the guard rails for the last time",
        "strike" => "brings the fault about, and waits for another master",
        "recover" => "waits until the old master is an in-sync replica again",
        "return" => "moves the master back",
        "failed" => "ended without what was asked for",
        "aborted" => "was aborted",
        other => other,
    }
}

/// How a task stands. `whole`: with what it was asked for, its phases and its decision.
#[must_use]
pub fn task(task: &OperatorTask, by: Option<&DecisionRecord>, whole: bool, palette: Palette) -> String {
    let mut text = String::new();
    headline(&mut text, task, palette);
    drill::task(&mut text, task, palette);
    if whole && task.state() != State::NotUnderstood {
        asked(&mut text, task);
        phases(&mut text, task, palette);
    }
    if let Some(by) = by {
        line(&mut text, "");
        text.push_str(&decision(by, palette));
    }
    text
}

fn headline(text: &mut String, task: &OperatorTask, palette: Palette) {
    let (set, id, master, after) = (&task.replicaset, task.id, &task.master, task.term_after);
    match task.state() {
        State::Done => {
            let done = palette.good("done");
            let before = task.term_before;
            line(
                text,
                format_args!("{done}: {set} has the master {master} at term {after} (was term {before})"),
            );
        }
        State::Aborted if master.is_empty() => {
            let aborted = palette.doubtful("aborted");
            line(text, format_args!("{aborted}: task {id} of {set} ended before it began"));
        }
        State::Aborted => {
            let aborted = palette.doubtful("aborted");
            let keeps = if task.drill.is_some() { "has" } else { "keeps" };
            line(text, format_args!("{aborted}: {set} {keeps} the master {master}, at term {after}"));
        }
        State::Planned => {
            let planned = palette.good("planned");
            let at = rfc3339(task.start_at_unix_millis.unwrap_or_default());
            line(text, format_args!("{planned}: task {id} of {set} begins at {at}"));
            if !task.waits_for.is_empty() {
                let waits = palette.doubtful("it is due and waits");
                line(
                    text,
                    format_args!("  {waits}: {}; it is given up 10 minutes after its time", task.waits_for),
                );
            }
            line(
                text,
                format_args!(
                    "  → look at it with: batonctl task {id}; call it off with: batonctl task {id} --abort"
                ),
            );
        }
        State::Running => {
            let running = palette.doubtful("still running");
            let phase = task.phases.last().map_or("was accepted", |phase| phase_text(&phase.name));
            line(text, format_args!("{running}: task {id} of {set}: {phase}"));
            if task.abort_asked {
                match task.drill {
                    None => line(text, "  it was aborted: the old master is to be master again"),
                    Some(_) => line(text, "  it was aborted, and ends as soon as that can be"),
                }
            }
            line(text, format_args!("  it goes on without this command"));
            line(
                text,
                format_args!(
                    "  → come back with: batonctl task {id} --wait; call it off with: batonctl task {id} --abort"
                ),
            );
        }
        State::Failed => {
            let refusal = task.refusal.clone().unwrap_or_default();
            let message = refusal.facts.get("message").cloned().unwrap_or_else(|| refusal.reason.clone());
            line(text, format_args!("{}: {set}: {message}", palette.bad("not done")));
            refusal_lines(text, &refusal);
        }
        State::NotUnderstood => {
            let not = palette.doubtful("not understood");
            line(text, format_args!("{not}: a later version of Baton wrote task {id}; it is kept as it is:"));
            line(text, format_args!("  {}", task.body));
        }
    }
}

fn asked(text: &mut String, task: &OperatorTask) {
    let to = if task.to.is_empty() { "the best member".to_owned() } else { task.to.clone() };
    let from = match task.old_master.as_str() {
        "" => String::new(),
        master => format!(" from {master} (term {})", task.term_before),
    };
    let by = if task.asked_by.is_empty() { String::new() } else { format!(" by {}", task.asked_by) };
    let what = match &task.drill {
        Some(drill) => format!("drill ({}) of {}{from}", drill.fault, task.replicaset),
        None => format!("{} of {}{from} to {to}", task.kind, task.replicaset),
    };
    line(text, format_args!("\n  task {}: {what}", task.id));
    line(text, format_args!("  asked for{by} at {}", rfc3339(task.created_at_unix_millis)));
    if let Some(at) = task.start_at_unix_millis {
        line(text, format_args!("  planned for {}", rfc3339(at)));
    }
    let timeout = Span(task.timeout_us);
    match task.kind.as_str() {
        "drill" => line(text, format_args!("  the set may take {timeout} to be whole again")),
        "failover" => line(text, format_args!("  proof and candidate may take {timeout}")),
        _ => line(text, format_args!("  the target may take {timeout}; then the old master leads again")),
    }
}

fn phases(text: &mut String, task: &OperatorTask, palette: Palette) {
    if task.phases.is_empty() {
        return;
    }
    line(text, "\n  phases");
    let mut rows = table::new(&["BEGAN", "AFTER", "PHASE", ""]);
    let mut before = None;
    for phase in &task.phases {
        let after = before.map(|before| Span::from_millis(phase.at_unix_millis.saturating_sub(before)));
        before = Some(phase.at_unix_millis);
        rows.add_row(vec![
            Cell::new(rfc3339(phase.at_unix_millis)),
            Cell::new(after.map_or("-".to_owned(), |after| format!("+{after}"))),
            Cell::new(&phase.name),
            Cell::new(phase_text(&phase.name)),
        ]);
    }
    text.push_str(&table::indented(rows, palette.color, "    "));
}

/// The list, newest first.
#[must_use]
pub fn tasks(tasks: &[OperatorTask], palette: Palette) -> String {
    if tasks.is_empty() {
        return "no tasks\n".to_owned();
    }
    let mut rows = table::new(&["TASK", "STATE", "SET", "WHAT", "WHEN", "ASKED BY", ""]);
    for task in tasks {
        let to = if task.to.is_empty() { String::new() } else { format!(" to {}", task.to) };
        let what = match (&task.drill, task.kind.as_str()) {
            (Some(drill), _) => format!("drill ({})", drill.fault),
            (None, "") => "?".to_owned(),
            (None, kind) => format!("{kind}{to}"),
        };
        let at = task.start_at_unix_millis.unwrap_or(task.created_at_unix_millis);
        let message = task.refusal.as_ref().and_then(|refusal| refusal.facts.get("message"));
        let note = match task.state() {
            State::Done => format!("{} is master at term {}", task.master, task.term_after),
            State::Aborted if !task.master.is_empty() => format!("{} stays master", task.master),
            State::Failed => message.cloned().unwrap_or_default(),
            State::Planned => task.waits_for.clone(),
            State::Running => task.phases.last().map_or("", |phase| phase_text(&phase.name)).to_owned(),
            State::Aborted | State::NotUnderstood => String::new(),
        };
        rows.add_row(vec![
            Cell::new(task.id),
            table::word(state_word(task.state())),
            Cell::new(table::or_dash(Some(&task.replicaset))),
            Cell::new(what),
            Cell::new(if at == 0 { "-".to_owned() } else { rfc3339(at) }),
            Cell::new(table::or_dash(Some(&task.asked_by))),
            Cell::new(note),
        ]);
    }
    table::indented(rows, palette.color, "")
}
