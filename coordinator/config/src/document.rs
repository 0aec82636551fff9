//! A configuration as a tree in which each value knows where it stands: a TOML file, overridden by the environment,
//! overridden by flags. Reading it collects problems instead of stopping at the first; a key that nobody asked for is
//! one, with the nearest key that is known. Knows no key of any program.

use crate::problem::{Origin, Problem};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its place.
#[derive(Clone, Debug)]
struct Located {
    value: Value,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Integer(String),
    Boolean(bool),
    List(Vec<Located>),
    Table(BTreeMap<String, Located>),
    /// What no key takes: floats and dates.
    Other(&'static str, String),
}

impl Located {
    /// Puts a text at `path` below this value; gives it back where something other than a section is in the way.
    fn place(&mut self, path: &[String], text: String, origin: Origin) -> Result<(), (String, Origin)> {
        let Value::Table(entries) = &mut self.value else { return Err((text, origin)) };
        match path {
            [] => Err((text, origin)),
            [last] => {
                entries.insert(last.clone(), Self { value: Value::Text(text), origin });
                Ok(())
            }
            [section, rest @ ..] => {
                let fresh = || Self { value: Value::Table(BTreeMap::new()), origin: origin.clone() };
                entries.entry(section.clone()).or_insert_with(fresh).place(rest, text, origin)
            }
        }
    }
}

impl Value {
    fn shown(&self) -> Option<String> {
        const SHOWN_MAX: usize = 80;
        let text = match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Integer(text) | Self::Other(_, text) => text.clone(),
            Self::Boolean(value) => value.to_string(),
            Self::List(_) | Self::Table(_) => return None,
        };
        let shortened: String = text.chars().take(SHOWN_MAX).collect();
        Some(if shortened == text { text } else { format!("{shortened}…") })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a section",
            Self::Other(kind, _) => kind,
        }
    }
}

/// A value that was read, with what is needed to complain about it later.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub origin: Origin,
    /// Its whole key.
    pub key: String,
}

/// The tree and the problems found so far.
pub struct Document {
    root: Located,
    problems: Rc<RefCell<Vec<Problem>>>,
}

impl Document {
    /// Parses the text of a file; `file` is its name for people. What cannot be parsed is a problem, the rest is kept.
    #[must_use]
    pub fn parse(file: &str, text: &str) -> Self {
        let file: Arc<str> = Arc::from(file);
        let (table, errors) = DeTable::parse_recoverable(text);
        let lines = Lines { file: &file, text };
        let problems = errors
            .iter()
            .map(|error| Problem {
                origin: error.span().map_or(lines.nowhere(), |span| lines.at(span.start)),
                key: String::new(),
                value: None,
                rule: error.message().trim().replace('\n', ", "),
            })
            .collect();
        let root = Located { value: lines.table(table.get_ref()), origin: lines.nowhere() };
        Self { root, problems: Rc::new(RefCell::new(problems)) }
    }

    /// Puts a text in the place of whatever stands at `path` (sections first).
    pub fn set(&mut self, path: &[String], text: String, origin: Origin) {
        if let Err((text, origin)) = self.root.place(path, text, origin) {
            self.problems.borrow_mut().push(Problem {
                origin,
                key: path.join("."),
                value: Value::Text(text).shown(),
                rule: "can only be set in the file".to_owned(),
            });
        }
    }

    /// Applies the environment: `PREFIX_SECTION__KEY=text`. Names without a double underscore are somebody else's.
    pub fn set_from_environment(
        &mut self,
        prefix: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) {
        for (name, text) in environment {
            let path = name.strip_prefix(prefix).filter(|rest| rest.contains("__"));
            if let Some(path) = path {
                let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
                self.set(&path, text, Origin::Environment(name));
            }
        }
    }

    /// The whole document as a section without a name, to be read once.
    #[must_use]
    pub fn root(&self) -> Section {
        let entries = match &self.root.value {
            Value::Table(entries) => entries.clone(),
            _ => BTreeMap::new(),
        };
        let problems = Rc::clone(&self.problems);
        Section {
            path: String::new(),
            origin: self.root.origin.clone(),
            entries,
            known: Vec::new(),
            problems,
        }
    }

    /// All problems, in the order of their places.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.take();
        problems.sort();
        problems.dedup();
        problems
    }
}

/// From offsets to lines.
struct Lines<'a> {
    file: &'a Arc<str>,
    text: &'a str,
}

