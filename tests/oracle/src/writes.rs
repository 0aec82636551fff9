//! Writes: an arbiter asks for one change of a version only, until somebody says what became of it.
//!
//! It must not know what was answered: after an answer the version is another one.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::{Epoch, ReplicaSetName, Version};
use baton_core::record::Record;
use std::collections::BTreeMap;

/// The statement.
pub const STATEMENT: &str = "no arbiter asks for two different changes of one version";

/// Whether what is asked for now is what was asked for before, of the same version and in the same epoch.
///
/// # Errors
/// It is another change: the first one was taken for failed, and may land yet.
pub fn check_repeated(before: &Record, now: &Record) -> Result<(), Violation> {
    if *now == (Record { at_unix_millis: now.at_unix_millis, ..before.clone() }) {
        return Ok(());
    }
    let text = format!(
        "version {} of {} was to be term {} ({}) and is now to be term {} ({}), both asked for in epoch {}",
        now.version, now.replicaset, before.term, before.reason, now.term, now.reason, now.epoch
    );
    broken("writes", text)
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    last: BTreeMap<(ReplicaSetName, Epoch), (Version, Box<Record>)>,
}

impl Property for Writes {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        if event.seen == Seen::OtherState {
            self.last.clear();
        }
        let Seen::Asked { record, .. } = &event.seen else { return Ok(()) };
        let key = (record.replicaset.clone(), record.epoch);
        match self.last.get(&key) {
            Some((version, before)) if *version == record.version => check_repeated(before, record),
            _ => {
                self.last.insert(key, (record.version, record.clone()));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::event::Moment;
    use crate::fixtures::record;

    fn asked(record: Record) -> Event {
        Event { at: Moment(1), seen: Seen::Asked { before: None, record: Box::new(record) } }
    }

    #[test]
    fn what_was_on_its_way_to_another_state_reached_nobody() {
        let ask = |reason: &str| asked(Record { reason: reason.to_owned(), ..record(2, "a1", 1) });
        let between = Event { at: Moment(1), seen: Seen::OtherState };
        assert_eq!(check_history(Writes::default(), &[ask("pause"), between, ask("crashed")]), Ok(()));
        assert!(check_history(Writes::default(), &[ask("pause"), ask("crashed")]).is_err());
    }

    #[test]
    fn the_same_again_passes_and_another_change_of_the_version_is_found() {
        let first = record(2, "a2", 1);
        let again = Record { at_unix_millis: 7, ..first.clone() };
        let history = [asked(first.clone()), asked(again), asked(record(3, "a3", 1))];
        assert_eq!(check_history(Writes::default(), &history), Ok(()));
        let other = Record { reason: "grow a3".to_owned(), ..first.clone() };
        let found = check_history(Writes::default(), &[asked(first.clone()), asked(other)]);
        assert_eq!(found.expect_err("two changes").property, "writes");
        // The next arbiter reads first, and may want something else.
        let next = Record { epoch: crate::fixtures::epoch(2), reason: "silent".to_owned(), ..first.clone() };
        assert_eq!(check_history(Writes::default(), &[asked(first), asked(next)]), Ok(()));
    }
}
