//! Worlds about leases: what is late, cut off, stopped or frozen.

use crate::faults::Faults;
use crate::host::Manner;
use crate::world::{World, long_timing};

/// All of them.
pub fn all() -> Vec<World> {
    [of_lateness(), of_stops(), of_one_way()].concat()
}

fn of_lateness() -> Vec<World> {
    let none = Faults::default();
    let one = Faults { all: 1, ..none };
    let two = Faults { all: 2, ..none };
    vec![
        World {
            shows: &["a failover completes", "the deadman kills", "an old master follows"],
            ..World::new(
                "lease",
                "the master's host is cut off, stopped or frozen, or a message is late or comes twice",
                Faults { cut: 1, pause_guard: 1, freeze: 1, delay: 1, duplicate: 1, ..one },
            )
        },
        World {
            shows: &["a failover completes", "an old master follows", "a lease lapses"],
            ..World::new("late", "a cut, and a message from before it", Faults { cut: 1, delay: 1, ..two })
        },
        World {
            host_clocks: vec![0, 0],
            arbiter_clocks: vec![0],
            provider_clock: 0,
            drift: 0,
            shows: &["a failover completes", "an old master follows", "a lease lapses"],
            timing: long_timing(),
            ..World::new(
                "stale",
                "the same on one clock, with a longer lease",
                Faults { cut: 1, delay: 1, ..two },
            )
        },
        World {
            host_clocks: vec![0, 0],
            arbiter_clocks: vec![0, 0],
            provider_clock: 0,
            drift: 0,
            timing: long_timing(),
            shows: &["a failover completes", "an arbiter takes over"],
            ..World::new(
                "stay",
                "the lock moves, and the master's host hears the old arbiter only",
                Faults { cut: 1, close: 1, ..two },
            )
        },
    ]
}

fn of_stops() -> Vec<World> {
    let none = Faults::default();
    let one = Faults { all: 1, ..none };
    let two = Faults { all: 2, ..none };
    vec![
        World {
            host_clocks: vec![0, 0],
            arbiter_clocks: vec![0],
            provider_clock: 0,
            drift: 0,
            shows: &["a failover completes", "an old master follows", "a lease lapses"],
            ..World::new(
                "again",
                "the same on one clock with the short lease",
                Faults { cut: 1, delay: 1, ..two },
            )
        },
        World {
            manner: Manner { no_deadman: true, ..Manner::default() },
            shows: &["a failover completes", "an old master follows", "a lease lapses"],
            ..World::new(
                "bare",
                "no deadman: a guard that runs is in time by itself",
                Faults { cut: 1, ..one },
            )
        },
        World {
            host_clocks: vec![0, 0],
            arbiter_clocks: vec![0],
            provider_clock: 0,
            drift: 0,
            manner: Manner { slow_deadman: true, ..Manner::default() },
            shows: &["a failover completes", "the deadman kills"],
            ..World::new(
                "deadman",
                "the deadman hears late, a guard stops",
                Faults { switchover: 1, pause_guard: 1, ..two },
            )
        },
    ]
}

fn of_one_way() -> Vec<World> {
    let none = Faults::default();
    vec![World {
        shows: &["a failover completes", "an old master follows", "a lease lapses"],
        ..World::new(
            "one-way",
            "a host hears the arbiter and is not heard, or is heard and does not hear; a beat comes twice",
            Faults { all: 2, cut_up: 1, cut_down: 1, duplicate_up: 1, part: 1, ..none },
        )
    }]
}
