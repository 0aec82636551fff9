//! One fault at a time, and what has to come of it.

use baton_core::rules::{Rule, Rules};
use baton_provider::memory::Faults;
use shells::{ARBITERS, HOSTS, World};
use std::collections::BTreeMap;
use std::time::Duration;

/// What ends a wait that hangs, in simulated time.
const PATIENCE: Duration = Duration::from_secs(60);

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at_rest() -> World {
    at_rest_with(Rules::default())
}

fn at_rest_with(rules: Rules) -> World {
    let mut world = World::with(7, rules);
    assert!(world.until(PATIENCE, World::is_whole), "{}", world.journal().join("\n"));
    world
}

fn masters(world: &World) -> BTreeMap<String, (u64, String)> {
    let of_record = |record: &baton_core::record::Record| {
        (record.term.0, record.master.as_ref().map_or(String::new(), ToString::to_string))
    };
    world.records().iter().map(|(name, record)| (name.clone(), of_record(record))).collect()
}

#[test]
fn each_set_gets_a_master_and_keeps_it() {
    let mut world = at_rest();
    let before = masters(&world);
    world.advance(second(30));
    assert_eq!(masters(&world), before, "{}", world.journal().join("\n"));
}

#[test]
fn a_master_whose_engine_ends_is_replaced_at_once_and_comes_back() {
    let mut world = at_rest();
    let before = masters(&world);
    world.end_engine("s00000-a");
    assert!(world.until(second(1), |world| masters(world)["s00000"].0 == 2), "{:?}", masters(&world));
    assert!(world.until(PATIENCE, World::is_whole), "{}", world.journal().join("\n"));
    assert_eq!(masters(&world)["s00001"], before["s00001"]);
}

#[test]
fn another_coordinator_takes_the_lock_of_one_that_dies_and_no_master_notices() {
    let mut world = at_rest();
    let before = masters(&world);
    let first = world.arbiter().expect("somebody decides");
    world.crash(first);
    assert!(world.until(PATIENCE, |world| world.arbiter().is_some_and(|name| name != first)));
    world.advance(second(20));
    assert_eq!(masters(&world), before, "{}", world.journal().join("\n"));
    world.start(first);
    world.advance(second(10));
    assert!(world.is_whole());
}

#[test]
fn a_host_that_the_arbiter_does_not_hear_loses_its_masters_and_follows_when_it_is_heard_again() {
    let mut world = at_rest();
    for arbiter in ARBITERS {
        world.hold(HOSTS[0], arbiter);
    }
    let replaced = |world: &World| masters(world).values().all(|(term, _)| *term >= 2);
    assert!(world.until(PATIENCE, replaced), "{}", world.journal().join("\n"));
    world.advance(second(5));
    world.heal();
    assert!(world.until(PATIENCE, World::is_whole), "{}", world.journal().join("\n"));
    assert!(masters(&world).values().all(|(_, master)| !master.ends_with("-a")), "{:?}", masters(&world));
}

/// The check of every millisecond can fail.
#[test]
#[should_panic(expected = "I2 is broken")]
fn without_fence_and_deadman_two_engines_can_be_written() {
    let mut world = at_rest_with(Rules::without(Rule::FenceBeforeDeadline));
    for arbiter in ARBITERS {
        world.hold(HOSTS[0], arbiter);
    }
    world.advance(second(20));
}

#[test]
fn a_host_that_stands_still_is_replaced_and_writes_nothing_when_it_goes_on() {
    let mut world = at_rest();
    world.freeze(HOSTS[0], true);
    let replaced = |world: &World| masters(world).values().all(|(term, _)| *term >= 2);
    assert!(world.until(PATIENCE, replaced), "{}", world.journal().join("\n"));
    world.freeze(HOSTS[0], false);
    assert!(world.until(PATIENCE, World::is_whole), "{}", world.journal().join("\n"));
}

#[test]
fn an_arbiter_that_is_alone_gives_way_to_one_that_is_heard() {
    let mut world = at_rest();
    let before = masters(&world);
    let first = world.arbiter().expect("somebody decides");
    let others = || HOSTS.into_iter().chain(ARBITERS).filter(move |other| *other != first);
    for other in others() {
        world.hold(first, other);
    }
    let moved = world.until(PATIENCE, |world| world.arbiter().is_some_and(|name| name != first));
    assert!(moved, "it still has the lock: {}", world.journal().join("\n"));
    world.advance(second(20));
    world.heal();
    assert!(world.until(PATIENCE, World::is_whole), "{}", world.journal().join("\n"));
    assert!(masters(&world).iter().all(|(set, (term, _))| *term >= before[set].0));
}

#[test]
fn a_provider_that_does_not_answer_costs_no_master_while_all_hear_the_arbiter_again_in_time() {
    let mut world = at_rest();
    let before = masters(&world);
    world.provider(Faults { refuse: true, ..Faults::default() });
    world.advance(second(2));
    world.provider(Faults::default());
    world.advance(second(20));
    assert_eq!(masters(&world), before, "{}", world.journal().join("\n"));
    world.restart_provider();
    world.advance(second(20));
    assert_eq!(masters(&world), before, "{}", world.journal().join("\n"));
}
