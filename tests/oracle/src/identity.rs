//! Data-set identity: an empty or foreign instance never becomes the master of a set that has data.
//!
//! It must not know how the identity is stored in an engine.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::engine::DataState;
use baton_core::ids::{DataId, InstanceName, ReplicaSetName, Term};
use baton_core::record::Record;
use std::collections::{BTreeMap, BTreeSet};

/// The statement.
pub const STATEMENT: &str = "an empty or foreign instance never becomes the master of a set that has data";

/// Whether the data that a promoted instance was found with is the set's. `known`: the recorded identity, where the
/// set has had a master before.
///
/// # Errors
/// It is empty, unmarked or foreign.
pub fn check_found(
    known: Option<&DataId>,
    found: &DataState,
    master: &InstanceName,
) -> Result<(), Violation> {
    let Some(known) = known else { return Ok(()) };
    match found {
        DataState::Marked { id, .. } if id == known => Ok(()),
        DataState::Marked { id, .. } => {
            broken("identity", format!("{master} became master with the data {id}, not {known}"))
        }
        DataState::Unmarked => {
            broken("identity", format!("{master} became master with data that was never marked"))
        }
        DataState::Empty => broken("identity", format!("{master} became master while it was empty")),
    }
}

/// The property over a history: whatever the first master was found with is the set's data.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The recorded identity, and whether a master has served it.
    known: BTreeMap<ReplicaSetName, (DataId, bool)>,
    /// Sets in which a person lets data of any identity lead.
    any: BTreeSet<ReplicaSetName>,
    /// The last term that was recorded of a set, and whether it was while a person did.
    term: BTreeMap<ReplicaSetName, (Term, bool)>,
}

impl Identity {
    /// A new term is of the data that may lead when it is recorded.
    fn recorded(&mut self, record: &Record) {
        let set = &record.replicaset;
        if self.term.get(set).is_none_or(|(term, _)| *term < record.term) {
            self.term.insert(set.clone(), (record.term, self.any.contains(set)));
        }
    }

    fn is_any(&self, set: &ReplicaSetName, term: Term) -> bool {
        self.term.get(set) == Some(&(term, true))
    }
}

impl Property for Identity {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::AnyData { replicaset, may_lead: true } => {
                self.any.insert(replicaset.clone());
                Ok(())
            }
            Seen::AnyData { replicaset, may_lead: false } => {
                self.any.remove(replicaset);
                Ok(())
            }
            Seen::Recorded { record, .. } => {
                self.recorded(record);
                if record.master.is_none() {
                    // A person took the set away, with its data: whoever begins under its name begins anew.
                    self.known.remove(&record.replicaset);
                    return Ok(());
                }
                if let Some(id) = &record.data_id {
                    let served = self.known.get(&record.replicaset).is_some_and(|(_, served)| *served);
                    self.known.insert(record.replicaset.clone(), (id.clone(), served));
                }
                Ok(())
            }
            Seen::Writable { replicaset, instance, found, term, .. } => {
                let any = self.is_any(replicaset, *term);
                let Some((id, served)) = self.known.get_mut(replicaset) else { return Ok(()) };
                let first = !std::mem::replace(served, true);
                if first || any { Ok(()) } else { check_found(Some(id), found, instance) }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::event::Moment;
    use crate::fixtures::{instance, recorded, set, writable};

    fn promoted(found: DataState) -> Event {
        let seen = Seen::Writable {
            replicaset: set(),
            instance: instance("a2"),
            term: Term(2),
            found,
            holds: BTreeSet::new(),
        };
        Event { at: Moment(9), seen }
    }

    #[test]
    fn the_first_master_may_be_found_with_anything() {
        let history = [recorded(1, 2, "a2", 1), promoted(DataState::Empty)];
        assert_eq!(check_history(Identity::default(), &history), Ok(()));
    }

    #[test]
    fn empty_unmarked_and_foreign_successors_are_found() {
        let foreign = DataState::Marked { id: DataId("other".into()), term: Term(9) };
        for (found, part) in
            [(DataState::Empty, "empty"), (DataState::Unmarked, "never marked"), (foreign, "not d")]
        {
            let history = [recorded(1, 1, "a1", 1), writable(2, "a1", 1, &[]), promoted(found)];
            let violation = check_history(Identity::default(), &history).expect_err("not the set's data");
            assert!(violation.text.contains(part), "{violation}");
        }
    }

    #[test]
    fn a_person_may_let_any_data_lead_and_each_later_term_is_asked_again() {
        let any = |may_lead| Event { at: Moment(1), seen: Seen::AnyData { replicaset: set(), may_lead } };
        let begin = [recorded(1, 1, "a1", 1), writable(2, "a1", 1, &[])];
        let allowed = [any(true), recorded(3, 2, "a2", 1), any(false), promoted(DataState::Empty)];
        assert_eq!(check_history(Identity::default(), &[&begin[..], &allowed].concat()), Ok(()));
        let late = [any(true), any(false), recorded(3, 2, "a2", 1), promoted(DataState::Empty)];
        assert!(check_history(Identity::default(), &[&begin[..], &late].concat()).is_err());
    }

    #[test]
    fn marked_successors_pass() {
        let history = [recorded(1, 1, "a1", 1), writable(2, "a1", 1, &[]), writable(3, "a2", 2, &[])];
        assert_eq!(check_history(Identity::default(), &history), Ok(()));
    }
}
