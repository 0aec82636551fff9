//! Documentation that can be checked: the map names every crate, commands name existing targets, links lead somewhere.

use crate::Problem;
use crate::manifests::crates;
use crate::tree::Tree;
use std::collections::BTreeSet;

/// The map.
pub const MAP: &str = "docs/architecture.md";

/// Crates that the map leaves out, and rows about crates that are not there. A row of the map is a table row whose first
/// two cells are a folder and a package, both in backticks.
#[must_use]
pub fn map(tree: &Tree) -> Vec<Problem> {
    let Some(page) = tree.text(MAP) else { return vec![format!("{MAP} is missing")] };
    let code = |cell: &str| Some(cell.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned());
    let rows: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.trim().strip_prefix('|')?.split('|');
            Some((code(cells.next()?)?, code(cells.next()?)?))
        })
        .collect();
    let there: BTreeSet<(String, String)> = crates(tree).into_iter().collect();
    let missing =
        there.difference(&rows).map(|(folder, name)| format!("{MAP}: no row | `{folder}` | `{name}` |"));
    let invented =
        rows.difference(&there).map(|(folder, name)| format!("{MAP}: there is no crate {name} in {folder}"));
    missing.chain(invented).collect()
}

/// Modules that the map names and that are not there. It names them in items that begin with a folder of sources in backticks; every
/// other word in backticks is a module of that folder.
#[must_use]
pub fn modules(tree: &Tree) -> Vec<Problem> {
    let paths = tree.paths();
    let (mut folder, mut problems) = (None, Vec::new());
    for line in tree.text(MAP).unwrap_or_default().lines() {
        let item = line.strip_prefix("- `").and_then(|item| item.split_once("`: "));
        let words = match item {
            Some((path, words)) if path.contains('/') => {
                folder = Some(path);
                words
            }
            // An item goes on in lines that are set in.
            _ if line.starts_with("  ") => line,
            _ => {
                folder = None;
                continue;
            }
        };
        let Some(folder) = folder else { continue };
        let named = words.split('`').skip(1).step_by(2);
        let there = |module: &&str| {
            let path = format!("{folder}/{module}");
            paths.contains(path.as_str()) || paths.contains(format!("{path}.rs").as_str())
        };
        problems.extend(
            named
                .filter(|module| !there(module))
                .map(|module| format!("{MAP}: there is no module {module} in {folder}")),
        );
    }
    problems
}

/// The code of a Markdown page: `(line, text)` of each line of a fenced block and each span in backticks.
fn code_of(page: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push((index + 1, line.trim().trim_start_matches("$ ")));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (index + 1, span)));
        }
    }
    found
}

/// `make` commands in Markdown whose target the Makefile does not have.
#[must_use]
pub fn targets(tree: &Tree) -> Vec<Problem> {
    let makefile = tree.text("Makefile").unwrap_or_default();
    let there: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.', ' ']))
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| !rest.starts_with('='))
        .flat_map(|(names, _)| names.split_whitespace())
        .collect();
    let mut problems = Vec::new();
    for file in tree.with_extension("md") {
        for (line, code) in code_of(&file.text) {
            let target = code.strip_prefix("make ").and_then(|rest| {
                rest.split_whitespace().find(|word| !word.contains('=') && !word.starts_with('-'))
            });
            let named = |target: &&str| target.chars().all(|char| char.is_ascii_lowercase() || char == '-');
            if let Some(target) = target.filter(named).filter(|target| !there.contains(target)) {
                problems.push(format!("{}:{line}: the Makefile has no target {target}", file.path));
            }
        }
    }
    problems
}

/// What GitHub makes of a heading for links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char.to_ascii_lowercase() }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// `folder/target` with `.` and `..` resolved; `None` where it leaves the repository.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Relative links of Markdown pages that lead nowhere, headings included.
#[must_use]
pub fn links(tree: &Tree) -> Vec<Problem> {
    let paths = tree.paths();
    let mut problems = Vec::new();
    for file in tree.with_extension("md") {
        for (index, line) in file.text.lines().enumerate() {
            let targets =
                line.split("](").skip(1).filter_map(|after| after.split_once(')')).map(|(target, _)| target);
            for target in targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
                let (path, heading) = target.split_once('#').unwrap_or((target, ""));
                let resolved =
                    if path.is_empty() { Some(file.path.clone()) } else { resolve(file.folder(), path) };
                let there = resolved.filter(|path| paths.contains(path.as_str()));
                let page = there.as_deref().and_then(|path| tree.text(path));
                let found = there.is_some()
                    && (heading.is_empty() || page.is_some_and(|page| anchors(page).contains(heading)));
                if !found {
                    problems.push(format!("{}:{}: the link to {target} leads nowhere", file.path, index + 1));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_compared_with_the_crates_both_ways() {
        let manifest = ("core/Cargo.toml", "[package]\nname = \"one\"\n");
        let good = (MAP, "| folder | crate |\n| --- | --- |\n| `core` | `one` | what it is |\n");
        assert_eq!(map(&Tree::of(&[manifest, good])), [""; 0]);
        let wrong = (MAP, "| `gone` | `two` | what it was |\n");
        assert_eq!(map(&Tree::of(&[manifest, wrong])).len(), 2);
        assert_eq!(map(&Tree::of(&[manifest])).len(), 1);
    }

    #[test]
    fn commands_name_targets_and_prose_does_not() {
        let makefile = ("Makefile", "NAME := x\n.PHONY: all\ntest unit: deps\n\tmake nothing\n");
        let page = "We make sure: `make test`, `make JSON=1 unit`, `make <target>`.\n```\nmake cake LEASE_TTL=1s\n```\n";
        let problems = targets(&Tree::of(&[makefile, ("README.md", page)]));
        assert_eq!(problems, ["README.md:3: the Makefile has no target cake"]);
    }

    #[test]
    fn links_are_followed_to_their_heading() {
        let page = "# The Page\n[a](../b.md) [b](#the-page) [c](../b.md#two-words) [d](https://x.example/)\n";
        let bad = "[a](c.md) [b](#nowhere) [c](../../out.md) [d](b.md#one)\n";
        let tree = Tree::of(&[("docs/a.md", page), ("b.md", "## Two words\n"), ("bad.md", bad)]);
        let problems = links(&tree);
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.starts_with("bad.md:1:")));
    }

    #[test]
    fn a_module_that_is_gone_is_found_in_the_map() {
        let page = "- `a/src`: `here` and\n  `folder`, and `gone`.\n\n- **other** `words`\n  `again`\n";
        let tree = Tree::of(&[(MAP, page), ("a/src/here.rs", ""), ("a/src/folder/mod.rs", "")]);
        assert_eq!(modules(&tree), [format!("{MAP}: there is no module gone in a/src")]);
    }
}
