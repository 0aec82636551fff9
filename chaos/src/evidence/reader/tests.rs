//! Evidence that was written is read back as it was; evidence that is damaged, foreign or newer is refused with its place.

use std::fs;

use super::*;
use crate::evidence::samples;
use crate::evidence::{Folder, Outcome};

/// A small good run in a folder of its own.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    samples::write(&samples::small(), folder.path());
    folder
}

fn refused(folder: &tempfile::TempDir) -> String {
    Evidence::read(folder.path()).expect_err("it is damaged").to_string()
}

fn replace(folder: &tempfile::TempDir, path: &str, from: &str, to: &str) {
    let path = folder.path().join(path);
    let text = fs::read_to_string(&path).expect("it is there");
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).expect("it is writable");
}

#[test]
fn what_was_written_is_read_back() {
    let folder = written();
    assert_eq!(Evidence::read(folder.path()), Ok(samples::small()));
}

#[test]
fn a_later_line_of_a_fault_replaces_an_earlier_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut run = samples::small();
    let healed = run.faults[0].clone();
    run.faults[0].healed_us = None;
    run.faults[0].bite = None;
    let ending = run.ending.take().expect("it ended");
    let mut writer = Folder::create(folder.path(), &run.run).expect("an empty folder");
    writer.faults.write(&run.faults[0]).expect("it is writable");
    writer.faults.write(&healed).expect("it is writable");
    writer.end(&ending).expect("it is writable");
    assert_eq!(Evidence::read(folder.path()).expect("it is sound").faults, [healed]);
}

#[test]
fn a_line_cut_off_by_a_crash_is_noted_and_the_rest_stands() {
    let folder = written();
    let path = folder.path().join("history/router-1.jsonl");
    let text = fs::read_to_string(&path).expect("it is there");
    fs::write(&path, &text[..text.len() - 9]).expect("it is writable");
    fs::remove_file(folder.path().join(file::FINAL)).expect("it is there");
    let read = Evidence::read(folder.path()).expect("the rest is sound");
    assert_eq!(read.notes, [Note::Torn("history/router-1.jsonl".into()), Note::NotEnded]);
    assert_eq!(read.history.len() + 1, samples::small().history.len());
    fs::write(&path, "{\"cli").expect("it is writable");
    assert!(Evidence::read(folder.path()).is_ok_and(|read| read.notes.len() == 2));
}

#[test]
fn a_damaged_line_names_its_file_line_key_and_rule() {
    let folder = written();
    replace(&folder, "history/router-1.jsonl", "\"sent_us\":1500", "\"sent_us\":\"soon\"");
    assert_eq!(
        refused(&folder),
        "history/router-1.jsonl:2: sent_us: invalid type: string \"soon\", expected u64"
    );
    let folder = written();
    replace(&folder, "faults.jsonl", "\"bit\":true", "\"bitten\":true");
    assert_eq!(
        refused(&folder),
        "faults.jsonl:1: bite.bitten: unknown field `bitten`, expected `bit` or `how`"
    );
    let folder = written();
    replace(&folder, "masters.jsonl", "\"record\"", "\"rumour\"");
    assert!(refused(&folder).starts_with("masters.jsonl:1: source: unknown variant `rumour`"));
    let folder = written();
    replace(&folder, "run.json", "\"seed\": 7", "\"seed\": -7");
    assert!(refused(&folder).contains(": seed: invalid value: integer `-7`"), "{}", refused(&folder));
}

#[test]
fn a_line_that_makes_no_sense_is_refused() {
    for (from, to, rule) in [
        ("\"done_us\":1800", "\"done_us\":1400", "done_us: an answer cannot come before its request"),
        (",\"done_us\":1800", "", "done_us: an acknowledged operation has the moment of its answer"),
        ("\"value\":2,", "", "value: a write has a value"),
        ("\"value\":2,", "\"value\":2,\"read\":2,", "read: only a read that was answered has read something"),
        (
            "\"outcome\":\"ok\"}\n{\"client\":\"router-1\",\"op\":\"confirm\"",
            "\"outcome\":\"ok\",\"times\":2}\n{\"client\":\"router-1\",\"op\":\"confirm\"",
            "times: only refusals are counted together, and there is at least one",
        ),
    ] {
        let folder = written();
        replace(&folder, "history/router-1.jsonl", from, to);
        assert_eq!(refused(&folder), format!("history/router-1.jsonl:2: {rule}"));
    }
    let folder = written();
    replace(&folder, "faults.jsonl", "\"healed_us\":9000", "\"healed_us\":1");
    assert_eq!(refused(&folder), "faults.jsonl:1: healed_us: a fault cannot be healed before it strikes");
}

#[test]
fn a_foreign_folder_or_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(refused(&folder).ends_with("is not a folder of evidence"), "{}", refused(&folder));
    let folder = written();
    fs::write(folder.path().join("history/notes.txt"), "hello").expect("it is writable");
    assert_eq!(refused(&folder), "history/notes.txt: is no client's history (NAME.jsonl)");
    let folder = written();
    fs::write(folder.path().join("health.jsonl"), b"\n\xff\xfe\n").expect("it is writable");
    assert_eq!(refused(&folder), "health.jsonl:2: is no text");
    let folder = written();
    fs::write(folder.path().join("final.json"), "{}").expect("it is writable");
    assert!(refused(&folder).ends_with("missing field `ended_us`"), "{}", refused(&folder));
    fs::write(folder.path().join("final.json"), "{\"ended_us\":1,\"healthy\":true} {}")
        .expect("it is writable");
    assert_eq!(refused(&folder), "final.json: more than one value");
}

#[test]
fn a_newer_format_is_refused_before_anything_else() {
    let folder = written();
    replace(&folder, "run.json", "\"format\": 1", "\"format\": 2, \"moon\": \"full\"");
    assert_eq!(refused(&folder), "run.json: format: is 2; this program reads 1");
}

#[test]
fn a_second_run_does_not_mix_with_the_first() {
    let folder = written();
    let error = Folder::create(folder.path(), &samples::small().run).expect_err("it is taken");
    assert!(error.to_string().ends_with("holds the evidence of another run"));
}

#[test]
fn refusals_that_were_counted_together_are_read_as_such() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut run = samples::small();
    run.history.retain(|operation| operation.client == "direct");
    let line = run.history.last_mut().expect("the small run has direct writes");
    line.outcome = Outcome::Failed;
    line.times = 40;
    samples::write(&run, folder.path());
    let read = Evidence::read(folder.path()).expect("it is sound");
    assert_eq!(read.history.iter().map(|operation| operation.times).max(), Some(40));
}
