//! Intruders: an engine that is writable without its guard's doing is fenced within a bound.
//!
//! It must not know whose hand it was.

use crate::{Violation, broken};
use baton_core::ids::InstanceName;
use baton_core::time::Span;

/// The statement.
pub const STATEMENT: &str = "an engine found writable without the right is fenced";

/// Whether an engine has been writable without the right for no longer than its guard needs to see and fence it (one
/// probe and one fence). Only for guards that run and reach their engine.
///
/// # Errors
/// It has been for longer.
pub fn check_span(instance: &InstanceName, so_far: Span, allowed: Span) -> Result<(), Violation> {
    if so_far <= allowed {
        return Ok(());
    }
    broken("intruder", format!("{instance} has been writable without the right for {so_far}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::instance;

    #[test]
    fn a_moment_is_allowed_and_a_long_time_is_not() {
        let allowed = Span::from_millis(100);
        assert_eq!(check_span(&instance("a1"), Span::from_millis(100), allowed), Ok(()));
        let violation = check_span(&instance("a1"), Span::from_millis(101), allowed).expect_err("too long");
        assert_eq!(violation.text, "a1 has been writable without the right for 101ms");
    }
}
