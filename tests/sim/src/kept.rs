//! What a long search keeps in a file, so that it can be stopped and gone on with: where it is, and what it came to so far.

use serde::{Deserialize, Serialize};
use sim::search::{Counts, Totals};
use std::collections::BTreeMap;
use std::path::Path;

/// The state of a search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// The next seed.
    pub(crate) next: u64,
    /// What all runs came to.
    pub(crate) totals: Totals,
    /// How long all calls took together.
    pub(crate) seconds: f64,
}

/// The file, in JSON.
#[derive(Serialize, Deserialize)]
struct File {
    commit: String,
    next: u64,
    seeds: u64,
    lacking: u64,
    simulated_seconds: u64,
    faults: u64,
    term_changes: u64,
    answered: u64,
    judged: u64,
    by_people: u64,
    violations: u64,
    seconds: f64,
    seconds_each: BTreeMap<u64, u64>,
    overlapping: BTreeMap<u64, u64>,
    terms: BTreeMap<u64, u64>,
}

impl Kept {
    /// A search that begins with this seed.
    pub(crate) fn begin(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// What the file says; `None` where there is none yet.
    ///
    /// # Errors
    /// It cannot be read, or is none of ours; says which and why.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        let name = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{name} cannot be read: {error}")),
        };
        let file: File = serde_json::from_str(&text)
            .map_err(|error| format!("{name} is no state of a search: {error}"))?;
        let totals = Totals {
            seeds: file.seeds,
            lacking: file.lacking,
            simulated_seconds: file.simulated_seconds,
            faults: file.faults,
            term_changes: file.term_changes,
            answered: file.answered,
            judged: file.judged,
            by_people: file.by_people,
            violations: file.violations,
            seconds_each: Counts(file.seconds_each),
            overlapping: Counts(file.overlapping),
            terms: Counts(file.terms),
        };
        Ok(Some(Self { next: file.next, totals, seconds: file.seconds }))
    }

    /// Puts it in the place of the file, whole.
    ///
    /// # Errors
    /// It cannot be written; says which and why.
    pub(crate) fn write(&self, path: &Path, commit: &str) -> Result<(), String> {
        let totals = self.totals.clone();
        let file = File {
            commit: commit.to_owned(),
            next: self.next,
            seeds: totals.seeds,
            lacking: totals.lacking,
            simulated_seconds: totals.simulated_seconds,
            faults: totals.faults,
            term_changes: totals.term_changes,
            answered: totals.answered,
            judged: totals.judged,
            by_people: totals.by_people,
            violations: totals.violations,
            seconds: self.seconds,
            seconds_each: totals.seconds_each.0,
            overlapping: totals.overlapping.0,
            terms: totals.terms.0,
        };
        let fails = |error: &dyn std::fmt::Display| format!("{} cannot be written: {error}", path.display());
        let text = serde_json::to_string_pretty(&file).map_err(|error| fails(&error))?;
        let beside = path.with_extension("new");
        std::fs::write(&beside, text + "\n").map_err(|error| fails(&error))?;
        std::fs::rename(&beside, path).map_err(|error| fails(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_what_is_no_state_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        assert!(Kept::read(&path).expect("no file is no error").is_none());
        let mut kept = Kept::begin(7);
        kept.totals.seeds = 3;
        kept.totals.terms.0.insert(2, 3);
        kept.write(&path, "abc").expect("writable");
        let read = Kept::read(&path).expect("readable").expect("there");
        assert_eq!((read.next, read.totals), (7, kept.totals));
        std::fs::write(&path, "{}").expect("writable");
        let error = Kept::read(&path).expect_err("it lacks everything");
        assert!(error.contains("is no state of a search"), "{error}");
    }
}
