//! Decisions: one with everything that it rests on, and the list of them.

use super::{Palette, line, table};
use baton_client::decision::{CHOSEN, DecisionRecord, ELIGIBLE};
use baton_client::status::rfc3339;
use baton_core::time::Span;
use baton_proto::v1::SetHistory;
use comfy_table::Cell;

/// One decision, in the order in which it was made: seen, rule, ranking, effects, phases.
#[must_use]
pub fn decision(decision: &DecisionRecord, palette: Palette) -> String {
    let mut text = String::new();
    let terms = if decision.term_after == decision.term_before {
        format!("term {} stays", decision.term_before)
    } else {
        format!("term {} → {}", decision.term_before, decision.term_after)
    };
    let set = palette.strong(&decision.replicaset);
    line(&mut text, format_args!("{set}: {}, {terms}", decision.class));
    let at = rfc3339(decision.at_unix_millis);
    line(&mut text, format_args!("  decided by {} in epoch {}, {at}", decision.decided_by, decision.epoch));
    line(&mut text, format_args!("  rule: {}", palette.strong(&decision.rule)));
    if let Some(accepted) = &decision.accepted {
        line(&mut text, format_args!("  accepted: {}", palette.bad(accepted)));
    }
    if !decision.observed.is_empty() {
        line(&mut text, "\n  what was seen");
        let mut seen = table::new(&["INSTANCE", "LAST BEAT", "HEALTH", "POSITION", "IN SYNC", "STAND"]);
        for member in &decision.observed {
            let beat = member.seen_ago_ms.map(|age| format!("{} ago", Span::from_millis(age)));
            seen.add_row(vec![
                Cell::new(&member.instance),
                table::word(beat.as_deref().unwrap_or("never")),
                table::word(&member.health),
                Cell::new(&member.position),
                table::word(if member.in_sync { "yes" } else { "no" }),
                Cell::new(&member.stand),
            ]);
        }
        text.push_str(&table::indented(seen, palette.color, "    "));
    }
    if !decision.ranking.is_empty() {
        line(&mut text, "\n  ranking");
        let mut ranking = table::new(&["", "INSTANCE", "VERDICT"]);
        for (index, row) in decision.ranking.iter().enumerate() {
            let place = match row.verdict.as_str() {
                CHOSEN | ELIGIBLE => format!("{}.", index + 1),
                _ => "-".to_owned(),
            };
            ranking.add_row(vec![Cell::new(place), Cell::new(&row.instance), table::word(&row.verdict)]);
        }
        text.push_str(&table::indented(ranking, palette.color, "    "));
    }
    if !decision.effects.is_empty() {
        line(&mut text, "\n  what was done");
        for effect in &decision.effects {
            line(&mut text, format_args!("    {effect}"));
        }
    }
    phases(&mut text, decision, palette);
    text
}

fn phases(text: &mut String, decision: &DecisionRecord, palette: Palette) {
    if decision.phases.is_empty() {
        return;
    }
    line(text, "\n  how long it took");
    let mut rows = table::new(&["PHASE", "TOOK", "BUDGET", ""]);
    for phase in &decision.phases {
        let over = phase.budget_us.is_some_and(|budget| phase.took_us > budget);
        rows.add_row(vec![
            Cell::new(&phase.name),
            Cell::new(Span(phase.took_us)),
            Cell::new(phase.budget_us.map_or("-".to_owned(), |budget| Span(budget).to_string())),
            Cell::new(if over { "over budget" } else { "" }).fg(comfy_table::Color::Red),
        ]);
    }
    let took: Span = decision.phases.iter().map(|phase| Span(phase.took_us)).sum();
    let budget: Span = decision.phases.iter().filter_map(|phase| phase.budget_us).map(Span).sum();
    rows.add_row(vec![Cell::new("total"), Cell::new(took), Cell::new(budget), Cell::new("")]);
    text.push_str(&table::indented(rows, palette.color, "    "));
}

/// The appointments of a set, newest first.
#[must_use]
pub fn history(history: &SetHistory, palette: Palette) -> String {
    if history.items.is_empty() {
        return "nothing yet\n".to_owned();
    }
    let mut rows = table::new(&["TERM", "MASTER", "WHY", "WHEN", "DECIDED BY", "IN SYNC"]);
    for (record, drill) in history.items.iter().filter_map(|item| Some((item.record.as_ref()?, item.drill))) {
        let why = match drill {
            Some(drill) => format!("{}, {} of {}", record.reason, Span(drill.took_us), Span(drill.budget_us)),
            None => record.reason.clone(),
        };
        rows.add_row(vec![
            Cell::new(record.term),
            Cell::new(table::or_dash(Some(&record.master))),
            Cell::new(why),
            Cell::new(rfc3339(record.at_unix_millis)),
            Cell::new(&record.decided_by),
            Cell::new(record.in_sync.join(", ")),
        ]);
    }
    table::indented(rows, palette.color, "")
}
