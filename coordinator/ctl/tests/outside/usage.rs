//! The program itself: what the command line takes, and the codes that a script sees.

use batonctl::args::Cli;
use clap::{CommandFactory, Parser};
use std::process::Command;

fn batonctl(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_batonctl"))
        .args(arguments)
        .env_remove("BATON_ENDPOINT")
        .env_remove("BATON_STATEBOARD")
        .env_remove("BATON_CLUSTER__NAME")
        .output()
        .expect("it was built");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn endpoints_are_repeated_or_listed() {
    let cli = Cli::try_parse_from(["batonctl", "status", "--endpoint", "a:1,b:2", "--endpoint", "c:3"]);
    assert_eq!(cli.expect("good").endpoint, ["a:1", "b:2", "c:3"]);
}

#[test]
fn bad_usage_is_two_and_an_answer_without_a_cluster_is_zero() {
    for bad in [
        &["nonsense"][..],
        &["switchover"],
        &["timing", "--lease-ttl", "soon"],
        &["status", "--endpoint", "x"],
    ] {
        let (code, _, err) = batonctl(bad);
        assert_eq!(code, Some(2), "{bad:?}: {err}");
        assert!(!err.is_empty(), "{bad:?}");
    }
    for (bad, says) in [
        (&["stateboard", "status"][..], "which cluster?"),
        (&["stateboard", "status", "--cluster", "a b"], "--cluster: "),
        (
            &["stateboard", "status", "--cluster", "orders", "--secret-file", "/nowhere"],
            "--secret-file /nowhere: ",
        ),
        (
            &["stateboard", "status", "--cluster", "orders", "--stateboard", "x"],
            "no endpoint of a stateboard",
        ),
    ] {
        let (code, out, err) = batonctl(bad);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{bad:?}: {err}");
        assert!(err.contains(says), "{bad:?}: {err}");
    }
    let (code, out, _) = batonctl(&["timing", "--lease-ttl", "1s", "--color", "always"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("\u{1b}[1msilent\u{1b}[0m"), "{out:?}");
    let (code, out, _) = batonctl(&["completions", "bash"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("switchover"), "{out}");
    let (code, out, _) = batonctl(&["man"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Exit codes"), "{out}");
    let (code, _, err) = batonctl(&["masters", "--endpoint", "127.0.0.1:1"]);
    assert_eq!(code, Some(3), "{err}");
    let nobody = ["stateboard", "status", "--cluster", "orders", "--stateboard", "127.0.0.1:1", "--json"];
    let (code, out, err) = batonctl(&nobody);
    assert_eq!(code, Some(3), "{err}");
    assert!(out.contains("\"reason\":\"unreachable\""), "{out}");
}

/// Every command with the words that lead to it.
fn commands(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands() {
        let words = format!("{words} {}", sub.get_name());
        commands(sub, &words, found);
        found.push((words, sub.clone()));
    }
}

/// The command line of an example: without what it is for, and without the shell's own signs.
fn example(line: &str) -> Option<Vec<&str>> {
    let line = line.trim_start().strip_prefix("batonctl ")?;
    let ends = ["  ", " > ", " | ", " && "];
    let end = ends.iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
    Some(std::iter::once("batonctl").chain(line[..end].split_whitespace()).collect())
}

#[test]
fn every_command_has_examples_and_each_of_them_is_good() {
    let mut whole = vec![("batonctl".to_owned(), Cli::whole())];
    commands(&Cli::whole(), "batonctl", &mut whole);
    let mut tried = 0;
    for (words, command) in whole {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let joined = help.replace("\\\n      ", "");
        let lines: Vec<Vec<&str>> = joined.lines().filter_map(example).collect();
        assert!(!lines.is_empty(), "{words} has no example");
        for line in lines {
            match Cli::try_parse_from(&line) {
                Ok(_) => {}
                // `--help` is a good example, and an error to the parser.
                Err(error) => assert!(!error.use_stderr(), "{words}: {line:?}: {error}"),
            }
            tried += 1;
        }
    }
    assert!(tried > 40, "only {tried} examples were found");
}

#[test]
fn each_command_has_a_page_that_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man1");
    let (code, out, _) = batonctl(&["man", &pages.display().to_string()]);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    let mut whole = vec![("batonctl".to_owned(), Cli::whole())];
    commands(&Cli::whole(), "batonctl", &mut whole);
    for (words, _) in whole {
        let page = pages.join(format!("{}.1", words.replace(' ', "-")));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(".SH SYNOPSIS") && text.contains(".SH EXAMPLES\n.nf\n"), "{words}:\n{text}");
    }
}
