//! The mark in an engine's data: which data set it is, and the highest term whose beginning it holds. How it is written is each engine's.

use baton_core::ids::{DataId, Term};
use std::sync::Arc;

/// Longest identity that is believed, in bytes.
const ID_BYTES_MAX: usize = 256;

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) id: DataId,
    pub(crate) term: Term,
}

impl Mark {
    /// Of the texts that were found; `None` if nobody of ours wrote that.
    pub(crate) fn read(term: &str, id: &str) -> Option<Self> {
        let sane = !id.is_empty() && id.len() <= ID_BYTES_MAX;
        sane.then_some(())?;
        Some(Self { id: DataId(Arc::from(id)), term: Term(term.parse().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_write_is_a_mark() {
        let mark = Mark::read("7", "orders").expect("ours");
        assert_eq!((mark.term, &*mark.id.0), (Term(7), "orders"));
        for (term, id) in [("", "orders"), ("-1", "orders"), ("7", ""), ("7", &"x".repeat(257))] {
            assert_eq!(Mark::read(term, id), None, "{term} {id}");
        }
    }
}
