//! What a person should look at, the most urgent first.

use super::{Palette, line};
use baton_client::status::IssueStatus;

/// One paragraph an issue: how urgent and where, what, what to do, a command.
#[must_use]
pub fn issues(issues: &[IssueStatus], palette: Palette) -> String {
    let mut text = String::new();
    if issues.is_empty() {
        line(&mut text, palette.good("nothing to look at"));
    }
    for issue in issues {
        let severity = match issue.severity.as_str() {
            "critical" => palette.bad("critical"),
            "warning" => palette.doubtful("warning"),
            other => other.to_owned(),
        };
        let place = issue.replicaset.as_deref().unwrap_or("cluster");
        line(&mut text, format_args!("{severity}  {}  {}", palette.strong(place), issue.text));
        // Coordinators of older builds say no more than that.
        if !issue.suggestion.is_empty() {
            line(&mut text, format_args!("  {} ({})", issue.suggestion, issue.code));
        }
        if !issue.command.is_empty() {
            line(&mut text, format_args!("  $ {}", issue.command));
        }
    }
    text
}
