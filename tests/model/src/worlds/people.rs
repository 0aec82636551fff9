//! Worlds in which people ask for something.

use crate::faults::Faults;
use crate::host::Manner;
use crate::world::{Start, World, tiny_timing};
use baton_core::time::Span;

/// All of them.
pub fn all() -> Vec<World> {
    [of_appointments(), of_pauses(), of_force()].concat()
}

fn of_appointments() -> Vec<World> {
    let none = Faults::default();
    let one = Faults { all: 1, ..none };
    let two = Faults { all: 2, ..none };
    vec![
        World {
            host_clocks: vec![0, 0],
            arbiter_clocks: vec![0, 0],
            provider_clock: 0,
            drift: 0,
            shows: &["a failover completes", "an unknown write is settled", "an arbiter takes over"],
            ..World::new(
                "unknown",
                "an engine dies, the answer to the write is lost or the write lands late, the lock moves",
                Faults { all: 3, close: 1, lose_answer: 1, late_write: 1, crash_engine: 1, ..none },
            )
        },
        World {
            start: Start::Empty,
            shows: &["the first master serves", "a failover completes"],
            ..World::new(
                "first",
                "from the first appointment on",
                Faults { cut: 1, delay: 1, pause_guard: 1, ..one },
            )
        },
        World {
            shows: &["a switchover completes"],
            ..World::new(
                "switchover",
                "a person asks for another master, and a message is late or a host is cut off",
                Faults { switchover: 1, cut: 1, delay: 1, ..two },
            )
        },
        World {
            manner: Manner { slow_engine: true, ..Manner::default() },
            shows: &["a switchover completes", "a switchover rolls back"],
            ..World::new(
                "rollback",
                "an engine dies, or is slow to promote, in a switchover; somebody wants the old master back",
                Faults { all: 3, switchover: 1, abort: 1, crash_engine: 1, break_connection: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            shows: &["the set is removed", "a removed set begins anew"],
            ..World::new(
                "remove",
                "the coordinators are stopped, the set is removed, and somebody comes under its name",
                Faults { all: 3, crash_guard: 2, remove: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
    ]
}

fn of_pauses() -> Vec<World> {
    let none = Faults::default();
    vec![
        World {
            timing: tiny_timing(),
            shows: &["the set is paused", "a pause ends", "a failover completes"],
            ..World::new(
                "pause",
                "a person pauses for good and ends it, and the master is cut off or its guard dies",
                Faults { all: 3, pin: 1, unpin: 1, cut: 1, crash_guard: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            timing: tiny_timing(),
            pin_for: Some(Span(17)),
            shows: &["the set is paused", "a pause ends", "a failover completes"],
            ..World::new(
                "pause-ends",
                "a pause with an end, and the master is cut off, or told late",
                Faults { all: 2, pin: 1, cut: 1, delay: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            timing: tiny_timing(),
            shows: &["the set is paused", "an arbiter takes over in a pause", "a failover completes"],
            ..World::new(
                "pause-moves",
                "the lock moves while the set is paused, and the pause ends under the next arbiter",
                Faults { all: 3, pin: 1, unpin: 1, close: 1, crash_engine: 1, ..none },
            )
            .on_one_clock(2, 2)
        },
    ]
}

fn of_force() -> Vec<World> {
    let none = Faults::default();
    vec![World {
        timing: tiny_timing(),
        fences: true,
        shows: &["a forced failover completes", "a member leaves the in-sync set", "a host is turned off"],
        ..World::new(
            "force",
            "a member leaves the set, the master falls silent, and a person forces with the fence command",
            Faults { all: 3, cut: 2, force: 1, ..none },
        )
        .on_one_clock(2, 1)
    }]
}
