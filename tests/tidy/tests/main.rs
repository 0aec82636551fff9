//! The rules of this repository, run on the repository itself. With `UPDATE=1` what is generated in
//! pages (the hashes of the wire, the values of the timings) is rewritten first.

use std::path::{Path, PathBuf};
use tidy::tree::Tree;
use tidy::{Problem, clippy, docs, manifests, protocol, rust, timing, waits, wire, wording};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs one rule and shows all that it found at once.
fn check(rule: impl Fn(&Tree) -> Vec<Problem>) {
    let problems = rule(&Tree::read(&root()).expect("the repository is readable"));
    assert!(problems.is_empty(), "{} problem(s):\n  {}", problems.len(), problems.join("\n  "));
}

/// Rewrites a page where `UPDATE=1` asks for it.
fn update(page: &str, updated: impl Fn(&Tree) -> Result<String, Problem>) {
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        let tree = Tree::read(&root()).expect("the repository is readable");
        let text = updated(&tree).expect("the page has a place for it");
        std::fs::write(root().join(page), text).expect("the page can be written");
    }
}

#[test]
fn crates_know_only_what_they_may() {
    check(manifests::directions);
}

#[test]
fn versions_and_lints_stand_in_the_root_manifest() {
    check(manifests::inheritance);
}

#[test]
fn what_is_shipped_cannot_break_a_rule() {
    check(manifests::test_features);
}

/// The features with which cargo builds what these packages are made from, as it says itself.
fn features_of(packages: &[&str]) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".to_owned());
    let mut tree = std::process::Command::new(cargo);
    tree.current_dir(root()).args([
        "tree",
        "--offline",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{f}",
    ]);
    tree.args(packages.iter().flat_map(|package| ["--package", *package]));
    let answer = tree.output().expect("cargo runs");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let lines = String::from_utf8_lossy(&answer.stdout).into_owned();
    lines.split([',', '\n', ' ']).map(str::to_owned).collect()
}

#[test]
fn what_is_shipped_is_built_without_a_switch() {
    let shipped = ["baton-coordinator", "baton-stateboard", "batonctl", "chaos"];
    assert!(!features_of(&shipped).contains(&"break".to_owned()), "a release could break a rule");
    assert!(features_of(&["sim"]).contains(&"break".to_owned()), "the simulation has to be able to");
}

#[test]
fn a_fresh_clone_needs_no_private_source() {
    check(manifests::sources);
}

#[test]
fn files_and_functions_are_short() {
    check(rust::lengths);
}

#[test]
fn every_file_says_what_it_is_about() {
    check(rust::module_docs);
}

#[test]
fn nothing_is_left_behind() {
    check(rust::left_behind);
}

#[test]
fn tests_do_not_sleep() {
    check(waits::unexplained);
}

#[test]
fn sentences_and_tests_belong_together() {
    check(protocol::pairing);
}

#[test]
fn no_path_of_one_machine() {
    check(wording::forbidden);
}

#[test]
fn the_pure_crates_keep_their_bans() {
    check(clippy::pure_crates);
}

#[test]
fn the_wire_is_as_recorded() {
    update(wire::PAGE, wire::updated);
    check(wire::recorded);
}

#[test]
fn the_timing_page_shows_what_the_code_derives() {
    update(timing::PAGE, timing::updated);
    check(timing::values);
}

#[test]
fn the_map_names_every_crate_and_no_other() {
    check(docs::map);
}

#[test]
fn the_map_names_no_module_that_is_not_there() {
    check(docs::modules);
}

#[test]
fn commands_in_the_docs_name_existing_targets() {
    check(docs::targets);
}

#[test]
fn links_lead_somewhere() {
    check(docs::links);
}
