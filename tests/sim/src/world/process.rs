//! The processes of a guard: each a new run, or, where a sidecar is restarted on purpose, one that goes on from what the
//! last one handed over.
//!
//! It must not know what a guard hands over.

use super::World;
use super::node::Deadman;
use baton_core::guard::{Config, Guard, HandOver, Home, Input};
use baton_core::ids::InstanceName;
use baton_core::time::Time;

/// A hand-over as it lies on the disk.
#[derive(Clone, Debug)]
pub struct Left {
    handed: HandOver,
    /// Which run of the engine the deadman held.
    engine_run: u64,
}

impl World {
    /// A process for the guard: from a hand-over, where one lies there and fits.
    pub fn start_guard(&mut self, instance: &InstanceName) {
        match self.take_hand_over(instance) {
            Some(left) => self.resume_guard(instance, left),
            None => self.start_run(instance),
        }
        self.start_contender(instance.as_str());
    }

    /// A new run. A deadman that an older one left with a deadline, and the engine that is its child, are gone; without one the
    /// engine cannot be written, and lives on.
    fn start_run(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.counted += 1;
        let lives_on = node.deadman.up && node.deadman.deadline.is_none();
        if !lives_on {
            node.deadman = Deadman { up: true, ..Deadman::default() };
        }
        if !lives_on && node.supervised {
            node.engine.end();
            node.connection += 1;
            node.unheard.clear();
            node.engine_deaf = false;
            self.replicas_lost(instance);
        }
        let (local, config) = self.new_process(instance);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.guard = Some(Guard::new(local, config, node.disk.clone(), node.same_boot));
        self.drain_guard(instance);
        self.guard_step(instance, Input::DeadmanUp);
        if self.nodes.get(instance).is_some_and(|node| node.engine.running) {
            self.connect_engine(instance);
        } else {
            self.guard_step(instance, Input::EngineEnded);
        }
        self.attach(instance);
    }

    /// Counts a process, which has no connection to anything yet; the clock that it reads, and what it is configured with.
    fn new_process(&mut self, instance: &InstanceName) -> (Time, Config) {
        let (settings, timing) = self.read_settings(instance.as_str());
        let (rules, replicaset, failsafe) = (self.rules, self.replicaset.clone(), settings.failsafe);
        let now = self.now;
        let node = self.nodes.get_mut(instance).expect("only hosts of the world are started");
        node.run += 1;
        node.guard_frozen = false;
        node.outstanding.clear();
        node.askers.clear();
        node.remembered.heard_epoch = node.disk.highest_epoch;
        node.remembered.silent_since = Some(node.clock.read(now));
        let config = Config {
            instance: instance.clone(),
            replicaset,
            incarnation: node.incarnation(),
            supervised: node.supervised,
            failsafe,
            timing,
            rules,
        };
        (node.clock.read(now), config)
    }

    /// The daemon is asked to end: the guard gives up what it has, and then says nothing any more.
    pub fn tell_guard_to_stop(&mut self, instance: &InstanceName) {
        self.guard_step(instance, Input::Stop);
    }

    /// The guard's process ends; its deadman and the engine live on.
    pub fn crash_guard(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.guard = None;
        node.outstanding.clear();
        node.unsaved.clear();
        node.connection += 1;
        self.close_stream(instance);
        self.watch();
    }

    /// The guard's process ends and leaves a hand-over, unless something is not settled: then nothing changes.
    pub fn hand_over(&mut self, instance: &InstanceName) -> bool {
        let Some(node) = self.nodes.get_mut(instance).filter(|node| !node.guard_is_stopped()) else {
            return false;
        };
        let Some(guard) = &mut node.guard else { return false };
        // What the deadman was told last is on its way to it, or it does not hear.
        if node.deadman.deaf || node.deadman.deadline != guard.armed() {
            self.say(instance.as_str(), "cannot hand over: its deadman does not answer");
            return false;
        }
        match guard.hand_over(node.taken) {
            Ok(handed) => {
                node.left = Some(Left { handed, engine_run: node.engine.run });
                self.crash_guard(instance);
                true
            }
            Err(why) => {
                self.say(instance.as_str(), format_args!("cannot hand over: {}", why.text()));
                false
            }
        }
    }

    /// The hand-over that lies there, if it fits. Whatever lies there is gone afterwards, and one that is used is counted.
    fn take_hand_over(&mut self, instance: &InstanceName) -> Option<Left> {
        let (rules, replicaset) = (self.rules, self.replicaset.clone());
        let node = self.nodes.get_mut(instance)?;
        let left = node.left.take()?;
        let home = Home {
            instance: instance.clone(),
            replicaset,
            supervised: node.supervised,
            incarnation: node.incarnation(),
            taken: node.taken,
            saved: node.disk.clone(),
        };
        match left.handed.fits(&home, rules) {
            Ok(()) => {
                node.taken += 1;
                Some(left)
            }
            Err(why) => {
                self.say(instance.as_str(), format_args!("does not take the hand-over: {}", why.text()));
                None
            }
        }
    }

    fn resume_guard(&mut self, instance: &InstanceName, left: Left) {
        let (local, config) = self.new_process(instance);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let (there, lost) = (node.engine.running, !node.deadman.up);
        // Somebody else has been here: what holds the engine is not what was left.
        let other =
            there && (node.engine.run != left.engine_run || node.deadman.deadline != left.handed.armed);
        if lost {
            node.deadman = Deadman { up: true, ..Deadman::default() };
        }
        let handed = left.handed.clone();
        node.guard = Some(Guard::resume(local, config, left.handed));
        // It was counted when it was taken.
        let taken = node.taken.saturating_sub(1);
        self.watch_taken(instance, &handed, taken);
        self.say(instance.as_str(), "goes on from a hand-over");
        self.drain_guard(instance);
        self.watch();
        if lost || other {
            self.guard_step(instance, Input::DeadmanLost);
        }
        if other {
            self.end_engine(instance);
        }
        self.guard_step(instance, Input::DeadmanUp);
        if there {
            self.connect_engine(instance);
        } else {
            self.guard_step(instance, Input::EngineEnded);
        }
        self.attach(instance);
    }
}
