//! Where commits wait for replicas, the clients' history is one of a single register: the shared check of `baton-history`, as one
//! of the oracle's properties. It must not know who answered.

pub use baton_history::register::{Asked, Operation};

use crate::{Violation, broken};

/// The statement.
pub const STATEMENT: &str =
    "where commits wait for replicas, the clients' history is one of a single register";

/// Whether a history is one of a single register. What was read and never written was written before the history began.
///
/// # Errors
/// Two values that cannot be brought into an order, or a read from the future.
pub fn check_history(operations: &[Operation]) -> Result<(), Violation> {
    baton_history::register::check_history(operations).or_else(|found| broken("register", found.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Moment, WriteId};

    #[test]
    fn what_is_found_is_a_violation_of_the_register() {
        let write = |value, sent| Operation {
            asked: Asked::Write(WriteId(value)),
            sent: Moment(sent),
            answered: Some(Moment(sent + 1)),
        };
        let back = Operation { asked: Asked::Read(Some(WriteId(1))), ..write(1, 5) };
        let violation = check_history(&[write(1, 1), write(2, 3), back]).expect_err("w1 was overwritten");
        assert_eq!(violation.to_string(), "register is broken: w2 came and went while the register held w1");
    }
}
