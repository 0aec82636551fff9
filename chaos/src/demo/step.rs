//! The steps by name: what each strikes, which failure class its budget is that of, and what it must bring about.

use std::fmt;
use std::str::FromStr;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// SIGKILL of the master's engine.
    KillEngine,
    /// SIGSTOP of the master's engine, sidecar and deadman, on a host without the active arbiter.
    FreezeHost,
    /// The same where the active arbiter is frozen as well.
    FreezeHostWithArbiter,
    /// SIGKILL of the same three.
    KillHost,
    /// The same where the active arbiter dies as well.
    KillHostWithArbiter,
    /// A planned change of master.
    Switchover,
    /// SIGKILL of the stateboard (of etcd's leader), which is back within the lock's ttl.
    ProviderRestart,
}

/// A row of the table of steps.
struct Row {
    step: Step,
    name: &'static str,
    /// The failure class whose worst outage is the budget; none where nothing may be interrupted.
    class: Option<&'static str>,
    /// Whether the master's host must (not) be the active arbiter's.
    arbiter_on_host: Option<bool>,
}

const fn row(
    step: Step,
    name: &'static str,
    class: Option<&'static str>,
    arbiter_on_host: Option<bool>,
) -> Row {
    Row { step, name, class, arbiter_on_host }
}

const ROWS: [Row; 7] = [
    row(Step::KillEngine, "kill_engine", Some("crashed"), None),
    row(Step::FreezeHost, "freeze_host", Some("silent"), Some(false)),
    row(Step::FreezeHostWithArbiter, "freeze_host_with_arbiter", Some("silent-with-arbiter"), Some(true)),
    row(Step::KillHost, "kill_host", Some("silent"), Some(false)),
    row(Step::KillHostWithArbiter, "kill_host_with_arbiter", Some("silent-with-arbiter"), Some(true)),
    row(Step::Switchover, "switchover", Some("switchover"), None),
    row(Step::ProviderRestart, "provider_restart", None, None),
];

impl Step {
    /// What is done where nobody says otherwise.
    pub const DEFAULT: [Self; 6] = [
        Self::KillEngine,
        Self::FreezeHost,
        Self::KillHost,
        Self::KillHostWithArbiter,
        Self::Switchover,
        Self::ProviderRestart,
    ];

    fn row(self) -> &'static Row {
        let place = ROWS.iter().position(|row| row.step == self);
        &ROWS[place.expect("a test proves that every step has its row")]
    }

    /// The name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The failure class, as `timing` names it, whose worst outage is the budget. `None`: nothing may be interrupted.
    #[must_use]
    pub fn class(self) -> Option<&'static str> {
        self.row().class
    }

    /// Whether the master's host must be the active arbiter's (`true`), must not be (`false`), or either.
    #[must_use]
    pub fn arbiter_on_host(self) -> Option<bool> {
        self.row().arbiter_on_host
    }

    /// Whether the step is about a change of master.
    #[must_use]
    pub fn changes_master(self) -> bool {
        self.class().is_some()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = ROWS.iter().find(|row| row.name == text).map(|row| row.step);
        known.ok_or_else(|| format!("there are {}", ROWS.map(|row| row.name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_row_and_its_name_leads_back() {
        for row in &ROWS {
            assert_eq!(row.step.name(), row.name);
            assert_eq!(row.name.parse(), Ok(row.step));
        }
        for step in Step::DEFAULT {
            assert_eq!(step.name().parse(), Ok(step));
        }
        assert!("kill".parse::<Step>().expect_err("no such step").contains("kill_engine"));
    }
}
