//! Text for people who were woken up: the answer first, what is wrong in its own line, units everywhere, one word per
//! thing. Pure: values in, text out.

mod decision;
mod doctor;
mod drill;
mod forecast;
mod issues;
mod members;
mod settings;
mod stateboard;
mod status;
mod table;
mod task;

pub use decision::{decision, history};
pub use doctor::findings;
pub(crate) use drill::last as last_drill;
pub use forecast::forecasts;
pub use issues::issues;
pub use members::members;
pub use settings::{SettingLine, setting_lines, settings, settings_changed};
pub use stateboard::{board_backup, board_restored, board_status};
pub(crate) use status::bytes;
pub use status::{change, masters, status};
pub(crate) use task::state_word;
pub use task::{task, tasks};

use baton_client::OperatorError;
use baton_core::time::Span;
use baton_proto::v1::TimingResponse;
use std::fmt::Write as _;

/// Whether and how to colour. Every colour stands beside a word that says the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    /// Whether to colour at all.
    pub color: bool,
}

impl Palette {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn doubtful(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }
}

/// Adds a line. (Writing to a `String` cannot fail, and says so here once.)
fn line(text: &mut String, what: impl std::fmt::Display) {
    let _ = writeln!(text, "{what}");
}

/// The worst outage of each class, as a sum that can be checked by eye.
#[must_use]
pub fn timing(timing: &TimingResponse, palette: Palette) -> String {
    let mut text = String::new();
    let drift = f64::from(timing.clock_drift_ppm) / 10_000.0;
    line(
        &mut text,
        format_args!(
            "lease_ttl {}, stall_timeout {}, clock_drift {drift} %",
            Span(timing.lease_ttl_us),
            Span(timing.stall_timeout_us)
        ),
    );
    line(&mut text, "Worst outages, from the fault to a writable master:");
    for class in &timing.classes {
        line(&mut text, "");
        let title = palette.strong(&class.class);
        line(&mut text, format_args!("{title}: at most {}", Span(class.worst_us)));
        for (index, part) in class.parts.iter().enumerate() {
            let sign = if index == 0 { ' ' } else { '+' };
            line(&mut text, format_args!("  {sign} {:>9}  {}", Span(part.span_us).to_string(), part.what));
        }
        line(&mut text, format_args!("  = {:>9}", Span(class.worst_us).to_string()));
    }
    text
}

/// Why a command ended without what was asked for, and what to do about it.
#[must_use]
pub fn failure(message: &str, error: Option<&OperatorError>, palette: Palette) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("{} {message}", palette.bad("error:")));
    match error {
        Some(OperatorError::Refused { refusal: Some(refusal), .. }) => refusal_lines(&mut text, refusal),
        Some(OperatorError::Unreachable { tried }) => {
            for (address, cause) in tried {
                line(&mut text, format_args!("  {address}: {cause}"));
            }
            line(&mut text, "  → is a coordinator running there? --endpoint or BATON_ENDPOINT names another");
        }
        Some(OperatorError::OutcomeUnknown { .. }) => {
            line(&mut text, "  → look at `batonctl status` and `batonctl history SET` before doing it again");
        }
        Some(OperatorError::Refused { refusal: None, .. } | OperatorError::BadAnswer(_)) | None => {}
    }
    text
}

fn refusal_lines(text: &mut String, refusal: &baton_proto::v1::Refusal) {
    let facts: std::collections::BTreeMap<_, _> = refusal.facts.iter().collect();
    for (name, value) in facts {
        if name != "message" {
            line(text, format_args!("  {name}: {value}"));
        }
    }
    if !refusal.what_to_do.is_empty() {
        line(text, format_args!("  → {}", refusal.what_to_do));
    }
}
