//! A stateboard inside another process, and that process's own way to it: `provider.kind = "embedded"`. The provider goes
//! over the listener like everybody else's, so there is one way to behave and not two.

use crate::storage::OpenError;
use crate::{Options, ServeError, open};
use baton_provider::ProviderError;
use baton_provider::stateboard::{StateboardOptions, StateboardProvider};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A stateboard that runs here.
#[derive(Debug)]
pub struct Embedded {
    /// This process's client of it.
    pub provider: StateboardProvider,
    /// Ends after the shutdown. A sync that fails ends the whole process, as it does in a stateboard's own.
    pub server: JoinHandle<Result<(), ServeError>>,
}

/// Why it cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// Its file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The way to it.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The listener, or the runtime.
    #[error("the embedded stateboard cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// Opens the file, serves it on `listener` (loopback with port 0, unless other coordinators use it too) until
/// `shutdown`, and gives a client of it.
///
/// # Errors
/// [`EmbedError`]; nothing runs then.
pub async fn embed(
    options: Options,
    listener: TcpListener,
    request_timeout: Duration,
    shutdown: CancellationToken,
) -> Result<Embedded, EmbedError> {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        // All addresses of the host are no address to connect to.
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let provider = StateboardProvider::new(StateboardOptions::new(
        vec![address.to_string()],
        options.identity.clone(),
        request_timeout,
    ))?;
    // Reading the file blocks.
    let stateboard =
        tokio::task::spawn_blocking(move || open(options)).await.map_err(std::io::Error::other)??;
    let server = tokio::spawn(stateboard.serve(listener, None, shutdown));
    Ok(Embedded { provider, server })
}
