//! The names of what a run makes outside its own processes (network namespaces, control groups, folders), so that two
//! runs never meet, and what a crashed one left is known by its name. Decides whether a maker still lives, nothing else.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::procfs;

/// The beginning of every name.
const PREFIX: &str = "baton-chaos-";

static MADE: AtomicU32 = AtomicU32::new(0);

/// One run: the process that makes it, told apart from a later one of the same number by its start, and which of its runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId {
    pid: i32,
    started_ticks: u64,
    run: u32,
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl RunId {
    /// A new one of this process.
    #[must_use]
    pub fn new() -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let started_ticks = procfs::view(pid).map_or(0, |own| own.started_ticks);
        Self { pid, started_ticks, run: MADE.fetch_add(1, Ordering::Relaxed) }
    }

    /// The name of one of its things.
    #[must_use]
    pub fn name(&self, thing: &str) -> String {
        format!("{PREFIX}{}-{}-{}-{thing}", self.pid, self.started_ticks, self.run)
    }

    /// Whose a name is; `None` for what no run of ours made.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.splitn(4, '-');
        let (pid, started_ticks) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let run = parts.next()?.parse().ok()?;
        parts.next().map(|_| Self { pid, started_ticks, run })
    }

    /// Whether this very process is its maker.
    #[must_use]
    pub fn is_own(&self) -> bool {
        let own = Self::new();
        (self.pid, self.started_ticks) == (own.pid, own.started_ticks)
    }

    /// Whether its maker is gone, so that whatever bears its name is nobody's.
    #[must_use]
    pub fn is_over(&self) -> bool {
        procfs::view(self.pid).is_none_or(|seen| seen.started_ticks != self.started_ticks || !seen.alive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_it_is_and_whether_that_one_still_lives() {
        let own = RunId::new();
        assert_eq!(RunId::of_name(&own.name("host-a")), Some(own.clone()));
        assert_ne!(RunId::new(), own);
        assert!(own.is_own() && !own.is_over());
        let earlier = RunId { started_ticks: own.started_ticks + 1, ..own };
        assert!(earlier.is_over() && !earlier.is_own(), "the same number, another process");
        for foreign in
            ["host-a", "baton-chaos-", "baton-chaos-x-1-1-a", "baton-chaos-1-2", "baton-e2e-1-2-3-a"]
        {
            assert_eq!(RunId::of_name(foreign), None, "{foreign}");
        }
    }
}
