//! The kinds of values that daemons share, each parser with the rule that a person is told.

use std::net::SocketAddr;
use std::time::Duration;

/// An address to listen on. `localhost` is taken for the loopback address; no other name is looked up.
///
/// # Errors
/// The rule.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let number = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address = number.as_deref().unwrap_or(text);
    address.parse().map_err(|_| "must be IP:PORT, such as \"127.0.0.1:4402\"".to_owned())
}

/// A value between quotes, for [`crate::Problem::value`].
#[must_use]
pub fn quoted(text: &str) -> Option<String> {
    Some(format!("{text:?}"))
}

/// A length of time such as `3s` or `300ms`.
///
/// # Errors
/// The rule.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("must be a length of time such as 3s or 300ms ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_or_localhost() {
        assert_eq!(socket_address("localhost:4401"), socket_address("127.0.0.1:4401"));
        assert!(socket_address("[::1]:4401").is_ok());
        for bad in ["localhost", "db.example:4401", "localhost:port", ""] {
            assert!(socket_address(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn lengths_of_time_need_their_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert!(duration("3").is_err());
    }
}
