//! How a Rust file looks: its length, its functions' length, its module doc, and words that may not stay behind.

use crate::Problem;
use crate::source::{code_lines, functions};
use crate::tree::{File, Tree};

/// Longest file, in lines: one concern fits.
pub const FILE_LINES_MAX: usize = 600;
/// Longest function, from its `fn` to its closing brace: one screen.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Words that a comment may not leave behind. (Put together, so that this file does not trip over itself.)
const LEFT_BEHIND: [&str; 3] = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];
/// Code that may not be left behind.
const CODE_LEFT_BEHIND: [&str; 5] = ["dbg!", "todo!", "unimplemented!", "#[ignore", "#![feature"];

/// Files and functions that are too long.
#[must_use]
pub fn lengths(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.with_extension("rs") {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!(
                "{}: {lines} lines, more than {FILE_LINES_MAX}: split it by concern",
                file.path
            ));
        }
        for function in functions(&code_lines(&file.text)) {
            let lines = function.last_line - function.first_line + 1;
            if lines > FUNCTION_LINES_MAX {
                problems.push(format!(
                    "{}:{}: fn {} has {lines} lines, more than {FUNCTION_LINES_MAX}",
                    file.path, function.first_line, function.name
                ));
            }
        }
    }
    problems
}

/// Files that do not say first what they are about.
#[must_use]
pub fn module_docs(tree: &Tree) -> Vec<Problem> {
    let says = |file: &&File| {
        file.text
            .trim_start()
            .strip_prefix("//!")
            .is_some_and(|doc| doc.lines().next().is_some_and(|line| line.trim().len() > 20))
    };
    tree.with_extension("rs")
        .filter(|file| !says(file))
        .map(|file| {
            format!(
                "{}: must begin with `//!` and a sentence: what it decides, what it must not know",
                file.path
            )
        })
        .collect()
}

/// Words and macros that are notes to oneself.
#[must_use]
pub fn left_behind(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(word) = LEFT_BEHIND.iter().find(|word| has_word(line, word)) {
                problems.push(format!(
                    "{}:{}: {word}: do it, or write it down as an issue",
                    file.path,
                    index + 1
                ));
            }
        }
        if !file.has_extension("rs") {
            continue;
        }
        for (index, line) in code_lines(&file.text).iter().enumerate() {
            if let Some(code) = CODE_LEFT_BEHIND.iter().find(|code| line.contains(**code)) {
                problems.push(format!("{}:{}: `{code}` may not stay", file.path, index + 1));
            }
        }
    }
    problems
}

fn has_word(line: &str, word: &str) -> bool {
    let boundary = |char: Option<char>| !char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    line.match_indices(word).any(|(at, _)| {
        boundary(line[..at].chars().next_back()) && boundary(line[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_functions_are_found() {
        let long_file = "//! Doc.\n".to_owned() + &"const A: u8 = 1;\n".repeat(FILE_LINES_MAX);
        let long_function = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_LINES_MAX - 1));
        let fitting = format!("fn fits() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_LINES_MAX - 2));
        let problems =
            lengths(&Tree::of(&[("a.rs", &long_file), ("b.rs", &long_function), ("c.rs", &fitting)]));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("a.rs: 601 lines") && problems[1].contains("fn long has 71 lines"));
    }

    #[test]
    fn a_file_without_its_sentence_is_found() {
        let tree = Tree::of(&[
            ("good.rs", "//! What a good file decides.\nfn f() {}\n"),
            ("bare.rs", "fn f() {}\n"),
            ("empty.rs", "//! Hm.\n"),
        ]);
        assert_eq!(module_docs(&tree).len(), 2);
    }

    #[test]
    fn notes_to_oneself_are_found_and_texts_about_them_are_not() {
        let note = format!("// {} later\n", LEFT_BEHIND[0]);
        let code = "fn f() { dbg!(1); }\n#[ignore]\nfn g() { let text = \"dbg!\"; }\n";
        let longer_word = format!("a_{}_b\n", LEFT_BEHIND[0]);
        let problems = left_behind(&Tree::of(&[("a.rs", &note), ("b.rs", code), ("c.md", &longer_word)]));
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
