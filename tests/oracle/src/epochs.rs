//! Epochs: a guard never acts upon a message of an epoch below the highest that it has seen.
//!
//! It must not know what the message says.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::Epoch;
use std::fmt::Display;

/// The statement.
pub const STATEMENT: &str =
    "a guard never acts upon a message of an epoch below the highest that it has seen";

/// Whether a message may have had an effect.
///
/// # Errors
/// Its epoch is over.
pub fn check_heeded(instance: &dyn Display, message: Epoch, highest: Epoch) -> Result<(), Violation> {
    if message >= highest {
        return Ok(());
    }
    broken("epochs", format!("{instance} has seen epoch {highest} and acted upon a message of {message}"))
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct Epochs;

impl Property for Epochs {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Heeded { instance, message, highest } => check_heeded(instance, *message, *highest),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::epoch;

    #[test]
    fn only_lower_epochs_are_wrong() {
        assert_eq!(check_heeded(&"a1", epoch(2), epoch(2)), Ok(()));
        assert_eq!(check_heeded(&"a1", epoch(3), epoch(2)), Ok(()));
        let violation = check_heeded(&"a1", epoch(1), epoch(2)).expect_err("epoch 1 is over");
        assert_eq!(violation.text, "a1 has seen epoch 1.2 and acted upon a message of 1.1");
    }
}
