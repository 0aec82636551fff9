//! A check that cannot fail proves nothing: each of these clusters breaks one safety rule, and the chaos suite, with real processes
//! and real cuts, has to come out invalid. With the same build and no rule broken it is valid.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The programs as chaos looks for them, in one folder: the coordinator that can break a rule under the name of the real one.
fn programs() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broken = Path::new(env!("CARGO_BIN_EXE_broken-coordinator"));
    let built = broken.parent().expect("it lies in a folder");
    let sources = [
        ("chaos", built.join("chaos")),
        ("baton-stateboard", built.join("baton-stateboard")),
        ("batonctl", built.join("batonctl")),
        ("baton-coordinator", broken.to_owned()),
    ];
    for (name, source) in sources {
        assert!(
            source.is_file(),
            "{} is not built: cargo build -p chaos -p baton-stateboard -p batonctl",
            source.display()
        );
        let here = folder.path().join(name);
        fs::hard_link(&source, &here)
            .or_else(|_| fs::copy(&source, &here).map(|_| ()))
            .expect("room for a copy");
    }
    folder
}

/// Plays a scenario with a rule broken, or none, and gives what it printed.
fn play(scenario: &str, breach: Option<&str>) -> (Output, serde_json::Value) {
    let folder = programs();
    let mut command = Command::new(folder.path().join("chaos"));
    command.args(["run", scenario, "--lease-ttl", "1s", "--seed", "1", "--json", "--out"]);
    command.arg(folder.path().join("runs")).env_remove("BREAK_A_RULE");
    if let Some(breach) = breach {
        command.env("BREAK_A_RULE", breach);
    }
    let output = command.output().expect("the program was built");
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told
        .lines()
        .next()
        .unwrap_or_else(|| panic!("no verdict: {}", String::from_utf8_lossy(&output.stderr)));
    let line = serde_json::from_str(line).expect("a line of the contract");
    (output, line)
}

fn is_invalid(scenario: &str, breach: &str, count: &str) {
    let (output, line) = play(scenario, Some(breach));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((&line["verdict"], output.status.code()), (&"invalid".into(), Some(1)), "{told}");
    assert!(line[count].as_u64().is_some_and(|count| count > 0), "{line}\n{told}");
}

#[test]
fn a_master_that_is_replaced_before_its_right_ends_is_found() {
    is_invalid("alone-with-its-clients", "outer-bound-ignored", "stale_writes");
}

#[test]
fn an_arbiter_that_grants_beyond_its_lock_is_found() {
    is_invalid("arbiter-and-master-alone", "grant-outlives-lock", "stale_writes");
}

#[test]
fn a_successor_that_lacks_what_others_confirmed_is_found() {
    is_invalid("confirmed-by-the-lost-half", "short-sever-quorum", "lost_writes");
}

#[test]
fn the_same_build_with_no_rule_broken_is_valid() {
    for scenario in ["alone-with-its-clients", "arbiter-and-master-alone", "confirmed-by-the-lost-half"] {
        let (output, line) = play(scenario, None);
        assert_eq!(line["verdict"], "valid", "{}", String::from_utf8_lossy(&output.stderr));
    }
}
