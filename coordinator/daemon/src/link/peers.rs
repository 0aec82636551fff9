//! What one host's guards ask other hosts: promises of the members of their sets, and an arbiter's answer to a beat that
//! is passed on. Connections are made when they are first needed and kept while they answer.
//!
//! It must not know when a guard asks, or what follows from an answer.

use super::wire;
use super::wire::peer::{self, RelayAnswer};
use crate::config::Config;
use crate::live::Live;
use crate::surroundings;
use baton_core::ids::InstanceName;
use baton_core::message::{Ask, Beat, Hello, PeerAnswer};
use baton_proto::v1;
use baton_proto::v1::coordination_client::CoordinationClient;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Most addresses that are remembered; more members than that no host's sets have.
const ADDRESSES_MAX: usize = 4 * wire::GUARDS_MAX;
/// Longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;
/// Most connections that are kept.
const CHANNELS_MAX: usize = 1_024;

/// Shared by the guards of a host, its link and its service.
pub struct Peers {
    config: Arc<Config>,
    /// A master's beat is how long a request to the arbiter may take, and one to a member, which may first ask the arbiter.
    live: watch::Receiver<Arc<Live>>,
    /// Where the members of this host's sets are reached, as the last arbiter told it.
    addresses: Mutex<BTreeMap<InstanceName, String>>,
    channels: Mutex<BTreeMap<String, Channel>>,
    /// The arbiter that this host is attached to.
    arbiter: watch::Sender<Option<String>>,
}

impl Peers {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(config: Arc<Config>, live: watch::Receiver<Arc<Live>>) -> Self {
        Self {
            config,
            live,
            addresses: Mutex::default(),
            channels: Mutex::default(),
            arbiter: watch::Sender::new(None),
        }
    }

    fn beat(&self) -> Duration {
        self.live.borrow().timing.beat_master.as_duration()
    }

    /// The arbiter that the link is attached to; `None` while it is to none.
    pub fn attached(&self, arbiter: Option<&str>) {
        self.arbiter.send_replace(arbiter.map(str::to_owned));
    }

    /// Whom the link is attached to.
    #[must_use]
    pub fn attached_to(&self) -> watch::Receiver<Option<String>> {
        self.arbiter.subscribe()
    }

    /// Shows a bidder for the arbiter's lock that this host, with so many guards, is heard there.
    ///
    /// # Errors
    /// The transport's, or that it is of another cluster.
    pub async fn knock(&self, address: &str, guards: u32) -> Result<(), Status> {
        let request = v1::KnockRequest {
            cluster: self.config.identity.cluster.to_string(),
            identity: self.config.identity.secret_hash.to_vec(),
            coordinator: self.config.name.to_string(),
            guards,
        };
        let call = async |mut client: CoordinationClient<Channel>| client.knock(request).await;
        self.call(address, self.beat(), call).await.map(|_: v1::KnockResponse| ())
    }

    /// Takes addresses in; what is not named stays as it was.
    ///
    /// # Errors
    /// What cannot be understood of them.
    pub fn learn(&self, peers: v1::PeerAddresses) -> Result<(), wire::Malformed> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        for peer in peers.peers {
            if peer.address.len() > ADDRESS_BYTES_MAX {
                return Err(wire::Malformed::TooLong("an address"));
            }
            let instance = InstanceName::parse(&peer.instance)?;
            if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&instance) {
                return Err(wire::Malformed::TooLong("a list of addresses"));
            }
            addresses.insert(instance, peer.address);
        }
        Ok(())
    }

    /// Where other members of this host's sets are reached.
    #[must_use]
    pub fn known_addresses(&self) -> BTreeSet<String> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Asks another coordinator whom it takes for the active arbiter.
    ///
    /// # Errors
    /// The transport's, or that it is of another cluster or of an older build.
    pub async fn find_arbiter(&self, address: &str) -> Result<v1::FindArbiterResponse, Status> {
        let request = v1::FindArbiterRequest {
            cluster: self.config.identity.cluster.to_string(),
            identity: self.config.identity.secret_hash.to_vec(),
        };
        let call = async |mut client: CoordinationClient<Channel>| client.find_arbiter(request).await;
        self.call(address, self.beat(), call).await
    }

    /// Asks a member; the answer may take as long as an arbiter's silence has to last.
    ///
    /// # Errors
    /// The transport's, or that its address is not known.
    pub async fn ask(&self, to: &InstanceName, hello: &Hello, ask: &Ask) -> Result<PeerAnswer, Status> {
        let known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(to).cloned();
        let address = known.ok_or_else(|| Status::unavailable(format!("where {to} is was never told")))?;
        let request = peer::ask_to_wire(&self.config, to, hello, ask);
        let call = async |mut client: CoordinationClient<Channel>| client.promise(request).await;
        let answer = self.call(&address, self.beat() * 2, call).await?;
        peer::answer_from_wire(answer).map_err(|error| Status::internal(error.to_string()))
    }

    /// Passes a beat on to the arbiter that this host is attached to.
    ///
    /// # Errors
    /// The transport's, or that there is none.
    pub async fn relay(&self, by: &InstanceName, hello: &Hello, beat: &Beat) -> Result<RelayAnswer, Status> {
        let attached = self.arbiter.borrow().clone();
        let address = attached.ok_or_else(|| Status::unavailable("attached to no arbiter"))?;
        let request = peer::relay_to_wire(&self.config, by, hello, beat);
        let call = async |mut client: CoordinationClient<Channel>| client.relay(request).await;
        let answer = self.call(&address, self.beat(), call).await?;
        peer::relay_answer_from_wire(answer).map_err(|error| Status::internal(error.to_string()))
    }

    async fn call<T>(
        &self,
        address: &str,
        within: Duration,
        call: impl AsyncFnOnce(CoordinationClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let channel = self.channel(address)?;
        let client = CoordinationClient::new(channel).max_decoding_message_size(crate::MESSAGE_BYTES_MAX);
        let answer = tokio::time::timeout(within, call(client)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("{address} did not answer"))));
        if answer.as_ref().is_err_and(is_transports) {
            // Whatever is wrong with the connection, the next request has a new one.
            self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
        }
        Ok(answer?.into_inner())
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Status::invalid_argument(error.to_string()))?
            .connect_timeout(self.beat())
            .tcp_nodelay(true);
        let channel = surroundings::connect_lazy(&endpoint);
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

fn is_transports(status: &Status) -> bool {
    matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Unknown)
}
