//! Losses: whatever was acknowledged and is not in a later master's data lies beyond the start that the record of a later term names.
//!
//! That start is all that is said of a loss where no commit waits for replicas: what a master held beyond it is gone. Where it names
//! more than the new master held, somebody's write is lost of which the history says that it is there.
//!
//! It must not know why a member was chosen. A write of which nobody says where it stood is not asked about.

use crate::event::{Event, Seen, WriteId};
use crate::{Property, Violation, broken};
use baton_core::ids::{InstanceName, ReplicaSetName, Term};
use baton_core::position::Position;
use std::collections::{BTreeMap, BTreeSet};

/// The statement.
pub const STATEMENT: &str =
    "whatever was acknowledged and is lost lies beyond the start that the record of a later term names";

/// Whether the loss of a write is one that was told. `starts`: those of the terms that have begun, by their numbers.
///
/// # Errors
/// Every later term says that its data reaches further than that write.
pub fn check_told(
    starts: &BTreeMap<Term, Position>,
    write: WriteId,
    stood_at: Position,
    lacks_it: &InstanceName,
) -> Result<(), Violation> {
    let Some(term) = stood_at.term() else { return Ok(()) };
    let mut later = starts.iter().filter(|(later, _)| **later > term);
    if later.any(|(_, start)| !start.holds(&stood_at)) {
        return Ok(());
    }
    let text =
        format!("{write} was acknowledged at {stood_at}, {lacks_it} lacks it, and no later record tells");
    broken("losses", text)
}

/// What is known of one set.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Where each recorded term starts.
    recorded: BTreeMap<Term, Position>,
    /// The same of those terms at which somebody took writes, or wrote its mark at least.
    began: BTreeMap<Term, Position>,
    /// What was acknowledged, where it stood, and is not known to be lost.
    acknowledged: BTreeMap<WriteId, Position>,
    /// The newest master, its term, and what it held when it was promoted.
    newest: Option<(InstanceName, Term, BTreeSet<WriteId>)>,
}

impl Known {
    fn begins(
        &mut self,
        term: Term,
        master: &InstanceName,
        holds: &BTreeSet<WriteId>,
    ) -> Result<(), Violation> {
        if self.newest.as_ref().is_some_and(|(_, newest, _)| *newest >= term) {
            return Ok(());
        }
        let Some(start) = self.recorded.get(&term) else { return Ok(()) };
        self.began.insert(term, *start);
        // The data that this one starts from has the mark of its term: that one began, though nobody saw it take a write.
        let mut before = start.term();
        while let Some((term, start)) = before.and_then(|term| self.recorded.get_key_value(&term)) {
            if self.began.insert(*term, *start).is_some() {
                break;
            }
            before = start.term().filter(|earlier| earlier < term);
        }
        self.newest = Some((master.clone(), term, holds.clone()));
        let (kept, lost) =
            std::mem::take(&mut self.acknowledged).into_iter().partition(|(write, _)| holds.contains(write));
        self.acknowledged = kept;
        lost.iter().try_for_each(|(write, stood_at): (&WriteId, &Position)| {
            check_told(&self.began, *write, *stood_at, master)
        })
    }

    fn acknowledged(&mut self, write: WriteId, by: &InstanceName, at: Position) -> Result<(), Violation> {
        match &self.newest {
            Some((newest, _, holds)) if newest != by && !holds.contains(&write) => {
                check_told(&self.began, write, at, newest)
            }
            _ => {
                self.acknowledged.insert(write, at);
                Ok(())
            }
        }
    }
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    sets: BTreeMap<ReplicaSetName, Known>,
}

