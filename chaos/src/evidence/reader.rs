//! Reads a folder of evidence back. A line that is cut off at the very end of a file was being written when the suite died; it is
//! left out and noted. Anything else that is not as it should be is an error that names file, line, key and rule: a verdict
//! over evidence that was half understood would be worth nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Decision, Ending, FORMAT, Fault, Health, Operation, Run, Sighting, file};

/// Largest file that is read, in bytes: a soak writes a folder for each of its runs.
const FILE_MAX: u64 = 4 << 30;

/// A folder that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEvidence {
    /// Which file, from the folder.
    pub file: PathBuf,
    /// Which line, counted from 1; 0 where it is about the whole file.
    pub line: usize,
    /// Which key; empty where it is about the whole line.
    pub key: String,
    /// What should have been so.
    pub rule: String,
}

impl fmt::Display for BadEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.rule)
    }
}

impl std::error::Error for BadEvidence {}

/// Something that a reader should know, and that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The last line of this file was being written when the suite died.
    Torn(PathBuf),
    /// The suite did not write how the run ended.
    NotEnded,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn(path) => write!(f, "the last line of {} is cut off", path.display()),
            Self::NotEnded => write!(f, "the run did not come to its end: there is no {}", file::FINAL),
        }
    }
}

/// Everything that is known of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What it was.
    pub run: Run,
    /// What clients asked, in the order in which it was sent.
    pub history: Vec<Operation>,
    /// What struck, by number.
    pub faults: Vec<Fault>,
    /// Who was said to be master, in the order in which it was heard.
    pub masters: Vec<Sighting>,
    /// Why.
    pub decisions: Vec<Decision>,
    /// How the cluster felt.
    pub health: Vec<Health>,
    /// How it ended, if it did.
    pub ending: Option<Ending>,
    /// What a reader should know of the evidence itself.
    pub notes: Vec<Note>,
}

impl Evidence {
    /// Reads the whole folder.
    ///
    /// # Errors
    /// The first file that is missing, too large, damaged or of another kind.
    pub fn read(folder: &Path) -> Result<Self, BadEvidence> {
        let mut reader = Reader { folder, notes: Vec::new() };
        let run: Run = reader.whole(Path::new(file::RUN))?.ok_or_else(|| {
            bad(Path::new(file::RUN), 0, "", format!("{} is not a folder of evidence", folder.display()))
        })?;
        let mut history = Vec::new();
        for path in reader.histories()? {
            history.extend(reader.lines::<Operation>(&path, Operation::problem)?);
        }
        history.sort_by_key(|operation| operation.sent_us);
        let lines = reader.lines::<Fault>(Path::new(file::FAULTS), Fault::problem)?;
        let faults: BTreeMap<u64, Fault> = lines.into_iter().map(|fault| (fault.id, fault)).collect();
        let mut masters = reader.lines::<Sighting>(Path::new(file::MASTERS), |_| None)?;
        masters.sort_by_key(|sighting| sighting.seen_us);
        let decisions = reader.lines::<Decision>(Path::new(file::DECISIONS), |_| None)?;
        let health = reader.lines::<Health>(Path::new(file::HEALTH), |_| None)?;
        let ending: Option<Ending> = reader.whole(Path::new(file::FINAL))?;
        if ending.is_none() {
            reader.notes.push(Note::NotEnded);
        }
        let faults = faults.into_values().collect();
        Ok(Self { run, history, faults, masters, decisions, health, ending, notes: reader.notes })
    }
}

struct Reader<'a> {
    folder: &'a Path,
    notes: Vec<Note>,
}

impl Reader<'_> {
    /// A file's text; `None` where there is none.
    fn text(&self, path: &Path) -> Result<Option<String>, BadEvidence> {
        let full = self.folder.join(path);
        match fs::metadata(&full) {
            Ok(found) if found.len() > FILE_MAX => {
                Err(bad(path, 0, "", format!("is larger than {FILE_MAX} bytes")))
            }
            Ok(_) => {
                let bytes = fs::read(&full).map_err(|error| bad(path, 0, "", error.to_string()))?;
                String::from_utf8(bytes).map(Some).map_err(|error| {
                    let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                    bad(path, line, "", "is no text")
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(path, 0, "", error.to_string())),
        }
    }

    /// A file that is one value.
    fn whole<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, BadEvidence> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        if path == Path::new(file::RUN) {
            check_format(path, &text)?;
        }
        parse(path, 0, &text).map(Some)
    }

    /// A file of lines; none where there is no such file, since a run may have had nothing to say.
    fn lines<T: DeserializeOwned>(
        &mut self,
        path: &Path,
        problem: impl Fn(&T) -> Option<(&'static str, &'static str)>,
    ) -> Result<Vec<T>, BadEvidence> {
        let Some(text) = self.text(path)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let whole = match text.rfind('\n') {
            Some(end) if end + 1 < text.len() => {
                self.notes.push(Note::Torn(path.to_owned()));
                &text[..=end]
            }
            None if !text.is_empty() => {
                self.notes.push(Note::Torn(path.to_owned()));
                ""
            }
            Some(_) | None => text.as_str(),
        };
        for (index, line) in whole.lines().enumerate() {
            let value: T = parse(path, index + 1, line)?;
            if let Some((key, rule)) = problem(&value) {
                return Err(bad(path, index + 1, key, rule));
            }
            found.push(value);
        }
        Ok(found)
    }

    /// The clients' files, by name.
    fn histories(&self) -> Result<Vec<PathBuf>, BadEvidence> {
        let folder = Path::new(file::HISTORY);
        let entries = match fs::read_dir(self.folder.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(bad(folder, 0, "", error.to_string())),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| bad(folder, 0, "", error.to_string()))?.file_name();
            let path = folder.join(&name);
            if path.extension().is_none_or(|extension| extension != "jsonl") {
                return Err(bad(&path, 0, "", "is no client's history (NAME.jsonl)"));
            }
            found.push(path);
        }
        found.sort();
        Ok(found)
    }
}

/// Before anything else: of what is newer, nothing else can be said.
fn check_format(path: &Path, text: &str) -> Result<(), BadEvidence> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let found: Format = parse(path, 0, text)?;
    if found.format == FORMAT {
        Ok(())
    } else {
        let format = found.format;
        Err(bad(path, 0, "format", format!("is {format}; this program reads {FORMAT}")))
    }
}

/// One value of JSON. Of a file that is one value, the line is where the parser stood.
fn parse<T: DeserializeOwned>(path: &Path, line: usize, text: &str) -> Result<T, BadEvidence> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let key = error.path().to_string();
        let inner = error.into_inner();
        let line = if line > 0 { line } else { inner.line() };
        // The parser's own words end with a place in the line, which is no place in the file.
        let rule = inner.to_string();
        let rule = rule.rsplit_once(" at line ").map_or(rule.as_str(), |(rule, _)| rule).to_owned();
        bad(path, line, if key == "." { "" } else { &key }, rule)
    })?;
    parser.end().map_err(|_| bad(path, line, "", "more than one value"))?;
    Ok(value)
}

fn bad(path: &Path, line: usize, key: &str, rule: impl Into<String>) -> BadEvidence {
    BadEvidence { file: path.to_owned(), line, key: key.to_owned(), rule: rule.into() }
}

#[cfg(test)]
mod tests;
