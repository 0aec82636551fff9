//! Evidence 1 counts only from the run that held the term, or a successor of it on the same boot.
//!
//! It must not know what the evidence was used for.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::{Incarnation, InstanceName, Term};

/// The statement.
pub const STATEMENT: &str =
    "evidence 1 counts only from the run that held the term, or from its successor on the same boot";

/// Whether a run may speak for the holder of a term.
///
/// # Errors
/// It is neither the holder nor its successor, or nobody knows who held the term.
pub fn check_speaker(term: Term, holder: Option<Incarnation>, said_by: Incarnation) -> Result<(), Violation> {
    match holder {
        Some(holder) if said_by.is_or_succeeds(&holder) => Ok(()),
        Some(holder) => {
            broken("evidence", format!("{said_by} relinquished term {term}, which {holder} holds"))
        }
        None => broken("evidence", format!("{said_by} relinquished term {term}, which no known run holds")),
    }
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct FromHolder;

impl Property for FromHolder {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Relinquished { term, holder, said_by, .. } => check_speaker(*term, *holder, *said_by),
            _ => Ok(()),
        }
    }
}

/// Whether a master may be granted its right at a term. `over`: the granter has accepted evidence against it.
///
/// # Errors
/// It has, and may have a successor by now.
pub fn check_granted(master: &InstanceName, term: Term, over: bool) -> Result<(), Violation> {
    if !over {
        return Ok(());
    }
    broken("evidence", format!("{master} is granted its right at term {term} after evidence against it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::run;

    #[test]
    fn the_holder_and_its_successor_may_speak_and_nobody_else() {
        let (term, holder) = (Term(3), Some(run(4)));
        assert_eq!(check_speaker(term, holder, run(4)), Ok(()));
        assert_eq!(check_speaker(term, holder, run(5)), Ok(()));
        assert!(check_speaker(term, holder, run(3)).is_err(), "an earlier run");
        assert!(check_speaker(term, holder, Incarnation { home: 2, ..run(5) }).is_err(), "another host");
        assert!(check_speaker(term, holder, Incarnation { boot: 2, ..run(5) }).is_err(), "another boot");
        assert!(check_speaker(term, None, run(5)).is_err(), "nobody holds it");
    }

    #[test]
    fn nobody_is_granted_anything_after_evidence() {
        let a1 = crate::fixtures::instance("a1");
        assert_eq!(check_granted(&a1, Term(3), false), Ok(()));
        assert!(check_granted(&a1, Term(3), true).is_err());
    }
}
