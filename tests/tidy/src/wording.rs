//! What may stand in no file: paths of one machine. A reader must be able to follow every path and command anywhere.

use crate::Problem;
use crate::tree::Tree;

/// Put together, so that this file does not trip over itself.
const FORBIDDEN: [(&str, &str); 5] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/tmp/", "brief"), "a path of one machine"),
    (concat!("/tmp/", "t-"), "a path of one machine"),
];

/// Lines with such words.
#[must_use]
pub fn forbidden(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            // A word that continues a longer path (`docs/work/…`) is that path's business.
            let stands = |word: &str| {
                line.match_indices(word).any(|(at, _)| {
                    !line[..at].ends_with(|char: char| char.is_alphanumeric() || ".-_".contains(char))
                })
            };
            if let Some((word, why)) = FORBIDDEN.iter().find(|(word, _)| stands(word)) {
                problems.push(format!("{}:{}: {word} is {why}", file.path, index + 1));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_are_found_and_longer_paths_are_not() {
        let bad = format!("see {}main\n", FORBIDDEN[0].0);
        let fine = format!("see docs{}main\n", FORBIDDEN[0].0);
        let problems = forbidden(&Tree::of(&[("a.md", &bad), ("b.md", &fine)]));
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
