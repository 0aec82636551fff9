//! Drills: every guard rail with what was seen, and what came out.

use super::{Palette, line, table};
use baton_client::drill::{DrillOutage, LastDrill};
use baton_client::forecast::RailStatus;
use baton_core::time::Span;
use baton_proto::v1::OperatorTask;
use comfy_table::Cell;

/// Every guard rail, in the order in which it is looked at.
pub(super) fn rails(text: &mut String, rails: &[RailStatus], palette: Palette) {
    let mut rows = table::new(&["GUARD RAIL", "", "SEEN"]);
    for rail in rails {
        let holds = if rail.holds { table::word("holds") } else { table::word("broken") };
        rows.add_row(vec![Cell::new(&rail.name), holds, Cell::new(&rail.seen)]);
    }
    text.push_str(&table::indented(rows, palette.color, "  "));
    let broken = rails.iter().filter(|rail| !rail.holds).count();
    match broken {
        0 => line(text, palette.good("  every guard rail holds: the drill would be begun")),
        _ => line(
            text,
            palette.bad(&format!("  the drill would be refused; guard rails that do not hold: {broken}")),
        ),
    }
}

/// How long it took, against what it may take.
pub(super) fn outage(outage: DrillOutage, palette: Palette) -> String {
    let (took, budget) = (Span(outage.took_us), Span(outage.budget_us));
    let text = match outage.is_within() {
        true => palette.good("within budget"),
        false => palette.bad("OVER BUDGET"),
    };
    format!("writes were refused for up to {took} of {budget}: {text}")
}

/// The lines of a drill's task below its headline.
pub(super) fn task(text: &mut String, task: &OperatorTask, palette: Palette) {
    let Some(drill) = &task.drill else { return };
    match drill.outage.map(DrillOutage::from_wire) {
        Some(measured) => line(text, format_args!("  {}: {}", drill.fault, outage(measured, palette))),
        None if task.term_after > task.term_before => {
            line(text, format_args!("  {}: not measured, since the arbiter changed meanwhile", drill.fault));
        }
        None => {}
    }
}

/// When a set was last drilled, in one line.
pub(crate) fn last(last: &LastDrill, palette: Palette) -> String {
    let measured = last.outage.map_or_else(|| "not measured".to_owned(), |it| outage(it, palette));
    let state = match last.state.as_str() {
        "done" => String::new(),
        state => format!(" ({state}: {})", last.why),
    };
    format!("last drilled: {} by {}, task {}: {measured}{state}", last.at, last.fault, last.task)
}
