//! From the vocabulary to the wire and back: total on the way out, checked on the way in. Nothing received can panic,
//! and nothing half understood gets through. Used by both ends of the stateboard's connection and by its storage.

mod board;
#[cfg(test)]
mod fuzz;
mod record;
mod settings;
mod task;

pub use board::*;
pub use record::*;
#[cfg(test)]
pub(crate) use settings::settings_with_every_value;
pub use settings::*;
pub use task::*;

use baton_core::ids::BadName;

/// The format of records that this version writes, and the highest that it reads.
pub const RECORD_FORMAT: u32 = 1;

/// A message that is none of ours, or one of a version that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A part without which the rest means nothing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] BadName),
    /// Written by a version that is too new.
    #[error("format {found} of {what} is not known here, the highest is {highest}")]
    Format {
        /// Of what.
        what: &'static str,
        /// What was found.
        found: u32,
        /// What can be read.
        highest: u32,
    },
    /// A byte string of the wrong length.
    #[error("{what} has {found} bytes, not {expected}")]
    Length {
        /// Of what.
        what: &'static str,
        /// What was found.
        found: usize,
        /// What it must have.
        expected: usize,
    },
    /// One thing twice where it can be there once.
    #[error("{0} is there twice")]
    Twice(String),
}

/// The part, or the error that names it.
pub(crate) fn required<T>(part: Option<T>, what: &'static str) -> Result<T, Malformed> {
    part.ok_or(Malformed::Missing(what))
}
