//! What has to be heard before the end of an engine is: the answers to the fences that were asked of it. An engine that can only be
//! fenced by ending it (PostgreSQL) ends while it answers, and its answer names its final position, which a switchover waits for. Told
//! of the end first, the guard would take it for a crash.

use baton_core::ids::OpId;

/// Fences without an answer, and an end that waits for them. Each is answered within its time, whatever becomes of the engine.
#[derive(Debug, Default)]
pub(super) struct Fences {
    asked: Vec<OpId>,
    ended: Option<u64>,
}

impl Fences {
    pub(super) fn asked(&mut self, op: OpId) {
        self.asked.push(op);
    }

    pub(super) fn answered(&mut self, op: OpId) {
        self.asked.retain(|asked| *asked != op);
    }

    /// The run that has ended, if that may be told now.
    pub(super) fn ended(&mut self, run: u64) -> Option<u64> {
        self.ended = Some(run);
        self.due()
    }

    /// The run whose end has waited long enough.
    pub(super) fn due(&mut self) -> Option<u64> {
        if self.asked.is_empty() { self.ended.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_waits_for_every_fence_and_for_nothing_else() {
        let mut fences = Fences::default();
        assert_eq!(fences.ended(1), Some(1));
        assert_eq!(fences.due(), None, "told once");
        fences.asked(OpId(7));
        fences.asked(OpId(8));
        assert_eq!(fences.ended(2), None);
        fences.answered(OpId(7));
        assert_eq!(fences.due(), None);
        fences.answered(OpId(9));
        assert_eq!(fences.due(), None, "another command's answer");
        fences.answered(OpId(8));
        assert_eq!(fences.due(), Some(2));
    }
}
