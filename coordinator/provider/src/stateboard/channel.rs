//! The connection to a stateboard: several addresses, one channel, with TLS where it is asked for. A stateboard that was
//! killed is noticed by its closed socket at once, one whose host vanished by a ping that is not answered.

use super::endpoint::Address;
use super::link::Link;
use crate::files::Followed;
use crate::tls::TlsFiles;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;

/// How long one address may take to accept, its handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Where to connect, and how.
struct Targets {
    addresses: Vec<Address>,
    tls: Option<Followed<Arc<ClientConfig>>>,
}

/// A link that connects with its first request and again whenever it must, to the first address that accepts; and what
/// its requests begin with.
pub(super) fn connect_lazy(
    endpoints: &[String],
    files: Option<&TlsFiles>,
) -> Result<(Link<Stream>, Uri), String> {
    let targets = Arc::new(targets(endpoints, files)?);
    let first = targets.addresses.first().ok_or("no endpoint of a stateboard is given")?;
    // TLS is the connector's: for the requests above it the connection is plain HTTP/2 in either case.
    let origin = Uri::try_from(format!("http://{first}")).map_err(|error| error.to_string())?;
    Ok((Link::new(Box::new(move || Box::pin(connect(Arc::clone(&targets))))), origin))
}

fn targets(endpoints: &[String], files: Option<&TlsFiles>) -> Result<Targets, String> {
    let mut addresses = Vec::with_capacity(endpoints.len());
    for text in endpoints {
        let address = Address::parse(text)
            .map_err(|rule| format!("{text:?} is no endpoint of a stateboard: {rule}"))?;
        check_scheme(&address, files.is_some()).map_err(|rule| format!("{text:?}: {rule}"))?;
        addresses.push(address);
    }
    Ok(Targets { addresses, tls: files.map(TlsFiles::follow_client).transpose()? })
}

/// What an address says of TLS must agree with whether there are files for it: a connection that was meant to be
/// protected must not go out in the clear because of a letter.
pub(crate) fn check_scheme(address: &Address, tls: bool) -> Result<(), &'static str> {
    match (address.tls, tls) {
        (Some(true), false) => Err("https needs a ca_file"),
        (Some(false), true) => Err("files for TLS are given, so it must be https://"),
        _ => Ok(()),
    }
}

/// A connection, protected or not.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn connect(targets: Arc<Targets>) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in &targets.addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, connect_one(address, targets.tls.as_ref())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            Err(_) => {
                let text = format!("{address}: did not accept within {} s", CONNECT_TIMEOUT.as_secs());
                last = io::Error::new(io::ErrorKind::TimedOut, text);
            }
        }
    }
    Err(last)
}

/// Connects to one address, with TLS where there are files for it.
pub(crate) async fn connect_one(
    address: &Address,
    tls: Option<&Followed<Arc<ClientConfig>>>,
) -> io::Result<Stream> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    // A renewal is one small packet; without this it may wait for the answer to the one before.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Stream::Plain(stream)) };
    let name = ServerName::try_from(address.host.clone())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = TlsConnector::from(tls.current()).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_never_contradicts_the_files() {
        let address = |text| Address::parse(text).expect("good");
        for (text, tls, good) in [
            ("https://h:1", true, true),
            ("https://h:1", false, false),
            ("http://h:1", false, true),
            ("http://h:1", true, false),
            ("h:1", true, true),
            ("h:1", false, true),
        ] {
            assert_eq!(check_scheme(&address(text), tls).is_ok(), good, "{text} with files: {tls}");
        }
    }
}
