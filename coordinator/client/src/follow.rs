//! The client of routers: follows the watch of any coordinator that answers, changes over when it ends, and keeps what
//! it knows meanwhile. Nobody's failure reaches the caller: an old answer with a term is better than none.

use crate::cache::{Cache, Master};
use crate::endpoint::{self, BadEndpoint};
use crate::refusal;
use crate::wire::epoch_to_wire;
use baton_core::ids::Epoch;
use baton_proto::v1::directory_client::DirectoryClient;
use baton_proto::v1::{AcknowledgeRequest, WatchMastersRequest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::transport::Channel;

/// How a [`Client`] behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Coordinators, in the order of preference: `host:port` or `http://host:port`. At least one.
    pub endpoints: Vec<String>,
    /// Refuse coordinators of another cluster; `None` takes any.
    pub cluster: Option<String>,
    /// Under which name to acknowledge what was applied, so that operators see a router that lags; `None`: not at all.
    pub router: Option<String>,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// The pause after all coordinators failed once; it doubles up to `backoff_max`, and each is drawn between half
    /// and the whole of it, so that routers that lost the same coordinator do not come back in one moment.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
}

impl ClientOptions {
    /// The defaults, for these coordinators.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            cluster: None,
            router: None,
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }
}

/// A live map of masters. Clones share one connection; the last one dropped ends it.
#[derive(Clone)]
pub struct Client {
    cache: watch::Receiver<Cache>,
    connected: watch::Receiver<Option<String>>,
    _task: Arc<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Starts to follow, on the current tokio runtime. Does not wait: until the first answer, nothing is known.
    ///
    /// # Errors
    /// [`BadEndpoint`] if an address is none, or there is none at all.
    pub fn start(options: ClientOptions) -> Result<Self, BadEndpoint> {
        let mut options = options;
        options.endpoints = endpoint::normalize_all(options.endpoints.iter().map(String::as_str))?;
        if options.endpoints.is_empty() {
            endpoint::normalize("")?;
        }
        let (cache_in, cache) = watch::channel(Cache::default());
        let (connected_in, connected) = watch::channel(None);
        let follower =
            Follower { options, cache: cache_in, connected: connected_in, applied: watch::Sender::default() };
        let task = tokio::spawn(follower.run());
        Ok(Self { cache, connected, _task: Arc::new(AbortOnDrop(task.abort_handle())) })
    }

    /// The master of a set with the highest term that anybody told; `None` for a set that nobody has named.
    #[must_use]
    pub fn master(&self, replicaset: &str) -> Option<Master> {
        self.cache.borrow().masters.get(replicaset).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn masters(&self) -> BTreeMap<String, Master> {
        self.cache.borrow().masters.clone()
    }

    /// Waits until something differs from what this clone last saw through `changed`. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.cache.changed().await.is_err() {
            // The task lives as long as any clone does, so that this is never reached; waiting is the honest answer.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until `wanted` holds for the set's master, looking at each change. The caller brings the deadline.
    pub async fn wait_for(&mut self, replicaset: &str, wanted: impl Fn(&Master) -> bool) -> Master {
        loop {
            let known = self.cache.borrow_and_update().masters.get(replicaset).cloned();
            if let Some(master) = known.filter(&wanted) {
                return master;
            }
            self.changed().await;
        }
    }

    /// The coordinator whose watch is followed now; `None` while there is none and the map may be old.
    #[must_use]
    pub fn connected_to(&self) -> Option<String> {
        self.connected.borrow().clone()
    }
}

struct Follower {
    options: ClientOptions,
    cache: watch::Sender<Cache>,
    connected: watch::Sender<Option<String>>,
    /// Where the cache stands; it moves also where nothing that a router sees has changed.
    applied: watch::Sender<(Epoch, u64)>,
}

/// Largest message: the whole map of 100,000 sets.
const MAP_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest chain of redirects before the list of endpoints is tried again from its start.
const REDIRECTS_MAX: u32 = 4;

impl Follower {
    async fn run(self) {
        let mut pause = self.options.backoff_min;
        loop {
            let mut any_answered = false;
            for address in self.options.endpoints.clone() {
                any_answered |= self.follow_with_redirects(address).await;
            }
            pause = if any_answered {
                self.options.backoff_min
            } else {
                (pause * 2).min(self.options.backoff_max)
            };
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    /// Follows one coordinator until its watch ends. Answers whether it ever told anything.
    async fn follow_with_redirects(&self, address: String) -> bool {
        let mut address = address;
        let mut answered = false;
        for _ in 0..=REDIRECTS_MAX {
            let end = self.session(&address, &mut answered).await;
            self.connected.send_replace(None);
            tracing::debug!(address, %end, "the watch of masters ended");
            match refusal::redirect_of(&end).map(|target| endpoint::normalize(&target)) {
                Some(Ok(target)) => address = target,
                Some(Err(_)) | None => return answered,
            }
        }
        answered
    }

    /// One watch, to its end.
    async fn session(&self, address: &str, answered: &mut bool) -> Status {
        let channel = match endpoint::connect(address, self.options.connect_timeout).await {
            Ok(channel) => channel,
            Err(error) => return Status::unavailable(error.to_string()),
        };
        let mut directory = DirectoryClient::new(channel.clone()).max_decoding_message_size(MAP_BYTES_MAX);
        let request = {
            let known = self.cache.borrow();
            WatchMastersRequest {
                cluster: self.options.cluster.clone().unwrap_or_default(),
                after_epoch: Some(epoch_to_wire(known.epoch)),
                after_revision: known.revision,
            }
        };
        let opened =
            tokio::time::timeout(self.options.connect_timeout, directory.watch_masters(request)).await;
        let mut changes = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("the watch was not opened in time"),
        };
        *answered = true;
        self.connected.send_replace(Some(address.to_owned()));
        let reading = async {
            loop {
                match changes.message().await {
                    Ok(Some(change)) => {
                        self.cache.send_if_modified(|cache| cache.apply(&change));
                        let known = self.cache.borrow();
                        self.applied.send_replace((known.epoch, known.revision));
                    }
                    Ok(None) => return Status::unavailable("the coordinator ended the watch"),
                    Err(status) => return status,
                }
            }
        };
        tokio::select! {
            biased;
            end = reading => end,
            end = self.acknowledge(channel) => end,
        }
    }

    /// Tells the coordinator how far this router is, the latest only; beside the reading, which it must never delay.
    async fn acknowledge(&self, channel: Channel) -> Status {
        let Some(router) = &self.options.router else { return std::future::pending().await };
        let mut directory = DirectoryClient::new(channel);
        let mut applied = self.applied.subscribe();
        loop {
            let (epoch, revision) = *applied.borrow_and_update();
            let request = AcknowledgeRequest {
                cluster: self.options.cluster.clone().unwrap_or_default(),
                router: router.clone(),
                epoch: Some(epoch_to_wire(epoch)),
                revision,
            };
            if let Ok(Err(status)) =
                tokio::time::timeout(self.options.connect_timeout, directory.acknowledge(request)).await
            {
                tracing::debug!(%status, "an acknowledgement was not taken");
            }
            if applied.changed().await.is_err() {
                return Status::cancelled("the client was dropped");
            }
        }
    }
}

/// Between half and the whole of a pause.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
