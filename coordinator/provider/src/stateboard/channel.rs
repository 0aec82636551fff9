//! The connection to a stateboard: several addresses, one channel. A stateboard that was killed is noticed by its
//! closed socket at once, one whose host vanished by a ping that is not answered.

use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long one address may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an idle connection is pinged, and how long the answer may take.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A channel that connects with its first request and again whenever it must, to the first address that accepts.
pub(super) fn connect_lazy(endpoints: &[String]) -> Result<Channel, String> {
    let addresses: Arc<[String]> = endpoints.iter().map(|it| address(it)).collect::<Result<_, _>>()?;
    let first = addresses.first().ok_or("no endpoint of a stateboard is given")?;
    let endpoint = Endpoint::from_shared(format!("http://{first}")).map_err(|error| error.to_string())?;
    let connector = tower::service_fn(move |_: Uri| connect(Arc::clone(&addresses)));
    Ok(endpoint
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector))
}

fn address(endpoint: &str) -> Result<String, String> {
    let bad = |why: &str| format!("{endpoint:?} is no endpoint of a stateboard: {why}");
    let address = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
    if endpoint.starts_with("https://") {
        return Err(bad("TLS to the stateboard is not available in this version"));
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(|| bad("it is written http://HOST:PORT"))?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(bad("it is written http://HOST:PORT"));
    }
    Ok(address.to_owned())
}

async fn connect(addresses: Arc<[String]>) -> io::Result<TokioIo<TcpStream>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in addresses.iter() {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A renewal is one small packet; without this it may wait for the answer to the one before.
                stream.set_nodelay(true)?;
                return Ok(TokioIo::new(stream));
            }
            Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            Err(_) => {
                let text = format!("{address}: did not accept within {} s", CONNECT_TIMEOUT.as_secs());
                last = io::Error::new(io::ErrorKind::TimedOut, text);
            }
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        assert_eq!(address("http://10.0.0.9:4401/").as_deref(), Ok("10.0.0.9:4401"));
        assert_eq!(address("board.local:4401").as_deref(), Ok("board.local:4401"));
        assert_eq!(address("http://[::1]:4401").as_deref(), Ok("[::1]:4401"));
        for bad in ["", "10.0.0.9", ":4401", "host:port", "https://10.0.0.9:4401"] {
            assert!(address(bad).is_err(), "{bad:?} was taken");
        }
    }
}
