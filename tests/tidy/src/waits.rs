//! No sleeping in tests: a test that sleeps to let something happen is slow where it passes and flaky where it fails.
//! A poll with a deadline has to pause between looks; such a line says so with [`MARKER`] on it or right above it.

use crate::Problem;
use crate::source::code_lines;
use crate::tree::{File, Tree};

/// What allows a pause, followed by the reason.
pub const MARKER: &str = "// tidy: waits because ";

/// Pauses in test code that give no reason.
#[must_use]
pub fn unexplained(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.with_extension("rs") {
        let lines: Vec<&str> = file.text.lines().collect();
        let first = first_test_line(file);
        for (index, code) in code_lines(&file.text).iter().enumerate().skip(first) {
            let explained = |at: usize| {
                lines
                    .get(at)
                    .and_then(|line| line.split_once(MARKER))
                    .is_some_and(|(_, reason)| reason.len() > 10)
            };
            if calls_sleep(code) && !explained(index) && !(index > 0 && explained(index - 1)) {
                problems.push(format!(
                    "{}:{}: a sleep in a test: poll with a deadline, and mark the pause `{MARKER}…`",
                    file.path,
                    index + 1
                ));
            }
        }
    }
    problems
}

/// From which line (counted from 0) a file is test code: all of it in a test folder, else from its test module on, which
/// stands last.
fn first_test_line(file: &File) -> usize {
    let in_test_folder = file.path.split('/').any(|part| part == "tests" || part == "tests.rs");
    if in_test_folder {
        return 0;
    }
    file.text.lines().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(usize::MAX)
}

fn calls_sleep(code: &str) -> bool {
    ["sleep(", "sleep_ms(", "sleep_until("].iter().any(|call| {
        code.match_indices(call).any(|(at, _)| {
            !code[..at].ends_with("fn ")
                && !code[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_needs_its_reason() {
        let bad = "//! Doc.\nfn f() { std::thread::sleep(LONG); }\n";
        let good =
            format!("//! Doc.\nfn f() {{\n    {MARKER}the poll looks every 5 ms\n    sleep(SHORT);\n}}\n");
        let lazy = format!("//! Doc.\nfn f() {{\n    sleep(SHORT); {MARKER}\n}}\n");
        let tree =
            Tree::of(&[("tests/a/src/lib.rs", bad), ("tests/b.rs", &good), ("crate/tests/c.rs", &lazy)]);
        let problems = unexplained(&tree);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn only_test_code_is_looked_at() {
        let source =
            "//! Doc.\nfn f() { sleep(1); }\n#[cfg(test)]\nmod tests {\n    fn g() { sleep(1); }\n}\n";
        assert_eq!(unexplained(&Tree::of(&[("daemon/src/a.rs", source)])).len(), 1);
    }
}
