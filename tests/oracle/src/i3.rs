//! I3: no guard leads at a term that it learned before it started, or below the highest that it has seen.
//!
//! It must not know what made the guard lead.

use crate::event::{Event, Lead, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::Term;

/// The statement.
pub const STATEMENT: &str =
    "no guard leads at a term that it learned before it started, or below the highest that it has seen";

/// Whether a guard may lead as it does.
///
/// # Errors
/// It has read nothing, or the term is not above the one that it read, or below the highest that it has seen.
pub fn check_lead(lead: &Lead) -> Result<(), Violation> {
    let Lead { instance, term, floor, highest_seen, .. } = lead;
    match floor {
        None => broken("I3", format!("{instance} leads at {term} without having read the provider")),
        Some(floor) if term <= floor => {
            broken("I3", format!("{instance} leads at {term}, which it read ({floor}) when it started"))
        }
        Some(_) if term < highest_seen => {
            broken("I3", format!("{instance} leads at {term} though it has seen {highest_seen}"))
        }
        Some(_) => Ok(()),
    }
}

/// Whether the term at which an engine is writable is on its guard's disk: else a crash would let a later run lead
/// at it again.
///
/// # Errors
/// The disk knows a lower one.
pub fn check_durable(instance: &dyn std::fmt::Display, led: Term, on_disk: Term) -> Result<(), Violation> {
    if on_disk < led {
        return broken("I3", format!("{instance} is writable at {led}, and its disk knows {on_disk} only"));
    }
    Ok(())
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct I3;

impl Property for I3 {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Leads(lead) => check_lead(lead),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{instance, run};

    fn lead(term: u64, floor: Option<u64>, highest: u64) -> Lead {
        let (floor, highest_seen) = (floor.map(Term), Term(highest));
        Lead { instance: instance("a1"), incarnation: run(1), term: Term(term), floor, highest_seen }
    }

    #[test]
    fn a_term_above_all_that_was_read_and_seen_passes() {
        assert_eq!(check_lead(&lead(4, Some(3), 4)), Ok(()));
    }

    #[test]
    fn each_way_to_lead_wrongly_is_found() {
        for (bad, text) in [
            (lead(4, None, 4), "a1 leads at 4 without having read the provider"),
            (lead(3, Some(3), 3), "a1 leads at 3, which it read (3) when it started"),
            (lead(4, Some(3), 5), "a1 leads at 4 though it has seen 5"),
        ] {
            assert_eq!(check_lead(&bad).expect_err("wrong").text, text);
        }
    }

    #[test]
    fn a_term_that_is_not_on_disk_is_found() {
        assert_eq!(check_durable(&"a1", Term(2), Term(2)), Ok(()));
        assert!(check_durable(&"a1", Term(2), Term(1)).is_err());
    }
}
