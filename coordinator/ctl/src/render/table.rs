//! Tables without borders: they survive a copy into a chat.

use comfy_table::{Cell, Color, Table, presets};

/// A table with these columns.
pub(super) fn new(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.to_vec());
    table
}

/// The table's text, each line indented.
pub(super) fn indented(mut table: Table, color: bool, indent: &str) -> String {
    // Whether to colour was decided for the process; the table must not look at the terminal again.
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{indent}{}\n", line.trim_end())).collect()
}

/// A word with its colour, where it has one.
pub(super) fn word(text: &str) -> Cell {
    let cell = Cell::new(text);
    match text {
        "up" | "active" | "master" | "chosen" | "holds" => cell.fg(Color::Green),
        "down" | "stalled" | "none" | "fenced" | "never" | "broken" => cell.fg(Color::Red),
        "appointed" | "candidate" | "starting" | "unknown" | "no" => cell.fg(Color::Yellow),
        _ => cell,
    }
}

/// Something that may be unknown.
pub(super) fn or_dash(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("-")
}
