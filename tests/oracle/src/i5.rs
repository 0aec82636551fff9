//! I5: under synchronous replication every acknowledged write is in the data of every later master.
//!
//! While the record says that no commit waits for replicas, nothing is promised. Once it says that commits wait, everything that
//! was acknowledged at this term is: also what was acknowledged before. Once it says that they do not, nothing is any more.
//!
//! It must not know how the write was replicated. A write without an answer is unknown: it may be there or not.

use crate::event::{Event, Seen, WriteId};
use crate::{Property, Violation, broken};
use baton_core::ids::{InstanceName, ReplicaSetName, Term};
use baton_core::record::Record;
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct I5 {
    acknowledged: BTreeMap<ReplicaSetName, BTreeSet<WriteId>>,
    /// Sets of which the record says that no commit waits, its term, and what was acknowledged at it.
    unpromised: BTreeMap<ReplicaSetName, (Term, BTreeSet<WriteId>)>,
    /// What the newest master held when it was promoted, and what was acknowledged since: an acknowledgement that
    /// an older master still gives away must be in the newer one's data too.
    newest: BTreeMap<ReplicaSetName, (InstanceName, BTreeSet<WriteId>)>,
    /// The last term of a set that a person forced: what was acknowledged before it, and what a master of an earlier term still
    /// gives away, whenever that is, was accepted as lost.
    forced: BTreeMap<ReplicaSetName, Term>,
    /// The last term at which an instance accepted writes.
    led: BTreeMap<(ReplicaSetName, InstanceName), Term>,
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
            _ if self.is_accepted(set, by) || self.unpromised.contains_key(set) => Ok(()),
            Some((newest, holds)) if newest != by && !holds.contains(&write) => {
                broken("I5", format!("{by} acknowledged {write}, which the newer master {newest} lacks"))
            }
            _ => Ok(()),
        }
    }
}

impl I5 {
    /// What the record says of commits from now on.
    fn recorded(&mut self, record: &Record) {
        let set = &record.replicaset;
        let before = self.unpromised.remove(set);
        match (before, record.ack_quorum) {
            (Some((term, of_term)), 0) if term == record.term => {
                self.unpromised.insert(set.clone(), (term, of_term));
            }
            (None, 0) => {
                let promised = self.acknowledged.remove(set).unwrap_or_default();
                // A later term that does not wait comes of a restore to a record from before commits did: what was promised since is
                // promised by nobody any more.
                let led = self.led.iter().filter(|((of, _), _)| of == set).map(|(_, term)| *term).max();
                let of_term =
                    if led.is_some_and(|led| led < record.term) { BTreeSet::new() } else { promised };
                self.unpromised.insert(set.clone(), (record.term, of_term));
            }
            (Some(_), 0) => {
                self.unpromised.insert(set.clone(), (record.term, BTreeSet::new()));
            }
            (Some((term, of_term)), _) if term == record.term => {
                self.acknowledged.insert(set.clone(), of_term);
            }
            (Some(_) | None, _) => {}
        }
    }

    fn is_accepted(&self, set: &ReplicaSetName, by: &InstanceName) -> bool {
        let led = self.led.get(&(set.clone(), by.clone())).copied().unwrap_or_default();
        self.forced.get(set).is_some_and(|forced| led < *forced)
    }
}

