//! How people write the address of a stateboard: `http://HOST:PORT`, `https://HOST:PORT`, or `HOST:PORT`.

use std::fmt;

const FORM: &str = "must be written http://HOST:PORT, https://HOST:PORT or HOST:PORT";

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `None` where it is not said: then TLS is used where files for it are given.
    pub tls: Option<bool>,
    /// A name or a number, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Checks the form; the name is not looked up.
    ///
    /// # Errors
    /// The rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim().trim_end_matches('/');
        let (tls, authority) = if let Some(rest) = trimmed.strip_prefix("https://") {
            (Some(true), rest)
        } else if let Some(rest) = trimmed.strip_prefix("http://") {
            (Some(false), rest)
        } else {
            (None, trimmed)
        };
        let (host, port) = authority.rsplit_once(':').ok_or(FORM)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host_is_good = !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
        if !host_is_good {
            return Err(FORM.to_owned());
        }
        let port: Option<u16> = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or("the port must be a number from 1 to 65535")?;
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (text, tls, shown) in [
            ("http://10.0.0.9:4401/", Some(false), "10.0.0.9:4401"),
            ("https://board.local:4401", Some(true), "board.local:4401"),
            ("board.local:4401", None, "board.local:4401"),
            ("http://[::1]:4401", Some(false), "[::1]:4401"),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.tls, address.to_string().as_str()), (tls, shown));
        }
        for bad in ["", "10.0.0.9", ":4401", "host:port", "host:0", "ftp://host:1", "http://a/b:1"] {
            assert!(Address::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
