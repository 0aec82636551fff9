//! Faults by chance, one on another; then all of them end, and everything has to be whole again.

use baton_core::rng::split_mix;
use baton_provider::memory::Faults;
use shells::{ARBITERS, HOSTS, World};
use std::time::Duration;

/// By when, after the faults, in simulated time: takeovers, failovers and a replica's return, one after another.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many faults strike in a run.
const FAULTS: u64 = 12;

struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        split_mix(self.0) % most
    }

    fn of(&mut self, names: &[&'static str]) -> &'static str {
        names[usize::try_from(self.below(names.len() as u64)).expect("small")]
    }
}

fn strike(world: &mut World, dice: &mut Dice, down: &mut Vec<&'static str>) {
    match dice.below(10) {
        0 | 1 => {
            let member = ["s00000-a", "s00000-b", "s00000-c", "s00001-a", "s00001-b", "s00001-c"];
            world.end_engine(dice.of(&member));
        }
        2 => {
            let arbiter = dice.of(&ARBITERS);
            if !down.contains(&arbiter) {
                world.crash(arbiter);
                down.push(arbiter);
            }
        }
        3 => {
            if let Some(arbiter) = down.pop() {
                world.start(arbiter);
            }
        }
        4 | 5 => world.hold(dice.of(&HOSTS), dice.of(&ARBITERS)),
        6 => world.freeze(dice.of(&HOSTS), true),
        7 => HOSTS.into_iter().for_each(|host| world.freeze(host, false)),
        8 => {
            let refuse = dice.below(2) == 0;
            world.provider(Faults { refuse, drop_answers: !refuse, delay: None });
            world.advance(Duration::from_millis(dice.below(3_000)));
            world.provider(Faults::default());
        }
        _ => world.heal(),
    }
}

/// A run, whose journal tells everything that was recorded.
fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    let mut dice = Dice(split_mix(seed));
    let mut down = Vec::new();
    assert!(world.until(PATIENCE, World::is_whole), "seed {seed}: {}", world.journal().join("\n"));
    for _ in 0..FAULTS {
        strike(&mut world, &mut dice, &mut down);
        world.advance(Duration::from_millis(dice.below(60) * dice.below(60)));
    }
    world.heal();
    HOSTS.into_iter().for_each(|host| world.freeze(host, false));
    down.into_iter().for_each(|arbiter| world.start(arbiter));
    assert!(world.until(PATIENCE, World::is_whole), "seed {seed}: {}", world.journal().join("\n"));
    world
}

#[test]
fn after_faults_by_chance_every_set_is_whole_again() {
    let asked = std::env::var("BATON_SEEDS").ok().and_then(|text| text.parse().ok());
    let from = std::env::var("BATON_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut changes = 0;
    for seed in from..from + asked.unwrap_or(4) {
        changes += run(seed).journal().iter().filter(|line| line.contains("term 2 ")).count();
    }
    assert!(changes > 0, "no run changed a master");
}

#[test]
fn a_seed_is_a_run() {
    let (first, second) = (run(3), run(3));
    assert_eq!(first.journal(), second.journal());
    assert_ne!(first.journal(), run(4).journal());
}
