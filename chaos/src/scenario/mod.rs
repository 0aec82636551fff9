//! Scenarios: what happens to a cluster, told as a story and written as steps. They are data: the runner plays them, and
//! the seed decides whom and when.

mod list;

use crate::nemesis::kind::Kind;
use crate::nemesis::target::Target;

/// All scenarios, in the order in which people read them.
#[must_use]
pub fn all() -> Vec<Scenario> {
    list::single_faults()
}

/// A story with its steps.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called, in words joined by hyphens.
    pub name: &'static str,
    /// What happens, in a sentence or two.
    pub story: &'static str,
    /// Fewest changes of master that it is about; fewer prove nothing.
    pub expected_changes: u64,
    /// In order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Everybody writes undisturbed for a moment, whose length the seed decides.
    Calm,
    /// All is well before it goes on.
    Healthy,
    /// The master is moved, by a switchover, to a host with the active arbiter, or to one without.
    Place {
        /// Whether the arbiter is to be there.
        with_arbiter: bool,
    },
    /// Something strikes. Its victims are drawn now.
    Strike {
        /// What.
        fault: Kind,
        /// Whom.
        target: Target,
    },
    /// Time passes, in leases.
    Hold {
        /// How many.
        leases: f64,
    },
    /// Until there is a new active master since the last strike.
    Replaced,
    /// What struck last ends.
    Heal,
    /// Everything ends, in the order in which it struck.
    HealAll,
    /// A person moves the master to another instance.
    Switchover,
}

/// The scenario of this name.
///
/// # Errors
/// There is none; all names are told.
pub fn named(name: &str) -> anyhow::Result<Scenario> {
    let all = all();
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
    let unknown = || anyhow::anyhow!("there is no scenario {name:?}; there are: {}", names.join(", "));
    all.iter().find(|scenario| scenario.name == name).cloned().ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_scenario_has_its_own_name_a_story_and_something_that_strikes() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        for scenario in &all {
            let strikes =
                scenario.steps.iter().any(|step| matches!(step, Step::Strike { .. } | Step::Switchover));
            assert!(strikes && scenario.story.ends_with('.'), "{}", scenario.name);
            let words = scenario.name.chars().all(|sign| sign.is_ascii_lowercase() || sign == '-');
            assert!(words, "{}", scenario.name);
        }
        let error = named("nothing-happens").expect_err("there is none").to_string();
        assert!(error.contains("master-host-killed"), "{error}");
    }
}
