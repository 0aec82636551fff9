//! Time as the machines see it: microseconds of one node's own monotonic clock (CLOCK_BOOTTIME in production).
//! A [`Time`] of one node means nothing on another; only a [`Span`] may travel.

use std::fmt;
use std::ops::{Add, Div, Mul, Sub};

/// A moment on this node's clock, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub u64);

/// A length of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(pub u64);

impl Time {
    /// How long ago `earlier` was; nothing, if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` before; the clock's start, if there is none. Used where an earlier moment is the safe one.
    #[must_use]
    pub fn back(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// The same moment after a model has moved its clocks back. What is as good as never stays where it is, or every state
    /// with such a moment would be another one.
    #[cfg(feature = "model")]
    #[must_use]
    pub fn folded(self, by: Span) -> Self {
        if self.0 >= AS_GOOD_AS_NEVER { self } else { self.back(by) }
    }
}

/// Further ahead than any clock of a model ever comes, in its units; less than a second in those of production.
#[cfg(feature = "model")]
const AS_GOOD_AS_NEVER: u64 = 1_000_000;

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// What is left after `other`; nothing, if that is longer.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This span as the standard library's.
    #[must_use]
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }

    /// From the standard library's, saturated at the type's end (580,000 years).
    #[must_use]
    pub fn from_duration(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Add<Span> for Time {
    type Output = Self;

    /// Saturates: "never" stays never.
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;

    /// Panics below zero in every profile (overflow checks are on): where that can be, use [`Span::less`].
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<u64> for Span {
    type Output = Self;

    fn mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Div<u64> for Span {
    type Output = Self;

    fn div(self, divisor: u64) -> Self {
        Self(self.0 / divisor)
    }
}

impl std::iter::Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Span {
    /// For people: `2.5ms`, `740us`, `3s`, at most three digits after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, unit) = match self.0 {
            0..1_000 => return f.pad(&format!("{}us", self.0)),
            1_000..1_000_000 => (1_000, "ms"),
            _ => (1_000_000, "s"),
        };
        let thousandths = (self.0 % scale) * 1_000 / scale;
        let text = format!("{}.{thousandths:03}", self.0 / scale);
        f.pad(&format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_for_people() {
        for (micros, text) in
            [(0, "0us"), (740, "740us"), (2_500, "2.5ms"), (3_000_000, "3s"), (1_234_567, "1.234s")]
        {
            assert_eq!(Span(micros).to_string(), text);
        }
    }

    #[test]
    fn arithmetic_saturates_where_it_says_so() {
        assert_eq!(Time(5).since(Time(9)), Span::ZERO);
        assert_eq!(Time(5).back(Span(9)), Time(0));
        assert_eq!(Time(u64::MAX) + Span(1), Time(u64::MAX));
        assert_eq!(Span(3).less(Span(4)), Span::ZERO);
    }
}
