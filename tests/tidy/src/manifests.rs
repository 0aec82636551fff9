//! Which crate may know which: the list is kept here, so that a new arrow between crates is a decision that shows in a
//! review of this file. docs/architecture.md has the reasons.

use crate::Problem;
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Every crate with the crates of this workspace that it may depend on, in any section of its manifest.
const MAY_KNOW: [(&str, &[&str]); 23] = [
    // Layer 0: the wire, and the pure machines.
    ("baton-proto", &[]),
    ("baton-core", &[]),
    ("baton-board", &["baton-core"]),
    // Layer 1: the configuration of every daemon, and the two outside worlds.
    ("baton-config", &[]),
    ("baton-settings", &["baton-config", "baton-core"]),
    ("baton-provider", &["baton-board", "baton-core", "baton-proto"]),
    ("baton-engine", &["baton-core"]),
    // Layer 2: the shells, and what routers link.
    (
        "baton-coordinator",
        &[
            "baton-board",
            "baton-client",
            "baton-config",
            "baton-core",
            "baton-engine",
            "baton-proto",
            "baton-provider",
            "baton-settings",
            "baton-stateboard",
        ],
    ),
    (
        "baton-stateboard",
        &["baton-board", "baton-config", "baton-core", "baton-proto", "baton-provider", "baton-settings"],
    ),
    ("baton-client", &["baton-core", "baton-proto"]),
    // Layer 3: people. `doctor` checks a host with the daemon's own configuration, and with the code by which a deadman takes
    // what it needs: a second reading of either would pass hosts that the daemon then refuses.
    (
        "batonctl",
        &[
            "baton-client",
            "baton-config",
            "baton-coordinator",
            "baton-core",
            "baton-engine",
            "baton-proto",
            "baton-provider",
            "baton-settings",
        ],
    ),
    // Tests.
    ("baton-history", &[]),
    ("baton-oracle", &["baton-core", "baton-history"]),
    ("sim", &["baton-board", "baton-client", "baton-core", "baton-oracle"]),
    ("scenario", &["baton-core", "baton-oracle", "baton-settings", "sim"]),
    ("model", &["baton-board", "baton-core", "baton-oracle"]),
    (
        "contract",
        &["baton-board", "baton-core", "baton-oracle", "baton-proto", "baton-provider", "baton-stateboard"],
    ),
    // The daemon with a rule broken, for chaos to find.
    ("broken", &["baton-coordinator"]),
    ("e2e", &["baton-client", "baton-core", "baton-proto"]),
    // Plays the hosts with the daemon's own link, and watches as a router does.
    (
        "load",
        &[
            "baton-board",
            "baton-client",
            "baton-config",
            "baton-coordinator",
            "baton-core",
            "baton-provider",
            "baton-stateboard",
        ],
    ),
    // Plays the hosts as `load` does, in a simulated network.
    ("shells", &["baton-board", "baton-coordinator", "baton-core", "baton-oracle", "baton-provider", "load"]),
    // For the values in docs/timing.md.
    ("tidy", &["baton-core"]),
    // Chaos knows binaries and wire only, so that a wrong belief inside the code cannot excuse itself; with the oracle it shares no
    // more than what a client can see.
    ("chaos", &["baton-client", "baton-history", "baton-proto"]),
];

/// The crates without IO, and the only foreign crates that they may use.
const PURE: [(&str, &[&str]); 4] = [
    ("baton-core", &["thiserror"]),
    ("baton-board", &["thiserror"]),
    ("baton-history", &[]),
    ("baton-oracle", &["thiserror"]),
];
/// What a pure crate may not even use in its own tests: with these it could not be driven by a model.
const NEVER_PURE: [&str; 6] = ["prost", "serde", "tokio", "tonic", "tracing", "rand"];

/// Features that only test crates may switch on.
const FOR_TESTS: [&str; 3] = ["break", "model", "simulated"];

/// A crate of the workspace as its manifest describes it.
struct Manifest<'tree> {
    path: &'tree str,
    name: String,
    table: Table,
}

