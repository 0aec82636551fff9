//! The arbiter's end of the streams: checks who comes, hands what hosts say to the arbiter's shell, and carries back
//! what it answers. It decides nothing and keeps no state but the number of streams.

use super::finding::Sighting;
use super::wire;
use crate::arbiter_shell::{Aside, Event};
use crate::clock;
use crate::config::Config;
use crate::contender::Knock;
use crate::guard_shell::{FromLink, Question};
use baton_core::arbiter::SessionId;
use baton_core::ids::{CoordinatorName, InstanceName};
use baton_core::message::Hello;
use baton_proto::v1;
use baton_proto::v1::coordination_server::{Coordination, CoordinationServer};
use baton_provider::LockView;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How long a new stream may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);
/// Longest address of a host, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;
/// Longest reason why a host does not reach a provider, in bytes.
pub(super) const PROBLEM_BYTES_MAX: usize = 1_024;
/// Most messages that wait for a host; a host that does not take them is cut off, it comes back.
pub const OUT_MAX: usize = 256;

/// What the shell answers to a stream that wants to attach: `false`, this is not the active arbiter.
pub type Admitted = oneshot::Sender<bool>;

/// The service.
pub struct CoordinationService {
    config: Arc<Config>,
    /// The arbiter's shell; `None` where the arbiter is off.
    events: Option<mpsc::Sender<Event>>,
    /// The guards of this host, for other guards that ask them.
    guards: BTreeMap<InstanceName, mpsc::Sender<FromLink>>,
    lock: watch::Receiver<Option<LockView>>,
    /// The contender of this host.
    knocks: mpsc::Sender<Knock>,
    sessions: AtomicU64,
}

impl CoordinationService {
    /// `events` is the arbiter's shell; `lock` says whom to name where this is not the active arbiter.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        events: Option<mpsc::Sender<Event>>,
        guards: BTreeMap<InstanceName, mpsc::Sender<FromLink>>,
        lock: watch::Receiver<Option<LockView>>,
        knocks: mpsc::Sender<Knock>,
    ) -> Self {
        Self { config, events, guards, lock, knocks, sessions: AtomicU64::new(1) }
    }

    /// As tonic serves it.
    #[must_use]
    pub fn into_server(self) -> CoordinationServer<Self> {
        CoordinationServer::new(self).max_decoding_message_size(crate::MESSAGE_BYTES_MAX)
    }

    /// Whoever speaks to us must be of our cluster and know its secret.
    fn admit(&self, theirs: &str, identity: &[u8]) -> Result<(), Status> {
        let cluster = self.config.identity.cluster.as_str();
        if theirs != cluster {
            let text = format!("this is cluster {cluster:?}, not {theirs:?}");
            return Err(Status::failed_precondition(text));
        }
        if identity != self.config.identity.secret_hash {
            return Err(Status::unauthenticated("the cluster's secret is another one here"));
        }
        Ok(())
    }

    fn check(&self, hello: v1::HostHello) -> Result<Vec<Hello>, Status> {
        self.admit(&hello.cluster, &hello.identity)?;
        if hello.guards.len() > wire::GUARDS_MAX {
            return Err(Status::resource_exhausted(format!("more than {} guards", wire::GUARDS_MAX)));
        }
        let bad = |what: String| Status::invalid_argument(what);
        let coordinator =
            CoordinatorName::parse(&hello.coordinator).map_err(|error| bad(error.to_string()))?;
        let guards = hello.guards.into_iter();
        guards
            .map(|guard| wire::hello_from_wire(guard, &coordinator).map_err(|error| bad(error.to_string())))
            .collect()
    }

    fn not_active(&self) -> Status {
        let lock = self.lock.borrow();
        let holder = lock.as_ref().and_then(|lock| lock.holder.as_ref());
        Status::failed_precondition(match holder {
            Some(holder) => {
                format!("the active arbiter is {} at {}", holder.coordinator, holder.address)
            }
            None => "there is no active arbiter".to_owned(),
        })
    }
}

