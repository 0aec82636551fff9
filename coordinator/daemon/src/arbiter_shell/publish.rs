//! The streams of the hosts, what waits to be sent over each, and the map of masters that all of them get.

use crate::directory::wire as wire_of_map;
use crate::link::{service::OUT_MAX, wire};
use crate::view::{MasterView, MastersView};
use baton_client::MasterState as Shown;
use baton_core::arbiter::{Arbiter, MasterState, SessionId};
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision};
use baton_core::message::{Hello, ToGuard};
use baton_proto::v1;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

type Out = mpsc::Sender<Result<v1::ToHost, Status>>;

/// How long the next change of the map waits after one was sent, for each stream that it was sent over. The first change is
/// told at once; of many that come one by one, each would otherwise go to every host of the cluster by itself, and the
/// arbiter would do nothing else.
const GAP_PER_STREAM: Duration = Duration::from_micros(20);

/// All streams.
pub(super) struct Sessions {
    streams: BTreeMap<SessionId, Stream>,
    /// Those for which something waits: with thousands of hosts, looking at all of them for each beat would cost more than
    /// the beat.
    waiting: BTreeSet<SessionId>,
    masters: MastersView,
    /// From when on the next change of the map may be sent.
    publish_from: Instant,
    /// Of each set the streams that its guards came over, and where their coordinators are reached.
    sets: BTreeMap<ReplicaSetName, BTreeMap<InstanceName, (SessionId, String)>>,
}

struct Stream {
    out: Out,
    waiting: v1::GuardMessages,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            waiting: BTreeSet::new(),
            masters: MastersView::default(),
            publish_from: Instant::now(),
            sets: BTreeMap::new(),
        }
    }
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Forgets all streams, which closes them.
    pub(super) fn clear(&mut self) {
        self.streams.clear();
        self.waiting.clear();
        self.masters = MastersView::default();
        self.sets.clear();
    }

    pub(super) fn add(&mut self, session: SessionId, out: Out) {
        if self.masters.epoch > Epoch::default() {
            let masters = v1::to_host::Message::Masters(wire_of_map::snapshot(&self.masters));
            // A new queue of OUT_MAX takes one message.
            let _ = out.try_send(Ok(v1::ToHost { message: Some(masters) }));
        }
        const { assert!(OUT_MAX > 1, "the first message must fit") };
        self.streams.insert(session, Stream { out, waiting: v1::GuardMessages::default() });
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.streams.remove(&session);
    }

    /// Tells a host where the other members of its guards' sets are, and them where its guards are.
    pub(super) fn introduce(&mut self, session: SessionId, guards: &[Hello], address: &str) {
        let mut tell: BTreeMap<SessionId, Vec<v1::PeerAddress>> = BTreeMap::new();
        let peer = |instance: &InstanceName, address: &str| v1::PeerAddress {
            instance: instance.to_string(),
            address: address.to_owned(),
        };
        for hello in guards {
            let set = self.sets.entry(hello.replicaset.clone()).or_default();
            for (instance, (there, known)) in set.iter().filter(|(name, _)| **name != hello.instance) {
                tell.entry(session).or_default().push(peer(instance, known));
                tell.entry(*there).or_default().push(peer(&hello.instance, address));
            }
            set.insert(hello.instance.clone(), (session, address.to_owned()));
        }
        for (session, peers) in tell {
            let Some(stream) = self.streams.get(&session) else { continue };
            let peers = v1::to_host::Message::Peers(v1::PeerAddresses { peers });
            // One that does not take it is cut off by the next flush, or by its own keep-alive, and told when it comes back.
            let _ = stream.out.try_send(Ok(v1::ToHost { message: Some(peers) }));
        }
    }

    pub(super) fn push(&mut self, session: SessionId, instance: &InstanceName, message: &ToGuard) {
        if let Some(stream) = self.streams.get_mut(&session) {
            wire::push_to_guard(&mut stream.waiting, instance, message);
            self.waiting.insert(session);
        }
    }

    /// Sends what waits, one message a host. Streams that do not take it are closed and returned.
    pub(super) fn flush(&mut self) -> Vec<SessionId> {
        let mut cut = Vec::new();
        for session in std::mem::take(&mut self.waiting) {
            let Some(stream) = self.streams.get_mut(&session) else { continue };
            let waiting = std::mem::take(&mut stream.waiting);
            let message = v1::ToHost { message: Some(v1::to_host::Message::Guards(waiting)) };
            if stream.out.try_send(Ok(message)).is_err() {
                cut.push(session);
            }
        }
        for session in &cut {
            self.streams.remove(session);
        }
        cut
    }

    /// From when on the next change of the map may be sent.
    pub(super) fn publish_from(&self) -> Instant {
        self.publish_from
    }

    /// Takes the changed sets into the map and tells every host.
    pub(super) fn publish(&mut self, arbiter: &Arbiter, changed: &BTreeSet<ReplicaSetName>) {
        let Some(epoch) = arbiter.epoch() else { return };
        let first = self.masters.epoch != epoch;
        if first {
            self.masters = MastersView { epoch, ..MastersView::default() };
        }
        let mut told = Vec::with_capacity(changed.len());
        for name in changed {
            let Some((record, state)) = arbiter.master_of(name) else { continue };
            if record.master.is_none() {
                // Removed: told once, and in the map no more.
                if let Some(mut gone) = self.masters.masters.remove(name) {
                    (gone.term, gone.master, gone.endpoint) = (record.term, None, None);
                    gone.state = Shown::None;
                    told.push(wire_of_map::entry(name, &gone));
                }
                continue;
            }
            let view = MasterView {
                term: record.term,
                version: record.version,
                master: record.master.clone(),
                endpoint: record.endpoint.clone(),
                state: match state {
                    MasterState::Appointed => Shown::Appointed,
                    MasterState::Active => Shown::Active,
                    MasterState::None => Shown::None,
                },
            };
            if self.masters.masters.get(name) != Some(&view) {
                told.push(wire_of_map::entry(name, &view));
                self.masters.masters.insert(name.clone(), view);
            }
        }
        self.masters.revision = Revision(self.masters.revision.0 + 1);
        let change = if first {
            wire_of_map::snapshot(&self.masters)
        } else {
            // Never the whole map against the whole map: a change is to cost what has changed.
            wire_of_map::part(&self.masters, told)
        };
        let message = v1::ToHost { message: Some(v1::to_host::Message::Masters(change)) };
        // One that does not take it is cut off by the next flush, or by its own keep-alive.
        self.streams.retain(|_, stream| stream.out.try_send(Ok(message.clone())).is_ok());
        let streams = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        self.publish_from = Instant::now() + GAP_PER_STREAM * streams;
    }
}
