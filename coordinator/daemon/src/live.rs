//! What this host knows of the provider without asking: who holds the arbiter's lock, and the settings that hold. One watch
//! for both, and for every part of the daemon.
//!
//! Each host follows the provider by itself, rather than hear the settings from the arbiter: so a host keeps up without an
//! arbiter, and a guard's own watch is never the only way for it to survive a change (a grant names the lease that it was
//! given by).

use baton_core::ids::Version;
use baton_core::record::Settings;
use baton_core::timing::{BadTiming, Timing};
use baton_provider::{FatalError, Item, LockView, ProviderError, Snapshot, StateProvider, WatchEvent};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

/// The settings that hold, and what follows from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The provider's: a restore of it may set the settings' version back.
    pub generation: u64,
    /// All of them.
    pub settings: Settings,
    /// All times.
    pub timing: Timing,
}

impl Live {
    /// As they were read.
    ///
    /// # Errors
    /// They are not safe together: a damaged provider, or one of a newer build.
    pub fn new(generation: u64, settings: Settings) -> Result<Self, BadTiming> {
        let timing = Timing::new(&settings)?;
        Ok(Self { generation, settings, timing })
    }

    /// By which they are ordered.
    #[must_use]
    pub fn stamp(&self) -> (u64, Version) {
        (self.generation, self.settings.version)
    }
}

/// What is followed.
pub struct Followed {
    /// Who holds the lock.
    pub lock: watch::Receiver<Option<LockView>>,
    /// The settings.
    pub live: watch::Receiver<Arc<Live>>,
}

struct Senders {
    lock: watch::Sender<Option<LockView>>,
    live: watch::Sender<Arc<Live>>,
}

/// Follows both for as long as anybody wants to know: the link of a daemon that stops still has to reach the arbiter with
/// its guards' last words, and must not take the end of this watch for a change of the lock.
#[must_use]
pub fn follow(provider: Arc<dyn StateProvider>, first: Live) -> Followed {
    let (lock_in, lock) = watch::channel(None);
    let (live_in, live) = watch::channel(Arc::new(first));
    let senders = Senders { lock: lock_in, live: live_in };
    tokio::spawn(async move {
        let unwanted = async { tokio::join!(senders.lock.closed(), senders.live.closed()) };
        tokio::select! {
            biased;
            _ = unwanted => {}
            error = senders.watch(provider) => {
                tracing::error!(%error, "the state provider cannot be watched any more");
                tokio::join!(senders.lock.closed(), senders.live.closed());
            }
        }
    });
    Followed { lock, live }
}

impl Senders {
    async fn watch(&self, provider: Arc<dyn StateProvider>) -> ProviderError {
        let mut stream = match provider.watch(None).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        while let Some(event) = stream.next().await {
            match event {
                Ok(WatchEvent::Snapshot(snapshot)) => {
                    let Snapshot { lock, settings, .. } = *snapshot;
                    self.settings(lock.epoch.generation, settings);
                    self.lock.send_if_modified(|known| known.replace(lock.clone()) != Some(lock));
                }
                Ok(WatchEvent::Update(update)) => {
                    for item in update.items {
                        match item {
                            Item::Lock(lock) => drop(self.lock.send_replace(Some(lock))),
                            Item::Settings(settings) => {
                                let known = self.lock.borrow().as_ref().map(|lock| lock.epoch.generation);
                                self.settings(known.unwrap_or_default(), *settings);
                            }
                            _ => {}
                        }
                    }
                }
                Err(error) => return error,
            }
        }
        ProviderError::Fatal(FatalError::Protocol("the watch ended".to_owned()))
    }

    /// Takes settings in, unless they are older than what is known: a read may have been ahead of the watch.
    fn settings(&self, generation: u64, settings: Settings) {
        let live = match Live::new(generation, settings) {
            Ok(live) => live,
            Err(error) => {
                // Nothing of the kind can be put; what is damaged, or too new for this build, does not take effect.
                tracing::error!(%error, "the settings in the state provider are not safe together; the last good ones stay");
                return;
            }
        };
        self.live.send_if_modified(|known| {
            let newer = live.stamp() > known.stamp();
            if newer {
                tell(&known.settings, &live.settings);
                *known = Arc::new(live);
            }
            newer
        });
    }
}

fn tell(before: &Settings, after: &Settings) {
    let changed: Vec<_> =
        baton_settings::differences(before, after).iter().map(ToString::to_string).collect();
    tracing::info!(version = %after.version, changed = changed.join("; "), "the cluster's settings changed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::ClusterName;
    use baton_core::time::Span;
    use baton_provider::identity_of;
    use baton_provider::memory::MemoryBoard;

    #[tokio::test]
    async fn a_change_is_known_and_an_older_one_is_not_taken_for_it() {
        let identity = identity_of(ClusterName::parse("orders").expect("a name"), "secret");
        let board = MemoryBoard::new(identity.clone(), Settings::default());
        let provider = board.client(identity);
        let known = Settings { version: Version(1), ack_quorum: 1, ..Settings::default() };
        let first = Live::new(1, known.clone()).expect("safe");
        let Followed { mut live, .. } = follow(Arc::new(provider.clone()), first);
        let lease = |millis| Settings { lease_ttl: Span::from_millis(millis), ..Settings::default() };
        for (expected, millis) in [(0, 2_000), (1, 1_000)] {
            provider.put_settings(Version(expected), lease(millis)).await.expect("it answers");
        }
        live.changed().await.expect("it is followed");
        let seen = live.borrow_and_update().clone();
        assert_eq!((seen.settings.version, seen.timing.lease_ttl), (Version(2), Span::from_secs(1)));
    }
}
