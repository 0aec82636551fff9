//! A guard's requests to other members, theirs to it, and the answers on their way. Each request is a task with an end;
//! what it brings back is an input like any other.
//!
//! It must not know what is promised, or why.

use super::Event;
use crate::link::peers::Peers;
use baton_core::guard::Input;
use baton_core::ids::InstanceName;
use baton_core::message::{Ask, Beat, Hello, PeerAnswer};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Most members that may wait for an answer at once; a set that has more is none of ours.
const ASKERS_MAX: usize = 64;

/// Another guard's request: who it is, what it asks, where it waits for the answer.
#[derive(Debug)]
pub struct Question {
    /// The master's guard.
    pub hello: Hello,
    /// Its request.
    pub ask: Ask,
    /// Where it is answered; dropped where it is not.
    pub reply: oneshot::Sender<PeerAnswer>,
}

/// The guard's side of them all.
pub(super) struct PeerDesk {
    own: Hello,
    peers: Arc<Peers>,
    events: mpsc::Sender<Event>,
    askers: BTreeMap<InstanceName, (Hello, Option<oneshot::Sender<PeerAnswer>>)>,
}

impl PeerDesk {
    pub(super) fn new(own: Hello, peers: Arc<Peers>, events: mpsc::Sender<Event>) -> Self {
        Self { own, peers, events, askers: BTreeMap::new() }
    }

    /// Takes a request in; `None` where it is not of this set.
    pub(super) fn asked(&mut self, question: Question) -> Option<Input> {
        let Question { hello, ask, reply } = question;
        let from = hello.instance.clone();
        let ours = hello.replicaset == self.own.replicaset && from != self.own.instance;
        if !ours || self.askers.len() >= ASKERS_MAX && !self.askers.contains_key(&from) {
            return None;
        }
        // An earlier request of the same guard, still unanswered, is over: this one says everything again.
        self.askers.insert(from.clone(), (hello, Some(reply)));
        Some(Input::Asked { from, ask: Box::new(ask) })
    }

    pub(super) fn answer(&mut self, to: &InstanceName, answer: PeerAnswer) {
        if let Some(reply) = self.askers.get_mut(to).and_then(|(_, reply)| reply.take()) {
            // Whoever asked may have stopped waiting; it asks again.
            let _ = reply.send(answer);
        }
    }

    pub(super) fn ask(&self, to: InstanceName, ask: Box<Ask>) {
        let (own, peers, events) = (self.own.clone(), Arc::clone(&self.peers), self.events.clone());
        tokio::spawn(async move {
            match peers.ask(&to, &own, &ask).await {
                Ok(answer) => {
                    let input = Input::Answered { from: to, answer: Box::new(answer) };
                    let _ = events.send(Event::Machine(input)).await;
                }
                Err(status) => {
                    tracing::debug!(instance = %own.instance, member = %to, %status, "no promise");
                }
            }
        });
    }

    pub(super) fn relay(&self, of: InstanceName, beat: Box<Beat>) {
        let Some((hello, _)) = self.askers.get(&of) else { return };
        let (hello, by) = (hello.clone(), self.own.instance.clone());
        let (peers, events) = (Arc::clone(&self.peers), self.events.clone());
        tokio::spawn(async move {
            match peers.relay(&by, &hello, &beat).await {
                Ok(answer) => {
                    let input = Input::RelayAnswered {
                        of,
                        epoch: answer.epoch,
                        well: answer.well,
                        grant: answer.grant,
                    };
                    let _ = events.send(Event::Machine(input)).await;
                }
                Err(status) => tracing::debug!(instance = %by, master = %of, %status, "not relayed"),
            }
        });
    }
}
