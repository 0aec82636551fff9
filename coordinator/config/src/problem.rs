//! What is wrong with a configuration, always with the place a person has to go to. Knows no key of any program.

use std::fmt;
use std::sync::Arc;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the file, at a line counted from 1; 0 where it is not in it at all.
    File {
        /// As it was given to the program.
        file: Arc<str>,
        /// The line.
        line: usize,
    },
    /// In a variable of the environment.
    Environment(String),
    /// In a flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line: 0 } => write!(f, "{file}"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong. Shown as `ORIGIN: KEY = VALUE: RULE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// Which key, with its sections (`instance[2].engine.kind`); empty where the file as a whole is meant.
    pub key: String,
    /// The value as it stands there, shortened; `None` where it is missing or the key itself is wrong.
    pub value: Option<String>,
    /// The rule that it breaks, and what to do where that is not plain.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        match (&self.key, &self.value) {
            (key, Some(value)) => write!(f, "{key} = {value}: ")?,
            (key, None) if !key.is_empty() => write!(f, "{key}: ")?,
            (_, None) => {}
        }
        f.write_str(&self.rule)
    }
}

/// All that is wrong, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
