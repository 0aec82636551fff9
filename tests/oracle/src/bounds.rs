//! Bounds: whoever takes the lock is told of a time that no right lives beyond which an earlier holder granted, and nobody is
//! replaced while its right lives.
//!
//! It must not know who granted it, or how the bound is kept.

use crate::event::Moment;
use crate::{Violation, broken};
use baton_core::ids::InstanceName;

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

/// Whether a master whose right lives until then may have a successor recorded now.
///
/// # Errors
/// Its right lives on: nothing that was taken for evidence was any.
pub fn check_replaced(now: Moment, master: &InstanceName, right_until: Moment) -> Result<(), Violation> {
    if right_until <= now {
        return Ok(());
    }
    broken("bounds", format!("{master} has a successor at {now} and its right until {right_until}"))
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
        assert_eq!(violation.text, "a1 has a successor at 9us and its right until 10us");
    }
}
