//! The gRPC service `Directory`. Each watch is a loop over the published map: what was sent last against what is there
//! now. So a slow router costs nobody anything but its own delay, and no queue can fill up.

use super::{check_cluster, next_change, wire};
use crate::metrics::Metrics;
use crate::view::{MastersView, Views};
use baton_client::wire::{epoch_from_wire, epoch_to_wire};
use baton_core::ids::{ClusterName, CoordinatorName, Epoch, Revision};
use baton_proto::v1::directory_server::{Directory, DirectoryServer};
use baton_proto::v1::{
    AcknowledgeRequest, AcknowledgeResponse, GetMastersRequest, MastersChange, WatchMastersRequest,
};
use futures_util::stream::{self, Stream};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Request, Response, Status};

/// Most watches at a time.
const WATCHES_MAX: usize = 4_096;
/// Most routers whose acknowledgements are kept; a new one beyond them is not.
const ROUTERS_MAX: usize = 4_096;

/// Answers routers.
#[derive(Clone)]
pub struct DirectoryService {
    cluster: ClusterName,
    views: Views,
    watches: Arc<Semaphore>,
    acknowledged: Arc<Mutex<BTreeMap<String, (Epoch, Revision)>>>,
    metrics: Arc<Metrics>,
}

impl DirectoryService {
    /// The service of a coordinator of this cluster.
    #[must_use]
    pub fn new(cluster: ClusterName, views: Views, metrics: Arc<Metrics>) -> Self {
        let watches = Arc::new(Semaphore::new(WATCHES_MAX));
        Self { cluster, views, watches, acknowledged: Arc::default(), metrics }
    }

    /// The service as tonic's router takes it.
    #[must_use]
    pub fn into_server(self) -> DirectoryServer<Self> {
        DirectoryServer::new(self).max_decoding_message_size(16 * 1024)
    }

    /// How far each router said it is.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeMap<String, (Epoch, Revision)> {
        self.acknowledged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Where the map of masters stands here.
    #[must_use]
    pub fn current(&self) -> (Epoch, Revision) {
        let view = self.views.masters.borrow();
        (view.epoch, view.revision)
    }

    /// Forgets routers that are gone.
    pub fn forget(&self, routers: &[String]) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        acknowledged.retain(|router, _| !routers.contains(router));
    }

    fn known(&self) -> Result<Arc<MastersView>, Status> {
        let view = Arc::clone(&self.views.masters.borrow());
        if view.is_known() { Ok(view) } else { Err(nothing_yet()) }
    }
}

fn nothing_yet() -> Status {
    Status::unavailable("this coordinator has not heard from an active arbiter yet; ask another")
}

type ChangeStream = Pin<Box<dyn Stream<Item = Result<MastersChange, Status>> + Send>>;

#[tonic::async_trait]
impl Directory for DirectoryService {
    async fn get_masters(
        &self,
        request: Request<GetMastersRequest>,
    ) -> Result<Response<MastersChange>, Status> {
        check_cluster(&self.cluster, &request.into_inner().cluster)?;
        Ok(Response::new(wire::snapshot(&*self.known()?)))
    }

    type WatchMastersStream = ChangeStream;

    async fn watch_masters(
        &self,
        request: Request<WatchMastersRequest>,
    ) -> Result<Response<ChangeStream>, Status> {
        let request = request.into_inner();
        check_cluster(&self.cluster, &request.cluster)?;
        let known = self.known()?;
        let permit = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{WATCHES_MAX} routers watch here already; ask another coordinator"
            ))
        })?;
        let after = (epoch_from_wire(request.after_epoch), Revision(request.after_revision));
        // Only the very same map may be left out: from any other, what the router lacks is not known.
        let sent = ((known.epoch, known.revision) == after).then_some(known);
        let metrics = Arc::clone(&self.metrics);
        metrics.router_came();
        let watch = Watch { masters: self.views.masters.clone(), sent, metrics, _permit: permit };
        let changes = stream::unfold(watch, |mut watch| async move {
            let change = next_change(&mut watch.masters, &mut watch.sent).await?;
            Some((Ok(change), watch))
        });
        Ok(Response::new(Box::pin(changes)))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        let request = request.into_inner();
        check_cluster(&self.cluster, &request.cluster)?;
        // The rule for names is everybody's; a router's is checked as a coordinator's would be.
        let router = CoordinatorName::parse(&request.router)
            .map_err(|error| Status::invalid_argument(format!("the router's name: {error}")))?;
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = acknowledged.contains_key(router.as_str());
        if known || acknowledged.len() < ROUTERS_MAX {
            let at = (epoch_from_wire(request.epoch), Revision(request.revision));
            acknowledged.insert(router.to_string(), at);
        }
        drop(acknowledged);
        let view = self.views.masters.borrow();
        Ok(Response::new(AcknowledgeResponse {
            epoch: Some(epoch_to_wire(view.epoch)),
            revision: view.revision.0,
        }))
    }
}

/// One router's watch.
struct Watch {
    masters: watch::Receiver<Arc<MastersView>>,
    /// What the router knows, if anything.
    sent: Option<Arc<MastersView>>,
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.metrics.router_left();
    }
}
