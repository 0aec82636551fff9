//! Worlds in which clocks mean nothing: any timer may fire at any time, a lock may be taken for expired at any moment, and a
//! deadman may be early or late. What rests on numbers alone (I1, I3, I4, I6) has to hold in them; that two are writable at
//! once is even something that they have to show.

use crate::faults::Faults;
use crate::world::{World, tiny_timing};
use baton_core::time::Span;
use baton_core::timing::Timing;

/// All of them.
pub fn all() -> Vec<World> {
    vec![small()]
}

/// Few moments to tell apart: how long anything takes means nothing here, only what comes first by one node's own clock.
fn coarse_timing() -> Timing {
    Timing {
        lease_ttl: Span(2),
        hold: Span(2),
        margin: Span(0),
        fence_budget: Span(0),
        kill_budget: Span(0),
        lock_ttl: Span(3),
        lock_margin: Span(0),
        stall_timeout: Span(2),
        promote_wait: Span(2),
        request_timeout: Span(1),
        ..tiny_timing()
    }
}

fn new(name: &'static str, story: &'static str, arbiters: usize, versions: u64, faults: Faults) -> World {
    let world = World::new(name, story, faults);
    World {
        host_clocks: vec![0, 1],
        arbiter_clocks: (2..2 + arbiters).collect(),
        provider_clock: 2 + arbiters,
        timeless: true,
        timing: coarse_timing(),
        versions_most: Some(versions),
        shows: &["a failover completes", "two are writable at once"],
        ..world
    }
}

fn small() -> World {
    World {
        shows: &["a failover completes"],
        ..new("timeless", "any timer at any time, and nothing else goes wrong", 1, 4, Faults::default())
    }
}

/// The same with cuts, with messages that are late, with a lock that moves and with writes that are lost or late.
#[must_use]
pub fn wide() -> Vec<World> {
    let none = Faults::default();
    vec![
        new(
            "timeless-cut",
            "any timer at any time, and a host that is cut off",
            1,
            3,
            Faults { all: 1, cut: 1, ..none },
        ),
        new(
            "timeless-late",
            "any timer at any time, and a message that is late or comes twice",
            1,
            3,
            Faults { all: 1, delay: 1, duplicate: 1, duplicate_up: 1, ..none },
        ),
        new(
            "timeless-lock",
            "any timer at any time, the lock moves at any time, a write is lost or lands late, a guard dies",
            2,
            3,
            Faults { all: 1, cut: 1, lose_answer: 1, late_write: 1, crash_guard: 1, ..none },
        ),
    ]
}
