//! Runs a story: one command after the other on one world, each answered with everything that was seen.
//!
//! Verbs live in the files beside this one, by group. It must not know what a verb does.

mod cluster;
mod network;
mod operator;
mod process;
mod shows;
mod time;

use crate::world::World;
use baton_core::ids::{BadName, InstanceName};
use baton_core::time::Span;
use datadriven::{DataDrivenError, TestCase, TestFile};

/// Why a command cannot be carried out; a mistake in the story, or a broken property.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// The first command must be `cluster`.
    #[error("a story begins with `cluster`")]
    NoCluster,
    /// No such verb.
    #[error("there is no command {0:?}")]
    NoVerb(String),
    /// A word is missing, or one too many.
    #[error("{0}")]
    Words(String),
    /// A name is none.
    #[error(transparent)]
    Name(#[from] BadName),
    /// An argument is wrong.
    #[error(transparent)]
    Argument(#[from] DataDrivenError),
    /// The settings are not safe together.
    #[error(transparent)]
    Timing(#[from] baton_core::timing::BadTiming),
    /// The oracle has found something; what had been told until then follows.
    #[error("{violation}\n{told}")]
    Violation {
        /// What.
        violation: baton_oracle::Violation,
        /// The lines of the command.
        told: String,
    },
}

/// One story under way.
#[derive(Debug, Default)]
pub struct Story {
    world: Option<World>,
}

/// The words of one command.
pub(crate) struct Words<'a>(&'a mut TestCase);

impl Words<'_> {
    /// The bare words that are left, in no order.
    fn bare(&mut self) -> Vec<String> {
        let mut bare: Vec<String> = self
            .0
            .args
            .iter()
            .filter(|(_, values)| values.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        bare.sort();
        for name in &bare {
            self.0.args.remove(name);
        }
        bare
    }

    /// The one bare word.
    pub(crate) fn one(&mut self) -> Result<String, StoryError> {
        match self.bare().as_slice() {
            [word] => Ok(word.clone()),
            words => Err(StoryError::Words(format!("one word is needed, not {words:?}"))),
        }
    }

    /// The one bare word as an instance.
    pub(crate) fn instance(&mut self) -> Result<InstanceName, StoryError> {
        Ok(InstanceName::parse(&self.one()?)?)
    }

    /// `name=value`, if it is there.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>, StoryError> {
        Ok(self.0.try_take_arg(name)?)
    }

    /// `name=value`.
    pub(crate) fn needed(&mut self, name: &str) -> Result<String, StoryError> {
        self.value(name)?.ok_or_else(|| StoryError::Words(format!("{name}= is needed")))
    }

    /// `name=(one,two)` or `name=one`, if it is there.
    pub(crate) fn values(&mut self, name: &str) -> Result<Option<Vec<String>>, StoryError> {
        Ok(self.0.try_take_args(name)?)
    }

    /// `name=number`, if it is there.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, StoryError> {
        Ok(self.0.try_take_arg(name)?)
    }
}

/// `500ms`, `3s`, `20us`.
pub(crate) fn span(text: &str) -> Result<Span, StoryError> {
    let bad = || StoryError::Words(format!("{text:?} is no span of time such as 500ms"));
    let digits = text.trim_end_matches(|char: char| char.is_alphabetic());
    let number: u64 = digits.parse().map_err(|_| bad())?;
    match &text[digits.len()..] {
        "us" => Ok(Span(number)),
        "ms" => Ok(Span::from_millis(number)),
        "s" => Ok(Span::from_secs(number)),
        _ => Err(bad()),
    }
}

impl Story {
    /// Runs every command of a file.
    pub fn run(file: &mut TestFile) {
        let mut story = Self::default();
        file.run(|case| -> Result<String, StoryError> { story.command(case) });
    }

    fn command(&mut self, case: &mut TestCase) -> Result<String, StoryError> {
        let verb = case.directive.clone();
        let mut words = Words(case);
        if verb == "cluster" {
            self.world = Some(cluster::build(&mut words)?);
        } else {
            let world = self.world.as_mut().ok_or(StoryError::NoCluster)?;
            let handlers =
                [time::verb, process::verb, network::verb, operator::verb, shows::verb, cluster::verb];
            let mut known = false;
            for handler in handlers {
                known = known || handler(world, &verb, &mut words)?;
            }
            if !known {
                return Err(StoryError::NoVerb(verb));
            }
        }
        case.expect_empty()?;
        let world = self.world.as_mut().ok_or(StoryError::NoCluster)?;
        let (lines, violation) = world.take_lines();
        let told = if lines.is_empty() { "ok\n".to_owned() } else { lines.join("\n") + "\n" };
        match violation {
            Some(violation) => Err(StoryError::Violation { violation, told }),
            None => Ok(told),
        }
    }
}
