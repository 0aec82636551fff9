//! Words for the server: literals, and the line that says whom a standby follows. Pure.

use std::path::Path;

/// A literal of SQL. The server runs with `standard_conforming_strings`, its default since 9.1; the greeting makes sure.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value in a connection string.
fn value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Whom to follow, and as whom.
pub(super) struct Upstream<'a> {
    pub(super) host: &'a str,
    pub(super) port: &'a str,
    pub(super) user: &'a str,
    pub(super) passfile: Option<&'a Path>,
    pub(super) name: &'a str,
}

impl Upstream<'_> {
    /// As `primary_conninfo` has it.
    pub(super) fn to_conninfo(&self) -> String {
        let passfile = self.passfile.map(|file| file.display().to_string());
        let pairs = [
            ("host", Some(self.host)),
            ("port", Some(self.port)),
            ("user", Some(self.user)),
            ("passfile", passfile.as_deref()),
            ("application_name", Some(self.name)),
            // A master that is cut off is noticed by its guard; this only keeps dead connections from lying about.
            ("connect_timeout", Some("2")),
            ("keepalives_idle", Some("5")),
        ];
        let given = pairs.iter().filter_map(|(key, text)| Some((key, (*text)?)));
        let words: Vec<_> = given.map(|(key, text)| format!("{key}={}", value(text))).collect();
        words.join(" ")
    }
}

/// `host:port` of such a line; `None` where it names nobody.
pub(super) fn endpoint_of(conninfo: &str) -> Option<String> {
    let (host, port) = (field(conninfo, "host")?, field(conninfo, "port")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some(format!("{host}:{port}"))
}

/// One value of a connection string, whether it stands in quotes or not.
fn field(conninfo: &str, wanted: &str) -> Option<String> {
    let mut rest = conninfo.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let mut text = String::new();
        let mut letters = after.trim_start().char_indices();
        let after = after.trim_start();
        let quoted = after.starts_with('\'');
        if quoted {
            letters.next();
        }
        let mut end = after.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => text.extend(letters.next().map(|(_, letter)| letter)),
                '\'' if quoted => {
                    end = at + 1;
                    break;
                }
                letter if letter.is_whitespace() && !quoted => {
                    end = at;
                    break;
                }
                letter => text.push(letter),
            }
        }
        if key.trim() == wanted {
            return (!text.is_empty()).then_some(text);
        }
        rest = after.get(end..).unwrap_or_default().trim_start();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let upstream = Upstream {
            host: "fd00::1",
            port: "5432",
            user: "ba'ton",
            passfile: Some(Path::new("/a b/c\\d")),
            name: "a1",
        };
        let line = upstream.to_conninfo();
        assert_eq!(endpoint_of(&line).as_deref(), Some("[fd00::1]:5432"));
        assert_eq!(field(&line, "user").as_deref(), Some("ba'ton"));
        assert_eq!(field(&line, "passfile").as_deref(), Some("/a b/c\\d"));
    }

    #[test]
    fn what_a_person_wrote_is_read_too_and_damage_harms_nobody() {
        assert_eq!(endpoint_of("user=x host=db1  port = 5433 "), Some("db1:5433".into()));
        for text in ["", "host=", "host", "host='a", "=", "host='' port=1", "host=a"] {
            assert_eq!(endpoint_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_literal_ends_where_it_should() {
        assert_eq!(literal("a'b\\"), "'a''b\\'");
    }
}
