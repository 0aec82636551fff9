//! Every numbered sentence of docs/protocol.md names a test that exists, and every scenario is named by a sentence.
//!
//! A sentence is a paragraph or list item that begins with `**P12**` and ends with its tests in brackets:
//! `[test: scenario/lease_expiry]` is `tests/scenario/stories/lease_expiry.txt`; `[test: timing::a_name]` is a test function
//! `a_name` in a file that has `timing` in its path; `[test: coordinator/core/src/timing.rs::a_name]` names the file itself.
//! Several are separated by commas.

use crate::Problem;
use crate::source::{code_lines, functions};
use crate::tree::Tree;
use std::collections::BTreeSet;

/// The page.
pub const PAGE: &str = "docs/protocol.md";
const STORIES: &str = "tests/scenario/stories/";

/// One sentence.
#[derive(Debug, PartialEq, Eq)]
struct Sentence {
    line: usize,
    number: u32,
    text: String,
}

impl Sentence {
    /// What its brackets name.
    fn tests(&self) -> Vec<&str> {
        self.text
            .split("[test:")
            .skip(1)
            .filter_map(|after| after.split_once(']'))
            .flat_map(|(names, _)| names.split(','))
            .map(|name| name.trim().trim_matches('`'))
            .filter(|name| !name.is_empty())
            .collect()
    }
}

fn sentences(page: &str) -> Vec<Sentence> {
    let mut found: Vec<Sentence> = Vec::new();
    let mut open = false;
    for (index, line) in page.lines().enumerate() {
        let content = line.trim_start().trim_start_matches("- ");
        let number = content.strip_prefix("**P").and_then(|rest| rest.split_once("**"));
        if let Some(number) = number.and_then(|(digits, _)| digits.trim_end_matches('.').parse().ok()) {
            found.push(Sentence { line: index + 1, number, text: content.to_owned() });
            open = true;
        } else if content.is_empty() || content.starts_with('#') {
            open = false;
        } else if let Some(last) = found.last_mut().filter(|_| open) {
            last.text.push(' ');
            last.text.push_str(content);
        }
    }
    found
}

/// All test functions as `(path, name)`.
fn test_functions(tree: &Tree) -> BTreeSet<(&str, String)> {
    tree.with_extension("rs")
        .flat_map(|file| {
            let tests = functions(&code_lines(&file.text)).into_iter().filter(|function| function.is_test);
            tests.map(|function| (file.path.as_str(), function.name))
        })
        .collect()
}

fn exists(name: &str, stories: &BTreeSet<&str>, tests: &BTreeSet<(&str, String)>) -> bool {
    if let Some(story) = name.strip_prefix("scenario/") {
        return stories.contains(story);
    }
    let (place, function) = name.rsplit_once("::").unwrap_or(("", name));
    let fold = |part: &str| part.trim_end_matches(".rs").replace('-', "_");
    tests.iter().filter(|(_, found)| found == function).any(|(path, _)| {
        let parts: BTreeSet<String> = path.split('/').map(fold).collect();
        path.starts_with(place)
            || place.split("::").filter(|part| *part != "tests").all(|part| parts.contains(&fold(part)))
    })
}

/// Sentences without an existing test, scenarios without a sentence, numbers that do not rise.
#[must_use]
pub fn pairing(tree: &Tree) -> Vec<Problem> {
    let Some(page) = tree.text(PAGE) else {
        return vec![format!(
            "{PAGE} is missing: the protocol as numbered sentences, each with the name of its test"
        )];
    };
    let stories: BTreeSet<&str> =
        tree.files.iter().filter_map(|file| file.path.strip_prefix(STORIES)?.strip_suffix(".txt")).collect();
    let tests = test_functions(tree);
    let sentences = sentences(page);
    let mut problems = Vec::new();
    if sentences.is_empty() {
        problems.push(format!("{PAGE}: no sentence begins with a number such as **P1**"));
    }
    for pair in sentences.windows(2) {
        if pair[1].number <= pair[0].number {
            problems.push(format!(
                "{PAGE}:{}: P{} stands after P{}",
                pair[1].line, pair[1].number, pair[0].number
            ));
        }
    }
    let mut named = BTreeSet::new();
    for sentence in &sentences {
        let Sentence { line, number, .. } = sentence;
        if sentence.tests().is_empty() {
            problems.push(format!("{PAGE}:{line}: P{number} names no test"));
        }
        for name in sentence.tests() {
            if !exists(name, &stories, &tests) {
                problems.push(format!("{PAGE}:{line}: P{number} names {name}, which does not exist"));
            }
            named.extend(name.strip_prefix("scenario/"));
        }
    }
    for story in stories.difference(&named) {
        problems.push(format!("{STORIES}{story}.txt: no sentence of {PAGE} names it"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: (&str, &str) = ("core/src/timing.rs", "#[test]\nfn a_margin() {}\nfn no_test() {}\n");
    const STORY: (&str, &str) = ("tests/scenario/stories/expiry.txt", "story");

    #[test]
    fn sentences_with_their_tests_pass() {
        let page = "# Protocol\n\n**P1** A lease ends.\n[test: scenario/expiry]\n\n- **P2** Margins. [test: timing::a_margin, core/src/timing.rs::a_margin]\n";
        assert_eq!(pairing(&Tree::of(&[(PAGE, page), TIMING, STORY])), [""; 0]);
    }

    #[test]
    fn every_way_to_be_wrong_is_found() {
        let page = "**P2** One. [test: scenario/missing]\n\n**P1** Two.\n\n**P3** Three. [test: timing::no_test]\n**P4** Four. [test: arbiter::a_margin]\n";
        let problems = pairing(&Tree::of(&[(PAGE, page), TIMING, STORY]));
        for part in [
            "P1 stands after P2",
            "names scenario/missing",
            "P1 names no test",
            "timing::no_test, which",
            "arbiter::a_margin, which",
            "expiry.txt: no sentence",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:?}");
        }
    }

    #[test]
    fn a_missing_or_empty_page_is_one_clear_problem() {
        assert!(pairing(&Tree::of(&[]))[0].contains("is missing"));
        assert!(pairing(&Tree::of(&[(PAGE, "# Protocol\n")]))[0].contains("no sentence"));
    }
}