impl Lines<'_> {
    fn nowhere(&self) -> Origin {
        Origin::File { file: Arc::clone(self.file), line: 0 }
    }

    fn at(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Origin::File { file: Arc::clone(self.file), line }
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            (key.get_ref().to_string(), self.value(value, key.span().start))
        };
        Value::Table(table.iter().map(entry).collect())
    }

    /// `place` is where the key stands: a value of many lines is complained about at its beginning.
    fn value(&self, value: &Spanned<DeValue<'_>>, place: usize) -> Located {
        let converted = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number.to_string()),
                Err(_) => Value::Integer(number.as_str().to_owned()),
            },
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.value(item, item.span().start)).collect())
            }
            DeValue::Table(table) => self.table(table),
            DeValue::Float(number) => Value::Other("a number with a fraction", number.as_str().to_owned()),
            DeValue::Datetime(moment) => Value::Other("a date", moment.to_string()),
        };
        Located { value: converted, origin: self.at(place) }
    }
}

/// One section while it is read: each key is asked for once; what is left at the end is not known.
pub struct Section {
    path: String,
    origin: Origin,
    entries: BTreeMap<String, Located>,
    known: Vec<&'static str>,
    problems: Rc<RefCell<Vec<Problem>>>,
}

impl Section {
    /// Where the section begins.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The whole name of a key of this section.
    #[must_use]
    pub fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the section has the key, known or not.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    fn take(&mut self, key: &'static str) -> Option<Located> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// Notes a problem with the section as a whole or a key that is missing in it.
    pub fn problem(&self, key: &str, rule: impl Into<String>) {
        let (origin, key) = (self.origin.clone(), self.key(key));
        self.problems.borrow_mut().push(Problem { origin, key, value: None, rule: rule.into() });
    }

    /// Notes a problem with the section itself.
    pub fn problem_here(&self, rule: impl Into<String>) {
        let (origin, key) = (self.origin.clone(), self.path.clone());
        self.problems.borrow_mut().push(Problem { origin, key, value: None, rule: rule.into() });
    }

    /// Notes a problem with a value that was read.
    pub fn problem_with<T>(&self, read: &Read<T>, shown: Option<String>, rule: impl Into<String>) {
        let (origin, key) = (read.origin.clone(), read.key.clone());
        self.problems.borrow_mut().push(Problem { origin, key, value: shown, rule: rule.into() });
    }

    fn wrong_kind(&self, key: String, found: &Located, wanted: &str) {
        let rule = format!("must be {wanted}, not {}", found.value.kind());
        let (origin, value) = (found.origin.clone(), found.value.shown());
        self.problems.borrow_mut().push(Problem { origin, key, value, rule });
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<Read<String>> {
        let found = self.take(key)?;
        let whole = self.key(key);
        match found.value {
            Value::Text(text) => Some(Read { value: text, origin: found.origin, key: whole }),
            _ => {
                self.wrong_kind(whole, &found, "a text");
                None
            }
        }
    }

    /// A text that `parse` understands; its error becomes the rule.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Read<T>> {
        let read = self.text(key)?;
        match parse(&read.value) {
            Ok(value) => Some(Read { value, origin: read.origin, key: read.key }),
            Err(rule) => {
                self.problem_with(&read, Value::Text(read.value.clone()).shown(), rule);
                None
            }
        }
    }

    /// `true` or `false`; outside the file also as a text.
    pub fn boolean(&mut self, key: &'static str) -> Option<Read<bool>> {
        let found = self.take(key)?;
        let whole = self.key(key);
        let value = match &found.value {
            Value::Boolean(value) => Some(*value),
            Value::Text(text) if !matches!(found.origin, Origin::File { .. }) => text.parse().ok(),
            _ => None,
        };
        if value.is_none() {
            self.wrong_kind(whole.clone(), &found, "true or false");
        }
        value.map(|value| Read { value, origin: found.origin, key: whole })
    }

    /// A text that must not be repeated to anybody, whatever is wrong with it.
    pub fn secret(&mut self, key: &'static str) -> Option<Read<String>> {
        let found = self.take(key)?;
        let (whole, origin) = (self.key(key), found.origin);
        if let Value::Text(text) = found.value {
            return Some(Read { value: text, origin, key: whole });
        }
        let rule = "must be a text".to_owned();
        self.problems.borrow_mut().push(Problem { origin, key: whole, value: None, rule });
        None
    }

    /// A whole number within bounds; outside the file also as a text.
    pub fn number(&mut self, key: &'static str, bounds: std::ops::RangeInclusive<u32>) -> Option<Read<u32>> {
        let read = self.number64(key, u64::from(*bounds.start())..=u64::from(*bounds.end()))?;
        let value = u32::try_from(read.value).ok()?;
        Some(Read { value, origin: read.origin, key: read.key })
    }

    /// The same for numbers that may be larger.
    pub fn number64(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Option<Read<u64>> {
        let found = self.take(key)?;
        let whole = self.key(key);
        let text = match &found.value {
            Value::Integer(text) => text,
            Value::Text(text) if !matches!(found.origin, Origin::File { .. }) => text,
            _ => {
                self.wrong_kind(whole, &found, "a whole number");
                return None;
            }
        };
        match text.parse::<u64>().ok().filter(|number| bounds.contains(number)) {
            Some(value) => Some(Read { value, origin: found.origin, key: whole }),
            None => {
                let rule = format!("must be a whole number from {} to {}", bounds.start(), bounds.end());
                let (origin, value) = (found.origin.clone(), found.value.shown());
                self.problems.borrow_mut().push(Problem { origin, key: whole, value, rule });
                None
            }
        }
    }

    /// A list of texts; outside the file separated by commas.
    pub fn list(&mut self, key: &'static str) -> Option<Read<Vec<Read<String>>>> {
        let found = self.take(key)?;
        let whole = self.key(key);
        let items: Vec<Located> = match found.value {
            Value::List(items) => items,
            Value::Text(text) if !matches!(found.origin, Origin::File { .. }) => {
                let part = |part: &str| Located {
                    value: Value::Text(part.trim().to_owned()),
                    origin: found.origin.clone(),
                };
                text.split(',').filter(|text| !text.trim().is_empty()).map(part).collect()
            }
            _ => {
                self.wrong_kind(whole, &found, "a list of texts");
                return None;
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let item_key = format!("{whole}[{}]", index + 1);
            match item.value {
                Value::Text(text) => texts.push(Read { value: text, origin: item.origin, key: item_key }),
                _ => self.wrong_kind(item_key, &item, "a text"),
            }
        }
        Some(Read { value: texts, origin: found.origin, key: whole })
    }

    /// A section within this one; an empty one with this one's place, if it is not there.
    pub fn section(&mut self, key: &'static str) -> Self {
        let found = self.take(key);
        let path = self.key(key);
        let (origin, entries) = match found {
            Some(Located { value: Value::Table(entries), origin }) => (origin, entries),
            Some(other) => {
                self.wrong_kind(path.clone(), &other, "a section");
                (other.origin, BTreeMap::new())
            }
            None => (self.origin.clone(), BTreeMap::new()),
        };
        Self { path, origin, entries, known: Vec::new(), problems: Rc::clone(&self.problems) }
    }

    /// The sections of a list (`[[key]]`), counted from 1 in their names.
    pub fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some(found) = self.take(key) else { return Vec::new() };
        let path = self.key(key);
        let Value::List(items) = found.value else {
            self.wrong_kind(path.clone(), &found, &format!("a list of sections, written [[{path}]]"));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{}]", index + 1);
            match item.value {
                Value::Table(entries) => sections.push(Self {
                    path,
                    origin: item.origin,
                    entries,
                    known: Vec::new(),
                    problems: Rc::clone(&self.problems),
                }),
                _ => self.wrong_kind(path, &item, "a section"),
            }
        }
        sections
    }

    /// The sections below this one by their names (`[key.NAME]`), which are the program's users' to choose.
    pub fn named_sections(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let mut section = self.section(key);
        let mut sections = Vec::new();
        for (name, found) in std::mem::take(&mut section.entries) {
            let path = section.key(&name);
            match found.value {
                Value::Table(entries) => {
                    let problems = Rc::clone(&self.problems);
                    let own = Self { path, origin: found.origin, entries, known: Vec::new(), problems };
                    sections.push((name, own));
                }
                _ => self.wrong_kind(path, &found, "a section"),
            }
        }
        sections
    }

    /// Ends the reading: every key that was not asked for is a problem.
    pub fn finish(self) {
        for (key, found) in &self.entries {
            let rule = match nearest(key, &self.known) {
                Some(near) => format!("unknown key; did you mean \"{near}\"?"),
                None if self.known.is_empty() => "unknown key".to_owned(),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            let (origin, key) = (found.origin.clone(), self.key(key));
            self.problems.borrow_mut().push(Problem { origin, key, value: None, rule });
        }
    }
}

/// The known key that a person most likely meant, if one is near enough.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    /// Below it, suggestions are noise ("name" for "mode").
    const NEAR: f64 = 0.8;
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(key, candidate), *candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= NEAR).then_some(best.1)
}
