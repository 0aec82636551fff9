//! The worlds: how many instances and arbiters, which of them share a clock, and what may go wrong how often. A world is
//! bounded by numbers of faults; what a pause, a cut or a delay lasts is not bounded.
//!
//! Time is in units: a lease of six, a margin of two, which is twice by how much two clocks may differ.

use crate::faults::Faults;
use crate::host::Manner;
use crate::worlds;
use baton_core::record::{Pin, Settings};
use baton_core::rules::{Rule, Rules};
use baton_core::time::Span;
use baton_core::timing::Timing;

/// Where a world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// Nobody was ever appointed.
    Empty,
    /// Whom the search finds by going on without faults: a master that serves, all others in its in-sync set.
    Steady,
}

/// One world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for.
    pub story: &'static str,
    /// Which clock each instance's host reads.
    pub host_clocks: Vec<usize>,
    /// Which clock each arbiter reads.
    pub arbiter_clocks: Vec<usize>,
    /// Which clock the provider reads.
    pub provider_clock: usize,
    /// By how many units two clocks may differ.
    pub drift: u64,
    /// All times.
    pub timing: Timing,
    /// How hosts behave.
    pub manner: Manner,
    /// Where it begins.
    pub start: Start,
    /// What is due at one instant happens in any order, and clocks go on while others still have something to do.
    pub any_order: bool,
    /// Clocks mean nothing: any timer may fire at any time, a lock may be taken for expired at any moment. Asked is only what
    /// rests on numbers alone.
    pub timeless: bool,
    /// The search goes no further than a record of this version. Where anything may be late, or clocks mean nothing, masters are
    /// replaced for ever.
    pub versions_most: Option<u64>,
    /// For how long people pause; nothing: for good.
    pub pin_for: Option<Span>,
    /// A forced failover may run the fence command.
    pub fences: bool,
    /// For how many replicas commits wait.
    pub ack_quorum: u32,
    /// What may go wrong.
    pub faults: Faults,
    /// What is broken on purpose.
    pub broken: Option<Rule>,
    /// Which of [`crate::property::SOMETIMES`] must have an example.
    pub shows: &'static [&'static str],
}

/// The smallest timing that satisfies the one inequality with a margin for a drift of one unit.
#[must_use]
pub fn tiny_timing() -> Timing {
    Timing {
        lease_ttl: Span(6),
        hold: Span(6),
        margin: Span(2),
        fence_budget: Span(1),
        kill_budget: Span(1),
        beat_master: Span(1),
        beat_replica: Span(1),
        lock_ttl: Span(9),
        lock_renew: Span(1),
        lock_margin: Span(2),
        stall_timeout: Span(6),
        sever_wait: Span(1),
        promote_wait: Span(3),
        request_timeout: Span(2),
        bid_wait: Span(1),
    }
}

/// The same with a lease that outlasts what margin and budgets take off, so that a rule about when a lease begins or ends
/// shows when it is broken.
#[must_use]
pub fn long_timing() -> Timing {
    Timing {
        lease_ttl: Span(10),
        hold: Span(10),
        lock_ttl: Span(13),
        stall_timeout: Span(10),
        ..tiny_timing()
    }
}

impl World {
    /// Two instances and an arbiter, on two clocks.
    pub(crate) fn new(name: &'static str, story: &'static str, faults: Faults) -> Self {
        Self {
            name,
            story,
            host_clocks: vec![0, 1],
            arbiter_clocks: vec![1],
            provider_clock: 1,
            drift: 1,
            timing: tiny_timing(),
            manner: Manner::default(),
            start: Start::Steady,
            any_order: false,
            timeless: false,
            versions_most: None,
            pin_for: None,
            fences: false,
            ack_quorum: 0,
            faults,
            broken: None,
            shows: &[],
        }
    }

    /// So many instances and arbiters, all on one clock, with the lease that shows when a rule about it is broken.
    pub(crate) fn on_one_clock(mut self, hosts: usize, arbiters: usize) -> Self {
        self.host_clocks = vec![0; hosts];
        self.arbiter_clocks = vec![0; arbiters];
        (self.provider_clock, self.drift) = (0, 0);
        self.timing = long_timing();
        self
    }

    /// The same world with something broken.
    #[must_use]
    pub fn breaking(mut self, rule: Rule) -> Self {
        self.broken = Some(rule);
        self.timing = self.rules().timed(self.timing);
        self
    }

    /// The rules that the machines keep.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.broken.map_or(Rules::default(), Rules::without)
    }

    /// How far back times are told apart: no rule looks back further than a lease or a pin, and the lock's ttl looks forward.
    #[must_use]
    pub fn horizon(&self) -> Span {
        self.timing.lease_ttl.max(self.pin_for.unwrap_or_default()) + self.timing.lock_renew + Span(1)
    }

    /// Whether it has to show this.
    #[must_use]
    pub fn is_to_show(&self, what: &str) -> bool {
        self.shows.contains(&what)
    }

    /// What people ask for when they pause the set.
    #[must_use]
    pub fn pin(&self) -> Pin {
        let span = self.pin_for.unwrap_or(Pin::FOR_GOOD);
        Pin { span, until_unix_millis: u64::from(self.pin_for.is_some()) }
    }

    /// What the cluster has set.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let fence_command = self.fences.then(|| "off".to_owned());
        Settings { fence_command, ack_quorum: self.ack_quorum, ..Settings::default() }
    }

    /// All worlds that CI searches, then the bigger ones.
    #[must_use]
    pub fn all() -> Vec<Self> {
        [Self::of_ci(), worlds::big::all()].concat()
    }

    /// One by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|world| world.name == name)
    }

    /// The worlds of the gate.
    #[must_use]
    pub fn of_ci() -> Vec<Self> {
        [
            worlds::leases::all(),
            worlds::locks::all(),
            worlds::people::all(),
            worlds::promises::all(),
            worlds::data::all(),
            worlds::timeless::all(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tiny_timing_satisfies_the_one_inequality() {
        assert_eq!(tiny_timing().check(), Ok(()));
        assert_eq!(long_timing().check(), Ok(()));
        for world in World::all() {
            assert!(
                world.timeless || world.timing.margin >= Span(2 * world.drift),
                "{}: a margin covers the drift",
                world.name
            );
        }
    }
}
