//! Lost writes: acknowledged, and absent from the master when everything is healthy again.
//!
//! "Acknowledged" is twofold with an engine that replicates asynchronously. A write that a replica had confirmed (Redis:
//! `WAIT` answered one or more) is a promise, and its loss a violation. A write that only the master had acknowledged
//! may go with the master; it is counted too, apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::workload::history::{Session, Written};

/// What is absent, by what was promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Confirmed by a replica, and gone.
    pub confirmed: BTreeSet<u64>,
    /// Acknowledged by a master alone, and gone.
    pub unconfirmed: BTreeSet<u64>,
}

/// Which of the acknowledged writes are absent. `confirmed` has for each stay of the writer the highest sequence that was
/// confirmed: a confirmation covers all writes of its stay before it.
#[must_use]
pub fn lost_writes(
    written: &[Written],
    confirmed: &BTreeMap<Session, u64>,
    present: impl Fn(u64) -> bool,
) -> Lost {
    let mut lost = Lost::default();
    for write in written.iter().filter(|write| !present(write.sequence)) {
        let promised = confirmed.get(&write.session).is_some_and(|highest| write.sequence <= *highest);
        let kind = if promised { &mut lost.confirmed } else { &mut lost.unconfirmed };
        kind.insert(write.sequence);
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(session: Session, sequences: std::ops::RangeInclusive<u64>) -> Vec<Written> {
        sequences.map(|sequence| Written { sequence, session }).collect()
    }

    #[test]
    fn nothing_is_lost_where_all_is_there() {
        let lost = lost_writes(&written(1, 1..=5), &BTreeMap::from([(1, 5)]), |_| true);
        assert_eq!(lost, Lost::default());
    }

    #[test]
    fn a_confirmed_write_that_is_absent_is_a_broken_promise() {
        let lost = lost_writes(&written(1, 1..=5), &BTreeMap::from([(1, 4)]), |sequence| sequence != 3);
        assert_eq!(lost, Lost { confirmed: [3].into(), unconfirmed: [].into() });
    }

    #[test]
    fn the_tail_that_nobody_confirmed_is_counted_apart() {
        let lost = lost_writes(&written(1, 1..=5), &BTreeMap::from([(1, 3)]), |sequence| sequence < 3);
        assert_eq!(lost, Lost { confirmed: [3].into(), unconfirmed: [4, 5].into() });
    }

    #[test]
    fn a_confirmation_says_nothing_of_another_stay() {
        let mut all = written(1, 1..=2);
        all.extend(written(2, 3..=4));
        let lost = lost_writes(&all, &BTreeMap::from([(2, 4)]), |sequence| sequence > 2);
        assert_eq!(lost, Lost { confirmed: [].into(), unconfirmed: [1, 2].into() });
    }
}
