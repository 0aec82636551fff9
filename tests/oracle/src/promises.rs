//! Promises: a right that rests on them is covered by everybody who may be appointed after its holder; and whoever hears an
//! arbiter gives none.
//!
//! It must not know how a promise is asked for or kept. True times are the observer's.

use crate::event::Moment;
use crate::{Violation, broken};
use baton_core::ids::InstanceName;
use baton_core::time::{Span, Time};
use std::collections::BTreeSet;

/// The statement.
pub const STATEMENT: &str = "a right that rests on promises ends before any recorded in-sync member may lead, and nobody who hears an arbiter promises";

/// Whether a member holds still for as long as a right lasts that rests on promises.
///
/// # Errors
/// It may be appointed and lead before that right has ended.
pub fn check_covered(
    master: &InstanceName,
    right_until: Moment,
    member: &InstanceName,
    holds_until: Moment,
) -> Result<(), Violation> {
    if right_until <= holds_until {
        return Ok(());
    }
    let text =
        format!("{master} goes on by promises until {right_until}, and {member} may lead from {holds_until}");
    broken("promises", text)
}

/// Whether a member that was answered by a well arbiter so long ago may promise now. `patience`: how long it has to have heard nothing.
///
/// # Errors
/// It hears an arbiter, and would have had to pass the beat on.
pub fn check_silence(member: &InstanceName, heard: Span, patience: Span) -> Result<(), Violation> {
    if heard >= patience {
        return Ok(());
    }
    broken("promises", format!("{member} promises {heard} after an arbiter answered it"))
}

/// Whether a promise that leaves is on disk: until when the right lasts that it gives, and until when a later run of the member would
/// hold still.
///
/// # Errors
/// A crash now would make the member forget it.
pub fn check_durable(
    member: &InstanceName,
    right_until: Moment,
    on_disk: Option<Moment>,
) -> Result<(), Violation> {
    if on_disk >= Some(right_until) {
        return Ok(());
    }
    broken("promises", format!("{member} answers with a promise that is not on disk"))
}

/// Whether whoever goes on from a hand-over is bound by the promise in it: until when that lasts, and until when it holds still.
///
/// # Errors
/// It may lead before.
pub fn check_kept(member: &InstanceName, promised: Time, held: Option<Time>) -> Result<(), Violation> {
    if held >= Some(promised) {
        return Ok(());
    }
    broken("promises", format!("{member} goes on from a hand-over without the promise in it"))
}

/// Whether a master needs the promise of everybody who may be appointed after it.
///
/// # Errors
/// Somebody is in the recorded in-sync set whom it would not ask.
pub fn check_needed(
    master: &InstanceName,
    in_sync: &BTreeSet<InstanceName>,
    needs: &BTreeSet<InstanceName>,
) -> Result<(), Violation> {
    match in_sync.iter().find(|member| *member != master && !needs.contains(*member)) {
        Some(member) => broken(
            "promises",
            format!("{master} does not need the promise of {member}, which may be appointed"),
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::instance;

    #[test]
    fn whoever_may_lead_before_the_right_ends_is_found() {
        let (a1, a2) = (instance("a1"), instance("a2"));
        assert_eq!(check_covered(&a1, Moment(10), &a2, Moment(10)), Ok(()));
        let violation = check_covered(&a1, Moment(11), &a2, Moment(10)).expect_err("a moment too early");
        assert_eq!(violation.text, "a1 goes on by promises until 11us, and a2 may lead from 10us");
    }

    #[test]
    fn whoever_promises_while_it_hears_an_arbiter_is_found() {
        let patience = Span::from_millis(500);
        assert_eq!(check_silence(&instance("a2"), patience, patience), Ok(()));
        let violation = check_silence(&instance("a2"), Span::from_millis(499), patience).expect_err("heard");
        assert_eq!(violation.text, "a2 promises 499ms after an arbiter answered it");
    }

    #[test]
    fn a_promise_that_is_not_on_disk_is_found() {
        let a2 = instance("a2");
        assert_eq!(check_durable(&a2, Moment(5), Some(Moment(5))), Ok(()));
        assert!(check_durable(&a2, Moment(5), Some(Moment(4))).is_err(), "an earlier one");
        assert!(check_durable(&a2, Moment(5), None).is_err(), "none");
    }

    #[test]
    fn a_promise_that_is_not_handed_over_is_found() {
        let a2 = instance("a2");
        assert_eq!(check_kept(&a2, Time(5), Some(Time(5))), Ok(()));
        assert!(check_kept(&a2, Time(5), Some(Time(4))).is_err(), "an earlier one");
        assert!(check_kept(&a2, Time(5), None).is_err(), "none");
    }

    #[test]
    fn whoever_may_be_appointed_and_is_not_asked_is_found() {
        let (all, one) = (["a1", "a2"].map(instance).into(), [instance("a2")].into());
        assert_eq!(check_needed(&instance("a1"), &all, &one), Ok(()));
        assert!(check_needed(&instance("a1"), &all, &BTreeSet::new()).is_err());
    }
}