impl Property for I5 {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Acknowledged { replicaset, write, by, .. } => {
                self.check_late(replicaset, by, *write)?;
                if self.is_accepted(replicaset, by) {
                    return Ok(());
                }
                let promised = self.acknowledged.entry(replicaset.clone());
                match self.unpromised.get_mut(replicaset) {
                    Some((_, of_term)) => of_term.insert(*write),
                    None => promised.or_default().insert(*write),
                };
                Ok(())
            }
            Seen::Writable { replicaset, instance, holds, term, .. } => {
                self.led.insert((replicaset.clone(), instance.clone()), *term);
                self.newest.insert(replicaset.clone(), (instance.clone(), holds.clone()));
                match self.acknowledged.get(replicaset) {
                    Some(acknowledged) => check_data(acknowledged, holds, instance),
                    None => Ok(()),
                }
            }
            Seen::Recorded { record, .. } => {
                self.recorded(record);
                if record.master.is_none() {
                    // A person took the set away, with its data.
                    self.acknowledged.remove(&record.replicaset);
                }
                let set = &record.replicaset;
                if record.forced && self.forced.get(set).is_none_or(|forced| *forced < record.term) {
                    self.acknowledged.remove(set);
                    self.unpromised.entry(set.clone()).and_modify(|(_, of_term)| of_term.clear());
                    self.forced.insert(set.clone(), record.term);
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
                record.ack_quorum = 1;
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
        // A replica that nobody reached confirms at last what it had from the old master.
        let late = [recorded(5, 3, "a2", false), writable(6, "a2", 3, &[]), acknowledged(7, 6, "a1")];
        let history: Vec<_> = begin.iter().cloned().chain(late).collect();
        assert_eq!(check_history(I5::default(), &history), Ok(()), "it was accepted as lost all the same");
        let later = [acknowledged(5, 9, "a2"), recorded(6, 3, "a3", false), writable(7, "a3", 3, &[])];
        let history: Vec<_> = begin.into_iter().chain(later).collect();
        assert!(check_history(I5::default(), &history).is_err(), "w9 was acknowledged after it");
    }

    fn waits(at: u64, term: u64, master: &str, ack_quorum: u32) -> Event {
        let mut event = crate::fixtures::recorded(at, term, master, 1);
        if let Seen::Recorded { record, .. } = &mut event.seen {
            record.ack_quorum = ack_quorum;
        }
        event
    }

    #[test]
    fn what_was_acknowledged_before_commits_waited_is_promised_from_then_on() {
        let before = [waits(1, 1, "a1", 0), acknowledged(2, 7, "a1")];
        let lost = |raised: Option<Event>, term| {
            let history: Vec<_> = before.clone().into_iter().chain(raised).collect();
            check_history(I5::default(), &[&history[..], &[writable(9, "a2", term, &[])]].concat())
        };
        assert_eq!(lost(None, 2), Ok(()), "nothing was promised");
        assert!(lost(Some(waits(3, 1, "a1", 1)), 2).is_err(), "it was promised at v2");
        assert_eq!(lost(Some(waits(3, 2, "a2", 1)), 2), Ok(()), "a2 began without it");
    }

    #[test]
    fn what_was_acknowledged_is_promised_no_more_once_no_commit_waits() {
        let begin = [waits(1, 1, "a1", 1), acknowledged(2, 7, "a1"), waits(3, 1, "a1", 0)];
        let lost = [&begin[..], &[writable(4, "a2", 2, &[])]].concat();
        assert_eq!(check_history(I5::default(), &lost), Ok(()));
        let again = [&begin[..], &[waits(4, 1, "a1", 1), writable(5, "a2", 2, &[])]].concat();
        assert!(check_history(I5::default(), &again).is_err(), "and again");
    }

    /// Seed 20021707: the provider was put back to a state from before commits waited, and another was appointed by it. When its own
    /// commits came to wait, what was acknowledged before the restore was held against the next master.
    #[test]
    fn what_a_restore_has_made_nobodys_promise_is_promised_by_no_later_term() {
        let restored = [
            waits(1, 1, "a1", 1),
            writable(2, "a1", 1, &[]),
            acknowledged(3, 7, "a1"),
            waits(4, 2, "a2", 0),
            writable(5, "a2", 2, &[]),
            acknowledged(6, 8, "a2"),
            waits(7, 2, "a2", 1),
        ];
        let then = |holds: &[u64]| [&restored[..], &[writable(8, "a3", 3, holds)]].concat();
        assert_eq!(check_history(I5::default(), &then(&[8])), Ok(()));
        assert!(check_history(I5::default(), &then(&[7])).is_err(), "w8 was promised at v2 of its term");
    }

    #[test]
    fn a_late_acknowledgement_of_an_older_master_is_found() {
        let history = [writable(1, "a1", 1, &[]), writable(2, "a2", 2, &[1]), acknowledged(3, 9, "a1")];
        let violation = check_history(I5::default(), &history).expect_err("a2 lacks w9");
        assert_eq!(violation.text, "a1 acknowledged w9, which the newer master a2 lacks");
    }
}
