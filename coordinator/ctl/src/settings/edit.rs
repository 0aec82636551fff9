//! `batonctl settings edit`: the document in an editor, until it can be put or is given up.
//!
//! What is wrong stands above the text, with the line that it is on; where somebody else was faster, what this person changed
//! is carried over onto what holds now, and shown again before it is put.

use super::{SettingsFailure, settings_of, show_done};
use crate::args::Cli;
use crate::{Failure, Io};
use baton_client::{OperatorClient, OperatorError};
use baton_config::{Origin, Problem};
use baton_core::record::Settings;
use baton_proto::v1::{SettingsChange, SettingsResponse};
use baton_settings::{Difference, differences};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// What the file is called in problems.
const NAME: &str = "settings";
/// What begins a line that is written by us above the text, and never put.
const NOTE: &str = "#! ";

/// What the person is working on.
struct Draft {
    /// What it was made from.
    base: Settings,
    version: u64,
    text: String,
    /// What is said above it.
    notes: Vec<String>,
}

/// What came of one try to put it.
enum Tried {
    Done(SettingsResponse),
    Again(Box<Draft>),
}

pub(super) async fn run(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    editor: Option<&str>,
    force: bool,
) -> Result<(), Failure> {
    let editor = editor.map_or_else(default_editor, ToOwned::to_owned);
    let answer = client.settings(None).await?;
    if let [remark, ..] = answer.remarks.as_slice() {
        // What this coordinator knows is for reading: nothing can be put while the provider is away.
        return Err(SettingsFailure::Editor(remark.clone()).into());
    }
    let base = settings_of(&answer)?;
    let mut draft = Draft { base, version: answer.version, text: answer.toml, notes: Vec::new() };
    let file = tempfile::Builder::new().prefix("baton-settings-").suffix(".toml").tempfile()?;
    loop {
        let shown = with_notes(&draft);
        std::fs::write(file.path(), &shown)?;
        open(&editor, file.path()).map_err(SettingsFailure::Editor)?;
        let edited = std::fs::read_to_string(file.path())?;
        let given_up = edited == shown || without_notes(&edited).trim().is_empty();
        if given_up {
            if draft.notes.is_empty() {
                writeln!(io.err, "nothing was changed: the text was left as it was")?;
                return Ok(());
            }
            let kept = file.into_temp_path().keep().map_err(|error| error.error)?;
            return Err(SettingsFailure::Kept(kept.display().to_string()).into());
        }
        draft.text = without_notes(&edited);
        match put(client, draft, force).await? {
            Tried::Done(done) => return show_done(cli, io, &done, false),
            Tried::Again(again) => draft = *again,
        }
    }
}

fn default_editor() -> String {
    std::env::var("VISUAL").ok().filter(|editor| !editor.trim().is_empty()).unwrap_or_else(|| "vi".to_owned())
}

/// An editor may be a command with arguments.
fn open(editor: &str, file: &Path) -> Result<(), String> {
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file)
        .status()
        .map_err(|error| format!("{editor}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{editor} ended with {status}; nothing was changed")) }
}

fn with_notes(draft: &Draft) -> String {
    let notes: String = draft.notes.iter().map(|note| format!("{NOTE}{note}\n")).collect();
    notes + &draft.text
}

fn without_notes(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with(NOTE.trim_end())).map(|line| format!("{line}\n")).collect()
}

async fn put(client: &OperatorClient, draft: Draft, force: bool) -> Result<Tried, Failure> {
    let mine = match baton_settings::parse(NAME, &draft.text) {
        Ok(mine) => mine,
        Err(problems) => {
            let notes = problem_notes(&problems.0);
            return Ok(Tried::Again(Box::new(Draft { notes, ..draft })));
        }
    };
    let change = SettingsChange {
        expected: Some(draft.version),
        document: Some(draft.text.clone()),
        force,
        ..SettingsChange::default()
    };
    match client.settings(Some(change)).await {
        Ok(done) => Ok(Tried::Done(done)),
        Err(OperatorError::Refused { message, refusal, .. }) => {
            let reason = refusal.as_ref().map(|refusal| refusal.reason.as_str()).unwrap_or_default();
            if reason == "settings_overtaken" {
                return carry_over(client, draft, &mine).await.map(|draft| Tried::Again(Box::new(draft)));
            }
            let hint = refusal.map(|refusal| refusal.what_to_do).unwrap_or_default();
            let notes = message.lines().chain(hint.lines()).map(ToOwned::to_owned);
            let notes = notes.chain([left_as_it_is()]).collect();
            Ok(Tried::Again(Box::new(Draft { notes, ..draft })))
        }
        Err(error) => Err(error.into()),
    }
}

fn left_as_it_is() -> String {
    "Save the text as it is to give up.".to_owned()
}

/// The problems as notes. The notes themselves move the text down, so each line's number is counted with them.
fn problem_notes(problems: &[Problem]) -> Vec<String> {
    let above = problems.len() + 1;
    let moved = |problem: &Problem| {
        let origin = match &problem.origin {
            Origin::File { file, line } if *line > 0 => {
                Origin::File { file: file.clone(), line: line + above }
            }
            other => other.clone(),
        };
        Problem { origin, ..problem.clone() }.to_string().replace('\n', " ")
    };
    problems.iter().map(moved).chain([left_as_it_is()]).collect()
}

/// Somebody else was faster: what this person changed, on what holds now.
async fn carry_over(client: &OperatorClient, draft: Draft, mine: &Settings) -> Result<Draft, Failure> {
    let answer = client.settings(None).await?;
    let now = settings_of(&answer)?;
    let (theirs, ours) = (differences(&draft.base, &now), differences(&draft.base, mine));
    let changes: Vec<_> = ours.iter().map(Difference::to_change).collect();
    let text = match baton_settings::change(&now, &changes) {
        Ok(both) => baton_settings::document(&both),
        // What cannot stand beside theirs is for the person to mend: the text stays as it was written.
        Err(_) => draft.text,
    };
    let mut notes =
        vec![format!("Somebody else changed the settings meanwhile (version {}):", answer.version)];
    notes.extend(theirs.iter().map(|difference| format!("  {difference}")));
    notes.push(
        "What you changed is carried over, and not put yet. Take this line away and save to put it:"
            .to_owned(),
    );
    notes.extend(ours.iter().map(|difference| format!("  {difference}")));
    notes.push(left_as_it_is());
    Ok(Draft { base: now, version: answer.version, text, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_line_as_the_editor_counts_it() {
        let text = "# a comment\nlease_ttl = \"1ms\"\nack_quorum = \"many\"\n";
        let problems = baton_settings::parse(NAME, text).expect_err("both are wrong");
        let notes = problem_notes(&problems.0);
        let draft = Draft { base: Settings::default(), version: 1, text: text.to_owned(), notes };
        let shown = with_notes(&draft);
        let at = |wanted: &str| shown.lines().position(|line| line.starts_with(wanted)).map(|at| at + 1);
        let line = at("ack_quorum").expect("it is there");
        assert!(shown.contains(&format!("#! settings:{line}: ack_quorum")), "{shown}");
        assert_eq!(without_notes(&shown), text);
    }
}
