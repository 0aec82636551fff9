//! How people write the address of a coordinator, and what tonic wants: `host:port` or `http://host:port`.

use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Where a coordinator listens unless it is told otherwise.
pub const DEFAULT: &str = "http://127.0.0.1:4402";

/// An address that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no coordinator's address: {rule}")]
pub struct BadEndpoint {
    text: String,
    rule: String,
}

impl BadEndpoint {
    /// The rule alone, for those who show the address themselves.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// Checks an address and makes it absolute; a bare `host:port` is taken as plain HTTP/2.
///
/// # Errors
/// [`BadEndpoint`] names the rule that it breaks.
pub fn normalize(text: &str) -> Result<String, BadEndpoint> {
    let bad = |rule: &str| BadEndpoint { text: text.chars().take(200).collect(), rule: rule.to_owned() };
    let trimmed = text.trim().trim_end_matches('/');
    if trimmed.starts_with("https://") {
        return Err(bad("TLS is not yet supported in this version"));
    }
    let authority = trimmed.strip_prefix("http://").unwrap_or(trimmed);
    let Some((host, port)) = authority.rsplit_once(':') else {
        return Err(bad("it is written HOST:PORT or http://HOST:PORT"));
    };
    if host.is_empty() || host.contains("//") || host.contains('/') {
        return Err(bad("it is written HOST:PORT or http://HOST:PORT"));
    }
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(bad("the port must be a number from 1 to 65535"));
    }
    let whole = format!("http://{authority}");
    Endpoint::from_shared(whole.clone()).map_err(|error| bad(&error.to_string()))?;
    Ok(whole)
}

/// Checks a list such as that of `BATON_ENDPOINT`: separated by commas, empty parts skipped.
///
/// # Errors
/// The first [`BadEndpoint`].
pub fn normalize_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, BadEndpoint> {
    let parts = texts.into_iter().flat_map(|text| text.split(','));
    parts.map(str::trim).filter(|part| !part.is_empty()).map(normalize).collect()
}

/// A connection whose dead peer is noticed: keep-alives within a stream, a bound on the connect itself.
pub(crate) async fn connect(address: &str, timeout: Duration) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(address.to_owned())?
        .connect_timeout(timeout)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for text in ["127.0.0.1:4402", "http://127.0.0.1:4402/", " host-a:4402 ", "[::1]:4402"] {
            let whole = normalize(text).expect(text);
            assert!(whole.starts_with("http://") && !whole.ends_with('/'), "{whole}");
        }
        assert_eq!(
            normalize_all(["a:1,b:2", "c:3"]),
            Ok(vec!["http://a:1".into(), "http://b:2".into(), "http://c:3".into()])
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_rule() {
        for (text, rule) in [
            ("host-a", "it is written HOST:PORT or http://HOST:PORT"),
            ("host-a:port", "the port must be a number from 1 to 65535"),
            ("https://host-a:4402", "TLS is not yet supported in this version"),
            ("http://:4402", "it is written HOST:PORT or http://HOST:PORT"),
        ] {
            let error = normalize(text).expect_err(text);
            assert_eq!(error.to_string(), format!("{text:?} is no coordinator's address: {rule}"));
        }
    }
}
