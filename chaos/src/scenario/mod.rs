//! Scenarios: what happens to a cluster, told as a story and written as steps. They are data: the runner plays them, and
//! the seed decides whom and when.

mod harder;
mod history;
mod list;
mod people;
pub mod random;
mod steps;

use std::time::Duration;

use crate::cli::ProviderKind;
use crate::nemesis::kind::Kind;
use crate::nemesis::target::Target;

/// All scenarios, in the order in which people read them.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = list::single_faults();
    all.extend(history::of_cuts());
    all.extend(history::of_halves());
    all.extend(history::of_doubtful_cuts());
    all.extend(history::of_losses());
    all.extend(history::of_pairs());
    all.extend(steps::of_a_failover());
    all.extend(history::of_bad_lines());
    all.extend(harder::machines_and_people());
    all.extend(people::who_help());
    all
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
    /// It is about this provider; with another it shows nothing.
    pub provider: Option<ProviderKind>,
    /// In order.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// Whether it begins with an earlier build.
    #[must_use]
    pub fn upgrades(&self) -> bool {
        self.steps.contains(&Step::RollingUpgrade)
    }

    /// Whether something in it asks this of a fault.
    #[must_use]
    pub fn has(&self, asked: fn(Kind) -> bool) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Strike { fault, .. } | Step::StrikeSoon { fault, .. } | Step::TryStrike { fault, .. } if asked(*fault)))
    }
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
    /// Something strikes within this time, at a moment that the seed draws, while something else lasts. It may take the arbiter
    /// away in the middle of its work.
    StrikeSoon {
        /// What.
        fault: Kind,
        /// Whom.
        target: Target,
        /// At the latest after this.
        most: Duration,
    },
    /// Time passes.
    Wait(Duration),
    /// The same, beside what strikes already: where there is nothing left to strike, nothing happens.
    TryStrike {
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
    /// Until this is seen of the change of master that the last strikes lead to.
    Until(Sign),
    /// Nothing of this was seen of it so far: what struck last struck in time. Otherwise it counts as one that did not bite.
    NotYet(Sign),
    /// Nobody was made master since the last strike, and by the cluster's own word nobody can be.
    Waits,
    /// What struck last ends.
    Heal,
    /// What of this kind struck last ends, whatever struck after it.
    HealOf(Kind),
    /// Everything ends, in the order in which it struck.
    HealAll,
    /// A person moves the master to another instance.
    Switchover,
    /// A person forces a failover, and accepts what may be lost.
    Force,
    /// A person restarts every coordinator in good order, each when all is well after the last.
    RollingRestart,
    /// The same, and what starts is this build, where an earlier one ran before; the stateboard too, as the last.
    RollingUpgrade,
    /// A person takes a backup of the provider.
    Backup,
}

/// By what it is seen how far a change of master has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// So many hosts say that their instance has severed and reported.
    Severed(usize),
    /// A higher term is recorded.
    Recorded,
    /// The next master's host says that it was told to lead.
    Directed,
    /// The next master's host says that its engine accepts writes.
    Writable,
}

/// The scenario of this name.
///
/// # Errors
/// There is none; all names are told.
pub fn named(name: &str) -> anyhow::Result<Scenario> {
    let all = all();
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
    let unknown = || {
        anyhow::anyhow!("there is no scenario {name:?}; there are: {}, {}", names.join(", "), random::NAME)
    };
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
            let strikes = scenario.steps.iter().any(|step| {
                matches!(
                    step,
                    Step::Strike { .. } | Step::Switchover | Step::RollingRestart | Step::RollingUpgrade
                )
            });
            assert!(strikes && scenario.story.ends_with('.'), "{}", scenario.name);
            let words = scenario.name.chars().all(|sign| sign.is_ascii_lowercase() || sign == '-');
            assert!(words, "{}", scenario.name);
        }
        let error = named("nothing-happens").expect_err("there is none").to_string();
        assert!(error.contains("master-host-killed"), "{error}");
    }
}
