//! What two settings have otherwise, key by key: what people are told of a change, and what can be carried over onto
//! other settings where somebody was faster.

use crate::Change;
use crate::write::table;
use baton_core::record::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::{Table, Value};

/// One value that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Sections first.
    pub path: Vec<String>,
    /// Without quotes; `None`: not set.
    pub before: Option<String>,
    /// Without quotes; `None`: not set any more.
    pub after: Option<String>,
}

impl Difference {
    /// As it is written on a command line.
    #[must_use]
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    /// What makes this difference on other settings.
    #[must_use]
    pub fn to_change(&self) -> Change {
        Change { path: self.path.clone(), value: self.after.clone() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| match value.as_deref() {
            None => "not set".to_owned(),
            Some("") => "none".to_owned(),
            Some(value) => value.to_owned(),
        };
        write!(f, "{}: {} → {}", self.key(), shown(&self.before), shown(&self.after))
    }
}

/// Every value that `after` has otherwise than `before`, by key.
#[must_use]
pub fn differences(before: &Settings, after: &Settings) -> Vec<Difference> {
    let (before, after) = (values(before), values(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let difference = |path: &Vec<String>| Difference {
        path: path.clone(),
        before: before.get(path).cloned(),
        after: after.get(path).cloned(),
    };
    differ.map(difference).collect()
}

/// Every value by its path, as it is written on a command line.
#[must_use]
pub fn values(settings: &Settings) -> BTreeMap<Vec<String>, String> {
    let mut found = BTreeMap::new();
    flatten(&table(settings), &mut Vec::new(), &mut found);
    found
}

fn flatten(table: &Table, path: &mut Vec<String>, found: &mut BTreeMap<Vec<String>, String>) {
    for (key, value) in table {
        path.push(key.clone());
        match value {
            Value::Table(inner) => flatten(inner, path, found),
            other => drop(found.insert(path.clone(), shown(other))),
        }
        path.pop();
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
