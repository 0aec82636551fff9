//! I2: no two instances of a set are writable at the same instant.
//!
//! It must not know who is the right one of the two.

use crate::event::{Event, Seen};
use crate::{Property, Violation, broken};
use baton_core::ids::{InstanceName, ReplicaSetName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// The statement.
pub const STATEMENT: &str = "no two instances of a set are writable at the same instant";

/// Whether the instances of one set that accept writes at one instant are at most one.
///
/// # Errors
/// Two of them, by name.
pub fn check_now<Name: Display>(
    writable: impl IntoIterator<Item = Name>,
    set: &dyn Display,
    at: &dyn Display,
) -> Result<(), Violation> {
    let mut writable = writable.into_iter();
    match (writable.next(), writable.next()) {
        (Some(one), Some(other)) => {
            broken("I2", format!("at {at} both {one} and {other} of {set} are writable"))
        }
        _ => Ok(()),
    }
}

/// The property over a history.
#[derive(Clone, Debug, Default)]
pub struct I2 {
    writable: BTreeMap<ReplicaSetName, BTreeSet<InstanceName>>,
}

impl Property for I2 {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        match &event.seen {
            Seen::Writable { replicaset, instance, .. } => {
                let now = self.writable.entry(replicaset.clone()).or_default();
                now.insert(instance.clone());
                check_now(now.iter(), replicaset, &event.at)
            }
            Seen::NotWritable { replicaset, instance } => {
                if let Some(now) = self.writable.get_mut(replicaset) {
                    now.remove(instance);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_history;
    use crate::fixtures::{not_writable, writable};

    #[test]
    fn one_after_the_other_passes() {
        let history = [writable(1, "a1", 1, &[]), not_writable(2, "a1"), writable(2, "a2", 2, &[])];
        assert_eq!(check_history(I2::default(), &history), Ok(()));
    }

    #[test]
    fn an_overlap_is_found() {
        let history = [writable(1, "a1", 1, &[]), writable(2, "a2", 2, &[]), not_writable(3, "a1")];
        let violation = check_history(I2::default(), &history).expect_err("they overlap");
        assert_eq!(violation.text, "at 2us both a1 and a2 of r are writable");
    }

    #[test]
    fn states_are_judged_alone_too() {
        assert_eq!(check_now(["a1"], &"r", &1), Ok(()));
        assert_eq!(check_now([""; 0], &"r", &1), Ok(()));
        assert!(check_now(["a1", "a3"], &"r", &1).is_err());
    }
}
