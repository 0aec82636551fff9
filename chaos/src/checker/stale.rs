//! Stale writes: an acknowledgement by an instance for a request that was *sent* after the first acknowledgement at a
//! higher term had been *received*. Woken writes: the same, where the request had been queued at a frozen engine before
//! it woke.
//!
//! An acknowledgement's term is the highest one whose master was that instance and whose appointment may have been made
//! when the acknowledgement came (none: below all). The appointment's moment is the earlier of what the directory and
//! what the recorded history say, so a master is never accused of the first writes of its own term.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::workload::history::{Instance, Moment, Operation, Reign};

/// For each term the first moment at which an acknowledgement at it was received.
pub type FirstAcknowledgements = BTreeMap<u64, Moment>;

/// An engine that stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Which instance.
    pub instance: Instance,
    /// When it had been stopped.
    pub from: Moment,
    /// When it was continued.
    pub until: Moment,
}

/// What was found, by the index of the operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// Accepted by an instance that had been replaced.
    pub stale: Vec<usize>,
    /// Accepted by one that had been replaced in its sleep, from its queue.
    pub woken: Vec<usize>,
}

/// The term at which an instance acknowledged at `at`; 0 where it never was a master.
#[must_use]
pub fn term_of(reigns: &BTreeMap<u64, Reign>, instance: &str, at: Moment) -> u64 {
    reigns
        .values()
        .rev()
        .find(|reign| &*reign.master == instance && reign.known_from <= at)
        .map_or(0, |reign| reign.term)
}

/// Brings `first` up to date with an attempt's operations. What earlier attempts saw stays.
pub fn note_first(
    first: &mut FirstAcknowledgements,
    operations: &[Operation],
    reigns: &BTreeMap<u64, Reign>,
) {
    for operation in operations {
        let Some(at) = operation.acknowledged() else { continue };
        let term = term_of(reigns, &operation.instance, at);
        let known = first.entry(term).or_insert(at);
        *known = at.min(*known);
    }
}

/// Finds the stale and the woken writes. `first` must have been brought up to date with the same operations.
#[must_use]
pub fn stale_writes(
    operations: &[Operation],
    reigns: &BTreeMap<u64, Reign>,
    first: &FirstAcknowledgements,
    frozen: &[Frozen],
) -> Stale {
    let mut found = Stale::default();
    for (index, operation) in operations.iter().enumerate() {
        let Some(at) = operation.acknowledged() else { continue };
        let term = term_of(reigns, &operation.instance, at);
        let replaced = first
            .range((Bound::Excluded(term), Bound::Unbounded))
            .any(|(_, received)| *received < operation.sent);
        if !replaced {
            continue;
        }
        let asleep = frozen.iter().any(|freeze| {
            freeze.instance == operation.instance
                && freeze.from <= operation.sent
                && operation.sent <= freeze.until
        });
        if asleep { found.woken.push(index) } else { found.stale.push(index) }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::samples::{acknowledged, probed, refused, reign, unknown};

    fn check(operations: &[Operation], reigns: &[Reign], frozen: &[Frozen]) -> Stale {
        let reigns = reigns.iter().map(|reign| (reign.term, reign.clone())).collect();
        let mut first = FirstAcknowledgements::new();
        note_first(&mut first, operations, &reigns);
        stale_writes(operations, &reigns, &first, frozen)
    }

    fn two_terms() -> [Reign; 2] {
        [reign(1, "a", 0), reign(2, "b", 100)]
    }

    #[test]
    fn an_orderly_change_of_master_is_clean() {
        let history = [
            acknowledged("a", 10, 20),
            refused("b", 15, 16),
            acknowledged("b", 105, 110),
            refused("a", 120, 121),
            unknown("a", 122, 300),
            probed("b", 130, 131),
        ];
        assert_eq!(check(&history, &two_terms(), &[]), Stale::default());
    }

    #[test]
    fn an_old_master_that_still_accepts_is_caught() {
        let history = [acknowledged("b", 105, 110), probed("a", 111, 112)];
        assert_eq!(check(&history, &two_terms(), &[]).stale, [1]);
    }

    #[test]
    fn what_was_sent_before_the_new_term_spoke_is_not_stale() {
        let history = [acknowledged("b", 105, 110), probed("a", 109, 150), probed("a", 110, 150)];
        assert_eq!(check(&history, &two_terms(), &[]), Stale::default());
    }

    #[test]
    fn an_instance_that_never_was_master_is_caught() {
        let history = [acknowledged("a", 10, 20), probed("c", 30, 31)];
        assert_eq!(check(&history, &two_terms(), &[]).stale, [1]);
    }

    #[test]
    fn a_queue_of_a_frozen_engine_is_woken_and_what_came_after_the_thaw_is_stale() {
        let frozen = [Frozen { instance: "a".into(), from: Moment(50), until: Moment(200) }];
        let history = [acknowledged("b", 105, 110), probed("a", 150, 205), probed("a", 201, 206)];
        let found = check(&history, &two_terms(), &frozen);
        assert_eq!((found.woken, found.stale), (vec![1], vec![2]));
    }

    #[test]
    fn another_instances_freeze_excuses_nobody() {
        let frozen = [Frozen { instance: "c".into(), from: Moment(50), until: Moment(200) }];
        let history = [acknowledged("b", 105, 110), probed("a", 150, 205)];
        assert_eq!(check(&history, &two_terms(), &frozen).stale, [1]);
    }

    #[test]
    fn a_master_of_old_that_leads_again_is_judged_by_the_term_it_has_now() {
        let reigns = [reign(1, "a", 0), reign(2, "b", 100), reign(3, "a", 300)];
        let history = [acknowledged("b", 105, 110), probed("a", 301, 302), probed("b", 303, 304)];
        assert_eq!(check(&history, &reigns, &[]).stale, [2]);
        let too_early = [acknowledged("b", 105, 110), probed("a", 290, 299)];
        assert_eq!(check(&too_early, &reigns, &[]).stale, [1]);
    }

    #[test]
    fn the_first_word_of_a_term_is_remembered_over_attempts() {
        let reigns: BTreeMap<u64, Reign> = two_terms().into_iter().map(|reign| (reign.term, reign)).collect();
        let mut first = FirstAcknowledgements::new();
        note_first(&mut first, &[acknowledged("b", 105, 110)], &reigns);
        let later = [probed("a", 111, 112), acknowledged("b", 500, 510)];
        note_first(&mut first, &later, &reigns);
        assert_eq!(first.get(&2), Some(&Moment(110)));
        assert_eq!(stale_writes(&later, &reigns, &first, &[]).stale, [0]);
    }
}