impl Manifest<'_> {
    /// `(section, crate, its entry)` of every dependency.
    fn dependencies(&self) -> Vec<(&'static str, &str, &Value)> {
        let mut found = Vec::new();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(Value::Table(table)) = self.table.get(section) {
                found.extend(table.iter().map(|(name, value)| (section, name.as_str(), value)));
            }
        }
        found
    }
}

/// The workspace's crates: `(folder, package name)`.
#[must_use]
pub fn crates(tree: &Tree) -> Vec<(String, String)> {
    let (manifests, _) = read(tree);
    let folder = |path: &str| path.strip_suffix("/Cargo.toml").unwrap_or_default().to_owned();
    manifests.into_iter().map(|manifest| (folder(manifest.path), manifest.name)).collect()
}

fn read(tree: &Tree) -> (Vec<Manifest<'_>>, Vec<Problem>) {
    let (mut manifests, mut problems) = (Vec::new(), Vec::new());
    for file in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let table = match file.text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                problems.push(format!("{}: {error}", file.path));
                continue;
            }
        };
        let name = table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        match name.map(str::to_owned) {
            Some(name) => manifests.push(Manifest { path: &file.path, name, table }),
            None => problems.push(format!("{}: no package name", file.path)),
        }
    }
    (manifests, problems)
}

/// Arrows between crates that the list does not have, and rows of the list that are about nothing.
#[must_use]
pub fn directions(tree: &Tree) -> Vec<Problem> {
    let (manifests, mut problems) = read(tree);
    let may_know: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    let pure: BTreeMap<&str, &[&str]> = PURE.into_iter().collect();
    let ours: BTreeSet<&str> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
    for manifest in &manifests {
        let Some(allowed) = may_know.get(manifest.name.as_str()) else {
            problems.push(format!(
                "{}: {} is not in the list of tests/tidy/src/manifests.rs",
                manifest.path, manifest.name
            ));
            continue;
        };
        for (section, name, _) in manifest.dependencies() {
            // A crate's own tests may switch its test features on by depending on itself.
            let itself = section == "dev-dependencies" && name == manifest.name;
            if ours.contains(name) && !allowed.contains(&name) && !itself {
                problems.push(format!("{}: {} may not know {name}", manifest.path, manifest.name));
            }
            let Some(foreign) = pure.get(manifest.name.as_str()) else { continue };
            let is_foreign = !ours.contains(name) && !foreign.contains(&name);
            if is_foreign && (section != "dev-dependencies" || NEVER_PURE.contains(&name)) {
                problems.push(format!("{}: {} is pure and may not use {name}", manifest.path, manifest.name));
            }
        }
    }
    for name in may_know.keys().filter(|name| !ours.contains(**name)) {
        problems.push(format!("tests/tidy/src/manifests.rs: {name} is listed, but there is no such crate"));
    }
    problems
}

/// Versions and lints that a crate sets for itself: both stand once, in the root manifest.
#[must_use]
pub fn inheritance(tree: &Tree) -> Vec<Problem> {
    let (manifests, mut problems) = read(tree);
    let inherits =
        |value: Option<&Value>| value.and_then(|value| value.get("workspace")) == Some(&Value::Boolean(true));
    for manifest in &manifests {
        for (_, name, value) in manifest.dependencies() {
            if !inherits(Some(value)) {
                problems.push(format!("{}: {name} must be `{name}.workspace = true`", manifest.path));
            }
        }
        if !inherits(manifest.table.get("lints")) {
            problems.push(format!("{}: `[lints] workspace = true` is missing", manifest.path));
        }
    }
    problems
}

/// Crates that are shipped and switch on what is for tests only: a daemon must not even contain the code that breaks a rule.
#[must_use]
pub fn test_features(tree: &Tree) -> Vec<Problem> {
    let (manifests, mut problems) = read(tree);
    for manifest in manifests.iter().filter(|manifest| !manifest.path.starts_with("tests/")) {
        for (section, name, value) in manifest.dependencies() {
            let features = value.get("features").and_then(Value::as_array).into_iter().flatten();
            let for_tests = features.filter_map(Value::as_str).find(|feature| FOR_TESTS.contains(feature));
            if let Some(feature) = for_tests.filter(|_| section != "dev-dependencies") {
                problems
                    .push(format!("{}: the feature {feature} of {name} is for tests only", manifest.path));
            }
        }
    }
    problems
}

