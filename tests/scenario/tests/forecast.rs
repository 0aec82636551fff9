//! A forecast comes true: whatever is imagined to be lost is then lost in the same world, which ends as was said.

use baton_core::arbiter::{Fate, Loss};
use baton_core::ids::ReplicaSetName;
use scenario::fixtures::{at_rest, name, setup, synchronous};
use scenario::world::World;
use std::collections::BTreeSet;

const HOSTS: [&str; 3] = ["a1", "a2", "a3"];

fn forecast(world: &World, loss: &Loss) -> Fate {
    let set = ReplicaSetName::parse("r").expect("a good name");
    let active = world.arbiters.values().find_map(|arbiter| {
        let machine = arbiter.machine.as_ref()?;
        machine.forecast(arbiter.clock.read(world.now), &set, loss)
    });
    active.expect("an arbiter knows the set").fate
}

fn word(fate: &Fate) -> &'static str {
    match fate {
        Fate::NoneNow => "none now",
        Fate::Stays => "stays",
        Fate::GoesOn => "goes on",
        Fate::Stops(_) => "stops",
        Fate::Replaced(_) => "replaced",
        Fate::NoSuccessor(_) => "no successor",
    }
}

/// Who accepts writes.
fn writable(world: &World) -> Vec<&'static str> {
    HOSTS
        .into_iter()
        .filter(|host| {
            let engine = &world.nodes[&name(host)].engine;
            engine.running && engine.writable
        })
        .collect()
}

#[test]
fn whatever_is_lost_the_set_ends_as_was_said() {
    let mut seen = BTreeSet::new();
    for k in [0, 1] {
        for lost in 0..8_u8 {
            for provider in [false, true] {
                let mut world = at_rest(if k == 0 { setup() } else { synchronous(k) });
                let instances: BTreeSet<_> = HOSTS
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| lost & (1 << bit) != 0)
                    .map(|(_, host)| name(host))
                    .collect();
                let loss = Loss { instances: instances.clone(), provider };
                let fate = forecast(&world, &loss);
                if provider {
                    world.stop_provider();
                }
                for instance in &instances {
                    world.kill_host(instance);
                }
                world.millis(15_000);
                let expected = match &fate {
                    Fate::Stays | Fate::GoesOn => vec!["a1"],
                    Fate::Replaced(successor) => {
                        HOSTS.into_iter().filter(|host| name(host) == *successor).collect()
                    }
                    Fate::Stops(_) | Fate::NoSuccessor(_) | Fate::NoneNow => Vec::new(),
                };
                assert_eq!(writable(&world), expected, "{loss:?}, {k} waited for: {fate:?}");
                seen.insert(word(&fate));
            }
        }
    }
    assert_eq!(
        Vec::from_iter(seen),
        ["goes on", "no successor", "replaced", "stays", "stops"],
        "every fate is met"
    );
}

#[test]
fn a_switchover_ends_as_its_dry_run_said() {
    let set = ReplicaSetName::parse("r").expect("a good name");
    for k in [0, 1] {
        for target in [None, Some("a1"), Some("a2"), Some("a3"), Some("a9")] {
            let mut world = at_rest(if k == 0 { setup() } else { synchronous(k) });
            // Its engine is down: it is refused as a target, and not chosen.
            let a2 = name("a2");
            if target == Some("a2") {
                world.kill_host(&a2);
                world.millis(100);
            }
            let target = target.map(name);
            let said = world.arbiters.values().find_map(|arbiter| {
                let machine = arbiter.machine.as_ref().filter(|machine| machine.epoch().is_some())?;
                Some(machine.forecast_switchover(arbiter.clock.read(world.now), &set, target.as_ref()))
            });
            let said = said.expect("an arbiter is active");
            world.switchover(target.clone(), baton_core::time::Span::from_secs(2));
            world.millis(5_000);
            let expected = match said.map(|forecast| forecast.fate) {
                Ok(Fate::Replaced(successor)) => successor,
                Ok(_) | Err(_) => name("a1"),
            };
            let record = world.provider.record().expect("there is one");
            assert_eq!(record.master, Some(expected.clone()), "to {target:?}, {k} waited for");
            let moves = matches!(target.as_ref().map(|target| target.as_str()), None | Some("a3"));
            assert_eq!(expected != name("a1"), moves, "to {target:?}: {expected}");
        }
    }
}
