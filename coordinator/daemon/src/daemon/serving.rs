//! What the daemon's ports serve: gRPC to guards, routers and operators, HTTP to people and balancers; and what is said in the
//! place of an arbiter that is off. It must not know what the services do.

use super::Common;
use crate::directory::DirectoryService;
use crate::http;
use crate::link::service::CoordinationService;
use crate::notes;
use crate::operator::{OperatorCommand, OperatorService, Refused, RefusedKind};
use crate::view::{ClusterView, Views};
use baton_core::ids::InstanceName;
use baton_proto::v1;
use baton_provider::LockView;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Streams that one connection may have open.
const STREAMS_MAX: u32 = 4_096;

/// What the gRPC port serves.
pub(super) struct Services<'a> {
    pub(super) common: &'a Common,
    pub(super) views: &'a Views,
    pub(super) commands: mpsc::Sender<OperatorCommand>,
    pub(super) coordination: CoordinationService,
}

impl Services<'_> {
    pub(super) async fn serve<I, S>(
        self,
        incoming: I,
        stop: CancellationToken,
    ) -> anyhow::Result<impl Future<Output = Result<(), tonic::transport::Error>> + use<I, S>>
    where
        I: Stream<Item = std::io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Connected<ConnectInfo: Clone + Send + Sync> + Unpin + Send + 'static,
    {
        let cluster = self.common.config.identity.cluster.clone();
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .build_v1()?;
        let directory = self.common.config.directory_enabled.then(|| {
            let service =
                DirectoryService::new(cluster.clone(), self.views.clone(), Arc::clone(&self.common.metrics));
            tokio::spawn(notes::watch::routers(self.common.notes.clone(), service.clone(), stop.clone()));
            service.into_server()
        });
        let operator = OperatorService::new(cluster, self.views.clone(), self.commands)
            .kept_by(Arc::clone(&self.common.provider))
            .into_server();
        let router = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .add_service(health_service)
            .add_service(reflection)
            .add_service(operator)
            .add_optional_service(directory)
            .add_service(self.coordination.into_server());
        Ok(router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()))
    }
}

/// The ports of `http_listen` and `health_listen`.
pub(super) fn serve_http(
    common: &Common,
    views: &Views,
    listener: TcpListener,
    health: BTreeMap<InstanceName, TcpListener>,
    stop: &CancellationToken,
    ended: &mpsc::Sender<()>,
) {
    let directory = common.config.directory_enabled;
    let state = http::HttpState::new(views.clone(), Arc::clone(&common.metrics), directory);
    let mut ports = vec![(listener, http::router(state.clone()))];
    for (name, listener) in health {
        ports.push((listener, http::health_router(state.clone(), name)));
    }
    for (listener, router) in ports {
        let (stop, ended) = (stop.clone(), ended.clone());
        tokio::spawn(async move {
            if let Err(error) = http::serve(listener, router, stop.cancelled_owned()).await {
                tracing::error!(%error, "an HTTP port failed");
            }
            drop(ended);
        });
    }
}

/// Where the arbiter is off, its commands are refused.
pub(super) async fn refuse_all(mut commands: mpsc::Receiver<OperatorCommand>) {
    let refused =
        || Refused::new(RefusedKind::NotActiveArbiter, "the arbiter is off on this coordinator", "");
    while let Some(command) = commands.recv().await {
        match command {
            OperatorCommand::Switchover { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::AbortTask { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::WhatIf { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::Pause { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::Resume { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::RemoveMember { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::RemoveSet { reply, .. } => drop(reply.send(Err(refused()))),
            OperatorCommand::History { reply, .. } => drop(reply.send(Err(refused()))),
        }
    }
}

/// Without an arbiter of its own, a coordinator still has to say who is.
pub(super) async fn publish_lock(
    mut lock: watch::Receiver<Option<LockView>>,
    cluster: watch::Sender<Arc<ClusterView>>,
) {
    loop {
        let holder = lock.borrow_and_update().clone().map(|lock| (lock.epoch, lock.holder));
        let mut view = ClusterView::clone(&cluster.borrow());
        if let Some((epoch, holder)) = holder {
            let arbiter = &mut view.status.arbiter;
            arbiter.epoch = Some(epoch.to_string());
            arbiter.coordinator = holder.as_ref().map(|holder| holder.coordinator.to_string());
            arbiter.address = holder.as_ref().map(|holder| holder.address.to_string());
        }
        cluster.send_replace(Arc::new(view));
        if lock.changed().await.is_err() {
            return;
        }
    }
}
