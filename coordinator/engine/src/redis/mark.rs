//! How the mark is written, and what a run of the engine is remembered to have been marked with. Pure.

use crate::mark::Mark;
use baton_core::engine::DataState;
use baton_core::ids::EngineRun;

/// The key that holds the mark, in database 0. Clients must leave it alone.
pub(super) const KEY: &[u8] = b"baton:identity";
impl Mark {
    /// As it is written: `TERM IDENTITY`.
    pub(super) fn to_text(&self) -> String {
        format!("{} {}", self.term, self.id)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (term, id) = text.split_once(' ')?;
        Self::read(term, id)
    }
}

/// What one run of the engine was marked with while it was master. A user's `FLUSHALL` removes the mark together with
/// the data; the run is still the same data set then, until it takes a copy of somebody else's. Only a master's memory
/// counts: a replica without a mark may be one whose copy failed halfway, and that one holds nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    known: Option<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    run: EngineRun,
    replication_id: String,
    mark: Mark,
}

/// What the memory has to know of a probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    pub(super) run: &'a EngineRun,
    pub(super) replication_id: &'a str,
    pub(super) is_master: bool,
    /// Follows somebody, or takes a copy: what it holds is not its own any more.
    pub(super) is_following: bool,
    pub(super) is_empty: bool,
}

impl Memory {
    /// What the data says of itself, given what is read from the key now; remembers it.
    pub(super) fn judge(&mut self, sight: Sight<'_>, read: Option<Mark>) -> DataState {
        // A master may change its replication id by itself (when its first replica attaches), a fenced one may not.
        let still_valid = self.known.as_ref().is_some_and(|known| {
            known.run == *sight.run
                && !sight.is_following
                && (sight.is_master || known.replication_id == sight.replication_id)
        });
        if !still_valid {
            self.known = None;
        }
        let remembered = self.known.as_ref().map(|known| known.mark.clone());
        let mark = read.or(remembered);
        if let (Some(mark), true) = (&mark, sight.is_master) {
            self.known = Some(Known {
                run: sight.run.clone(),
                replication_id: sight.replication_id.to_owned(),
                mark: mark.clone(),
            });
        }
        match mark {
            Some(mark) => DataState::Marked { id: mark.id, term: mark.term },
            None if sight.is_empty => DataState::Empty,
            None => DataState::Unmarked,
        }
    }

    /// What the run's mark must be put back to, where it is gone.
    pub(super) fn mark_of(&self, run: &EngineRun) -> Option<&Mark> {
        self.known.as_ref().filter(|known| known.run == *run).map(|known| &known.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::{DataId, Term};
    use std::sync::Arc;

    fn mark(term: u64) -> Mark {
        Mark { id: DataId(Arc::from("orders")), term: Term(term) }
    }

    fn sight<'a>(run: &'a EngineRun, replication_id: &'a str) -> Sight<'a> {
        Sight { run, replication_id, is_master: true, is_following: false, is_empty: true }
    }

    #[test]
    fn text_goes_both_ways_and_nonsense_is_no_mark() {
        assert_eq!(Mark::parse(&mark(7).to_text()), Some(mark(7)));
        for bad in ["", "7", "x orders", "7 ", "-1 orders"] {
            assert_eq!(Mark::parse(bad), None, "{bad:?} was taken");
        }
    }

    #[test]
    fn a_flushed_master_keeps_its_identity_also_when_it_is_fenced() {
        let run = EngineRun(Arc::from("r1"));
        let marked = DataState::Marked { id: DataId(Arc::from("orders")), term: Term(7) };
        let mut memory = Memory::default();
        assert_eq!(memory.judge(sight(&run, "a"), Some(mark(7))), marked);
        assert_eq!(memory.judge(sight(&run, "b"), None), marked);
        assert_eq!(memory.judge(Sight { is_master: false, ..sight(&run, "b") }, None), marked);
    }

    #[test]
    fn another_run_another_history_or_a_copy_forgets_it() {
        let (run, other_run) = (EngineRun(Arc::from("r1")), EngineRun(Arc::from("r2")));
        let mut fresh = Memory::default();
        fresh.judge(sight(&run, "a"), Some(mark(7)));
        let replica = Sight { is_master: false, ..sight(&run, "a") };
        for (what, sight) in [
            ("run", sight(&other_run, "a")),
            ("history", Sight { replication_id: "b", ..replica }),
            ("copy", Sight { is_following: true, ..replica }),
        ] {
            assert_eq!(fresh.clone().judge(sight, None), DataState::Empty, "{what}");
        }
    }

    #[test]
    fn a_replica_is_never_remembered() {
        let run = EngineRun(Arc::from("r1"));
        let replica = Sight { is_master: false, is_following: true, ..sight(&run, "a") };
        let mut memory = Memory::default();
        memory.judge(replica, Some(mark(7)));
        assert_eq!(memory.judge(replica, None), DataState::Empty);
    }
}
