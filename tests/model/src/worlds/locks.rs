//! Worlds about the arbiter's lock, and about processes that die.

use crate::faults::Faults;
use crate::host::Manner;
use crate::world::{World, tiny_timing};

/// All of them.
pub fn all() -> Vec<World> {
    [of_locks(), of_processes()].concat()
}

fn of_locks() -> Vec<World> {
    let none = Faults::default();
    let one = Faults { all: 1, ..none };
    let two = Faults { all: 2, ..none };
    vec![
        World {
            arbiter_clocks: vec![2, 1],
            shows: &["an arbiter takes over"],
            ..World::new(
                "lock",
                "two arbiters on two clocks; the one with the lock is cut off or stopped and believes in it",
                Faults { cut_off: 1, close: 1, pause_arbiter: 1, ..one },
            )
        },
        World {
            shows: &["a failover completes", "a guard leads again after its crash"],
            ..World::new(
                "crash",
                "a guard or an engine dies and comes back",
                Faults { crash_guard: 1, crash_engine: 1, ..one },
            )
        },
        World {
            host_clocks: vec![0, 0],
            arbiter_clocks: vec![0],
            provider_clock: 0,
            drift: 0,
            manner: Manner { slow_engine: true, ..Manner::default() },
            shows: &["a failover completes"],
            ..World::new(
                "engine",
                "the connection to the engine breaks with a promotion unanswered",
                Faults { crash_engine: 1, break_connection: 1, ..two },
            )
        },
    ]
}

fn of_processes() -> Vec<World> {
    let none = Faults::default();
    vec![
        World {
            timing: tiny_timing(),
            shows: &["a failover completes", "an arbiter takes over", "an arbiter returns"],
            ..World::new(
                "resign",
                "an arbiter gives its lock up and comes back, and the master falls silent",
                Faults { all: 3, resign: 2, cut: 1, ..none },
            )
            .on_one_clock(2, 2)
        },
        World {
            shows: &["an arbiter takes over", "an arbiter comes back from nothing"],
            ..World::new(
                "restart",
                "an arbiter, the provider or the master's host dies and comes back",
                Faults { all: 2, crash_arbiter: 1, crash_provider: 1, freeze: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            shows: &["a hand-over is taken", "a failover completes"],
            ..World::new(
                "hand-over",
                "a sidecar is restarted on purpose, at once or much later, or crashes; somebody puts a copy of the hand-over back",
                Faults { all: 2, hand_over: 1, crash_guard: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
    ]
}
