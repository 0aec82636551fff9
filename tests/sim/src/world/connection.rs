//! The engine of a host and the connection of its guard to it: how it is started and ended, what it is told, when it answers, and
//! what is carried out late. It must not know why the guard asks.

use super::node::DEADMAN_MICROS;
use super::{Due, World};
use crate::show;
use baton_core::engine::{EngineCommand, EngineOutcome, Probe};
use baton_core::guard::{Guard, Input};
use baton_core::ids::{InstanceName, OpId};

/// How long an engine takes to hear a command, and its answer to come back.
pub(super) const ENGINE_MICROS: u64 = 200;

impl World {
    /// The engine's processes end.
    pub fn end_engine(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if !node.engine.running {
            return;
        }
        node.engine.end();
        node.connection += 1;
        node.unheard.clear();
        node.engine_deaf = false;
        let outstanding = std::mem::take(&mut node.outstanding);
        let run = node.run;
        self.replicas_lost(instance);
        for (op, _) in outstanding {
            let outcome = EngineOutcome::Unknown("the engine ended".to_owned());
            self.after(
                DEADMAN_MICROS,
                Due::Guard(instance.clone(), run, Box::new(Input::EngineDone { op, outcome })),
            );
        }
        self.after(DEADMAN_MICROS, Due::Guard(instance.clone(), run, Box::new(Input::EngineEnded)));
        self.watch();
    }

    pub(super) fn start_engine(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.engine.start();
        self.say(instance.as_str(), "engine starts, fenced");
        self.connect_engine(instance);
    }

    /// A connection to the engine that the deadman holds.
    pub fn connect_engine(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if !node.engine.running {
            return;
        }
        node.connection += 1;
        let connection = node.connection;
        self.after(2 * ENGINE_MICROS, Due::EngineConnected(instance.clone(), connection));
    }

    pub(super) fn engine_connected(&mut self, instance: &InstanceName, connection: u64) {
        let Some(node) = self.nodes.get(instance) else { return };
        if node.connection == connection && node.engine.running && !node.engine_deaf {
            let probe = node.engine.probe();
            self.guard_step(instance, Input::EngineConnected(probe));
        } else if node.connection == connection && node.engine.running {
            self.after(10_000, Due::EngineConnected(instance.clone(), connection));
        }
    }

    /// The connection to the engine breaks; what was asked over it stays unanswered, and may yet be carried out.
    pub fn break_connection(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let outstanding = std::mem::take(&mut node.outstanding);
        for (op, _) in outstanding {
            let outcome = EngineOutcome::Unknown("the connection broke".to_owned());
            self.guard_step(instance, Input::EngineDone { op, outcome });
        }
        // What those answers made the guard ask has nowhere to go any more.
        if let Some(node) = self.nodes.get_mut(instance) {
            node.outstanding.clear();
        }
        self.guard_step(instance, Input::EngineDisconnected);
        self.connect_engine(instance);
    }

    /// The engine hears again; what waits in sockets that were given up is another matter.
    pub fn engine_hears(&mut self, instance: &InstanceName) {
        if let Some(node) = self.nodes.get_mut(instance) {
            node.engine_deaf = false;
            node.hangs_in_promotion = false;
        }
    }

    /// What waited in sockets that were given up never arrives. No engine reads an old socket long after it has answered over a new one
    /// (docs/protocol.md, P228): it is carried out as the engine hears again, or not at all.
    pub fn forget_unheard(&mut self, instance: &InstanceName) {
        if let Some(node) = self.nodes.get_mut(instance) {
            node.unheard.clear();
        }
    }

    /// The engine carries out what waited in sockets that were given up.
    pub fn late_commands(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        for command in std::mem::take(&mut node.unheard) {
            self.say(instance.as_str(), format_args!("engine carries out late: {}", show::command(&command)));
            self.carry_out(instance, &command);
        }
    }

    /// The engine does what it is told, in time or late: whoever it leaves, follows or leads hears of it either way.
    fn carry_out(&mut self, instance: &InstanceName, command: &EngineCommand) -> Option<Probe> {
        let node = self.nodes.get_mut(instance)?;
        let found = node.engine.data();
        let followed = node.engine.follows.clone();
        let probe = node.engine.obey(command);
        if node.engine.follows != followed {
            self.leave_master(instance, followed.as_ref());
        }
        self.watch_one(instance, Some(found));
        if matches!(command, EngineCommand::Follow { .. }) {
            self.look_after_link(instance, 1_000);
        }
        if matches!(command, EngineCommand::Promote { .. }) {
            self.replicate_from(instance);
        }
        self.acknowledge_settled(instance);
        Some(probe)
    }

