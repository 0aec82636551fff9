//! Worlds in which masters go on by promises, or by what others pass on.

use crate::faults::Faults;
use crate::host::Manner;
use crate::world::{World, long_timing};

/// All of them.
pub fn all() -> Vec<World> {
    let none = Faults::default();
    let manner = Manner { failsafe: true, ..Manner::default() };
    vec![
        World {
            manner,
            shows: &["a failover completes", "a master goes on by promises", "a failsafe is left"],
            ..World::new(
                "promise",
                "the arbiter loses the provider, and the master the arbiter and the other guard",
                Faults { all: 3, cut_off: 1, cut: 1, cut_peers: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            manner,
            shows: &["a failover completes", "a beat is passed on"],
            ..World::new(
                "relay",
                "the link between master and arbiter breaks, one way or both, and then the one that helped",
                Faults { all: 2, cut: 1, cut_up: 1, cut_down: 1, cut_peers: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
    ]
}

/// The failsafe with late messages, on two clocks.
#[must_use]
pub fn late() -> World {
    World {
        timing: long_timing(),
        manner: Manner { failsafe: true, ..Manner::default() },
        shows: &["a failover completes", "a master goes on by promises", "a failsafe is left"],
        ..World::new(
            "promise-late",
            "the same as promise on two clocks, and what a guard says to another may be late",
            Faults { all: 3, cut_off: 1, cut: 1, cut_peers: 1, delay_mail: 1, ..Faults::default() },
        )
    }
}
