//! docs/timing.md shows what the derivation yields for three leases; the tables are compared with (and, on request, written
//! from) the very code that the daemons use, so that the page cannot drift from it.

use crate::Problem;
use crate::tree::Tree;
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_core::timing::{FailureClass, Timing};

/// The page.
pub const PAGE: &str = "docs/timing.md";
const BEGIN: &str = "<!-- values: begin -->";
const END: &str = "<!-- values: end -->";
/// The leases of the columns, in milliseconds: the default, a common choice, the shortest.
const LEASES_MS: [u64; 3] = [3_000, 1_000, 300];

/// A row of the first table: the field, how it is derived, where it is.
type Row = (&'static str, &'static str, fn(&Timing) -> Span);

const ROWS: [Row; 15] = [
    ("lease_ttl", "the knob", |timing| timing.lease_ttl),
    ("margin", "2 · clock_drift · lease_ttl", |timing| timing.margin),
    ("fence_budget", "lease_ttl / 12", |timing| timing.fence_budget),
    ("kill_budget", "lease_ttl / 12", |timing| timing.kill_budget),
    ("beat_master", "lease_ttl / 6", |timing| timing.beat_master),
    ("beat_replica", "lease_ttl / 2", |timing| timing.beat_replica),
    ("lock_ttl", "lease_ttl · 5 / 4", |timing| timing.lock_ttl),
    ("lock_renew", "lease_ttl / 8", |timing| timing.lock_renew),
    ("lock_margin", "2 · clock_drift · lock_ttl", |timing| timing.lock_margin),
    ("stall_timeout", "lease_ttl, unless set", |timing| timing.stall_timeout),
    ("sever_wait", "lease_ttl / 12", |timing| timing.sever_wait),
    ("promote_wait", "lease_ttl / 2", |timing| timing.promote_wait),
    ("request_timeout", "lease_ttl / 4", |timing| timing.request_timeout),
    ("bid_wait", "lease_ttl / 12", |timing| timing.bid_wait),
    ("usable", "lease_ttl − margin − kill_budget − fence_budget", Timing::usable),
];

fn tables() -> Result<String, Problem> {
    let timings = LEASES_MS
        .map(|millis| Timing::new(&Settings { lease_ttl: Span::from_millis(millis), ..Settings::default() }))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{PAGE}: {error}"))?;
    let cells = |of: &dyn Fn(&Timing) -> Span| -> String {
        timings.iter().map(|timing| format!(" {} |", of(timing))).collect()
    };
    let mut text = format!("{BEGIN}\n| timing | derived as | | | |\n| --- | --- | --- | --- | --- |\n");
    for (name, formula, of) in ROWS {
        text.push_str(&format!("| `{name}` | {formula} |{}\n", cells(&of)));
    }
    text.push_str("\n### Worst outages\n");
    for class in FailureClass::ALL {
        text.push_str(&format!("\n| {} | | | |\n| --- | --- | --- | --- |\n", class.name()));
        let parts: Vec<_> = timings.iter().map(|timing| timing.worst_case(class)).collect();
        for (index, part) in parts[0].iter().enumerate() {
            let spans: String = parts.iter().map(|parts| format!(" {} |", parts[index].span)).collect();
            text.push_str(&format!("| {} |{spans}\n", part.what));
        }
        text.push_str(&format!("| **at most** |{}\n", cells(&|timing: &Timing| timing.worst_outage(class))));
    }
    Ok(text + END)
}

/// The page with the present values.
///
/// # Errors
/// The page is missing, or has no place for the tables.
pub fn updated(tree: &Tree) -> Result<String, Problem> {
    let page = tree.text(PAGE).ok_or_else(|| format!("{PAGE} is missing"))?;
    let split = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = split.ok_or_else(|| format!("{PAGE}: no lines {BEGIN} and {END}"))?;
    Ok(format!("{before}{}{after}", tables()?))
}

/// Values that are not what the code derives.
#[must_use]
pub fn values(tree: &Tree) -> Vec<Problem> {
    match updated(tree) {
        Err(problem) => vec![problem],
        Ok(updated) if tree.text(PAGE) == Some(updated.as_str()) => Vec::new(),
        Ok(_) => vec![format!("{PAGE}: the derivation changed; adapt the page's text, then run `make fix`")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_found() {
        let empty = format!("# Timing\n{BEGIN}\n{END}\n");
        let good = updated(&Tree::of(&[(PAGE, &empty)])).expect("the page has its marks");
        assert_eq!(values(&Tree::of(&[(PAGE, &good)])), [""; 0]);
        let wrong = good.replace("| 30ms |", "| 31ms |");
        assert_eq!(values(&Tree::of(&[(PAGE, &wrong)])).len(), 1);
        assert!(values(&Tree::of(&[]))[0].contains("is missing"));
    }
}
