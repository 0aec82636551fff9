//! I4: no instance is writable without a record for its term that was durable before.
//!
//! It must not know how the record came to the instance.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::{InstanceName, ReplicaSetName, Term};
use std::collections::BTreeSet;

/// The statement.
pub const STATEMENT: &str = "no instance is writable without a record for its term that was durable before";

/// Whether an instance that accepts writes at a term was recorded as its master.
///
/// # Errors
/// It was not.
pub fn check_now(
    recorded: impl IntoIterator<Item = (Term, InstanceName)>,
    instance: &InstanceName,
    term: Term,
) -> Result<(), Violation> {
    if recorded.into_iter().any(|(known, master)| known == term && master == *instance) {
        return Ok(());
    }
    broken("I4", format!("{instance} is writable at term {term}, for which no durable record names it"))
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct I4 {
    recorded: BTreeSet<(ReplicaSetName, Term, InstanceName)>,
}

impl Property for I4 {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Recorded { record, .. } => {
                if let Some(master) = &record.master {
                    self.recorded.insert((record.replicaset.clone(), record.term, master.clone()));
                }
                Ok(())
            }
            Seen::Writable { replicaset, instance, term, .. } => {
                let ours = self.recorded.iter().filter(|(set, _, _)| set == replicaset);
                check_now(ours.map(|(_, term, master)| (*term, master.clone())), instance, *term)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::fixtures::{recorded, writable};

    #[test]
    fn recorded_first_passes() {
        let history = [recorded(1, 1, "a1", 1), writable(2, "a1", 1, &[])];
        assert_eq!(check_history(I4::default(), &history), Ok(()));
    }

    #[test]
    fn a_record_that_comes_too_late_is_found() {
        let history = [writable(1, "a1", 1, &[]), recorded(2, 1, "a1", 1)];
        let violation = check_history(I4::default(), &history).expect_err("not durable yet");
        assert_eq!(violation.text, "a1 is writable at term 1, for which no durable record names it");
    }

    #[test]
    fn a_record_of_another_master_or_term_is_none() {
        for other in [recorded(1, 2, "a2", 1), recorded(1, 1, "a1", 1)] {
            assert!(check_history(I4::default(), &[other, writable(2, "a1", 2, &[])]).is_err());
        }
    }
}
