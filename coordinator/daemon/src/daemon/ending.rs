//! How the daemon ends: what has to end in which order, and how long it may take. It decides nothing but that.

use crate::live::Live;
use crate::view::Views;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the tasks may take to end once the shutdown has come.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the link may take then, while the right of a master that was handed over runs down.
const LAST_BEATS: Duration = Duration::from_millis(100);

/// What runs, in the order in which it has to end.
pub(super) struct Running {
    pub(super) guards: tokio::task::JoinSet<()>,
    pub(super) guards_stop: CancellationToken,
    pub(super) link: JoinHandle<()>,
    pub(super) arbiter: Option<JoinHandle<()>>,
    pub(super) arbiter_stop: CancellationToken,
    pub(super) serve_stop: CancellationToken,
    pub(super) served: mpsc::Receiver<()>,
}

impl Running {
    /// Every moment from a guard's hand-over on is one that the next process does not have. So the arbiter goes first, while
    /// guards beat on and may find the next one, and nothing but what is being written is waited for afterwards.
    pub(super) async fn hand_over(mut self) {
        tracing::info!("stopping: engines and rights are kept for the next process");
        self.arbiter_stop.cancel();
        if let Some(arbiter) = self.arbiter
            && tokio::time::timeout(DRAIN, arbiter).await.is_err()
        {
            tracing::warn!("the arbiter did not end within {DRAIN:?}");
        }
        self.guards_stop.cancel();
        let ended = tokio::time::timeout(DRAIN, async { while self.guards.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!("not every guard ended within {DRAIN:?}");
        }
        self.serve_stop.cancel();
        // What a guard said that had to stop after all is sent, where there is a stream.
        let _ = tokio::time::timeout(LAST_BEATS, self.link).await;
    }

    /// Masters of this host give their terms up, and what they began is let end.
    pub(super) async fn drain(mut self, views: &Views, live: &watch::Receiver<Arc<Live>>) {
        tracing::info!("stopping: local masters hand over, engines go on under their deadmen");
        self.guards_stop.cancel();
        let drained = tokio::time::timeout(DRAIN, async {
            while self.guards.join_next().await.is_some() {}
            // The link ends by itself when the last beat, which says that the masters have relinquished, is sent.
            let _ = self.link.await;
            let at_most = live.borrow().timing.promote_wait;
            settle(views, at_most.as_duration()).await;
            self.arbiter_stop.cancel();
            if let Some(arbiter) = self.arbiter {
                let _ = arbiter.await;
            }
            self.serve_stop.cancel();
            self.served.recv().await;
        });
        if drained.await.is_err() {
            tracing::warn!("not everything ended within {DRAIN:?}");
        }
    }
}

/// Where this is the active arbiter, lets the successions that the stop began end: whoever takes the lock over would
/// have to wait for the last grant.
async fn settle(views: &Views, at_most: Duration) {
    let mut cluster = views.cluster.clone();
    let settled = cluster.wait_for(|view| {
        let status = &view.status;
        !status.arbiter.active_here || status.replicasets.iter().all(|set| set.state == "active")
    });
    // Views are published every tenth of a second; the one at hand may be older than the stop.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let _ = tokio::time::timeout(at_most, settled).await;
}
