//! I5: under synchronous replication every acknowledged write is in the data of every later master.
//!
//! It must not know how the write was replicated. A write without an answer is unknown: it may be there or not.

use crate::event::{Event, Seen, WriteId};
use crate::{Property, Violation, broken};
use baton_core::ids::{InstanceName, ReplicaSetName};
use std::collections::{BTreeMap, BTreeSet};

/// The statement.
pub const STATEMENT: &str =
    "under synchronous replication every acknowledged write is in the data of every later master";

/// Whether a master's data holds what was acknowledged before it became one.
///
/// # Errors
/// The first write that it does not hold.
pub fn check_data(
    acknowledged: &BTreeSet<WriteId>,
    holds: &BTreeSet<WriteId>,
    master: &InstanceName,
) -> Result<(), Violation> {
    match acknowledged.difference(holds).next() {
        Some(lost) => {
            broken("I5", format!("{lost} was acknowledged, and the later master {master} lacks it"))
        }
        None => Ok(()),
    }
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct I5 {
    acknowledged: BTreeMap<ReplicaSetName, BTreeSet<WriteId>>,
    /// What the newest master held when it was promoted, and what was acknowledged since: an acknowledgement that
    /// an older master still gives away must be in the newer one's data too.
    newest: BTreeMap<ReplicaSetName, (InstanceName, BTreeSet<WriteId>)>,
    /// Sets whose newest term was forced by a person, and its master: what was acknowledged before it, and what an older
    /// master still gives away, was accepted as lost.
    forced: BTreeMap<ReplicaSetName, Option<InstanceName>>,
}

impl I5 {
    /// An older master acknowledges a write which the newer one, promoted before, does not hold.
    ///
    /// # Errors
    /// The write is lost though somebody was told that it is not.
    pub fn check_late(
        &self,
        set: &ReplicaSetName,
        by: &InstanceName,
        write: WriteId,
    ) -> Result<(), Violation> {
        match self.newest.get(set) {
            _ if self.is_accepted(set, by) => Ok(()),
            Some((newest, holds)) if newest != by && !holds.contains(&write) => {
                broken("I5", format!("{by} acknowledged {write}, which the newer master {newest} lacks"))
            }
            _ => Ok(()),
        }
    }
}

impl I5 {
    fn is_accepted(&self, set: &ReplicaSetName, by: &InstanceName) -> bool {
        self.forced.get(set).is_some_and(|master| master.as_ref() != Some(by))
    }
}

impl Property for I5 {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Acknowledged { replicaset, write, by } => {
                self.check_late(replicaset, by, *write)?;
                if self.is_accepted(replicaset, by) {
                    return Ok(());
                }
                self.acknowledged.entry(replicaset.clone()).or_default().insert(*write);
                Ok(())
            }
            Seen::Writable { replicaset, instance, holds, .. } => {
                self.newest.insert(replicaset.clone(), (instance.clone(), holds.clone()));
                match self.acknowledged.get(replicaset) {
                    Some(acknowledged) => check_data(acknowledged, holds, instance),
                    None => Ok(()),
                }
            }
            Seen::Recorded { record, .. } => {
                let set = &record.replicaset;
                if record.forced && self.forced.get(set) != Some(&record.master) {
                    self.acknowledged.remove(set);
                    self.forced.insert(set.clone(), record.master.clone());
                } else if !record.forced {
                    self.forced.remove(set);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::fixtures::{acknowledged, writable};

    #[test]
    fn a_write_that_went_along_passes_and_an_unanswered_one_may_be_lost() {
        let history = [writable(1, "a1", 1, &[]), acknowledged(2, 7, "a1"), writable(3, "a2", 2, &[7, 8])];
        assert_eq!(check_history(I5::default(), &history), Ok(()));
    }

    #[test]
    fn a_lost_write_is_found_at_once_or_at_any_later_master() {
        let lost = [acknowledged(2, 7, "a1"), writable(3, "a2", 2, &[])];
        let violation = check_history(I5::default(), &lost).expect_err("w7 is gone");
        assert_eq!(violation.text, "w7 was acknowledged, and the later master a2 lacks it");
        let later = [acknowledged(2, 7, "a1"), writable(3, "a2", 2, &[7]), writable(4, "a3", 3, &[])];
        assert!(check_history(I5::default(), &later).is_err());
    }

    #[test]
    fn what_a_person_accepted_as_lost_is_no_break_and_what_comes_after_it_is() {
        let recorded = |at, term, master: &str, forced| {
            let mut event = crate::fixtures::recorded(at, term, master, 1);
            if let Seen::Recorded { record, .. } = &mut event.seen {
                record.forced = forced;
            }
            event
        };
        let begin = [
            acknowledged(2, 7, "a1"),
            recorded(3, 2, "a2", true),
            acknowledged(3, 8, "a1"),
            writable(4, "a2", 2, &[]),
        ];
        assert_eq!(check_history(I5::default(), &begin), Ok(()));
        let later = [acknowledged(5, 9, "a2"), recorded(6, 3, "a3", false), writable(7, "a3", 3, &[])];
        let history: Vec<_> = begin.into_iter().chain(later).collect();
        assert!(check_history(I5::default(), &history).is_err(), "w9 was acknowledged after it");
    }

    #[test]
    fn a_late_acknowledgement_of_an_older_master_is_found() {
        let history = [writable(1, "a1", 1, &[]), writable(2, "a2", 2, &[1]), acknowledged(3, 9, "a1")];
        let violation = check_history(I5::default(), &history).expect_err("a2 lacks w9");
        assert_eq!(violation.text, "a1 acknowledged w9, which the newer master a2 lacks");
    }
}