    /// An operator's hand makes the engine writable, or read-only.
    pub fn set_by_hand(&mut self, instance: &InstanceName, writable: bool) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let followed = node.engine.follows.take();
        node.engine.link_up = false;
        node.engine.writable = writable;
        // Where the guard has not even seen that its engine was fenced, by a command that came late, and has the right, the hand gives
        // back what it had: the engine takes writes by right, and nobody will ever fence it.
        let rightful = node.guard.as_ref().and_then(Guard::writable_at);
        node.engine.promoted = rightful.filter(|term| writable && node.engine.reach().0 == term.0);
        self.leave_master(instance, followed.as_ref());
        self.watch();
    }

    pub(super) fn engine_command(&mut self, instance: &InstanceName, connection: u64, op: OpId) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if node.connection != connection || !node.engine.running {
            return;
        }
        let Some((_, command)) = node.outstanding.iter().find(|(asked, _)| *asked == op).cloned() else {
            return;
        };
        if matches!(command, EngineCommand::Promote { .. }) && node.hangs_in_promotion {
            node.engine_deaf = true;
        }
        if node.engine_deaf || node.engine.stalled {
            node.swallowed = Some(connection);
            if command != EngineCommand::Probe {
                node.unheard.push(command);
            }
            return;
        }
        let run = node.run;
        let Some(probe) = self.carry_out(instance, &command) else { return };
        let outcome = EngineOutcome::Done(probe);
        self.after(
            ENGINE_MICROS,
            Due::Answer(instance.clone(), run, connection, Box::new(Input::EngineDone { op, outcome })),
        );
    }

    pub(super) fn engine_answer(&mut self, instance: &InstanceName, run: u64, connection: u64, input: Input) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if let Input::EngineDone { op, .. } = &input {
            if node.connection != connection || node.outstanding.front().is_none_or(|(asked, _)| asked != op)
            {
                return;
            }
            node.outstanding.pop_front();
        }
        self.guard_hears(instance, run, input);
    }

    pub(super) fn engine_timeout(&mut self, instance: &InstanceName, connection: u64, op: OpId) {
        let Some(node) = self.nodes.get(instance) else { return };
        let waits = node.outstanding.iter().any(|(asked, _)| *asked == op);
        if waits && node.connection == connection && node.guard.is_some() {
            self.say(instance.as_str(), "engine does not answer in time: its connection is given up");
            self.break_connection(instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{at_rest, name, setup};
    use baton_core::engine::EngineCommand;
    use baton_core::ids::Term;
    use baton_core::time::Span;

    /// Seed 40012766: a fence that had waited in a socket was carried out under a master while its guard was blind, and a hand made the
    /// engine writable before the next look. It was taken for an intruder, while its guard had the right, and clients were refused.
    #[test]
    fn a_hand_gives_back_what_the_guard_has_the_right_to_and_makes_an_intruder_of_anybody_else() {
        let mut world = at_rest(setup());
        for (instance, term) in [("a1", Some(Term(1))), ("a2", None)] {
            let instance = name(instance);
            world.set_by_hand(&instance, false);
            world.set_by_hand(&instance, true);
            assert_eq!(world.nodes[&instance].engine.promoted, term, "{instance}");
        }
        world.advance(Span::from_secs(10));
        assert_eq!(world.violation(), None);
        let writable = |instance| world.nodes[&name(instance)].engine.writable;
        assert!(writable("a1") && !writable("a2"), "one goes on, the other is fenced");
    }

    /// Seed 90036392: a fence waited in a socket and was carried out late. The master went on to count that replica, which had left it
    /// and was in nobody's record, when commits came to wait.
    #[test]
    fn a_replica_that_leaves_late_is_counted_no_more_and_one_that_follows_late_replicates() {
        let mut world = at_rest(setup());
        let (a1, a2) = (name("a1"), name("a2"));
        let counted = |world: &super::World| world.nodes[&a1].engine.attached.contains_key(&a2);
        assert!(counted(&world));
        // Nobody is there to undo it.
        world.crash_guard(&a2);
        let endpoint = world.nodes[&a1].endpoint();
        let late = |world: &mut super::World, command| {
            world.nodes.get_mut(&a2).expect("it is in the setup").unheard.push(command);
            world.late_commands(&a2);
        };
        late(&mut world, EngineCommand::Fence);
        assert!(!counted(&world), "it has left");
        world.advance(Span::from_secs(1));
        late(&mut world, EngineCommand::Follow { endpoint });
        world.advance(Span::from_secs(1));
        assert!(counted(&world), "it looks for its master like any other");
        assert_eq!(world.violation(), None);
    }
}
