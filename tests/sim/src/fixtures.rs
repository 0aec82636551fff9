//! Short ways to a world for tests in Rust: what a test sets is what matters to it.

use crate::world::{Entry, NextWrite, Setup, World};
use baton_core::ids::InstanceName;
use baton_core::record::Settings;
use baton_core::rules::Rules;
use baton_core::time::Span;
use std::collections::BTreeMap;

/// A name that is one.
#[must_use]
pub fn name(text: &str) -> InstanceName {
    InstanceName::parse(text).expect("tests use good names")
}

/// Three instances `a1`, `a2`, `a3`, arbiters `b1` and `b2`, a lease of three seconds, no waiting for replicas.
#[must_use]
pub fn setup() -> Setup {
    Setup {
        instances: ["a1", "a2", "a3"].map(name).to_vec(),
        arbiters: vec!["b1".to_owned(), "b2".to_owned()],
        settings: Settings::default(),
        bootstrap_members: None,
        data: BTreeMap::new(),
        priorities: BTreeMap::from([(name("a1"), 110), (name("a2"), 100), (name("a3"), 90)]),
        rules: Rules::default(),
        weather: None,
        durable: false,
        silent: false,
    }
}

/// The same where a commit waits for `k` replicas.
#[must_use]
pub fn synchronous(k: u32) -> Setup {
    Setup { settings: Settings { ack_quorum: k, ..Settings::default() }, ..setup() }
}

/// Data that was there before Baton came.
#[must_use]
pub fn found(entries: usize) -> Vec<Entry> {
    vec![Entry::Found; entries]
}

/// The world of a setup, come to rest: `a1` is master at term 1, the others follow.
#[must_use]
pub fn at_rest(setup: Setup) -> World {
    let mut world = World::new(setup).expect("tests use safe settings");
    world.stabilize();
    world.take_lines();
    world
}

impl World {
    /// Lets milliseconds pass.
    pub fn millis(&mut self, millis: u64) {
        self.advance(Span::from_millis(millis));
    }

    /// Nothing passes between two hosts, in either direction.
    pub fn cut(&mut self, one: &str, other: &str) {
        self.net().cut(one, other);
        self.net().cut(other, one);
    }

    /// The host of an instance reaches nobody and is reached by nobody.
    pub fn isolate(&mut self, instance: &str) {
        let mut others: Vec<String> = self.arbiters.keys().cloned().collect();
        others.extend(self.nodes.keys().map(ToString::to_string));
        others.push(crate::world::BOARD.to_owned());
        for other in others.iter().filter(|other| *other != instance) {
            self.cut(instance, other);
        }
    }

    /// What happens to the next write of a record.
    pub fn treat_next_write(&mut self, treatment: NextWrite) {
        self.provider.next_write = treatment;
    }

    /// A process for an arbiter that has none.
    pub fn start_arbiter_if_down(&mut self, arbiter: &str) {
        if self.arbiters.get(arbiter).is_some_and(|node| node.machine.is_none()) {
            self.start_arbiter(arbiter);
        }
    }

    /// Power off: guard, deadman and engine are gone at once.
    pub fn kill_host(&mut self, instance: &InstanceName) {
        self.crash_guard(instance);
        if let Some(node) = self.nodes.get_mut(instance) {
            node.deadman = crate::world::Deadman::default();
        }
        self.end_engine(instance);
    }

    /// Stops everything of a host.
    pub fn freeze(&mut self, instance: &InstanceName) {
        if let Some(node) = self.nodes.get_mut(instance) {
            node.frozen = true;
        }
        self.look();
    }

    /// Goes on: the deadman first, then what came in meanwhile, in order.
    pub fn thaw(&mut self, instance: &InstanceName) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.frozen = false;
        let late = node.deadman.deadline.is_some_and(|deadline| node.clock.read(now) >= deadline);
        if late {
            self.kill_by_deadman(instance);
        }
        self.resume_backlog(instance);
        self.look();
    }
}
