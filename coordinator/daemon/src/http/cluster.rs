//! The cluster as the active arbiter sees it, for handlers of a coordinator that is not it: members, and how far each is
//! behind, are known to the arbiter only. It is asked at most once a second, however many ask here.

use crate::directory;
use crate::view::Views;
use baton_client::OperatorClient;
use baton_client::status::ClusterStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long the active arbiter may take to answer, and how long its answer is good for.
const ASK: Duration = Duration::from_secs(1);

/// The last answer.
#[derive(Clone, Default)]
pub(super) struct Cluster {
    last: Arc<Mutex<Option<(Instant, ClusterStatus)>>>,
}

impl Cluster {
    /// What the active arbiter says; where it is out of reach, what this coordinator knows.
    pub(super) async fn status(&self, views: &Views) -> ClusterStatus {
        let view = Arc::clone(&views.cluster.borrow());
        let arbiter = &view.status.arbiter;
        if let Some(address) = arbiter.address.as_deref().filter(|_| !arbiter.active_here) {
            // Held while the question is under way: those who ask meanwhile get the same answer.
            let mut last = self.last.lock().await;
            if let Some((at, status)) = last.as_ref()
                && at.elapsed() < ASK
            {
                return status.clone();
            }
            if let Ok(client) = OperatorClient::new([address], ASK)
                && let Ok(status) = client.status().await
            {
                *last = Some((Instant::now(), status.clone()));
                return status;
            }
        }
        let masters = Arc::clone(&views.masters.borrow());
        directory::local_status(&view, &masters, Instant::now())
    }

    /// How many bytes an instance is behind its master, where that is known.
    pub(super) async fn lag_of(&self, views: &Views, instance: &str) -> Option<u64> {
        let status = self.status(views).await;
        let mut members = status.replicasets.into_iter().flat_map(|set| set.members);
        members.find(|member| member.instance == instance)?.lag_bytes
    }
}
