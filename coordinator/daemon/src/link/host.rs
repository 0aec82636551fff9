//! A host's end of the stream: one connection to the active arbiter for all its guards. It follows the lock, sends what
//! the guards say, hands them what they are told, and keeps the host's map of masters.
//!
//! It must not know what any of it means.

use super::finding::{self, Sighting};
use super::peers::Peers;
use super::service::PROBLEM_BYTES_MAX;
use super::wire;
use crate::clock;
use crate::config::Config;
use crate::directory;
use crate::guard_shell::FromLink;
use crate::live::Live;
use crate::notes::{Note, Notes};
use crate::surroundings;
use crate::view::MastersView;
use baton_core::ids::InstanceName;
use baton_core::message::{Beat, Hello};
use baton_proto::v1;
use baton_proto::v1::coordination_client::CoordinationClient;
use baton_provider::LockView;
use baton_provider::switching::MovingView;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

/// First and longest wait between two attempts. The first is short: a new arbiter takes the lock a moment before it
/// lets anybody attach.
const WAIT_MIN: Duration = Duration::from_millis(3);
/// See [`WAIT_MIN`].
const WAIT_MAX: Duration = Duration::from_millis(250);
/// How long the last beats of a host that stops may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Most messages that wait to be sent to the arbiter.
const OUT_MAX: usize = 64;

/// Some part of `wait`.
fn spread(wait: Duration) -> Duration {
    let permille = u32::try_from(surroundings::chance() % 1_000).unwrap_or(0);
    wait * permille / 1_000
}

/// One guard as the link sees it.
pub struct Guarded {
    /// What is said of it in the hello.
    pub hello: Hello,
    /// Where it is told.
    pub inbox: mpsc::Sender<FromLink>,
}

/// The link.
pub struct HostLink {
    /// The daemon's configuration (identity, name).
    pub config: Arc<Config>,
    /// The settings that hold.
    pub live: watch::Receiver<Arc<Live>>,
    /// The guards of this host.
    pub guards: BTreeMap<InstanceName, Guarded>,
    /// What they say.
    pub beats: mpsc::Receiver<Beat>,
    /// Where this host is reached, for the members of its guards' sets.
    pub address: String,
    /// Where they are, and whom this host is attached to.
    pub peers: Arc<Peers>,
    /// Who holds the lock.
    pub lock: watch::Receiver<Option<LockView>>,
    /// Where the state moves.
    pub moving: watch::Receiver<MovingView>,
    /// The host's map of masters.
    pub masters: watch::Sender<Arc<MastersView>>,
    /// What people should know of this host.
    pub notes: Notes,
    /// The arbiter that another coordinator told of last; at first none has.
    pub told: Option<Sighting>,
}

