//! The rows of a doctor: how it is, which check, the evidence; below it what to do. What is wrong stands last again, in one
//! line, where the eye is.

use super::{Palette, line};
use crate::doctor::{Finding, Verdict};

/// All rows and the sum.
#[must_use]
pub fn findings(findings: &[Finding], palette: Palette) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in findings {
        let about = if finding.about.is_empty() { String::new() } else { format!("{}: ", finding.about) };
        let check = format!("{:<width$}", finding.check);
        line(
            &mut text,
            format_args!("{}  {check}  {about}{}", word(finding.verdict, palette), finding.evidence),
        );
        if !finding.advice.is_empty() {
            line(&mut text, format_args!("{:9}{:width$}  → {}", "", "", finding.advice));
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (problems, warnings) = (count(Verdict::Problem), count(Verdict::Warning));
    let many = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let sum = format!(
        "{}, {}, {}, {} ok, {} skipped",
        many(problems, "problem"),
        many(warnings, "warning"),
        many(count(Verdict::Notice), "notice"),
        count(Verdict::Ok),
        count(Verdict::Skipped)
    );
    let (verdict, sum) = match (problems, warnings) {
        (0, 0) => (palette.good("good:"), sum),
        (0, _) => (palette.doubtful("good, and could be better:"), sum),
        (_, _) => (palette.bad("not to be trusted yet:"), sum),
    };
    line(&mut text, format_args!("\n{verdict} {sum}"));
    text
}

fn word(verdict: Verdict, palette: Palette) -> String {
    match verdict {
        Verdict::Ok => palette.good("ok     "),
        Verdict::Notice => "notice ".to_owned(),
        Verdict::Warning => palette.doubtful("warning"),
        Verdict::Problem => palette.bad("problem"),
        Verdict::Skipped => "skipped".to_owned(),
    }
}
