//! Bounds: whoever takes the lock is told of a time that no right lives beyond which an earlier holder granted, and nobody is
//! replaced while its right lives.
//!
//! It must not know who granted it, or how the bound is kept.

use crate::event::Moment;
use crate::{Violation, broken};
use baton_core::ids::InstanceName;
use baton_core::time::Time;

/// The statement.
pub const STATEMENT: &str = "no granted right outlives what the next holder of the lock is told, and nobody is replaced while its right lives";

/// Whether a right that rests on a grant ends within what a new holder of the lock is told.
///
/// # Errors
/// It lives on, and the new holder may appoint another.
pub fn check_told(told: Moment, master: &InstanceName, right_until: Moment) -> Result<(), Violation> {
    if right_until <= told {
        return Ok(());
    }
    let text = format!(
        "the lock's new holder need wait until {told} only, and {master} was granted its right until {right_until}"
    );
    broken("bounds", text)
}

/// Whether a master whose right lives until then may be taken for dead now.
///
/// # Errors
/// Its right lives on: nothing that was taken for evidence was any.
pub fn check_replaced(now: Moment, master: &InstanceName, right_until: Moment) -> Result<(), Violation> {
    if right_until <= now {
        return Ok(());
    }
    broken("bounds", format!("{master} is taken for dead at {now} and has its right until {right_until}"))
}

/// Whether an arbiter may appoint now, by its own clock, who was told to wait until `bound`.
///
/// # Errors
/// An earlier holder's grant may still live.
pub fn check_patient(arbiter: &str, now: Time, bound: Time) -> Result<(), Violation> {
    if now >= bound {
        return Ok(());
    }
    broken("bounds", format!("{arbiter} appoints {} before its predecessor bound", bound.since(now)))
}

/// Whether the end of a pin may be recorded by whoever holds the lock until then.
///
/// # Errors
/// The right outlives the lock, and its next holder would know of nothing.
pub fn check_unpinned(
    lock_until: Moment,
    master: &InstanceName,
    right_until: Moment,
) -> Result<(), Violation> {
    if right_until <= lock_until {
        return Ok(());
    }
    broken(
        "bounds",
        format!(
            "the pin of {master} is over in the record, the lock ends at {lock_until}, its right at {right_until}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::instance;

    #[test]
    fn a_right_beyond_the_bound_is_found() {
        assert_eq!(check_told(Moment(10), &instance("a1"), Moment(10)), Ok(()));
        let violation = check_told(Moment(10), &instance("a1"), Moment(11)).expect_err("it lives on");
        assert_eq!(violation.property, "bounds");
    }

    #[test]
    fn a_successor_within_the_right_is_found() {
        assert_eq!(check_replaced(Moment(10), &instance("a1"), Moment(10)), Ok(()));
        let violation = check_replaced(Moment(9), &instance("a1"), Moment(10)).expect_err("it lives on");
        assert_eq!(violation.text, "a1 is taken for dead at 9us and has its right until 10us");
    }

    #[test]
    fn an_appointment_before_the_bound_is_found() {
        assert_eq!(check_patient("b1", Time(10), Time(10)), Ok(()));
        let violation = check_patient("b1", Time(9), Time(10)).expect_err("a moment too early");
        assert_eq!(violation.text, "b1 appoints 1us before its predecessor bound");
    }

    #[test]
    fn a_pin_that_ends_in_the_record_alone_is_found() {
        assert_eq!(check_unpinned(Moment(10), &instance("a1"), Moment(10)), Ok(()));
        assert!(check_unpinned(Moment(10), &instance("a1"), Moment(11)).is_err());
    }
}
