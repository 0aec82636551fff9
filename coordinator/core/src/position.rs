//! How far an instance's data reaches. Positions are compared as (term, offset), and only where both are known; an
//! offset counts within one run of an engine (a Redis replica restarted without its append-only file was seen with
//! nothing after its `WAIT 1`), so whoever keeps a position keeps the run beside it.

use crate::ids::Term;
use std::cmp::Ordering;
use std::fmt;

/// A point in a replica set's history: the last term whose beginning the data holds, and the engine's own offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Position {
    /// The engine did not say, or said it in another run. Never equal to, before or after anything.
    #[default]
    Unknown,
    /// Known.
    At {
        /// The highest term whose beginning is in the data.
        term: Term,
        /// The engine's offset (Redis: replication offset; PostgreSQL: LSN).
        offset: u64,
    },
}

impl Position {
    /// A known position.
    #[must_use]
    pub const fn at(term: u64, offset: u64) -> Self {
        Self::At { term: Term(term), offset }
    }

    /// Whether everything up to `other` is surely held. Unknown holds nothing, and nothing holds an unknown.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.compare(other).is_some_and(Ordering::is_ge)
    }

    /// `None` where one of the two is unknown.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::At { term: t1, offset: o1 }, Self::At { term: t2, offset: o2 }) => {
                Some((t1, o1).cmp(&(t2, o2)))
            }
            (Self::Unknown, _) | (_, Self::Unknown) => None,
        }
    }

    /// The term, where the position is known.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        match self {
            Self::At { term, .. } => Some(*term),
            Self::Unknown => None,
        }
    }

    /// The offset, where the position is known.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::At { offset, .. } => Some(*offset),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.pad("unknown"),
            Self::At { term, offset } => f.pad(&format!("{term}:{offset}")),
        }
    }
}

impl std::str::FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        if text == "unknown" {
            return Ok(Self::Unknown);
        }
        let bad = || BadPosition(text.chars().take(64).collect());
        let (term, offset) = text.split_once(':').ok_or_else(bad)?;
        Ok(Self::at(term.parse().map_err(|_| bad())?, offset.parse().map_err(|_| bad())?))
    }
}

/// A text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position: it is written TERM:OFFSET, or \"unknown\"")]
pub struct BadPosition(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_compare_by_term_then_offset() {
        assert!(Position::at(2, 0).holds(&Position::at(1, 900)));
        assert!(Position::at(2, 5).holds(&Position::at(2, 5)));
        assert!(!Position::at(2, 4).holds(&Position::at(2, 5)));
    }

    #[test]
    fn unknown_holds_nothing_and_is_held_by_nothing() {
        assert!(!Position::Unknown.holds(&Position::at(0, 0)));
        assert!(!Position::at(9, 9).holds(&Position::Unknown));
        assert!(!Position::Unknown.holds(&Position::Unknown));
    }

    #[test]
    fn text_goes_both_ways() {
        for position in [Position::Unknown, Position::at(7, 5120)] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert!("7".parse::<Position>().is_err());
    }
}