#[tonic::async_trait]
impl Coordination for CoordinationService {
    type AttachStream = ReceiverStream<Result<v1::ToHost, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::FromHost>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(HELLO, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(v1::FromHost { message: Some(v1::from_host::Message::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        let address = hello.address.clone();
        if address.len() > ADDRESS_BYTES_MAX {
            return Err(Status::invalid_argument("the host's address is too long"));
        }
        let guards = self.check(hello)?;
        let Some(events) = &self.events else { return Err(self.not_active()) };
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (out, queue) = mpsc::channel(OUT_MAX);
        let (admitted, answer) = oneshot::channel();
        let ended = || Status::unavailable("the arbiter's shell has ended");
        let attached = Event::Attached { session, guards, address, out, admitted };
        events.send(attached).await.map_err(|_| ended())?;
        if !answer.await.map_err(|_| ended())? {
            return Err(self.not_active());
        }
        tokio::spawn(read(session, inbound, events.clone()));
        Ok(Response::new(ReceiverStream::new(queue)))
    }

    async fn promise(
        &self,
        request: Request<v1::PromiseRequest>,
    ) -> Result<Response<v1::PromiseResponse>, Status> {
        let request = request.into_inner();
        self.admit(&request.cluster, &request.identity)?;
        let malformed = |error: wire::Malformed| Status::invalid_argument(error.to_string());
        let wire::peer::Asked { instance, hello, ask } =
            wire::peer::ask_from_wire(request).map_err(malformed)?;
        let (reply, answer) = oneshot::channel();
        let guard = self
            .guards
            .get(&instance)
            .ok_or_else(|| Status::not_found(format!("{instance} is not guarded by {}", self.config.name)))?;
        let asker = hello.instance.clone();
        // A guard whose queue is full is as good as silent; whoever asks asks again.
        guard
            .try_send(FromLink::Asked(Question { hello, ask, reply }))
            .map_err(|_| Status::unavailable("the guard does not take requests"))?;
        let answer = answer.await.map_err(|_| Status::aborted("the guard did not answer this request"))?;
        Ok(Response::new(wire::peer::answer_to_wire(&asker, &answer)))
    }

    async fn relay(&self, request: Request<v1::RelayRequest>) -> Result<Response<v1::RelayResponse>, Status> {
        let request = request.into_inner();
        self.admit(&request.cluster, &request.identity)?;
        let relayed = wire::peer::relay_from_wire(request)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let of = relayed.hello.instance.clone();
        let Some(events) = &self.events else { return Err(self.not_active()) };
        let (reply, answer) = oneshot::channel();
        let event = Event::Relayed { relayed: Box::new(relayed), reply };
        events.try_send(event).map_err(|_| Status::unavailable("the arbiter's queue is full"))?;
        let answer = answer.await.map_err(|_| self.not_active())?;
        Ok(Response::new(wire::peer::relay_answer_to_wire(&of, &answer)))
    }

    async fn knock(&self, request: Request<v1::KnockRequest>) -> Result<Response<v1::KnockResponse>, Status> {
        let v1::KnockRequest { cluster, identity, coordinator, guards } = request.into_inner();
        self.admit(&cluster, &identity)?;
        let by = CoordinatorName::parse(&coordinator)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let most = u32::try_from(wire::GUARDS_MAX).unwrap_or(u32::MAX);
        if guards > most {
            return Err(Status::invalid_argument(format!("more than {most} guards")));
        }
        self.knocks
            .try_send(Knock { by, guards })
            .map_err(|_| Status::unavailable("too many knock at this moment"))?;
        Ok(Response::new(v1::KnockResponse {}))
    }

    async fn find_arbiter(
        &self,
        request: Request<v1::FindArbiterRequest>,
    ) -> Result<Response<v1::FindArbiterResponse>, Status> {
        let v1::FindArbiterRequest { cluster, identity } = request.into_inner();
        self.admit(&cluster, &identity)?;
        let seen = self.lock.borrow().as_ref().and_then(Sighting::of);
        Ok(Response::new(seen.map(Sighting::into_wire).unwrap_or_default()))
    }
}

/// Reads one host's stream to its end.
async fn read(session: SessionId, mut inbound: Streaming<v1::FromHost>, events: mpsc::Sender<Event>) {
    loop {
        let message = match inbound.message().await {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) => break,
        };
        let beats = match message.message {
            Some(v1::from_host::Message::Beats(beats)) => beats,
            Some(v1::from_host::Message::Next(next)) if next.problem.len() <= PROBLEM_BYTES_MAX => {
                let v1::NextProvider { move_id, problem } = next;
                if events.send(Event::NextProvider { session, move_id, problem }).await.is_err() {
                    return;
                }
                continue;
            }
            Some(v1::from_host::Message::Next(_) | v1::from_host::Message::Hello(_)) | None => break,
        };
        if beats.beats.len() > wire::GUARDS_MAX {
            break;
        }
        let aside = Aside {
            clock_ahead_ms: wire::aside::clock_ahead(beats.unix_millis, clock::unix_millis()),
            notes: beats.notes.map(wire::aside::notes_from_wire),
        };
        let beats: Result<Vec<_>, _> = beats.beats.into_iter().map(wire::beat_from_wire).collect();
        match beats {
            Ok(beats) => {
                if events.send(Event::Beats { session, beats, aside }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(session = session.0, %error, "a host sent what cannot be understood");
                break;
            }
        }
    }
    let _ = events.send(Event::Detached { session }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use baton_core::ids::{Endpoint, Epoch};
    use baton_provider::Candidate;

    fn service(lock: Option<LockView>) -> CoordinationService {
        let text = "[cluster]\nname = \"orders\"\n[provider]\nkind = \"stateboard\"\nendpoints = [\"http://h:1\"]\n\
                    [coordinator]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\nstate_dir = \"/nonexistent\"\n";
        let config = Config::from_text("a.toml", text, [], &Overrides::default()).expect("a good file");
        let (knocks, _) = mpsc::channel(1);
        CoordinationService::new(Arc::new(config), None, BTreeMap::new(), watch::channel(lock).1, knocks)
    }

    #[tokio::test]
    async fn whoever_is_of_the_cluster_is_told_where_the_arbiter_was_seen_last() {
        let coordinator = CoordinatorName::parse("b").expect("a good name");
        let holder = Candidate { coordinator, address: Endpoint("b:1".into()) };
        let held = LockView { epoch: Epoch { generation: 1, number: 7 }, holder: Some(holder), bid: None };
        let nobodys = LockView { holder: None, ..held.clone() };
        for (lock, address) in [(Some(held), "b:1"), (Some(nobodys), ""), (None, "")] {
            let service = service(lock);
            let identity = service.config.identity.secret_hash.to_vec();
            let asked = v1::FindArbiterRequest { cluster: "orders".to_owned(), identity };
            let told = service.find_arbiter(Request::new(asked.clone())).await.expect("one of us asks");
            assert_eq!(told.into_inner().address, address);
            for stranger in [
                v1::FindArbiterRequest { cluster: "stock".to_owned(), ..asked.clone() },
                v1::FindArbiterRequest { identity: vec![1], ..asked.clone() },
            ] {
                assert!(service.find_arbiter(Request::new(stranger)).await.is_err());
            }
        }
    }
}
