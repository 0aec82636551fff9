//! Replication between scripted engines: a master streams its whole log, a replica takes it and confirms.
//!
//! It must not know why an engine follows another.

use super::engine::{Answer, Entry};
use super::net::Body;
use super::{Due, World};
use baton_core::ids::{Endpoint, EngineRun, InstanceName};
use baton_core::position::Position;
use baton_oracle::{Seen, WriteId};

/// How often a replica looks after its link, in microseconds.
const LOOK_MICROS: u64 = 20_000;
/// The same where a run is long and many are run.
const LOOK_SELDOM_MICROS: u64 = 130_000;

impl World {
    /// A client writes to an instance.
    pub fn client_write(&mut self, instance: &InstanceName) -> (WriteId, Answer) {
        self.last_write += 1;
        let write = WriteId(self.last_write);
        let Some(node) = self.nodes.get_mut(instance).filter(|node| !node.frozen) else {
            return (write, Answer::Silence);
        };
        let answer = node.engine.write(write);
        if answer == Answer::Acknowledged {
            self.acknowledged(instance, write);
        }
        self.replicate_from(instance);
        (write, answer)
    }

    /// Sends what is new to every attached replica.
    pub(super) fn replicate_from(&mut self, master: &InstanceName) {
        let Some(node) = self.nodes.get_mut(master).filter(|node| node.engine.running && !node.frozen) else {
            return;
        };
        let length = node.engine.log.len();
        let mut behind = Vec::new();
        for (replica, confirmed) in &node.engine.attached {
            let sent = node.engine.sent.get(replica).copied().unwrap_or(0).max(*confirmed);
            if sent < length {
                let rest = node.engine.log[sent..].to_vec();
                let link = node.engine.link_of(replica);
                behind.push((replica.clone(), Body::Data(node.engine.name_of_run(), link, sent, rest)));
            }
        }
        for (replica, _) in &behind {
            node.engine.sent.insert(replica.clone(), length);
        }
        for (replica, data) in behind {
            self.send(master.as_str(), replica.as_str(), data);
        }
    }

    /// A replica looks after its link: opens it where it can, notices where it cannot.
    pub(super) fn replication(&mut self, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        node.looks = false;
        let Some(endpoint) = node.engine.follows.clone() else { return };
        let up = node.engine.link_up;
        let master = self.nodes.values().find(|other| other.endpoint() == endpoint).map(|it| it.name.clone());
        let Some(master) = master.filter(|master| master != instance) else { return };
        let open = self.net.is_open(instance.as_str(), master.as_str())
            && self.net.is_open(master.as_str(), instance.as_str());
        let there = open && self.nodes.get(&master).is_some_and(|node| node.engine.running && !node.frozen);
        let attached =
            self.nodes.get(&master).is_some_and(|node| node.engine.attached.contains_key(instance));
        if there && !attached {
            if let Some(node) = self.nodes.get_mut(&master) {
                node.engine.attach(instance);
            }
        } else if !there && up {
            if let Some(node) = self.nodes.get_mut(instance) {
                node.engine.link_up = false;
            }
            if let Some(node) = self.nodes.get_mut(&master).filter(|_| !open) {
                node.engine.attached.remove(instance);
            }
        }
        self.replicate_from(&master);
        let micros = if self.weather.is_some() { LOOK_SELDOM_MICROS } else { LOOK_MICROS };
        self.look_after_link(instance, micros);
    }

    /// One look at the replica's link, once it is due; never two of them.
    pub(super) fn look_after_link(&mut self, instance: &InstanceName, micros: u64) {
        let Some(node) = self.nodes.get_mut(instance).filter(|node| !node.looks) else { return };
        node.looks = true;
        self.after(micros, Due::Replication(instance.clone()));
    }

    pub(super) fn replica_receives(
        &mut self,
        instance: &InstanceName,
        from: &str,
        (run, link): (&EngineRun, u64),
        start: usize,
        log: Vec<Entry>,
    ) {
        let endpoint = self.nodes.get(from).map(super::Node::endpoint);
        let Some(node) = self.nodes.get_mut(instance).filter(|node| node.engine.running) else { return };
        if endpoint.is_none() || node.engine.follows != endpoint {
            return;
        }
        if !node.engine.takes(run, start, log) {
            // Something is missing in between: the link is given up, and the next one begins from the begin.
            if let Some(master) = self.nodes.get_mut(from) {
                master.engine.attached.remove(instance);
            }
            return;
        }
        node.engine.link_up = true;
        let length = node.engine.log.len();
        if start == 0 {
            // It has sent its own replicas away.
            self.links_lost(instance);
        }
        self.send(instance.as_str(), from, Body::Confirm(run.clone(), instance.clone(), link, length));
        // Chained replicas get it in turn.
        self.replicate_from(instance);
    }

    pub(super) fn master_confirmed(
        &mut self,
        master: &InstanceName,
        run: &EngineRun,
        (replica, link): (&InstanceName, u64),
        length: usize,
    ) {
        let Some(node) = self.nodes.get_mut(master) else { return };
        if !node.engine.running || node.engine.name_of_run() != *run {
            return;
        }
        for write in node.engine.confirmed(replica, link, length) {
            self.watch_counted(master, replica);
            self.acknowledged_late(master, write);
        }
    }

    /// Commits may wait for fewer replicas now than when they began to.
    pub(super) fn acknowledge_settled(&mut self, master: &InstanceName) {
        let Some(node) = self.nodes.get_mut(master).filter(|node| node.engine.running) else { return };
        for write in node.engine.settled() {
            self.acknowledged_late(master, write);
        }
    }

    fn acknowledged_late(&mut self, master: &InstanceName, write: WriteId) {
        self.say(master.as_str(), format_args!("acknowledges {write}"));
        self.acknowledged(master, write);
    }

    pub(super) fn acknowledged(&mut self, by: &InstanceName, write: WriteId) {
        if !self.answers_client(write) {
            return;
        }
        let replicaset = self.replicaset.clone();
        let at = self.nodes.get(by).map_or(Position::Unknown, |node| node.engine.position_of(write));
        self.observe(Seen::Acknowledged { replicaset, write, by: by.clone(), at });
    }

    /// A replica follows another or nobody: its old master counts it no more.
    pub(super) fn leave_master(&mut self, replica: &InstanceName, followed: Option<&Endpoint>) {
        for node in self.nodes.values_mut().filter(|node| Some(&node.endpoint()) == followed) {
            node.engine.attached.remove(replica);
        }
    }

    /// An engine is gone: whoever replicated from it has no link, and it is nobody's replica.
    pub(super) fn replicas_lost(&mut self, gone: &InstanceName) {
        for node in self.nodes.values_mut() {
            node.engine.attached.remove(gone);
        }
        self.links_lost(gone);
    }

    /// Whoever replicated from this engine has no link any more.
    fn links_lost(&mut self, from: &InstanceName) {
        let Some(endpoint) = self.nodes.get(from).map(super::Node::endpoint) else { return };
        for node in self.nodes.values_mut() {
            if node.engine.follows.as_ref() == Some(&endpoint) {
                node.engine.link_up = false;
            }
        }
    }
}
