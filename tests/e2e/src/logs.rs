//! The daemons' logs after a test: a warning or an error that the test did not expect is a failure of its own. A WARN
//! means that a human may look, so one that comes for nothing is a bug.

use std::fs;
use std::path::{Path, PathBuf};

/// A line that a test expects: a part of it, and why it comes.
pub type Allowed = (&'static str, &'static str);

/// What depends on the machine and not on the test.
pub const ANYWHERE: &[Allowed] = &[
    ("is open to others without TLS", "hosts in namespaces reach each other on a network of their own"),
    ("the deadman is weaker than it could be", "containers and ordinary users may not protect a process"),
    (
        "a write to the provider had no answer",
        "a busy disk may take longer than a quarter of the short lease",
    ),
];

/// What every change of master may say.
pub const CHANGE_OF_MASTER: &[Allowed] = &[
    ("giving the mastership up", "the old master says why it stops leading"),
    ("relinquished: the engine accepts no writes", "and that it has stopped"),
];

/// What the end of an engine says.
pub const ENGINE_ENDS: &[Allowed] = &[
    ("the engine ended", "its deadman saw it"),
    ("the engine's main process ended", "where it has others they end a moment later"),
    ("no connection to the engine", "it does not run for a moment"),
];

/// What the end of a coordinator says elsewhere.
pub const COORDINATOR_ENDS: &[Allowed] = &[
    ("detached from the arbiter", "the arbiter's host was struck"),
    ("this coordinator is no longer the arbiter", "it was stopped for longer than its lock lives"),
];

/// The unexpected lines of all logs in `folder`, each with its file's name.
#[must_use]
pub fn unexpected(folder: &Path, allowed: &[&[Allowed]]) -> Vec<String> {
    let mut found = Vec::new();
    for path in daemon_logs(folder) {
        let text = fs::read(&path).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for line in String::from_utf8_lossy(&text).lines() {
            let expected = || allowed.iter().copied().flatten().any(|(part, _)| line.contains(part));
            if is_alarming(line) && !expected() {
                found.push(format!("{name}: {line}"));
            }
        }
    }
    found
}

/// Whether a line is a warning, an error, or the remains of a panic.
fn is_alarming(line: &str) -> bool {
    let level = line.split_ascii_whitespace().nth(1);
    matches!(level, Some("WARN" | "ERROR")) || line.contains("panicked at")
}

/// The logs of daemons (an engine's own, below the state, are its own business).
#[must_use]
pub fn daemon_logs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    logs.sort();
    logs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unlisted_alarms_are_found() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = "2026-01-01T00:00:00Z  INFO a WARN word in a text\n2026-01-01T00:00:00Z  WARN expected: it\n\
                   2026-01-01T00:00:00Z ERROR worse\nthread 'main' panicked at src/main.rs:1:1:\n";
        fs::write(folder.path().join("host-a.log"), log).expect("writable");
        fs::write(folder.path().join("other.txt"), "x ERROR y").expect("writable");
        let found = unexpected(folder.path(), &[&[("expected: it", "a test")]]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("host-a.log: ") && found[0].contains("worse"), "{found:?}");
        assert!(found[1].contains("panicked"), "{found:?}");
    }
}
