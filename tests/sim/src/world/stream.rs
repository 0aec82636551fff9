//! How a guard's host speaks with others: the read of the provider at its start, the stream to the active arbiter.
//!
//! It must not know what is said.

use super::net::Body;
use super::provider::BOARD;
use super::{Due, Node, World};
use baton_core::arbiter::{Input as ArbiterInput, SessionId};
use baton_core::guard::Input;
use baton_core::ids::{CoordinatorName, Epoch, Incarnation, InstanceName};
use baton_core::message::Hello;

/// After so long an arbiter notices that nobody is at the other end of a stream, where the word of its end was lost.
const KEEPALIVE_MICROS: u64 = 10_000_000;

impl World {
    /// An arbiter notices that nobody is at the other end.
    pub(super) fn stream_gone(&mut self, arbiter: &str, session: SessionId) {
        if self.streams.remove(&session).is_some() {
            self.arbiter_step(arbiter, ArbiterInput::Detached { session });
        }
    }

    /// All arbiters notice all streams that are over.
    pub fn notice_dead_streams(&mut self) {
        for (session, arbiter) in self.streams.clone() {
            let is_live = |node: &Node| node.stream.as_ref().is_some_and(|(_, known)| *known == session);
            if !self.nodes.values().any(is_live) {
                self.stream_gone(&arbiter, session);
            }
        }
    }

    /// A guard notices that its arbiter's process is gone, where the word of it was lost.
    pub(super) fn stream_broken(&mut self, instance: &InstanceName, session: SessionId) {
        self.node_hears(instance, Body::Bye(session));
    }

    pub(super) fn read_provider(&mut self, instance: &InstanceName, run: u64) {
        let ignorant = self.nodes.get(instance).is_some_and(|node| {
            node.run == run && node.guard.as_ref().is_some_and(|it| it.floor().is_none())
        });
        if ignorant {
            self.send(instance.as_str(), BOARD, Body::Read(run));
            self.after(200_000, Due::ReadProvider(instance.clone(), run));
        }
    }

    /// One more look at the stream, once it is due; never two of them.
    pub(super) fn attach_later(&mut self, instance: &InstanceName, micros: u64) {
        let Some(node) = self.nodes.get_mut(instance).filter(|node| !node.attaches) else { return };
        node.attaches = true;
        self.after(micros, Due::AttachAgain(instance.clone()));
    }

    pub(super) fn attach_again(&mut self, instance: &InstanceName) {
        if let Some(node) = self.nodes.get_mut(instance) {
            node.attaches = false;
        }
        self.attach(instance);
    }

    /// Opens a stream to the active arbiter, where there is one and none is open.
    pub(super) fn attach(&mut self, instance: &InstanceName) {
        let Some(arbiter) = self.known_arbiter() else { return };
        let Some(node) = self.nodes.get(instance) else { return };
        let there = node.stream.as_ref().is_some_and(|(known, _)| known == arbiter.as_str()) && node.welcome;
        let Some(guard) = &node.guard else { return };
        if there || node.guard_is_stopped() || guard.next_deadline().is_none() {
            return;
        }
        let arbiter = arbiter.to_string();
        let Some(hello) = self.hello_of(instance) else { return };
        self.close_stream(instance);
        let session = self.next_stream();
        if let Some(node) = self.nodes.get_mut(instance) {
            node.stream = Some((arbiter.clone(), session));
            node.welcome = false;
        }
        self.send(instance.as_str(), &arbiter, Body::Hello(session, Box::new(hello)));
        self.attach_later(instance, 100_000);
    }

    /// What a guard says of itself.
    pub(super) fn hello_of(&self, instance: &InstanceName) -> Option<Hello> {
        let node = self.nodes.get(instance)?;
        Some(Hello {
            instance: instance.clone(),
            replicaset: self.replicaset.clone(),
            incarnation: node.incarnation(),
            coordinator: CoordinatorName::parse(node.name.as_str()).expect("a name is a name"),
            endpoint: node.endpoint(),
            zone: node.zone.clone(),
            priority: node.priority,
            electable: node.electable,
            bootstrap_members: self.bootstrap_members,
            supervised: node.supervised,
        })
    }

    /// Both ends learn that the stream is gone.
    pub fn close_stream(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let Some((arbiter, session)) = node.stream.take() else { return };
        let welcome = std::mem::take(&mut node.welcome);
        self.send(instance.as_str(), &arbiter, Body::Bye(session));
        if self.weather.is_some() {
            self.after(KEEPALIVE_MICROS, Due::StreamGone(arbiter, session));
        }
        if welcome {
            self.guard_step(instance, Input::Detached);
        }
        self.attach_later(instance, 50_000);
    }

    pub(super) fn node_hears(&mut self, instance: &InstanceName, body: Body) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let ours = |session: &SessionId| node.stream.as_ref().is_some_and(|(_, known)| known == session);
        let run = node.run;
        match body {
            Body::Welcome(session) if ours(&session) => {
                node.welcome = true;
                self.guard_hears(instance, run, Input::Attached);
            }
            Body::Bye(session) if ours(&session) => {
                node.stream = None;
                node.welcome = false;
                self.guard_hears(instance, run, Input::Detached);
                self.attach_later(instance, 50_000);
            }
            // What a stream that is gone still delivers is heard: rules must bear it, not the world.
            Body::ToGuard(_, message) => self.guard_hears(instance, run, Input::FromArbiter(message)),
            Body::HasRead(run, snapshot) => {
                let record = snapshot.records.into_values().next();
                let input = Input::ProviderRead { record, epoch: snapshot.lock.epoch };
                self.guard_hears(instance, run, input);
            }
            _ => {}
        }
    }

    pub(super) fn watch_heeding(
        &mut self,
        instance: &InstanceName,
        incarnation: Incarnation,
        epoch: Epoch,
        changed: bool,
    ) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        if node.incarnation() != incarnation {
            return;
        }
        let highest = node.remembered.heard_epoch;
        node.remembered.heard_epoch = highest.max(epoch);
        if changed {
            let instance = instance.clone();
            self.observe(baton_oracle::Seen::Heeded { instance, message: epoch, highest });
        }
    }
}
