//! Reports: where commits wait for replicas, a master is replaced only once so many of those who may have acknowledged are severed
//! that it can commit nothing more.
//!
//! It must not know what was reported, or how it was ranked.

use crate::{Violation, broken};
use baton_core::ids::InstanceName;
use baton_core::record::Record;
use std::collections::BTreeSet;

/// The statement.
pub const STATEMENT: &str = "where commits wait for k replicas, all but k - 1 of those who may acknowledge are severed before a master is replaced";

/// Whether enough are severed of those who may have acknowledged to the recorded master.
///
/// # Errors
/// The rest may have confirmed, or may confirm yet, what nobody else holds.
pub fn check_severed(before: &Record, severed: &BTreeSet<InstanceName>) -> Result<(), Violation> {
    let (Some(master), k) = (&before.master, before.ack_quorum as usize) else { return Ok(()) };
    let replicas: BTreeSet<_> = before.in_sync.iter().chain(before.stragglers.of(master)).collect();
    let replicas: BTreeSet<_> = replicas.into_iter().filter(|member| *member != master).collect();
    let done = replicas.iter().filter(|member| severed.contains(**member)).count();
    let needed = (replicas.len() + 1).saturating_sub(k);
    if k == 0 || done >= needed {
        return Ok(());
    }
    let text =
        format!("{master} is replaced at term {} with {done} of {needed} replicas severed", before.term);
    broken("reports", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{instance, record};

    #[test]
    fn whoever_may_have_acknowledged_is_severed_first() {
        let mut before = record(2, "a1", 1);
        before.in_sync.extend(["a2", "a3"].map(instance));
        let both: BTreeSet<_> = ["a2", "a3"].map(instance).into();
        let one: BTreeSet<_> = [instance("a2")].into();
        assert_eq!(check_severed(&before, &BTreeSet::new()), Ok(()), "nobody waits");
        before.ack_quorum = 1;
        assert_eq!(check_severed(&before, &both), Ok(()));
        let violation = check_severed(&before, &one).expect_err("a3 may have confirmed");
        assert_eq!(violation.text, "a1 is replaced at term 2 with 1 of 2 replicas severed");
        before.ack_quorum = 2;
        assert_eq!(check_severed(&before, &one), Ok(()), "nothing is confirmed without a2");
        before.stragglers.add(instance("a4"), instance("a1"));
        assert!(check_severed(&before, &one).is_err(), "a4 and a3 may have");
        before.stragglers.found(&instance("a4"));
        before.stragglers.add(instance("a4"), instance("a2"));
        assert_eq!(check_severed(&before, &one), Ok(()), "it follows another");
    }
}
