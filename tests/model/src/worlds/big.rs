//! Worlds that are too big for the gate.

use crate::faults::Faults;
use crate::host::Manner;
use crate::world::{Start, World, tiny_timing};

/// All of them.
#[must_use]
pub fn all() -> Vec<World> {
    let mut worlds = bigger();
    worlds.extend(deeper());
    worlds.extend(unheard());
    worlds.extend([super::promises::late(), super::data::three()]);
    worlds.extend(super::timeless::wide());
    worlds
}

fn bigger() -> Vec<World> {
    let every = Faults {
        all: 2,
        cut: 2,
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
        switchover: 1,
        ..Faults::default()
    };
    vec![
        World {
            shows: &["a failover completes", "a lease lapses"],
            ..World::new(
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
        World {
            arbiter_clocks: vec![2, 1],
            shows: &["a failover completes", "an arbiter takes over"],
            ..World::new(
                "lock-two",
                "two faults of those of lock, and cuts",
                Faults { all: 2, cut: 1, cut_off: 1, close: 1, pause_arbiter: 1, ..Faults::default() },
            )
        },
        World {
            start: Start::Empty,
            any_order: true,
            versions_most: Some(6),
            ..World::new(
                "order",
                "from the first appointment on, what is due at one instant in any order",
                Faults { all: 1, cut: 1, delay: 1, ..Faults::default() },
            )
        },
        World {
            arbiter_clocks: vec![2, 1],
            ..World::new("wide", "two arbiters, two faults of any kind", every)
        },
        World {
            host_clocks: vec![0, 1, 1],
            ..World::new("three", "three instances, one fault of any kind", Faults { all: 1, ..every })
        },
    ]
}

/// More faults of those of single worlds of the gate.
fn deeper() -> Vec<World> {
    vec![
        World {
            timing: tiny_timing(),
            shows: &["an arbiter takes over", "an arbiter comes back from nothing", "a failover completes"],
            ..World::new(
                "restart-two",
                "two arbiters and a provider that die and come back, a lock that is given up, a master that is cut off",
                Faults { all: 3, crash_arbiter: 1, crash_provider: 1, resign: 1, cut: 1, ..Faults::default() },
            )
            .on_one_clock(2, 2)
        },
        World {
            timing: tiny_timing(),
            shows: &["the set is paused", "a pause ends", "an arbiter takes over in a pause", "a failover completes"],
            ..World::new(
                "pause-two",
                "a pause and its end, the lock moves, the master is cut off, stopped or dies",
                Faults { all: 4, pin: 1, unpin: 1, close: 1, cut: 1, pause_guard: 1, crash_engine: 1, ..Faults::default() },
            )
            .on_one_clock(2, 2)
        },
        World {
            shows: &["a failover completes", "an old master follows", "a lease lapses"],
            ..World::new(
                "one-way-two",
                "one-way cuts on two clocks, and messages late, twice or out of order",
                Faults { all: 3, cut_up: 1, cut_down: 1, delay: 1, duplicate: 1, duplicate_up: 1, ..Faults::default() },
            )
        },
            World {
            timing: tiny_timing(),
            shows: &["the set is paused", "a pause ends", "an arbiter takes over in a pause", "a failover completes"],
            ..World::new(
                "pause-unheard",
                "a pause and its end, of which the master does not hear, and the lock moves",
                Faults { all: 4, pin: 1, unpin: 1, close: 1, cut: 1, ..Faults::default() },
            )
            .on_one_clock(2, 2)
        },
        World {
            fences: true,
            timing: tiny_timing(),
            shows: &["a forced failover completes", "a member leaves the in-sync set", "a host is turned off"],
            ..World::new(
                "force-two",
                "the same as force, and the fence command may confirm nothing, or the guard of the master dies",
                Faults { all: 4, cut: 2, force: 1, fence_fails: 1, crash_guard: 1, ..Faults::default() },
            )
            .on_one_clock(2, 1)
        },
    ]
}

/// Masters that nobody hears, and that go on by promises or alone.
fn unheard() -> Vec<World> {
    let none = Faults::default();
    let manner = Manner { failsafe: true, ..Manner::default() };
    vec![
        World {
            manner,
            shows: &["a member leaves the in-sync set", "a master goes on by promises"],
            ..World::new(
                "force-alone",
                "a member leaves the set, its master goes on alone and unheard, and a person forces without a fence command",
                Faults { all: 3, cut: 2, force: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            manner,
            shows: &["a member leaves the in-sync set", "a master goes on by promises", "the set is removed"],
            ..World::new(
                "remove-alone",
                "a member leaves the set, its master goes on alone and unheard, the set is removed, and the member comes under its name",
                Faults { all: 4, cut: 2, part: 1, crash_guard: 1, remove: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            manner,
            shows: &["a member leaves the in-sync set", "a member comes back", "a master goes on by promises"],
            ..World::new(
                "promise-members",
                "a member leaves the set and comes back while the arbiter loses the provider and the master everybody",
                Faults { all: 4, cut: 2, cut_off: 1, cut_peers: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            manner,
            shows: &["a failover completes", "a master goes on by promises"],
            ..World::new(
                "promise-three",
                "three instances, the arbiter loses the provider, and guards lose each other and the arbiter",
                Faults { all: 3, cut_off: 1, cut: 1, cut_peers: 1, ..none },
            )
            .on_one_clock(3, 1)
        },
        World {
            manner,
            shows: &["a master goes on by promises", "a hand-over is taken", "a failover completes"],
            ..World::new(
                "promise-process",
                "the same as promise, and a guard that has promised dies, or is restarted on purpose",
                Faults { all: 4, cut_off: 1, cut: 1, cut_peers: 1, crash_guard: 1, hand_over: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
    ]
}
