//! What the oracle is told of a world: looked at after everything that happens, from outside of the machines.
//!
//! It must not know what a property makes of it.

use super::World;
use baton_core::engine::DataState;
use baton_core::guard::Guard;
use baton_core::ids::{InstanceName, Term};
use baton_core::time::Span;
use baton_oracle::{Lead, Seen, i3, intruder, rights};

impl World {
    /// Looks at every host.
    pub(super) fn watch(&mut self) {
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        for instance in names {
            self.watch_one(&instance, None);
        }
    }

    /// Looks at one host; `found`: what its data said before the command that it has just carried out.
    pub(super) fn watch_one(&mut self, instance: &InstanceName, found: Option<DataState>) {
        self.watch_leading(instance);
        self.watch_writable(instance, found);
        self.watch_intruder(instance);
    }

    fn watch_writable(&mut self, instance: &InstanceName, found: Option<DataState>) {
        let Some(node) = self.nodes.get(instance) else { return };
        let engine = &node.engine;
        let accepts = engine.running && engine.writable && !node.frozen;
        let now = engine.promoted.filter(|_| accepts);
        let before = node.remembered.writable;
        if now == before {
            return;
        }
        let replicaset = self.replicaset.clone();
        let (deadline, on_disk) = (node.deadman.deadline, node.disk.highest_term);
        let (holds, data) = (engine.writes(), engine.data());
        if let Some(node) = self.nodes.get_mut(instance) {
            node.remembered.writable = now;
        }
        if before.is_some() {
            self.say(instance.as_str(), "accepts no writes");
            self.observe(Seen::NotWritable { replicaset: replicaset.clone(), instance: instance.clone() });
        }
        if let Some(term) = now {
            self.say(instance.as_str(), &format!("accepts writes at term {term}"));
            let found = found.unwrap_or(data);
            let instance = instance.clone();
            self.observe(Seen::Writable { replicaset, instance: instance.clone(), term, found, holds });
            if before.is_none() {
                self.check(rights::check_armed(&instance, deadline));
                self.check(i3::check_durable(&instance, term, on_disk));
            }
        }
    }

    /// Right after a step of its guard: one that still leads must still be in time.
    pub(super) fn watch_right(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get(instance) else { return };
        let local = node.clock.read(self.now);
        let Some(guard) = node.guard.as_ref() else { return };
        let (Some((term, _)), Some(fence_by)) = (guard.right_until(), guard.usable_until()) else { return };
        self.check(rights::check_held(instance, rights::Held { term, fence_by, now: local }));
    }

    fn watch_leading(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if node.guard.is_none() && node.left.is_some() {
            // Whether the right goes on is told by whoever comes next.
            return;
        }
        let incarnation = node.incarnation();
        let leads = node.guard.as_ref().and_then(Guard::right_until).map(|(term, _)| (incarnation, term));
        let before = std::mem::replace(&mut node.remembered.leads, leads);
        let begins = leads.filter(|_| leads != before).and_then(|(incarnation, term)| {
            let guard = node.guard.as_ref()?;
            let (floor, highest_seen) = (guard.floor(), guard.highest_term());
            Some(Lead { instance: instance.clone(), incarnation, term, floor, highest_seen })
        });
        let ended: Option<(_, Term)> = before.filter(|_| before != leads);
        if let Some((incarnation, term)) = ended {
            self.observe(Seen::Ceased { incarnation, term });
        }
        if let Some(lead) = begins {
            self.observe(Seen::Leads(lead));
        }
    }

    fn watch_intruder(&mut self, instance: &InstanceName) {
        let now = self.now;
        // By the longest lease that anybody may still know.
        let lease = self.timing.hold;
        let allowed = lease / 2 + lease / 12 + Span::from_millis(10);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let sees = node.guard.is_some() && !node.frozen && !node.guard_frozen && !node.engine_deaf;
        let intruder = node.engine.running && node.engine.writable && node.engine.promoted.is_none() && sees;
        if !intruder {
            node.remembered.intruder_since = None;
            return;
        }
        let since = *node.remembered.intruder_since.get_or_insert(now);
        self.check(intruder::check_span(instance, Span(now - since), allowed));
    }
}
