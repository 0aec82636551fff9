//! One search of one world: everything that can be reached, or the shortest way to what must not be.

use crate::model::Checked;
use crate::moves::Move;
use crate::property::ALWAYS;
use crate::state::State;
use crate::world::World;
use stateright::{Checker, HasDiscoveries, Model, Path};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A way through a world: each state with the step that leaves it.
pub type Way = Vec<(State, Option<Move>)>;

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many different states were reached.
    pub unique_states: usize,
    /// How many were made, repetitions included.
    pub generated_states: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// The invariant that does not hold, and the shortest way to where it does not.
    pub violation: Option<(&'static str, Way)>,
    /// What the world was to show and did not.
    pub unseen: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
}

/// Searches a world breadth first, until everything is searched or an invariant is broken. `watch` is told now and then
/// how many states were reached. With one thread the way to a violation is the shortest one.
pub fn search(world: &World, threads: usize, mut watch: impl FnMut(usize, usize)) -> Found {
    let began = Instant::now();
    let model = Checked { world: world.clone() };
    let builder = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = builder.spawn_bfs();
    while !checker.is_done() {
        watch(checker.unique_state_count(), checker.max_depth());
        // tidy: waits because the checker tells nobody how far it is.
        std::thread::sleep(Duration::from_millis(20));
    }
    let checker = checker.join();
    let discoveries = checker.discoveries();
    let seen: BTreeSet<&str> = discoveries.keys().copied().collect();
    let broken = ALWAYS.iter().map(|(name, _)| *name).find(|name| seen.contains(name));
    let violation = broken.and_then(|name| {
        let path: Path<State, Move> = discoveries.get(name)?.clone();
        Some((name, path.into_vec()))
    });
    Found {
        unique_states: checker.unique_state_count(),
        generated_states: checker.state_count(),
        depth: checker.max_depth(),
        violation,
        unseen: world.shows.iter().copied().filter(|name| !seen.contains(name)).collect(),
        took: began.elapsed(),
    }
}