impl Property for Losses {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Recorded { record, .. } if record.master.is_none() => {
                // A person took the set away, with its data.
                self.sets.remove(&record.replicaset);
                Ok(())
            }
            Seen::Recorded { record, .. } => {
                let known = self.sets.entry(record.replicaset.clone()).or_default();
                known.recorded.insert(record.term, record.start);
                Ok(())
            }
            Seen::Writable { replicaset, instance, term, holds, .. } => {
                self.sets.entry(replicaset.clone()).or_default().begins(*term, instance, holds)
            }
            Seen::Acknowledged { replicaset, write, by, at } => {
                self.sets.entry(replicaset.clone()).or_default().acknowledged(*write, by, *at)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::fixtures::{acknowledged_at, recorded, writable};

    fn starts_at(at: u64, term: u64, master: &str, start: Position) -> Event {
        let mut event = recorded(at, term, master, 1);
        if let Seen::Recorded { record, .. } = &mut event.seen {
            record.start = start;
        }
        event
    }

    /// a1 acknowledges w7 and w8 at term 1, where its log has so many entries; a2 holds w7.
    fn failover(start: Position) -> Result<(), Violation> {
        let history = [
            recorded(1, 1, "a1", 1),
            writable(2, "a1", 1, &[]),
            acknowledged_at(3, 7, "a1", Position::at(1, 2)),
            acknowledged_at(4, 8, "a1", Position::at(1, 3)),
            starts_at(5, 2, "a2", start),
            writable(6, "a2", 2, &[7]),
        ];
        check_history(Losses::default(), &history)
    }

    #[test]
    fn a_loss_within_what_the_record_tells_passes_and_one_that_it_denies_is_found() {
        assert_eq!(failover(Position::at(1, 2)), Ok(()));
        let violation = failover(Position::at(1, 3)).expect_err("w8 should be there");
        let text = "w8 was acknowledged at 1:3, a2 lacks it, and no later record tells";
        assert_eq!(violation.text, text);
        assert!(failover(Position::at(2, 0)).is_err(), "further still");
    }

    #[test]
    fn a_start_that_nobody_knows_tells_of_everything() {
        assert_eq!(failover(Position::Unknown), Ok(()));
    }

    /// Seed 10031908: the master of a term had written its mark when its host was frozen, and was replaced by itself at the next one.
    /// The record of that term tells of the loss; the next one's start lies beyond the mark.
    #[test]
    fn a_term_of_which_nothing_but_its_mark_was_seen_tells_of_a_loss_too() {
        let told = |start_of_second| {
            let history = [
                recorded(1, 1, "a1", 1),
                writable(2, "a1", 1, &[]),
                acknowledged_at(3, 8, "a1", Position::at(1, 3)),
                starts_at(4, 2, "a2", start_of_second),
                starts_at(5, 3, "a2", Position::at(2, 4)),
                writable(6, "a2", 3, &[]),
            ];
            check_history(Losses::default(), &history)
        };
        assert_eq!(told(Position::at(1, 2)), Ok(()));
        assert!(told(Position::at(1, 3)).is_err(), "that one denies it");
        let unmarked = [
            recorded(1, 1, "a1", 1),
            writable(2, "a1", 1, &[]),
            acknowledged_at(3, 8, "a1", Position::at(1, 3)),
            starts_at(4, 2, "a2", Position::at(1, 2)),
            starts_at(5, 3, "a3", Position::at(1, 5)),
            writable(6, "a3", 3, &[]),
        ];
        assert!(check_history(Losses::default(), &unmarked).is_err(), "nobody ever began the second term");
    }

    #[test]
    fn an_acknowledgement_that_comes_late_is_held_against_the_term_after_its_own() {
        let late = |start| {
            let begin = [
                recorded(1, 1, "a1", 1),
                writable(2, "a1", 1, &[]),
                starts_at(3, 2, "a2", start),
                writable(4, "a2", 2, &[]),
                starts_at(5, 3, "a3", Position::at(2, 9)),
                writable(6, "a3", 3, &[]),
                acknowledged_at(7, 8, "a1", Position::at(1, 3)),
            ];
            check_history(Losses::default(), &begin)
        };
        assert_eq!(late(Position::at(1, 2)), Ok(()));
        assert!(late(Position::at(1, 3)).is_err());
    }

    #[test]
    fn what_is_lost_once_is_not_asked_for_again() {
        let history = [
            recorded(1, 1, "a1", 1),
            writable(2, "a1", 1, &[]),
            acknowledged_at(3, 8, "a1", Position::at(1, 3)),
            starts_at(4, 2, "a2", Position::at(1, 2)),
            writable(5, "a2", 2, &[]),
            starts_at(6, 3, "a3", Position::at(2, 9)),
            writable(7, "a3", 3, &[]),
        ];
        assert_eq!(check_history(Losses::default(), &history), Ok(()));
    }
}