/// Sources other than the public index in the lock file, and replaced sources in Cargo's configuration: a fresh clone must
/// build anywhere.
#[must_use]
pub fn sources(tree: &Tree) -> Vec<Problem> {
    const PUBLIC: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let mut problems = Vec::new();
    let lock = tree.text("Cargo.lock").unwrap_or_default();
    for (index, line) in lock.lines().enumerate() {
        if line.starts_with("source = ") && line != PUBLIC {
            problems.push(format!("Cargo.lock:{}: {line} is not the public index", index + 1));
        }
    }
    let config = tree.text(".cargo/config.toml").unwrap_or_default();
    for (index, line) in config.lines().enumerate() {
        if ["[source", "[registries", "[registry", "[http", "[net"]
            .iter()
            .any(|table| line.trim().starts_with(table))
        {
            problems.push(format!(
                ".cargo/config.toml:{}: {line} belongs to a machine, not to the repository",
                index + 1
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(name: &str, dependencies: &str) -> Vec<Problem> {
        let text = format!("[package]\nname = \"{name}\"\n{dependencies}");
        let engine = "[package]\nname = \"baton-engine\"\n";
        directions(&Tree::of(&[("a/Cargo.toml", &text), ("e/Cargo.toml", engine)]))
            .into_iter()
            .filter(|problem| problem.starts_with("a/"))
            .collect()
    }

    #[test]
    fn a_new_arrow_is_found_in_every_section() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let found = problems_of("baton-client", &format!("[{section}]\nbaton-engine.workspace = true\n"));
            assert_eq!(found, ["a/Cargo.toml: baton-client may not know baton-engine"]);
        }
        assert!(problems_of("stranger", "")[0].contains("not in the list"));
    }

    #[test]
    fn a_pure_crate_uses_nothing_foreign() {
        assert_eq!(problems_of("baton-core", "[dependencies]\nserde.workspace = true\n").len(), 1);
        assert_eq!(problems_of("baton-core", "[dev-dependencies]\ntokio.workspace = true\n").len(), 1);
        assert_eq!(problems_of("baton-core", "[dev-dependencies]\nproptest.workspace = true\n"), [""; 0]);
        assert_eq!(problems_of("baton-board", "[dependencies]\nthiserror.workspace = true\n"), [""; 0]);
    }

    #[test]
    fn a_row_about_nothing_is_found() {
        let problems = directions(&Tree::of(&[]));
        assert_eq!(problems.len(), MAY_KNOW.len());
    }

    #[test]
    fn versions_and_lints_stand_in_the_root() {
        let text = "[package]\nname = \"x\"\n[dependencies]\nserde = \"1\"\n";
        assert_eq!(inheritance(&Tree::of(&[("x/Cargo.toml", text)])).len(), 2);
    }

    #[test]
    fn a_daemon_that_can_break_a_rule_is_found() {
        let text =
            "[package]\nname = \"x\"\n[dependencies]\ncore = { workspace = true, features = [\"break\"] }\n";
        assert_eq!(test_features(&Tree::of(&[("daemon/Cargo.toml", text)])).len(), 1);
        assert_eq!(test_features(&Tree::of(&[("tests/model/Cargo.toml", text)])), [""; 0]);
        let own_tests = text.replace("[dependencies]", "[dev-dependencies]");
        assert_eq!(test_features(&Tree::of(&[("daemon/Cargo.toml", &own_tests)])), [""; 0]);
    }

    #[test]
    fn a_private_source_is_found() {
        let tree = Tree::of(&[
            ("Cargo.lock", "source = \"registry+https://mirror.example/index\"\n"),
            (".cargo/config.toml", "[source.crates-io]\n"),
        ]);
        assert_eq!(sources(&tree).len(), 2);
    }
}
