//! Is an attempt ok? A pure function of what was counted, with every reason why not.

use std::time::Duration;

use super::step::Step;

/// Fewest acknowledged writes that make an attempt say anything.
pub const WRITES_MIN: u64 = 100;
/// What one write may be delayed where nothing is to be interrupted: a busy machine's scheduling, and no failover.
pub const UNINTERRUPTED: Duration = Duration::from_millis(100);

/// What was counted in one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged writes of the writer.
    pub writes: u64,
    /// Writes of the writer that were refused or not answered.
    pub failed: u64,
    /// Master and term before.
    pub before: (String, u64),
    /// Master and term after.
    pub after: (String, u64),
    /// The write gap; `None` where there was no write before the fault.
    pub gap: Option<Duration>,
    /// How long it may be.
    pub budget: Duration,
    /// Promised and gone.
    pub lost: u64,
    /// Acknowledged by a master alone, and gone.
    pub unconfirmed_lost: u64,
    /// Accepted by a replaced master.
    pub stale: u64,
    /// The same from the queue of a frozen engine.
    pub woken: u64,
}

/// Every reason why the attempt is not ok; none: it is. Woken writes are shown and are no reason, and unconfirmed ones
/// are one only if `count_unconfirmed`.
#[must_use]
pub fn problems(step: Step, counts: &Counts, count_unconfirmed: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |holds: bool, otherwise: String| {
        if !holds {
            found.push(otherwise);
        }
    };
    expect(counts.writes >= WRITES_MIN, format!("only {} writes, fewer than {WRITES_MIN}", counts.writes));
    let ((master_before, term_before), (master_after, term_after)) = (&counts.before, &counts.after);
    if step.changes_master() {
        expect(
            master_after != master_before && term_after > term_before,
            format!("no change of master: {master_before} at {term_before}, {master_after} at {term_after}"),
        );
    } else {
        expect(
            counts.before == counts.after,
            format!(
                "the master changed from {master_before} at {term_before} to {master_after} at {term_after}"
            ),
        );
        expect(counts.failed == 0, format!("{} writes were refused or not answered", counts.failed));
    }
    match counts.gap {
        Some(gap) => {
            expect(
                gap <= counts.budget,
                format!("the gap of {gap:.1?} is over the budget of {:.1?}", counts.budget),
            );
        }
        None => expect(false, "nothing was acknowledged before the fault".to_owned()),
    }
    expect(counts.lost == 0, format!("{} confirmed writes are lost", counts.lost));
    expect(counts.stale == 0, format!("{} stale writes", counts.stale));
    expect(
        !count_unconfirmed || counts.unconfirmed_lost == 0,
        format!("{} writes that only the master had are lost", counts.unconfirmed_lost),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Counts {
        Counts {
            writes: 500,
            failed: 12,
            before: ("a1".to_owned(), 3),
            after: ("b1".to_owned(), 4),
            gap: Some(Duration::from_millis(20)),
            budget: Duration::from_millis(1_000),
            lost: 0,
            unconfirmed_lost: 3,
            stale: 0,
            woken: 7,
        }
    }

    #[test]
    fn a_good_failover_is_ok_with_woken_and_unconfirmed_writes() {
        assert_eq!(problems(Step::KillEngine, &good(), false), Vec::<String>::new());
    }

    #[test]
    fn each_flaw_alone_is_found() {
        let flawed = [
            Counts { writes: 99, ..good() },
            Counts { after: ("a1".to_owned(), 4), ..good() },
            Counts { after: ("b1".to_owned(), 3), ..good() },
            Counts { gap: None, ..good() },
            Counts { gap: Some(Duration::from_millis(1_001)), ..good() },
            Counts { lost: 1, ..good() },
            Counts { stale: 1, ..good() },
        ];
        for counts in flawed {
            assert_eq!(problems(Step::KillHost, &counts, false).len(), 1, "{counts:?}");
        }
        assert_eq!(problems(Step::KillHost, &good(), true).len(), 1);
    }

    #[test]
    fn a_restart_of_the_provider_changes_no_master_and_refuses_no_write() {
        let quiet = Counts { failed: 0, after: good().before, ..good() };
        assert_eq!(problems(Step::ProviderRestart, &quiet, false), Vec::<String>::new());
        let refused = Counts { failed: 1, ..quiet.clone() };
        assert_eq!(problems(Step::ProviderRestart, &refused, false).len(), 1);
        let moved = Counts { after: ("a1".to_owned(), 4), ..quiet };
        assert_eq!(problems(Step::ProviderRestart, &moved, false).len(), 1);
    }
}
