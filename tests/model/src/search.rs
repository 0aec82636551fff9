//! One search of one world: everything that can be reached, or a way to what must not be.
//!
//! Breadth first finds the shortest way, and keeps a whole layer of states. Depth first keeps one way and a number for each
//! state that was seen: it is for worlds of which no layer fits into memory.

use crate::model::Checked;
use crate::moves::Move;
use crate::property::ALWAYS;
use crate::shared::number;
use crate::state::State;
use crate::world::World;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path, Property};
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
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
    /// Breadth first: the longest of the shortest ways to a state. Depth first: the longest way that was gone.
    pub depth: usize,
    /// Whether everything that can be reached was.
    pub exhausted: bool,
    /// The invariant that does not hold, and a way to where it does not.
    pub violation: Option<(&'static str, Way)>,
    /// What the world was to show and did not.
    pub unseen: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
}

/// Searches a world breadth first, until everything is searched, an invariant is broken, or `most` states were made.
/// `watch` is told now and then how many states were reached. With one thread the way to a violation is the shortest one.
pub fn search(
    world: &World,
    threads: usize,
    most: Option<usize>,
    mut watch: impl FnMut(usize, usize),
) -> Found {
    let began = Instant::now();
    let model = Checked { world: world.clone() };
    let mut builder = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(most) = most {
        builder = builder.target_state_count(most);
    }
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
        exhausted: most.is_none_or(|most| checker.state_count() < most),
        violation,
        unseen: unseen(world, &seen),
        took: began.elapsed(),
    }
}

fn unseen(world: &World, seen: &BTreeSet<&str>) -> Vec<&'static str> {
    world.shows.iter().copied().filter(|name| !seen.contains(name)).collect()
}

/// Searches a world depth first on this thread, until everything is searched, an invariant is broken, or `most` different
/// states were reached. The way to a violation is some way, and long.
pub fn search_deep(world: &World, most: Option<usize>, mut watch: impl FnMut(usize, usize)) -> Found {
    let began = Instant::now();
    let model = Checked { world: world.clone() };
    let mut dive = Dive::new(&model);
    for state in model.init_states() {
        dive.enter(state);
    }
    let mut steps = 0_usize;
    while dive.violation.is_none() && most.is_none_or(|most| dive.known.len() < most) {
        if !dive.step() {
            break;
        }
        steps += 1;
        if steps.is_multiple_of(1 << 14) {
            watch(dive.known.len(), dive.deepest);
        }
    }
    let way = |way: Vec<Stop>| way.into_iter().map(|stop| (stop.state, stop.took)).collect();
    Found {
        unique_states: dive.known.len(),
        generated_states: dive.made,
        depth: dive.deepest,
        exhausted: dive.way.is_empty(),
        unseen: unseen(world, &dive.seen),
        violation: dive.violation.map(|name| (name, way(dive.way))),
        took: began.elapsed(),
    }
}

/// One state of the way, and what was not tried from it.
struct Stop {
    state: State,
    untried: Vec<Move>,
    took: Option<Move>,
}

/// A search that goes down.
struct Dive<'a> {
    model: &'a Checked,
    properties: Vec<Property<Checked>>,
    known: HashSet<u64, BuildHasherDefault<AsItIs>>,
    way: Vec<Stop>,
    seen: BTreeSet<&'static str>,
    violation: Option<&'static str>,
    made: usize,
    deepest: usize,
}

impl<'a> Dive<'a> {
    fn new(model: &'a Checked) -> Self {
        Self {
            model,
            properties: model.properties(),
            known: HashSet::default(),
            way: Vec::new(),
            seen: BTreeSet::new(),
            violation: None,
            made: 0,
            deepest: 0,
        }
    }

    /// Goes on to a state, unless it is known.
    fn enter(&mut self, state: State) {
        self.made += 1;
        if !self.model.within_boundary(&state) || !self.known.insert(number(&state)) {
            return;
        }
        for property in &self.properties {
            if self.seen.contains(property.name) {
                continue;
            }
            let met = (property.condition)(self.model, &state);
            match property.expectation {
                Expectation::Always if !met => self.violation = self.violation.or(Some(property.name)),
                Expectation::Sometimes if met => {
                    self.seen.insert(property.name);
                }
                Expectation::Always | Expectation::Sometimes | Expectation::Eventually => {}
            }
        }
        let mut untried = Vec::new();
        self.model.actions(&state, &mut untried);
        self.way.push(Stop { state, untried, took: None });
        self.deepest = self.deepest.max(self.way.len());
    }

    /// One more step, or one back; `false` at the end.
    fn step(&mut self) -> bool {
        let Some(stop) = self.way.last_mut() else { return false };
        stop.took = stop.untried.pop();
        match stop.took {
            Some(step) => {
                if let Some(next) = self.model.next_state(&stop.state, step) {
                    self.enter(next);
                }
            }
            None => {
                self.way.pop();
            }
        }
        true
    }
}

/// What is kept of a state is a good number already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are kept")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
