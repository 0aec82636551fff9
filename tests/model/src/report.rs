//! What a search is told as: one line of JSON for programs, a few lines for people, and the file of the worlds that are done.
//!
//! It must not know how a world is searched.

use crate::search::Found;
use crate::story::story;
use crate::world::World;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The line of the contract, and what the track record needs beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Which world, or `all`.
    pub world: String,
    /// Different states.
    pub unique_states: usize,
    /// States that were made, repetitions included.
    pub generated_states: usize,
    /// See [`Found::depth`].
    pub depth: usize,
    /// How many invariants were found broken: the first one ends a search.
    pub violations: usize,
    /// What was broken on purpose.
    #[serde(rename = "break")]
    pub broken: Option<String>,
    /// Which invariant found it.
    pub found_by: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// `breadth` or `depth`.
    pub search: String,
    /// Whether everything that can be reached was searched.
    pub exhausted: bool,
    /// What the world was to show and did not.
    pub unseen: Vec<String>,
    /// The most memory that the search had.
    pub memory_mib: u64,
    /// The sources that were searched; with `+` behind it where they were changed.
    pub commit: String,
}

impl Line {
    /// What a search found, for programs.
    #[must_use]
    pub fn new(world: &World, found: &Found, deep: bool, commit: &str) -> Self {
        Self {
            world: world.name.to_owned(),
            unique_states: found.unique_states,
            generated_states: found.generated_states,
            depth: found.depth,
            violations: usize::from(found.violation.is_some()),
            broken: world.broken.map(|rule| rule.name().to_owned()),
            found_by: found.violation.as_ref().map(|(name, _)| (*name).to_owned()),
            seconds: found.took.as_secs_f64(),
            search: if deep { "depth" } else { "breadth" }.to_owned(),
            exhausted: found.exhausted,
            unseen: found.unseen.iter().map(|name| (*name).to_owned()).collect(),
            memory_mib: peak_mib(),
            commit: commit.to_owned(),
        }
    }

    /// Whether it is what was to be expected: a violation where something was broken, and none elsewhere.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        if self.broken.is_some() {
            return self.violations > 0;
        }
        self.violations == 0 && (self.unseen.is_empty() || !self.exhausted)
    }

    /// The line of all worlds together.
    #[must_use]
    pub fn total(lines: &[Self], commit: &str) -> Self {
        let sum = |of: fn(&Self) -> usize| lines.iter().map(of).sum();
        Self {
            world: "all".to_owned(),
            unique_states: sum(|line| line.unique_states),
            generated_states: sum(|line| line.generated_states),
            depth: lines.iter().map(|line| line.depth).max().unwrap_or(0),
            violations: sum(|line| line.violations),
            broken: lines.first().and_then(|line| line.broken.clone()),
            found_by: lines.iter().find_map(|line| line.found_by.clone()),
            seconds: lines.iter().map(|line| line.seconds).sum(),
            search: "depth".to_owned(),
            exhausted: lines.iter().all(|line| line.exhausted),
            unseen: lines.iter().flat_map(|line| line.unseen.clone()).collect(),
            memory_mib: lines.iter().map(|line| line.memory_mib).max().unwrap_or(0),
            commit: commit.to_owned(),
        }
    }

    /// For people.
    pub fn tell(&self) {
        let exhausted = if self.exhausted { "" } else { ", NOT EXHAUSTED: the limit was reached" };
        eprintln!(
            "{}: {} states ({} made), depth {}, {:.1} s, {} MiB{exhausted}",
            self.world, self.unique_states, self.generated_states, self.depth, self.seconds, self.memory_mib
        );
        for unseen in &self.unseen {
            eprintln!("never seen: {unseen}");
        }
    }
}

/// The story of a violation, and how to see it again.
pub fn tell_violation(world: &World, found: &Found) {
    let Some((name, way)) = &found.violation else { return };
    eprintln!("broken: {name}");
    for line in story(world, way) {
        eprintln!("{line}");
    }
    let broken = world.broken.map_or(String::new(), |broken| format!(" BREAK={}", broken.name()));
    eprintln!("to see it again: make model WORLD={}{broken}", world.name);
}

/// Which sources are searched, as git names them.
#[must_use]
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown+".to_owned() };
    let clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty());
    format!("{head}{}", if clean { "" } else { "+" })
}

/// The worlds that are done at this commit, as an earlier run has kept them. What was changed since is never done.
#[must_use]
pub fn done(file: &Path, commit: &str) -> Vec<Line> {
    if commit.ends_with('+') {
        return Vec::new();
    }
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.filter(|line| line.commit == commit && line.broken.is_none()).collect()
}

/// Keeps what is done.
///
/// # Errors
/// The file cannot be written.
pub fn keep(file: &Path, line: &Line) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    OpenOptions::new().create(true).append(true).open(file)?.write_all(text.as_bytes())
}

/// The most memory that this process had since [`forget_peak`], in MiB; 0 where the system does not say.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Begins to count memory anew. Where the system does not allow it, the peak is that of the whole run.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(world: &str, commit: &str) -> Line {
        Line {
            world: world.to_owned(),
            unique_states: 3,
            generated_states: 4,
            depth: 2,
            violations: 0,
            broken: None,
            found_by: None,
            seconds: 0.5,
            search: "depth".to_owned(),
            exhausted: true,
            unseen: Vec::new(),
            memory_mib: 1,
            commit: commit.to_owned(),
        }
    }

    #[test]
    fn what_was_done_at_another_commit_is_done_again() {
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let file = folder.path().join("runs/done.jsonl");
        for line in [line("lease", "abc"), line("lock", "def"), line("late", "abc+")] {
            keep(&file, &line).expect("a temporary file can be written");
        }
        let worlds = |commit: &str| -> Vec<String> {
            done(&file, commit).into_iter().map(|line| line.world).collect()
        };
        assert_eq!(worlds("abc"), ["lease"]);
        assert_eq!(worlds("abc+"), Vec::<String>::new(), "sources that were changed are never the same");
    }

    #[test]
    fn the_total_is_as_bad_as_the_worst() {
        let limited = Line { exhausted: false, violations: 1, ..line("wide", "abc") };
        let total = Line::total(&[line("lease", "abc"), limited], "abc");
        assert_eq!((total.unique_states, total.violations, total.exhausted), (6, 1, false));
        assert!(!total.is_as_expected());
    }
}
