//! Rights: a guard that runs acts before its right ends, with the deadman armed, and never revives one that is over.
//!
//! It must not know who granted the right. The deadman would hide most of these from I2: they are the guard's own duty.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::{Incarnation, Term};
use baton_core::time::Time;
use std::collections::BTreeSet;
use std::fmt::Display;

/// The statement.
pub const STATEMENT: &str =
    "a guard gives its right up before it ends, arms the deadman first, and never revives a right";

/// A right as a guard holds it after a step. Times of that guard's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// At which term.
    pub term: Term,
    /// When the fence must begin, so that it and after it the kill still fit before the right ends.
    pub fence_by: Time,
    /// Now.
    pub now: Time,
}

/// Whether a guard that was just given the processor has given its right up in time.
///
/// # Errors
/// The time for the fence has come, and the guard still leads.
pub fn check_held(instance: &dyn Display, held: Held) -> Result<(), Violation> {
    if held.now < held.fence_by {
        return Ok(());
    }
    let late = held.now.since(held.fence_by);
    broken("rights", format!("{instance} still leads at {}, {late} after it should have fenced", held.term))
}

/// Whether the deadman of an engine that its guard made writable holds a deadline.
///
/// # Errors
/// It holds none: nobody would end the engine if the guard stopped now.
pub fn check_armed(instance: &dyn Display, deadline: Option<Time>) -> Result<(), Violation> {
    match deadline {
        Some(_) => Ok(()),
        None => broken("rights", format!("{instance} was made writable and its deadman holds no deadline")),
    }
}

/// No run of a guard leads again at a term that it gave up.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    over: BTreeSet<(Incarnation, Term)>,
}

impl Property for Rights {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Ceased { incarnation, term } => {
                self.over.insert((*incarnation, *term));
                Ok(())
            }
            Seen::Leads(lead) if self.over.contains(&(lead.incarnation, lead.term)) => {
                broken("rights", format!("{} leads again at {}, which it gave up", lead.instance, lead.term))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a term may be relinquished. `waits`: a promotion for it waits in a socket of the engine that was given up.
///
/// # Errors
/// The engine may carry the promotion out at any time, and nobody would fence it.
pub fn check_relinquished(instance: &dyn Display, term: Term, waits: bool) -> Result<(), Violation> {
    if !waits {
        return Ok(());
    }
    broken(
        "rights",
        format!("{instance} has relinquished term {term}, for which its engine may yet be promoted"),
    )
}

/// Whether a hand-over may be taken: how many its home had taken when it was written, and now.
///
/// # Errors
/// It, or a later one, was taken already.
pub fn check_taken(instance: &dyn Display, written_at: u64, taken: u64) -> Result<(), Violation> {
    if written_at >= taken {
        return Ok(());
    }
    broken("rights", format!("{instance} goes on from a hand-over that was taken before"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::event::{Lead, Moment};
    use crate::fixtures::{instance, run};

    fn leads(term: u64) -> Event {
        let (incarnation, term) = (run(1), Term(term));
        let lead =
            Lead { instance: instance("a1"), incarnation, term, floor: Some(Term(0)), highest_seen: term };
        Event { at: Moment(1), seen: Seen::Leads(lead) }
    }

    fn ceased(term: u64) -> Event {
        Event { at: Moment(1), seen: Seen::Ceased { incarnation: run(1), term: Term(term) } }
    }

    #[test]
    fn a_later_term_passes_and_a_revival_is_found() {
        assert_eq!(check_history(Rights::default(), &[leads(1), ceased(1), leads(2)]), Ok(()));
        let violation = check_history(Rights::default(), &[leads(1), ceased(1), leads(1)]);
        assert_eq!(violation.expect_err("revived").text, "a1 leads again at 1, which it gave up");
    }

    #[test]
    fn a_right_that_ended_and_a_missing_deadline_are_found() {
        let held = |now| Held { term: Term(1), fence_by: Time(10), now: Time(now) };
        assert_eq!(check_held(&"a1", held(9)), Ok(()));
        assert_eq!(
            check_held(&"a1", held(12)).expect_err("it is late").text,
            "a1 still leads at 1, 2us after it should have fenced"
        );
        assert_eq!(check_armed(&"a1", Some(Time(3))), Ok(()));
        assert!(check_armed(&"a1", None).is_err());
    }

    #[test]
    fn a_promotion_that_waits_is_no_end_of_a_term() {
        assert_eq!(check_relinquished(&"a1", Term(3), false), Ok(()));
        assert!(check_relinquished(&"a1", Term(3), true).is_err());
    }

    #[test]
    fn a_hand_over_that_comes_back_is_found() {
        assert_eq!(check_taken(&"a1", 2, 2), Ok(()));
        assert!(check_taken(&"a1", 1, 2).is_err());
    }
}
