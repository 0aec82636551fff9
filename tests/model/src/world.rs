//! The worlds: how many instances and arbiters, which of them share a clock, and what may go wrong how often. A world is
//! bounded by numbers of faults; what a pause, a cut or a delay lasts is not bounded.
//!
//! Time is in units: a lease of six, a margin of two, which is twice by how much two clocks may differ.

use crate::host::Manner;
use baton_core::rules::{Rule, Rules};
use baton_core::time::Span;
use baton_core::timing::Timing;

/// How often each fault may still strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// All together.
    pub all: u8,
    /// A host and an arbiter lose every message between them until the cut heals.
    pub cut: u8,
    /// A guard reaches no other guard until that heals.
    pub cut_peers: u8,
    /// What a guard says to another is held back; it arrives at any later time, or never.
    pub delay_mail: u8,
    /// An arbiter does not reach the provider until that heals.
    pub cut_off: u8,
    /// The provider sees an arbiter's connection close; the arbiter does not, until it reaches the provider again.
    pub close: u8,
    /// A coordinator's guard does not run until it goes on.
    pub pause_guard: u8,
    /// An arbiter does not run until it goes on.
    pub pause_arbiter: u8,
    /// A whole host stands still until it goes on.
    pub freeze: u8,
    /// A coordinator's guard dies.
    pub crash_guard: u8,
    /// An engine dies.
    pub crash_engine: u8,
    /// A message is held back; it arrives at any later time, or never.
    pub delay: u8,
    /// A message arrives, and once more at any later time.
    pub duplicate: u8,
    /// A write is applied, and its answer is lost.
    pub lose_answer: u8,
    /// A write has no answer; it lands at any later time, or never.
    pub late_write: u8,
    /// The guard's connection to its engine breaks with a command unanswered, which may be executed later.
    pub break_connection: u8,
    /// A person asks for a switchover.
    pub switchover: u8,
}

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
    fn new(name: &'static str, story: &'static str, faults: Faults) -> Self {
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
            faults,
            broken: None,
            shows: &[],
        }
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

    /// How far back times are told apart: no rule looks back further than a lease, and the lock's ttl looks forward.
    #[must_use]
    pub fn horizon(&self) -> Span {
        self.timing.lease_ttl + self.timing.lock_renew + Span(1)
    }

    /// All worlds that CI searches, then the bigger ones.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut worlds = Self::of_ci();
        worlds.extend(Self::bigger());
        worlds.push(Self::of_late_promises());
        worlds
    }

    /// One by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|world| world.name == name)
    }

    /// The worlds of the gate.
    #[must_use]
    pub fn of_ci() -> Vec<Self> {
        [Self::of_leases(), Self::of_stops(), Self::of_locks(), Self::of_people(), Self::of_promises()]
            .concat()
    }

    fn of_leases() -> Vec<Self> {
        let none = Faults::default();
        let one = Faults { all: 1, ..none };
        let two = Faults { all: 2, ..none };
        vec![
            Self {
                shows: &["a failover completes", "the deadman kills", "an old master follows"],
                ..Self::new(
                    "lease",
                    "the master's host is cut off, stopped or frozen, or a message is late or comes twice",
                    Faults { cut: 1, pause_guard: 1, freeze: 1, delay: 1, duplicate: 1, ..one },
                )
            },
            Self {
                shows: &["a failover completes", "an old master follows", "a lease lapses"],
                ..Self::new("late", "a cut, and a message from before it", Faults { cut: 1, delay: 1, ..two })
            },
            Self {
                host_clocks: vec![0, 0],
                arbiter_clocks: vec![0],
                provider_clock: 0,
                drift: 0,
                shows: &["a failover completes", "an old master follows", "a lease lapses"],
                timing: long_timing(),
                ..Self::new(
                    "stale",
                    "the same on one clock, with a longer lease",
                    Faults { cut: 1, delay: 1, ..two },
                )
            },
            Self {
                host_clocks: vec![0, 0],
                arbiter_clocks: vec![0, 0],
                provider_clock: 0,
                drift: 0,
                timing: long_timing(),
                shows: &["a failover completes", "an arbiter takes over"],
                ..Self::new(
                    "stay",
                    "the lock moves, and the master's host hears the old arbiter only",
                    Faults { cut: 1, close: 1, ..two },
                )
            },
        ]
    }

    fn of_stops() -> Vec<Self> {
        let none = Faults::default();
        let one = Faults { all: 1, ..none };
        let two = Faults { all: 2, ..none };
        vec![
            Self {
                host_clocks: vec![0, 0],
                arbiter_clocks: vec![0],
                provider_clock: 0,
                drift: 0,
                shows: &["a failover completes", "an old master follows", "a lease lapses"],
                ..Self::new(
                    "again",
                    "the same on one clock with the short lease",
                    Faults { cut: 1, delay: 1, ..two },
                )
            },
            Self {
                manner: Manner { no_deadman: true, ..Manner::default() },
                shows: &["a failover completes", "an old master follows", "a lease lapses"],
                ..Self::new(
                    "bare",
                    "no deadman: a guard that runs is in time by itself",
                    Faults { cut: 1, ..one },
                )
            },
            Self {
                host_clocks: vec![0, 0],
                arbiter_clocks: vec![0],
                provider_clock: 0,
                drift: 0,
                manner: Manner { slow_deadman: true, ..Manner::default() },
                shows: &["a failover completes", "the deadman kills"],
                ..Self::new(
                    "deadman",
                    "the deadman hears late, a guard stops",
                    Faults { switchover: 1, pause_guard: 1, ..two },
                )
            },
        ]
    }

    fn of_locks() -> Vec<Self> {
        let none = Faults::default();
        let one = Faults { all: 1, ..none };
        let two = Faults { all: 2, ..none };
        vec![
            Self {
                arbiter_clocks: vec![2, 1],
                shows: &["an arbiter takes over"],
                ..Self::new(
                    "lock",
                    "two arbiters on two clocks; the one with the lock is cut off or stopped and believes in it",
                    Faults { cut_off: 1, close: 1, pause_arbiter: 1, ..one },
                )
            },
            Self {
                shows: &["a failover completes", "a guard leads again after its crash"],
                ..Self::new(
                    "crash",
                    "a guard or an engine dies and comes back",
                    Faults { crash_guard: 1, crash_engine: 1, ..one },
                )
            },
            Self {
                host_clocks: vec![0, 0],
                arbiter_clocks: vec![0],
                provider_clock: 0,
                drift: 0,
                manner: Manner { slow_engine: true, ..Manner::default() },
                shows: &["a failover completes"],
                ..Self::new(
                    "engine",
                    "the connection to the engine breaks with a promotion unanswered",
                    Faults { crash_engine: 1, break_connection: 1, ..two },
                )
            },
        ]
    }

    fn of_people() -> Vec<Self> {
        let none = Faults::default();
        let one = Faults { all: 1, ..none };
        let two = Faults { all: 2, ..none };
        vec![
            Self {
                host_clocks: vec![0, 0],
                arbiter_clocks: vec![0, 0],
                provider_clock: 0,
                drift: 0,
                shows: &["a failover completes", "an unknown write is settled", "an arbiter takes over"],
                ..Self::new(
                    "unknown",
                    "an engine dies, the answer to the write is lost or the write lands late, the lock moves",
                    Faults { all: 3, close: 1, lose_answer: 1, late_write: 1, crash_engine: 1, ..none },
                )
            },
            Self {
                start: Start::Empty,
                shows: &["the first master serves", "a failover completes"],
                ..Self::new(
                    "first",
                    "from the first appointment on",
                    Faults { cut: 1, delay: 1, pause_guard: 1, ..one },
                )
            },
            Self {
                shows: &["a switchover completes"],
                ..Self::new(
                    "switchover",
                    "a person asks for another master, and a message is late or a host is cut off",
                    Faults { switchover: 1, cut: 1, delay: 1, ..two },
                )
            },
        ]
    }

    fn of_promises() -> Vec<Self> {
        let none = Faults::default();
        vec![Self {
            host_clocks: vec![0, 0],
            arbiter_clocks: vec![0],
            provider_clock: 0,
            drift: 0,
            timing: long_timing(),
            manner: Manner { failsafe: true, ..Manner::default() },
            shows: &["a failover completes", "a master goes on by promises"],
            ..Self::new(
                "promise",
                "the arbiter loses the provider, and the master the arbiter and the other guard",
                Faults { all: 3, cut_off: 1, cut: 1, cut_peers: 1, ..none },
            )
        }]
    }

    fn of_late_promises() -> Self {
        Self {
            timing: long_timing(),
            manner: Manner { failsafe: true, ..Manner::default() },
            shows: &["a failover completes", "a master goes on by promises"],
            ..Self::new(
                "promise-late",
                "the same on two clocks, and what a guard says to another may be late",
                Faults { all: 3, cut_off: 1, cut: 1, cut_peers: 1, delay_mail: 1, ..Faults::default() },
            )
        }
    }

    fn bigger() -> Vec<Self> {
        let every = Faults {
            all: 2,
            cut: 2,
            cut_peers: 0,
            delay_mail: 0,
            cut_off: 1,
            close: 1,
            pause_guard: 1,
            pause_arbiter: 1,
            freeze: 1,
            crash_guard: 1,
            crash_engine: 1,
            delay: 2,
            duplicate: 1,
            lose_answer: 1,
            late_write: 1,
            break_connection: 0,
            switchover: 1,
        };
        vec![
            Self {
                shows: &["a failover completes", "a lease lapses"],
                ..Self::new(
                    "lease-two",
                    "two faults of those of lease",
                    Faults {
                        all: 2,
                        cut: 1,
                        pause_guard: 1,
                        freeze: 1,
                        delay: 2,
                        duplicate: 1,
                        ..Faults::default()
                    },
                )
            },
            Self {
                arbiter_clocks: vec![2, 1],
                shows: &["a failover completes", "an arbiter takes over"],
                ..Self::new(
                    "lock-two",
                    "two faults of those of lock, and cuts",
                    Faults { all: 2, cut: 1, cut_off: 1, close: 1, pause_arbiter: 1, ..Faults::default() },
                )
            },
            Self {
                start: Start::Empty,
                any_order: true,
                ..Self::new(
                    "order",
                    "from the first appointment on, what is due at one instant in any order",
                    Faults { all: 1, cut: 1, delay: 1, ..Faults::default() },
                )
            },
            Self {
                arbiter_clocks: vec![2, 1],
                ..Self::new("wide", "two arbiters, two faults of any kind", every)
            },
            Self {
                host_clocks: vec![0, 1, 1],
                ..Self::new("three", "three instances, one fault of any kind", Faults { all: 1, ..every })
            },
        ]
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
                world.timing.margin >= Span(2 * world.drift),
                "{}: a margin covers the drift",
                world.name
            );
        }
    }
}
