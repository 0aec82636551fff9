//! Appointments: whoever becomes master was in the recorded in-sync set, and holds what the last term started with; a new term
//! takes nobody into the set.
//!
//! It must not know how the choice was made. The provider refuses such a change too; this is the arbiter's own duty.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::Term;
use baton_core::record::Record;

/// The statement.
pub const STATEMENT: &str = "only members of the recorded in-sync set are appointed, unless a person forces it, a new term adds nobody else to it, and where it has several \
     members the new master holds what the last term started with";

/// Whether an arbiter may ask for `after` where `before` is recorded.
///
/// # Errors
/// The new master was not in the set, or the set of the new term has members that it had not.
pub fn check_asked(before: Option<&Record>, after: &Record) -> Result<(), Violation> {
    let (Some(before), Some(master)) = (before, &after.master) else { return Ok(()) };
    // Across a restore of the provider the old set is not the one that the new term follows.
    let restored = after.epoch.generation > before.epoch.generation;
    if after.term == before.term || before.master.is_none() || restored {
        return Ok(());
    }
    let by_force = |instance: &_| after.forced && instance == master;
    if !before.in_sync.contains(master) && !by_force(master) {
        return broken("appointments", format!("{master} is to be master and was not in the in-sync set"));
    }
    // Another member may hold what the last term began with, and nobody else does.
    if before.in_sync.len() > 1 && !after.forced && !after.start.holds(&before.start) {
        let (own, start) = (after.start, before.start);
        return broken("appointments", format!("{master} holds {own}, and the last term started at {start}"));
    }
    match after.in_sync.difference(&before.in_sync).find(|added| !by_force(added)) {
        Some(added) => broken("appointments", format!("term {} takes {added} into the set", after.term)),
        None => Ok(()),
    }
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct Appointments;

impl Property for Appointments {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Asked { before, record } => check_asked(before.as_deref(), record),
            _ => Ok(()),
        }
    }
}

/// Whether a new term may follow a record from before a restore of the provider. `all_heard`: every member was heard, and leads
/// nothing.
///
/// # Errors
/// The record may be an older one than what was appointed.
pub fn check_restored(before: &Record, after: &Record, all_heard: bool) -> Result<(), Violation> {
    let older = before.epoch.generation < after.epoch.generation && before.master.is_some();
    if !older || all_heard {
        return Ok(());
    }
    let text =
        format!("term {} follows term {}, which a restore may have brought back", after.term, before.term);
    broken("appointments", text)
}

/// Whether a set may have its first appointment, by which nobody is asked what it holds. `known`: the highest term that a member has seen
/// which is heard, where there is data that a master has marked.
///
/// # Errors
/// The provider was put back, and what it says of the set is older than what a member knows.
pub fn check_first(before: Option<&Record>, after: &Record, known: Option<Term>) -> Result<(), Violation> {
    let generation = before.map_or(1, |before| before.epoch.generation);
    let recorded = before.map_or(Term(0), |before| before.term);
    match known.filter(|known| after.epoch.generation > generation && *known > recorded) {
        Some(known) => {
            let text = format!("term {} is a first one, and a member knows of term {known}", after.term);
            broken("appointments", text)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{instance, record};
    use baton_core::position::Position;

    #[test]
    fn a_set_that_a_member_knows_more_of_than_the_provider_has_no_first_appointment() {
        let mut tombstone = record(2, "a1", 1);
        tombstone.master = None;
        let mut after = record(1_003, "a2", 1);
        assert_eq!(check_first(Some(&tombstone), &after, Some(Term(3))), Ok(()), "there was no restore");
        assert_eq!(check_first(None, &after, Some(Term(3))), Ok(()));
        after.epoch.generation += 1;
        assert!(check_first(Some(&tombstone), &after, Some(Term(3))).is_err());
        assert!(check_first(None, &after, Some(Term(3))).is_err());
        assert_eq!(check_first(Some(&tombstone), &after, Some(Term(2))), Ok(()), "of the tombstone only");
        assert_eq!(check_first(None, &after, None), Ok(()), "there is no data");
    }

    #[test]
    fn a_member_of_the_set_passes_and_so_does_the_first_master() {
        let mut before = record(1, "a1", 1);
        before.in_sync.insert(instance("a2"));
        assert_eq!(check_asked(Some(&before), &record(2, "a2", 1)), Ok(()));
        assert_eq!(check_asked(None, &record(1, "a9", 1)), Ok(()));
    }

    #[test]
    fn outsiders_are_found_as_master_and_as_member() {
        let before = record(1, "a1", 1);
        assert!(check_asked(Some(&before), &record(2, "a2", 1)).is_err());
        let mut grown = record(2, "a1", 1);
        grown.in_sync.insert(instance("a3"));
        assert!(check_asked(Some(&before), &grown).is_err());
        grown.term = before.term;
        assert_eq!(check_asked(Some(&before), &grown), Ok(()), "a set grows within a term");
        let mut forced = record(2, "a2", 1);
        forced.forced = true;
        assert_eq!(check_asked(Some(&before), &forced), Ok(()));
        forced.in_sync.insert(instance("a3"));
        assert!(check_asked(Some(&before), &forced).is_err(), "nobody comes along");
    }

    #[test]
    fn who_lacks_the_start_of_the_last_term_is_found_where_another_may_hold_it() {
        let (mut before, mut after) = (record(1, "a1", 1), record(2, "a1", 1));
        (before.start, after.start) = (Position::at(1, 2), Position::at(1, 1));
        assert_eq!(check_asked(Some(&before), &after), Ok(()), "there is no other");
        before.in_sync.insert(instance("a2"));
        assert!(check_asked(Some(&before), &after).is_err());
        after.start = before.start;
        assert_eq!(check_asked(Some(&before), &after), Ok(()));
        after.start = Position::Unknown;
        assert!(check_asked(Some(&before), &after).is_err());
        after.forced = true;
        assert_eq!(check_asked(Some(&before), &after), Ok(()), "a person accepted the loss");
    }

    #[test]
    fn a_record_from_before_a_restore_is_believed_only_where_all_are_heard() {
        let (before, mut after) = (record(1, "a1", 1), record(2, "a1", 1));
        assert_eq!(check_restored(&before, &after, false), Ok(()), "there was no restore");
        after.epoch.generation += 1;
        assert!(check_restored(&before, &after, false).is_err());
        assert_eq!(check_restored(&before, &after, true), Ok(()));
    }
}
