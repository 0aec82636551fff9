//! Examples for the help and the manual page of every command that has none beside its arguments. A test parses each of
//! them, so none can name a flag that is gone.

use clap::Command;

/// The command's words, and its examples.
const OF: [(&str, &str); 29] = [
    ("status", "batonctl status\nbatonctl status --watch --json     one line a second, for a program"),
    ("masters", "batonctl masters\nbatonctl masters --json"),
    (
        "watch",
        "batonctl watch                     all replica sets, until ctrl-c\n\
         batonctl watch orders-1 --for 10m  one, for ten minutes",
    ),
    (
        "switchover",
        "batonctl switchover orders-1 --dry-run          who would take over, and why the others would not\n\
         batonctl switchover orders-1                    to the best candidate\n\
         batonctl switchover orders-1 --to a2 --timeout 30s\n\
         batonctl switchover orders-1 --at 03:00         tonight, in UTC; or --at +10m",
    ),
    (
        "task",
        "batonctl task                       what was asked for, the newest first\n\
         batonctl task 7                     how it stands, phase by phase\n\
         batonctl task 7 --wait              until it has ended\n\
         batonctl task 7 --abort             back to the old master, or never begun",
    ),
    (
        "failover",
        "batonctl failover orders-1                      what would happen, and what may be lost\n\
         batonctl failover orders-1 --to a3 --force\n\
         batonctl failover orders-1 --force --fence      turn the old master's host off first",
    ),
    (
        "drill",
        "batonctl drill orders-1 --fault kill_engine --dry-run    every guard rail, and what would happen\n\
         batonctl drill orders-1 --fault switchover --return      there and back\n\
         batonctl drill orders-1 --fault kill_engine --spares 2   only with two members to spare\n\
         batonctl drill orders-1 --fault kill_engine --at 03:00   tonight, in UTC; `batonctl task` shows it",
    ),
    (
        "pause",
        "batonctl pause orders-1                         for an hour\n\
         batonctl pause --all --for 20m                  while the network is worked on\n\
         batonctl pause orders-1 --for-good",
    ),
    ("resume", "batonctl resume orders-1\nbatonctl resume --all"),
    ("issues", "batonctl issues\nbatonctl issues orders-1 --json"),
    ("what-if", "batonctl what-if --lose a1\nbatonctl what-if --lose zone:dc2,provider orders-1"),
    (
        "wait",
        "batonctl wait --until healthy                   the whole cluster\n\
         batonctl wait --until master orders-1 --timeout 10s\n\
         batonctl wait --until replica a2                a2 follows and is in sync again",
    ),
    ("history", "batonctl history orders-1\nbatonctl history orders-1 --limit 5 --json"),
    (
        "explain",
        "batonctl explain orders-1           the last decision\n\
         batonctl explain orders-1 7         the one that made term 7\n\
         batonctl explain orders-1 --replay  the choice made again from what is stored",
    ),
    (
        "timing",
        "batonctl timing                    of the cluster, with its own settings\n\
         batonctl timing --lease-ttl 1s     what another lease would mean, without a cluster",
    ),
    (
        "completions",
        "batonctl completions bash > /etc/bash_completion.d/batonctl\n\
         batonctl completions zsh > ~/.zfunc/_batonctl",
    ),
    (
        "man",
        "batonctl man | man -l -              read it here\n\
         batonctl man /usr/local/share/man/man1  write the page of every command",
    ),
    ("provider", "batonctl provider migrate --help"),
    ("stateboard status", "batonctl stateboard status --cluster orders --secret-file /etc/baton/secret"),
    (
        "stateboard backup",
        "batonctl stateboard backup orders.batonbak --cluster orders --secret-file /etc/baton/secret",
    ),
    (
        "stateboard restore",
        "batonctl stateboard restore orders.batonbak --cluster orders --secret-file /etc/baton/secret",
    ),
    ("member list", "batonctl member list\nbatonctl member list orders-1 --json"),
    (
        "member set-electable",
        "batonctl member set-electable a3 off\nbatonctl member set-electable a3 default",
    ),
    ("member set-priority", "batonctl member set-priority a1 200\nbatonctl member set-priority a1 default"),
    ("member maintain", "batonctl member maintain a3 --for 2h\nbatonctl member maintain a3 --end"),
    ("member remove", "batonctl member remove a3"),
    ("member admit", "batonctl member admit a3"),
    ("settings show", "batonctl settings show\nbatonctl settings show --json"),
    ("settings unset", "batonctl settings unset lease_ttl"),
];

/// Gives every command below `command` its examples, where it has none of its own.
pub(super) fn add(command: Command) -> Command {
    below(command, "", None)
}

fn below(command: Command, words: &str, parent: Option<&str>) -> Command {
    let name = command.get_name().to_owned();
    let words = match parent {
        None => String::new(),
        Some(_) => format!("{words} {name}").trim().to_owned(),
    };
    let own = command.get_after_help().map(ToString::to_string);
    let own = own.or_else(|| of(&words)).or_else(|| mentioned(parent?, &words));
    let command = match own.clone() {
        Some(text) => command.after_help(text),
        None => command,
    };
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let own = own.unwrap_or_default();
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |sub| below(sub, &words, Some(&own))))
}

fn of(words: &str) -> Option<String> {
    let (_, text) = OF.into_iter().find(|(name, _)| *name == words)?;
    let lines: String = text.lines().map(|line| format!("\n  {line}")).collect();
    Some(format!("Examples:{lines}"))
}

/// The lines of a parent's examples that are about this command.
fn mentioned(parent: &str, words: &str) -> Option<String> {
    let start = format!("batonctl {words}");
    let lines: Vec<&str> = parent.lines().filter(|line| line.trim_start().starts_with(&start)).collect();
    (!lines.is_empty()).then(|| format!("Examples:\n{}", lines.join("\n")))
}
