//! How far a soak has come: a small file in its folder, written after each scenario, so that it can be stopped at any time
//! and started again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::verdict::{Judgement, Verdict};

/// The file's name.
const FILE: &str = "soak.json";

/// What was played so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The seed of the next scenario.
    pub next: u64,
    /// How long all of them took together.
    pub seconds: f64,
    /// How many were valid.
    pub valid: u64,
    /// How many showed nothing, or could not be played.
    pub unknown: u64,
    /// How many broke a promise.
    pub invalid: u64,
    /// How many faults struck.
    pub faults: u64,
    /// Accepted by a replaced master.
    pub stale_writes: u64,
    /// Promised and gone.
    pub lost_writes: u64,
    /// Outages that took longer than was promised.
    pub over_budget: u64,
    /// The seeds of those that were not valid.
    pub not_valid: Vec<u64>,
    #[serde(skip)]
    file: PathBuf,
}

impl Progress {
    /// What the folder says, or a beginning at `seed`.
    ///
    /// # Errors
    /// What is there cannot be read, or is no progress of a soak.
    pub fn open(folder: &Path, seed: impl FnOnce() -> u64) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let file = folder.join(FILE);
        let found = match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Self { next: seed(), ..Self::default() },
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        Ok(Self { file, ..found })
    }

    /// One more was played, or could not be (`None`).
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn add(&mut self, judgement: Option<&Judgement>, took: Duration) -> anyhow::Result<()> {
        let verdict = judgement.map_or(Verdict::Unknown, |judgement| judgement.verdict);
        match verdict {
            Verdict::Valid => self.valid += 1,
            Verdict::Unknown => self.unknown += 1,
            Verdict::Invalid => self.invalid += 1,
        }
        if verdict != Verdict::Valid {
            self.not_valid.push(self.next);
        }
        if let Some(counts) = judgement.map(|judgement| &judgement.counts) {
            self.faults += counts.faults;
            self.stale_writes += counts.stale_writes;
            self.lost_writes += counts.lost_writes;
            self.over_budget += counts.over_budget;
        }
        self.seconds += took.as_secs_f64();
        self.next += 1;
        let beside = self.file.with_extension("new");
        fs::write(&beside, serde_json::to_string_pretty(self)? + "\n")
            .and_then(|()| fs::rename(&beside, &self.file))
            .with_context(|| format!("write {}", self.file.display()))
    }

    /// In a line, for people.
    #[must_use]
    pub fn tell(&self) -> String {
        format!(
            "so far: {:.0} s, {} valid, {} unknown, {} invalid, {} faults; the next seed is {}",
            self.seconds, self.valid, self.unknown, self.invalid, self.faults, self.next
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_goes_on_where_it_was_and_remembers_what_was_not_valid() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut progress = Progress::open(folder.path(), || 40).expect("a beginning");
        progress.add(None, Duration::from_secs(30)).expect("written");
        let again = Progress::open(folder.path(), || unreachable!("it has begun")).expect("read");
        assert_eq!(again, progress);
        assert_eq!((again.next, again.unknown, again.not_valid), (41, 1, vec![40]));
        fs::write(folder.path().join(FILE), "{}").expect("writable");
        assert!(Progress::open(folder.path(), || 1).is_err(), "no progress of a soak");
    }
}
