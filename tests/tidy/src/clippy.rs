//! The pure crates forbid clocks, files, sockets, threads and unordered maps by a `clippy.toml` of their own. There is one
//! text of it, copied, since clippy takes the nearest file and includes nothing.

use crate::Problem;
use crate::tree::Tree;

/// The crates without IO.
const PURE: [&str; 2] = ["coordinator/core", "stateboard/core"];

/// Copies that differ, bans that are missing, and sources that switch a ban off.
#[must_use]
pub fn pure_crates(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let texts: Vec<(String, Option<&str>)> = PURE
        .iter()
        .map(|folder| format!("{folder}/clippy.toml"))
        .map(|path| (path.clone(), tree.text(&path)))
        .collect();
    for (path, text) in &texts {
        match text {
            None => problems.push(format!("{path} is missing")),
            Some(text) if Some(*text) != texts[0].1 => {
                problems.push(format!("{path} differs from {}", texts[0].0))
            }
            Some(text) if !text.contains("std::time::Instant") => {
                problems.push(format!("{path} bans no clocks"))
            }
            Some(_) => {}
        }
    }
    let is_pure = |path: &str| PURE.iter().any(|folder| path.starts_with(&format!("{folder}/")));
    for file in tree.with_extension("rs").filter(|file| is_pure(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            if line.contains("clippy::disallowed") && !line.contains("deny(") && !line.contains("forbid(") {
                problems.push(format!("{}:{}: a pure crate keeps its bans", file.path, index + 1));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "disallowed-types = [\"std::time::Instant\"]\n";

    #[test]
    fn copies_must_be_equal_and_present() {
        let both = [("coordinator/core/clippy.toml", GOOD), ("stateboard/core/clippy.toml", GOOD)];
        assert_eq!(pure_crates(&Tree::of(&both)), [""; 0]);
        assert_eq!(pure_crates(&Tree::of(&both[..1])).len(), 1);
        let other = [both[0], ("stateboard/core/clippy.toml", "# nothing\n")];
        assert_eq!(pure_crates(&Tree::of(&other)).len(), 1);
    }

    #[test]
    fn a_ban_switched_off_is_found() {
        let tree = Tree::of(&[
            ("coordinator/core/clippy.toml", GOOD),
            ("stateboard/core/clippy.toml", GOOD),
            ("coordinator/core/src/a.rs", "#![allow(clippy::disallowed_types)]\n"),
        ]);
        assert_eq!(pure_crates(&tree).len(), 1);
    }
}
