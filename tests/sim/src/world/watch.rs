//! What the oracle is told of a world: looked at after everything that happens, from outside of the machines.
//!
//! It must not know what a property makes of it.

use super::table::Eye;
use super::{Node, World};
use baton_core::decision::Evidence;
use baton_core::engine::DataState;
use baton_core::ids::{Incarnation, InstanceName, Term};
use baton_core::time::Span;
use baton_oracle::{Lead, Seen, i3, intruder, rights};

impl Node {
    /// At which term its guard holds the right.
    fn leads(&self) -> Option<(Incarnation, Term)> {
        let (term, _) = self.guard.as_ref()?.right_until()?;
        Some((self.incarnation(), term))
    }

    /// At which term its engine takes writes, where its guard has made it take them.
    fn accepts(&self) -> Option<Term> {
        self.engine.promoted.filter(|_| self.engine.running && self.engine.writable && !self.frozen)
    }

    /// Its engine takes writes by another hand, and its guard can see it.
    fn is_intruder(&self) -> bool {
        let works = self.guard.as_ref().is_some_and(|guard| guard.next_deadline().is_some());
        let hears = self.swallowed != Some(self.connection);
        let sees =
            works && hears && !self.frozen && !self.guard_frozen && !self.engine_deaf && !self.engine.stalled;
        self.engine.running && self.engine.writable && self.engine.promoted.is_none() && sees
    }
}

impl World {
    /// Looks at every host that may have changed since the last look; at an intruder for as long as it is one, since each look
    /// has it in hand.
    pub(super) fn watch(&mut self) {
        if self.nodes.rests(Eye::Watch) && !self.doubts {
            return;
        }
        let odd = |node: &Node| {
            node.leads() != node.remembered.leads
                || node.accepts() != node.remembered.writable
                || node.is_intruder()
                || node.remembered.intruder_since.is_some()
        };
        let all = self.doubts.then(|| self.nodes.values().filter(|node| odd(node)).count());
        let touched = self.nodes.look(Eye::Watch).filter(|(_, node, touched)| *touched && odd(node));
        let names: Vec<_> = touched.map(|(name, ..)| name.clone()).collect();
        assert!(all.is_none_or(|all| all == names.len()), "a host that changed was passed over: {names:?}");
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
        let now = node.accepts();
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
            self.say(instance.as_str(), format_args!("accepts writes at term {term}"));
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
        let leads = node.leads();
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
        let allowed = lease / 2 + lease / 12;
        // A slow clock counts it in more.
        let allowed = allowed + allowed / 100 + Span::from_millis(10);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if !node.is_intruder() {
            node.remembered.intruder_since = None;
            return;
        }
        let since = *node.remembered.intruder_since.get_or_insert(now);
        self.check(intruder::check_span(instance, Span(now - since), allowed));
    }

    /// Which run of the master spoke when this arbiter began to replace it: a decision rests on what was said then, whoever
    /// speaks by the time it is written.
    pub(super) fn said_by(&mut self, name: &str, term: Term) -> Option<Incarnation> {
        let machine = self.arbiters.get(name)?.machine.as_ref()?;
        let key = (name.to_owned(), machine.epoch());
        if let Some((_, said_by)) = self.accepted.get(&key).filter(|(known, _)| *known == term) {
            return Some(*said_by);
        }
        let view = machine.set_view(self.arbiters.get(name)?.clock.read(self.now), &self.replicaset)?;
        let master = view.record.filter(|record| record.term == term)?.master?;
        let beat = view.members.into_iter().find(|member| member.listed.instance == master)?.beat?;
        self.accepted.insert(key, (term, beat.incarnation));
        Some(beat.incarnation)
    }

    pub(super) fn observe_evidence(&mut self, name: &str, decision: Option<&baton_core::decision::Decision>) {
        let Some(decision) = decision else { return };
        if !matches!(decision.evidence, Some(Evidence::Relinquished { .. })) {
            return;
        }
        let Some(said_by) = self.said_by(name, decision.term_before) else { return };
        let record = self.provider.record().filter(|record| record.term == decision.term_before);
        if let Some(record) = record {
            let seen = Seen::Relinquished {
                replicaset: record.replicaset.clone(),
                term: record.term,
                holder: record.incarnation,
                said_by,
            };
            self.observe(seen);
        }
    }
}
