//! The cluster-wide settings as a document that people write: TOML with the names of the contracts, read with all problems
//! at once, written with what each value is for. The stateboard's and etcd's first settings, `batonctl settings` and the
//! coordinator that checks what it is asked to write all use this one reader.
//!
//! It must not know where settings are kept, or who may change them.

mod differ;
pub mod keys;
mod read;
mod write;

pub use differ::{Difference, differences, values};
pub use read::{parse, read};
pub use write::{document, table};

use baton_config::{Document, Origin, Problems};
use baton_core::record::Settings;

/// One change of one key: its path (`["lease_ttl"]`, `["replicaset", "orders-1", "ack_quorum"]`) and the new text; `None`
/// puts the default, or the cluster's own value, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Sections first.
    pub path: Vec<String>,
    /// As it would stand in the file, without quotes.
    pub value: Option<String>,
}

impl Change {
    /// From `key=value` or, to take a value back, `key=`. A set's or a member's name may have dots of its own: it ends
    /// before the last one.
    ///
    /// # Errors
    /// The rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} must be KEY=VALUE, such as lease_ttl=1s; KEY= takes it back"))?;
        let path = match key.trim().split_once('.') {
            None => vec![key.trim().to_owned()],
            Some((section, rest)) => match rest.rsplit_once('.') {
                Some((name, key)) => vec![section.to_owned(), name.to_owned(), key.to_owned()],
                None => vec![section.to_owned(), rest.to_owned()],
            },
        };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        Ok(Self { path, value })
    }
}

/// The settings after some changes, checked as a whole. What is no setting of people (the version, a move) stays.
///
/// # Errors
/// All problems at once.
pub fn change(before: &Settings, changes: &[Change]) -> Result<Settings, Problems> {
    let mut table = table(before);
    for change in changes.iter().filter(|change| change.value.is_none()) {
        write::remove(&mut table, &change.path);
    }
    let mut document = Document::parse("settings", &table.to_string());
    for change in changes {
        if let Some(value) = &change.value {
            let origin = Origin::Flag(change.path.join("."));
            document.set(&change.path, value.clone(), origin);
        }
    }
    let settings = read(&document, None);
    let problems = document.into_problems();
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(in_the_place_of(before, settings))
}

/// The settings of a whole document in the place of those that hold. What is no setting of people stays.
///
/// # Errors
/// All problems at once; `file` is the document's name in them.
pub fn replace(before: &Settings, file: &str, text: &str) -> Result<Settings, Problems> {
    parse(file, text).map(|settings| in_the_place_of(before, settings))
}

fn in_the_place_of(before: &Settings, mut settings: Settings) -> Settings {
    settings.longest_lease = before.longest().max(settings.lease_ttl);
    settings.moving.clone_from(&before.moving);
    settings.version = before.version;
    settings
}

#[cfg(test)]
mod tests;
