//! The repository's own rules as functions from its files to a list of problems; `tests/main.rs` runs each of them on the
//! tree it stands in. A rule lives here because reviewers would otherwise have to remember it (CONTRIBUTING.md has the
//! reasons). No rule changes a file: [`wire::updated`] and [`timing::updated`] answer with the text that would be right.
//!
//! Every rule has a unit test that feeds it a bad sample: a rule that cannot fail checks nothing.

pub mod clippy;
pub mod docs;
pub mod manifests;
pub mod protocol;
pub mod rust;
pub mod source;
pub mod timing;
pub mod tree;
pub mod waits;
pub mod wire;
pub mod wording;

/// One broken rule: `path:line: what is wrong and what to do`, or without the line where a whole file is meant.
pub type Problem = String;