impl HostLink {
    /// Runs until stopped, or until the last guard has ended and what it said is sent.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut wait = WAIT_MIN;
        while !self.beats.is_closed() || !self.beats.is_empty() {
            let arbiter = finding::latest(self.lock.borrow_and_update().as_ref(), self.told.as_ref());
            let attached = match arbiter {
                None => false,
                Some(arbiter) => tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    attached = self.attach_and_serve(&arbiter) => attached,
                },
            };
            if !attached {
                // A hint that leads nowhere must not stand before what the provider says.
                self.told = None;
            }
            wait = if attached { WAIT_MIN } else { (wait * 2).min(WAIT_MAX) };
            if wait == WAIT_MAX {
                let told = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    _ = self.lock.changed() => None,
                    told = finding::ask(&self.peers, &self.address, usize::MAX) => told,
                };
                self.told = told.or(self.told.take());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.lock.changed() => wait = WAIT_MIN,
                // Spread, so that the hosts of a large cluster do not come back in one moment.
                () = tokio::time::sleep(wait / 2 + spread(wait)) => {}
            }
        }
    }

    /// Serves one connection until it ends; whether it was ever attached.
    async fn attach_and_serve(&mut self, arbiter: &Sighting) -> bool {
        let address = arbiter.address.as_str();
        let (out, queue) = mpsc::channel(OUT_MAX);
        let mut inbound = match self.open(address, &out, queue).await {
            Ok(inbound) => inbound,
            Err(status) => {
                tracing::debug!(arbiter = address, %status, "not attached");
                return false;
            }
        };
        tracing::info!(arbiter = address, guards = self.guards.len(), "attached to the arbiter");
        // What the guards said before was meant for nobody: they are asked anew.
        while self.beats.try_recv().is_ok() {}
        self.peers.attached(Some(address));
        self.tell_all(|| FromLink::Attached).await;
        let why = self.serve(arbiter, &out, &mut inbound).await;
        // The arbiter ends its half once it has read the end of ours: then the last beats have arrived.
        drop(out);
        let rest = async { while let Ok(Some(_)) = inbound.message().await {} };
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
        if self.beats.is_closed() {
            tracing::info!(arbiter = address, "detached from the arbiter: the daemon stops");
        } else {
            tracing::warn!(arbiter = address, why, "detached from the arbiter");
        }
        self.peers.attached(None);
        self.tell_all(|| FromLink::Detached).await;
        true
    }

    async fn open(
        &self,
        address: &str,
        out: &mpsc::Sender<v1::FromHost>,
        queue: mpsc::Receiver<v1::FromHost>,
    ) -> Result<tonic::Streaming<v1::ToHost>, tonic::Status> {
        // A connection keeps what it was made with: one that is broken is noticed a little later than it could be.
        let lease = self.live.borrow().timing.lease_ttl.as_duration();
        let refused = |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(refused)?
            .connect_timeout(lease / 4)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(lease / 2)
            .keep_alive_timeout(lease / 2)
            .keep_alive_while_idle(true);
        let channel = surroundings::connect(endpoint).await.map_err(refused)?;
        let hello = v1::HostHello {
            cluster: self.config.identity.cluster.to_string(),
            identity: self.config.identity.secret_hash.to_vec(),
            coordinator: self.config.name.to_string(),
            guards: self.guards.values().map(|guard| wire::hello_to_wire(&guard.hello)).collect(),
            address: self.address.clone(),
        };
        let message = v1::FromHost { message: Some(v1::from_host::Message::Hello(hello)) };
        if out.try_send(message).is_err() {
            return Err(tonic::Status::internal("a new queue takes one message"));
        }
        let attach = CoordinationClient::new(channel);
        let mut attach = attach.max_decoding_message_size(crate::MESSAGE_BYTES_MAX);
        match tokio::time::timeout(lease / 4, attach.attach(ReceiverStream::new(queue))).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(tonic::Status::deadline_exceeded("the arbiter did not answer")),
        }
    }

    async fn serve(
        &mut self,
        arbiter: &Sighting,
        out: &mpsc::Sender<v1::FromHost>,
        inbound: &mut tonic::Streaming<v1::ToHost>,
    ) -> String {
        // A new arbiter was told nothing yet.
        self.moving.mark_changed();
        let mut told: Option<Vec<Note>> = None;
        // Whoever loses the lock with the provider knows nothing of its successor, and neither does a host that lost the provider.
        let mut elsewhere = Box::pin(self.seen_elsewhere(arbiter.clone()));
        loop {
            tokio::select! {
                biased;
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        if let Err(why) = self.received(message).await {
                            return why;
                        }
                    }
                    Ok(None) => return "it closed the stream".to_owned(),
                    Err(status) => return status.message().to_owned(),
                },
                beat = self.beats.recv() => {
                    let Some(beat) = beat else { return "no guards are left".to_owned() };
                    // The other guards of the host beat at the same moment: let them.
                    tokio::task::yield_now().await;
                    let mut beats = vec![wire::beat_to_wire(&beat)];
                    while let Ok(beat) = self.beats.try_recv() {
                        beats.push(wire::beat_to_wire(&beat));
                    }
                    let current = self.notes.current(tokio::time::Instant::now());
                    let notes = (told.as_ref() != Some(&current)).then(|| wire::aside::notes_to_wire(&current));
                    told = Some(current);
                    let unix_millis = clock::unix_millis();
                    let beats = v1::from_host::Message::Beats(v1::Beats { beats, unix_millis, notes });
                    if out.try_send(v1::FromHost { message: Some(beats) }).is_err() {
                        return "it does not take what is sent".to_owned();
                    }
                }
                Ok(()) = self.moving.changed() => {
                    let Some(next) = next_provider(&self.moving.borrow_and_update()) else { continue };
                    let next = v1::from_host::Message::Next(next);
                    if out.try_send(v1::FromHost { message: Some(next) }).is_err() {
                        return "it does not take what is sent".to_owned();
                    }
                }
                changed = self.lock.changed() => {
                    // What was learnt of from others may come from the provider later.
                    let later = |lock: &LockView| Sighting::of(lock).is_some_and(|seen| seen != *arbiter);
                    if changed.is_err() || self.lock.borrow().as_ref().is_some_and(later) {
                        return "the lock changed hands".to_owned();
                    }
                }
                later = &mut elsewhere => {
                    self.told = Some(later);
                    return "another coordinator knows of a later arbiter".to_owned();
                }
            }
        }
    }

    /// Ends once another coordinator has seen a later arbiter than this one. One is asked a few times in a lease.
    fn seen_elsewhere(&self, arbiter: Sighting) -> impl Future<Output = Sighting> + Send + use<> {
        let (peers, live, own) = (Arc::clone(&self.peers), self.live.clone(), self.address.clone());
        async move {
            loop {
                let lease = live.borrow().timing.lease_ttl.as_duration();
                tokio::time::sleep(lease / 6 + spread(lease / 6)).await;
                let told = finding::ask(&peers, &own, 1).await;
                if let Some(told) = told.filter(|told| told.epoch > arbiter.epoch) {
                    return told;
                }
            }
        }
    }

    async fn received(&mut self, message: v1::ToHost) -> Result<(), String> {
        match message.message {
            Some(v1::to_host::Message::Guards(messages)) => {
                let messages = wire::to_guards_from_wire(messages).map_err(|error| error.to_string())?;
                for (instance, message) in messages {
                    if let Some(guard) = self.guards.get(&instance) {
                        let _ = guard.inbox.send(FromLink::Message(message)).await;
                    }
                }
                Ok(())
            }
            Some(v1::to_host::Message::Masters(change)) => {
                let mut applied = Ok(());
                self.masters.send_if_modified(|masters| {
                    // In place, unless a reader holds the map at this moment: it has an entry for each set of the cluster.
                    applied = directory::wire::apply(Arc::make_mut(masters), &change);
                    applied.is_ok()
                });
                applied.map_err(|error| error.to_string())
            }
            Some(v1::to_host::Message::Peers(peers)) => {
                self.peers.learn(peers).map_err(|error| error.to_string())
            }
            None => Ok(()),
        }
    }

    async fn tell_all(&self, message: impl Fn() -> FromLink) {
        for guard in self.guards.values() {
            // A guard that has ended needs to hear nothing.
            let _ = guard.inbox.send(message()).await;
        }
    }
}

/// What the arbiter is told of a move, where there is anything to be told.
fn next_provider(view: &MovingView) -> Option<v1::NextProvider> {
    let (move_id, reached) = view.next.as_ref()?;
    let mut problem = reached.as_ref().err().cloned().unwrap_or_default();
    while problem.len() > PROBLEM_BYTES_MAX {
        problem.pop();
    }
    Some(v1::NextProvider { move_id: *move_id, problem })
}
