//! I6: only the holder of the current epoch changes the record.
//!
//! It must not know who holds the lock, only which epoch is current.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::{Epoch, ReplicaSetName};
use std::collections::BTreeMap;

/// The statement.
pub const STATEMENT: &str = "only the holder of the current epoch changes the record";

/// Whether a record that became durable was written under the current epoch.
///
/// # Errors
/// It was written under another.
pub fn check_write(current: Epoch, written_under: Epoch) -> Result<(), Violation> {
    if current == written_under {
        return Ok(());
    }
    broken("I6", format!("a record was written under epoch {written_under} while {current} was current"))
}

/// Whether a record may become durable at this end. `left`: the cluster's state was moved away from here.
///
/// # Errors
/// It was: whoever holds the current epoch holds it at the other end.
pub fn check_left(left: bool) -> Result<(), Violation> {
    if left {
        broken("I6", "a record was written where the cluster's state was moved away from")
    } else {
        Ok(())
    }
}

/// The property over a history; epochs of successive records never fall, whatever the observer says is current.
#[derive(Clone, Debug, Default)]
pub struct I6 {
    last: BTreeMap<ReplicaSetName, Epoch>,
}

impl Property for I6 {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        if event.seen == Seen::OtherState {
            self.last.clear();
        }
        let Seen::Recorded { record, current } = &event.seen else { return Ok(()) };
        check_write(*current, record.epoch)?;
        let last = self.last.entry(record.replicaset.clone()).or_default();
        if record.epoch < *last {
            return broken("I6", format!("a record of epoch {} follows one of {last}", record.epoch));
        }
        *last = record.epoch;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::event::Moment;
    use crate::fixtures::{epoch, record, recorded};

    #[test]
    fn a_record_at_an_end_that_was_left_is_found() {
        assert_eq!(check_left(false), Ok(()));
        assert!(check_left(true).is_err());
    }

    #[test]
    fn another_state_begins_with_an_epoch_of_its_own() {
        let between = Event { at: Moment(3), seen: Seen::OtherState };
        let (later, earlier) = (recorded(2, 2, "a2", 3), recorded(4, 3, "a1", 1));
        assert_eq!(check_history(I6::default(), &[later.clone(), between, earlier.clone()]), Ok(()));
        assert!(check_history(I6::default(), &[later, earlier]).is_err());
    }

    #[test]
    fn writes_under_the_current_epoch_pass() {
        let history = [recorded(1, 1, "a1", 1), recorded(2, 2, "a2", 3)];
        assert_eq!(check_history(I6::default(), &history), Ok(()));
    }

    #[test]
    fn a_write_under_an_old_epoch_is_found() {
        let seen = Seen::Recorded { record: Box::new(record(2, "a2", 1)), current: epoch(2) };
        let history = [recorded(1, 1, "a1", 1), Event { at: Moment(2), seen }];
        let violation = check_history(I6::default(), &history).expect_err("epoch 1 is over");
        assert_eq!(violation.text, "a record was written under epoch 1.1 while 1.2 was current");
    }

    #[test]
    fn epochs_that_fall_are_found() {
        let history = [recorded(1, 1, "a1", 2), recorded(2, 2, "a1", 1)];
        assert!(check_history(I6::default(), &history).is_err());
    }
}
