//! Moments, written values, and whether clients' answers could have come from one register: what the oracle of the simulation and
//! the verdicts of chaos share.
//!
//! Architecture invariant: it knows no other crate of this workspace, so that chaos judges by nothing of Baton's inside.

pub mod register;

use std::fmt;

/// A moment of true time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// One client's write, named by whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId(pub u64);

impl fmt::Display for Moment {
    /// For people: `740us`, `2.5ms`, `3s`, at most three digits after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, unit) = match self.0 {
            0..1_000 => return write!(f, "{}us", self.0),
            1_000..1_000_000 => (1_000, "ms"),
            _ => (1_000_000, "s"),
        };
        let text = format!("{}.{:03}", self.0 / scale, self.0 % scale * 1_000 / scale);
        write!(f, "{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_for_people() {
        for (micros, text) in [(740, "740us"), (2_500, "2.5ms"), (3_000_000, "3s"), (1_234_567, "1.234s")] {
            assert_eq!(Moment(micros).to_string(), text);
        }
    }
}
