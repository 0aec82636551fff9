//! The last answer to a read, for as long as nothing happens on the board: thousands of coordinators that look at a quiet
//! cluster cost its thread nothing. Knows nothing of what is in the answer.
//!
//! A kept answer is linearizable. The board's thread counts every event before it takes it, and so before anything that
//! follows from it is answered; an answer is kept with the count from *before* its read was asked for, and given only
//! while the count is the same. So whatever was answered before a read began is either in the kept answer, or has
//! changed the count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Shared by the board's thread, which counts, and the service, which asks and keeps. An answer is something that is cheap to
/// clone.
#[derive(Debug)]
pub(crate) struct LastRead<T> {
    events: AtomicU64,
    kept: RwLock<Option<(u64, T)>>,
}

impl<T> Default for LastRead<T> {
    fn default() -> Self {
        Self { events: AtomicU64::new(0), kept: RwLock::new(None) }
    }
}

impl<T: Clone> LastRead<T> {
    /// Something happens on the board, or is about to. By its thread only, before it answers anybody.
    pub(crate) fn count(&self) {
        self.events.fetch_add(1, Ordering::AcqRel);
    }

    /// To be asked for before the read is.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Acquire)
    }

    /// The kept answer, where nothing has happened since.
    pub(crate) fn get(&self) -> Option<T> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(events, _)| *events == self.events()).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer to a read that was asked for at `events`, unless something has happened meanwhile: under a load of
    /// changes nothing is kept in vain.
    pub(crate) fn keep(&self, events: u64, answer: impl FnOnce() -> T) {
        if events == self.events() {
            *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some((events, answer()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_until_something_happens() {
        let last = LastRead::default();
        assert_eq!(last.get(), None);
        last.keep(last.events(), || "one");
        assert_eq!(last.get(), Some("one"));
        last.count();
        assert_eq!(last.get(), None, "it may have changed");
    }

    #[test]
    fn an_answer_that_was_asked_for_before_is_never_given_after() {
        let last = LastRead::default();
        let before = last.events();
        last.count();
        last.keep(before, || "old");
        assert_eq!(last.get(), None);
        last.keep(last.events(), || "new");
        last.keep(before, || "old, and late");
        assert_eq!(last.get(), Some("new"));
    }
}
