//! Values from a TOML file, the environment and flags, the later over the earlier, each with its place. Knows which
//! keys there are only from the list that it is given; collects problems instead of stopping at the first.

use std::collections::BTreeMap;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of a file, from 1; 0 where it is the file as a whole.
    File(String, usize),
    /// A variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, 0) => f.write_str(file),
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// Which key; empty where it is about the file.
    pub key: String,
    /// What must be otherwise.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.rule)
    }
}

/// All that is wrong, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[derive(Clone, Debug)]
struct Entry {
    text: String,
    origin: Origin,
}

/// The values, by their whole key (`section.key`).
#[derive(Debug)]
pub struct Layers {
    file: String,
    entries: BTreeMap<String, Entry>,
    problems: Vec<Problem>,
}

impl Layers {
    /// The values of a file. Numbers and flags are kept as their text, since the environment has nothing else.
    pub fn of_file(file: &str, text: &str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        let mut layers = Self { file: file.to_owned(), entries: BTreeMap::new(), problems: Vec::new() };
        for error in errors {
            let line = error.span().map_or(0, |span| line(span.start));
            let rule = error.message().trim().replace('\n', ", ");
            layers.problem_at(Origin::File(file.to_owned(), line), "", rule);
        }
        layers.flatten("", table.get_ref(), &line);
        layers
    }

    fn flatten(&mut self, prefix: &str, table: &DeTable<'_>, line: &dyn Fn(usize) -> usize) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let origin = Origin::File(self.file.clone(), line(name.span().start));
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.as_str().replace('_', ""),
                DeValue::Boolean(flag) => flag.to_string(),
                DeValue::Table(table) => {
                    self.flatten(&key, table, line);
                    continue;
                }
                DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
                    self.problem_at(origin, &key, "takes a text, a whole number, or true or false".into());
                    continue;
                }
            };
            self.entries.insert(key, Entry { text, origin });
        }
    }

    /// Puts the environment over it: `BATON_SECTION__KEY`. Variables without a double underscore, and sections that are
    /// another program's, are not ours to judge.
    pub fn set_from_environment(
        &mut self,
        sections: &[&str],
        environment: impl IntoIterator<Item = (String, String)>,
    ) {
        for (name, text) in environment {
            let Some((section, key)) = name.strip_prefix("BATON_").and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            let section = section.to_lowercase();
            if sections.contains(&section.as_str()) {
                let key = format!("{section}.{}", key.to_lowercase());
                self.entries.insert(key, Entry { text, origin: Origin::Environment(name) });
            }
        }
    }

    /// Puts a flag over it.
    pub fn set_from_flag(&mut self, flag: &str, key: &str, text: Option<String>) {
        if let Some(text) = text {
            self.entries.insert(key.to_owned(), Entry { text, origin: Origin::Flag(flag.to_owned()) });
        }
    }

    /// Takes a value out and parses it. A value that cannot be parsed is a problem, and counts as not given.
    pub fn take<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let entry = self.entries.remove(key)?;
        match parse(&entry.text) {
            Ok(value) => Some(value),
            Err(rule) => {
                let rule = format!("{:?}: {rule}", entry.text);
                self.problem_at(entry.origin, key, rule);
                None
            }
        }
    }

    /// The keys below `prefix`, without it.
    pub fn keys_below(&self, prefix: &str) -> Vec<String> {
        self.entries.keys().filter_map(|key| key.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// Notes that a key is missing, or wrong together with others.
    pub fn problem(&mut self, key: &str, rule: String) {
        self.problem_at(Origin::File(self.file.clone(), 0), key, rule);
    }

    fn problem_at(&mut self, origin: Origin, key: &str, rule: String) {
        self.problems.push(Problem { origin, key: key.to_owned(), rule });
    }

    /// What is left is not known; then all problems, in the order of their places.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn finish(mut self, known: &[&str]) -> Result<(), Problems> {
        for (key, entry) in std::mem::take(&mut self.entries) {
            self.problem_at(entry.origin, &key, unknown(&key, known));
        }
        self.problems.sort();
        if self.problems.is_empty() { Ok(()) } else { Err(Problems(self.problems)) }
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(key, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= key.len().div_ceil(3));
    match nearest {
        Some((_, candidate)) => format!("is not known; did you mean {candidate}?"),
        None => format!("is not known; there are {}", known.join(", ")),
    }
}
