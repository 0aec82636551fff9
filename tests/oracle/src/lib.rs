//! What must always hold, as functions over what was observed: one file for each invariant of the design, and one for
//! each rule that a single machine owes (`appointments`, `bounds`, `counted`, `epochs`, `evidence`, `identity`, `intruder`,
//! `losses`, `promises`, `reports`, `rights`, `severances`, `versions`, `writes`).
//!
//! Model, scenarios, simulation and chaos feed the same properties. An observer that sees whole states calls the
//! `check_…` functions on values; one that sees a history feeds its [`Event`]s to an [`Oracle`]. Nothing here knows how
//! an observation was made, or what any machine holds inside.

pub mod appointments;
pub mod bounds;
pub mod counted;
pub mod epochs;
pub mod event;
pub mod evidence;
pub mod i1;
pub mod i2;
pub mod i3;
pub mod i4;
pub mod i5;
pub mod i6;
pub mod identity;
pub mod intruder;
pub mod losses;
pub mod promises;
pub mod register;
pub mod reports;
pub mod rights;
pub mod severances;
pub mod versions;
pub mod writes;

pub use event::{Event, Lead, Moment, Seen, WriteId};

use std::fmt;

/// A property that does not hold, and the observation that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// Which (`I1` … `I6`, or the name of a machine's rule).
    pub property: &'static str,
    /// What was seen, for people.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken: {}", self.property, self.text)
    }
}

impl std::error::Error for Violation {}

pub(crate) fn broken<T>(property: &'static str, text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { property, text: text.into() })
}

/// A property that is told everything in the order in which it happened.
pub trait Property {
    /// Takes one observation in.
    ///
    /// # Errors
    /// The property does not hold any more.
    fn observe(&mut self, event: &Event) -> Result<(), Violation>;
}

/// All properties at once.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    i1: i1::I1,
    i2: i2::I2,
    i3: i3::I3,
    i4: i4::I4,
    i5: i5::I5,
    i6: i6::I6,
    appointments: appointments::Appointments,
    epochs: epochs::Epochs,
    evidence: evidence::FromHolder,
    identity: identity::Identity,
    losses: losses::Losses,
    rights: rights::Rights,
    writes: writes::Writes,
}

impl Oracle {
    fn properties(&mut self) -> [&mut dyn Property; 13] {
        [
            &mut self.i1,
            &mut self.i2,
            &mut self.i3,
            &mut self.i4,
            &mut self.i5,
            &mut self.i6,
            &mut self.appointments,
            &mut self.epochs,
            &mut self.evidence,
            &mut self.identity,
            &mut self.losses,
            &mut self.rights,
            &mut self.writes,
        ]
    }
}

impl Property for Oracle {
    fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        self.properties().into_iter().try_for_each(|property| property.observe(event))
    }
}

/// Feeds a whole history to one property.
///
/// # Errors
/// The first observation with which it does not hold any more.
pub fn check_history(mut property: impl Property, history: &[Event]) -> Result<(), Violation> {
    history.iter().try_for_each(|event| property.observe(event))
}

#[cfg(test)]
pub(crate) mod fixtures;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{recorded, writable};

    #[test]
    fn the_oracle_asks_every_property() {
        let good = [recorded(1, 1, "a1", 1), writable(2, "a1", 1, &[])];
        assert_eq!(check_history(Oracle::default(), &good), Ok(()));
        let second = [good.as_slice(), &[recorded(3, 2, "a2", 1), writable(4, "a2", 2, &[])]].concat();
        let violation = check_history(Oracle::default(), &second).expect_err("two are writable");
        assert_eq!(violation.to_string(), "I2 is broken: at 4us both a1 and a2 of r are writable");
    }
}
