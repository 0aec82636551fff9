//! I1: one master per (replica set, term) is ever recorded; terms only rise.
//!
//! It must not know who writes records, or why.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::ReplicaSetName;
use baton_core::record::Record;
use std::collections::BTreeMap;

/// The statement.
pub const STATEMENT: &str = "one master per (replica set, term) is ever recorded; terms only rise";

/// Whether `after` may be recorded in the place of `before`.
///
/// # Errors
/// The term fell, or stayed while the master (or the run of its guard) changed.
pub fn check_step(before: &Record, after: &Record) -> Result<(), Violation> {
    let set = &after.replicaset;
    if after.term < before.term {
        return broken("I1", format!("the term of {set} fell from {} to {}", before.term, after.term));
    }
    let same = after.master == before.master && after.incarnation == before.incarnation;
    if after.term == before.term && !same {
        let name = |record: &Record| record.master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
        let (old, new) = (name(before), name(after));
        return broken("I1", format!("term {} of {set} was {old}'s and is recorded for {new}", after.term));
    }
    Ok(())
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct I1 {
    last: BTreeMap<ReplicaSetName, Record>,
    /// The last that named a master.
    named: BTreeMap<ReplicaSetName, Record>,
}

impl I1 {
    /// What `after` follows. A set may be removed while its master leads on unheard; a restore that forgets the removal takes it back,
    /// and that master is recorded again at its own term.
    fn before(&self, after: &Record) -> Option<&Record> {
        let last = self.last.get(&after.replicaset)?;
        let named = self.named.get(&after.replicaset).filter(|named| named.term == after.term);
        let forgotten = last.master.is_none() && after.epoch.generation > last.epoch.generation;
        Some(named.filter(|_| forgotten).unwrap_or(last))
    }
}

impl Property for I1 {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        let Seen::Recorded { record, .. } = &event.seen else { return Ok(()) };
        if let Some(before) = self.before(record) {
            check_step(before, record)?;
        }
        if record.master.is_some() {
            self.named.insert(record.replicaset.clone(), record.as_ref().clone());
        }
        self.last.insert(record.replicaset.clone(), record.as_ref().clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::fixtures::recorded;

    #[test]
    fn rising_terms_pass() {
        let history = [recorded(1, 1, "a1", 1), recorded(2, 2, "a2", 1), recorded(3, 7, "a1", 1)];
        assert_eq!(check_history(I1::default(), &history), Ok(()));
    }

    #[test]
    fn a_term_that_falls_is_found() {
        let history = [recorded(1, 2, "a1", 1), recorded(2, 1, "a1", 1)];
        let violation = check_history(I1::default(), &history).expect_err("it fell");
        assert_eq!(violation.text, "the term of r fell from 2 to 1");
    }

    #[test]
    fn a_second_master_of_one_term_is_found() {
        let history = [recorded(1, 2, "a1", 1), recorded(2, 2, "a2", 1)];
        let violation = check_history(I1::default(), &history).expect_err("term 2 was used twice");
        assert_eq!(violation.text, "term 2 of r was a1's and is recorded for a2");
    }

    /// Seed 20079055: the tombstone was restored away, and the master that it had not reached was written back.
    #[test]
    fn a_removal_that_a_restore_forgets_is_taken_back_for_the_very_master_of_before() {
        let changed = |at, term, master: &str, change: &dyn Fn(&mut Record)| {
            let mut event = recorded(at, term, master, 1);
            if let Seen::Recorded { record, .. } = &mut event.seen {
                change(record);
            }
            event
        };
        let removed = changed(2, 3, "a1", &|record| record.master = None);
        let back = |generation: u64, term, master: &str| {
            changed(3, term, master, &move |record| record.epoch.generation = generation)
        };
        let then = |event| check_history(I1::default(), &[recorded(1, 2, "a1", 1), removed.clone(), event]);
        let generation = crate::fixtures::record(1, "a1", 1).epoch.generation;
        assert_eq!(then(back(generation + 1, 2, "a1")), Ok(()));
        assert!(then(back(generation, 2, "a1")).is_err(), "nobody restored anything");
        assert!(then(back(generation + 1, 2, "a2")).is_err(), "another master");
        assert!(then(back(generation + 1, 1, "a1")).is_err(), "an earlier term");
    }
}
