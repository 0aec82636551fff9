//! A client with roads of its own to every node, so that what happens to it happens to nobody else.

use crate::proxy::{Direction, Proxy, Trap, Traps};
use baton_provider::StateProvider;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The client and its roads.
pub struct Route {
    client: Arc<dyn StateProvider>,
    roads: Vec<Proxy>,
    traps: Traps,
}

impl Route {
    pub(crate) async fn new(
        servers: &[SocketAddr],
        client: impl FnOnce(Vec<SocketAddr>) -> Arc<dyn StateProvider>,
    ) -> Self {
        let traps = Traps::default();
        let mut roads = Vec::new();
        for server in servers {
            roads.push(Proxy::to(*server, traps.clone()).await);
        }
        let client = client(roads.iter().map(Proxy::address).collect());
        Self { client, roads, traps }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> Arc<dyn StateProvider> {
        Arc::clone(&self.client)
    }

    /// Sets a trap on all roads; it springs once. The receiver is told when.
    pub fn set(&self, trap: Trap) -> oneshot::Receiver<()> {
        self.traps.set(trap, 0)
    }

    /// The same after `skip` messages: what is one call may be several on the road.
    pub fn set_after(&self, skip: usize, trap: Trap) -> oneshot::Receiver<()> {
        self.traps.set(trap, skip)
    }

    /// Takes a trap back that has not sprung.
    pub fn unset(&self) {
        self.traps.clear();
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.roads.iter().for_each(Proxy::cut);
    }

    /// Ends all connections and refuses new ones until [`Route::open`].
    pub fn close(&self) {
        self.roads.iter().for_each(Proxy::close);
    }

    /// Keeps what goes this way until [`Route::open`].
    pub fn hold(&self, direction: Direction) {
        self.roads.iter().for_each(|road| road.hold(direction));
    }

    /// Keeps what goes either way until [`Route::open`].
    pub fn silence(&self) {
        self.hold(Direction::Requests);
        self.hold(Direction::Answers);
    }

    /// Makes everything so much slower, each way.
    pub fn delay(&self, delay: Duration) {
        self.roads.iter().for_each(|road| road.delay(delay));
    }

    /// Everything passes again.
    pub fn open(&self) {
        self.roads.iter().for_each(Proxy::open);
    }
}
