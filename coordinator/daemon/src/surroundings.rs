//! What the arbiter, the link and the directory take from the machine: the clock, chance, and connections to other hosts. A
//! build for simulations (feature `simulated`, never in a release) can put something else in the place of all three.
//!
//! It must not know what they are for.

use baton_core::time::Time;
use tonic::transport::{Channel, Endpoint, Error};

/// CLOCK_BOOTTIME, which counts suspension too.
pub(crate) fn now() -> Time {
    #[cfg(feature = "simulated")]
    if let Some(simulated) = simulated::surroundings() {
        return (simulated.now)();
    }
    Time(baton_engine::deadman::boottime_us())
}

/// Any number, for spreading what would otherwise happen at one moment, and for names that nobody else has.
pub(crate) fn chance() -> u64 {
    #[cfg(feature = "simulated")]
    if let Some(simulated) = simulated::surroundings() {
        return (simulated.chance)();
    }
    rand::random()
}

/// A connection, made now.
///
/// # Errors
/// The transport's.
pub(crate) async fn connect(endpoint: Endpoint) -> Result<Channel, Error> {
    #[cfg(feature = "simulated")]
    if let Some(simulated) = simulated::surroundings() {
        return endpoint.connect_with_connector(simulated::connector(simulated)).await;
    }
    endpoint.connect().await
}

/// A connection that is made when it is first needed.
pub(crate) fn connect_lazy(endpoint: &Endpoint) -> Channel {
    #[cfg(feature = "simulated")]
    if let Some(simulated) = simulated::surroundings() {
        return endpoint.connect_with_connector_lazy(simulated::connector(simulated));
    }
    endpoint.connect_lazy()
}

#[cfg(feature = "simulated")]
pub use simulated::{Dialled, Stream, Surroundings, simulate};

#[cfg(feature = "simulated")]
mod simulated {
    use baton_core::time::Time;
    use http::Uri;
    use hyper_util::rt::TokioIo;
    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::sync::OnceLock;
    use tokio::io::{AsyncRead, AsyncWrite};

    /// A connection.
    pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

    impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

    /// A connection in the making.
    pub type Dialled = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

    /// In the machine's place.
    #[derive(Clone, Copy, Debug)]
    pub struct Surroundings {
        /// The clock of the host that runs now.
        pub now: fn() -> Time,
        /// The next number of the run's own chance.
        pub chance: fn() -> u64,
        /// Connects the host that runs now to another.
        pub dial: fn(Uri) -> Dialled,
    }

    static SIMULATED: OnceLock<Surroundings> = OnceLock::new();

    /// Puts `surroundings` in the machine's place, for the whole process. The first call counts.
    pub fn simulate(surroundings: Surroundings) {
        SIMULATED.get_or_init(|| surroundings);
    }

    pub(super) fn surroundings() -> Option<Surroundings> {
        SIMULATED.get().copied()
    }

    pub(super) fn connector(
        surroundings: Surroundings,
    ) -> impl tower::Service<Uri, Response = TokioIo<Box<dyn Stream>>, Error = io::Error, Future: Send>
    + Clone
    + Send
    + 'static {
        tower::service_fn(move |uri| {
            let dialled = (surroundings.dial)(uri);
            async move { dialled.await.map(TokioIo::new) }
        })
    }
}
