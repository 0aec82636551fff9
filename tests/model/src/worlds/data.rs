//! Worlds with clients, whose commits wait for replicas, and with in-sync sets that change.

use crate::faults::Faults;
use crate::host::Manner;
use crate::world::World;

/// All of them.
pub fn all() -> Vec<World> {
    let none = Faults::default();
    let manner = Manner { logs: true, ..Manner::default() };
    vec![
        World {
            manner,
            shows: &["commits come to wait", "a failover completes", "a promised write goes along"],
            ..World::new(
                "raise",
                "commits come to wait for a replica, a client writes, a replica falls behind, an engine dies",
                Faults { all: 4, raise: 1, write: 1, cut_replica: 1, crash_engine: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            manner,
            ack_quorum: 1,
            shows: &["commits wait for fewer", "a failover completes", "a promised write goes along"],
            ..World::new(
                "lower",
                "commits wait for a replica no more, and then they do again; a client writes, an engine dies",
                Faults { all: 4, raise: 1, lower: 1, write: 1, crash_engine: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            manner,
            ack_quorum: 1,
            shows: &["a failover completes", "a promised write goes along"],
            ..World::new(
                "data",
                "clients write, a replica falls behind or confirms late, and an engine dies",
                Faults { all: 3, write: 2, cut_replica: 1, delay_confirm: 1, crash_engine: 1, ..none },
            )
            .on_one_clock(2, 1)
        },
        World {
            manner,
            shows: &["a member leaves the in-sync set", "a member comes back", "a failover completes"],
            ..World::new(
                "members",
                "a member falls silent or its engine dies, leaves the in-sync set and comes back; then the master",
                Faults { all: 2, write: 1, cut: 1, crash_engine: 2, ..none },
            )
            .on_one_clock(2, 1)
        },
    ]
}

/// Three instances of which a commit needs two.
#[must_use]
pub fn three() -> World {
    let none = Faults::default();
    World {
        manner: Manner { logs: true, forgets: true, ..Manner::default() },
        ack_quorum: 1,
        shows: &[
            "a failover completes",
            "a promised write goes along",
            "a member leaves the in-sync set",
            "a member comes back",
        ],
        ..World::new(
            "data-three",
            "three instances, one confirmation: writes, replicas that fall behind, engines that die and forget, guards cut off",
            Faults { all: 4, write: 1, cut_replica: 1, crash_engine: 1, cut: 1, ..none },
        )
        .on_one_clock(3, 1)
    }
}
