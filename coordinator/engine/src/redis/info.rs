//! What `INFO` says, read into values: role, link, offsets, replicas. Pure: text in, values out.
//!
//! Which offset describes the data was looked up on real servers of version 7.0, role by role: a master's is
//! `master_repl_offset`; a replica's is `slave_repl_offset`, whether its link is up, cut, or led nowhere from the start
//! (an engine started behind the boot-time fence says 1 there). `slave_repl_offset` falls to 0 where an attempt at a
//! full copy was given up before anything was replaced; `master_repl_offset` still tells what is held then, so the
//! greater of the two is taken.

use super::{NOWHERE_HOST, NOWHERE_PORT};
use baton_core::ids::Endpoint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The fields of several `INFO` sections.
#[derive(Clone, Debug, Default)]
pub(super) struct Info {
    fields: BTreeMap<String, String>,
}

impl Info {
    /// Adds one section.
    pub(super) fn add(&mut self, section: &str) {
        for line in section.lines() {
            if let Some((name, value)) = line.trim_end().split_once(':') {
                self.fields.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    fn flag(&self, name: &str) -> bool {
        self.number(name).is_some_and(|value| value != 0)
    }

    pub(super) fn is_master(&self) -> bool {
        self.text("role") == Some("master")
    }

    /// Reading its data from disk, or a full copy that it received.
    pub(super) fn is_loading(&self) -> bool {
        self.flag("loading") || self.flag("async_loading")
    }

    /// Receiving a full copy: what it held is about to be thrown away.
    pub(super) fn is_copying(&self) -> bool {
        self.flag("master_sync_in_progress")
    }

    /// Whether a client's write would be taken. A replica with `replica-read-only no` takes them too.
    pub(super) fn is_writable(&self) -> bool {
        !self.is_loading() && (self.is_master() || !self.flag("slave_read_only"))
    }

    /// Whom it replicates from; `None` for a master and for one that is fenced.
    pub(super) fn follows(&self) -> Option<Endpoint> {
        if self.is_master() {
            return None;
        }
        let (host, port) = (self.text("master_host")?, self.text("master_port")?);
        let nowhere = host == NOWHERE_HOST && port == NOWHERE_PORT;
        (!nowhere).then(|| Endpoint(Arc::from(format!("{host}:{port}"))))
    }

    pub(super) fn is_link_up(&self) -> bool {
        self.text("master_link_status") == Some("up") && !self.is_copying() && !self.is_loading()
    }

    /// The offset up to which data is held, if it can be said at all.
    pub(super) fn offset(&self) -> Option<u64> {
        if self.is_loading() || self.is_copying() {
            return None;
        }
        let own = self.number("master_repl_offset")?;
        if self.is_master() { Some(own) } else { Some(own.max(self.number("slave_repl_offset")?)) }
    }

    /// How many attached replicas have acknowledged `offset`. Replicas acknowledge once a second and when asked, so
    /// this may be too low by as much, never too high.
    pub(super) fn replicas_caught_up(&self, offset: u64) -> u32 {
        let numbered = self.fields.iter().filter(|(name, _)| {
            name.strip_prefix("slave")
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let caught_up = numbered.filter(|(_, value)| {
            let field =
                |name: &str| value.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            let acknowledged = field("offset").and_then(|text| text.parse::<u64>().ok());
            field("state") == Some("online") && acknowledged.is_some_and(|held| held >= offset)
        });
        u32::try_from(caught_up.count()).unwrap_or(u32::MAX)
    }

    /// Whether no database holds a key.
    pub(super) fn is_empty(&self) -> bool {
        !self.fields.iter().any(|(name, value)| {
            let database = name
                .strip_prefix("db")
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
            database && value.starts_with("keys=") && !value.starts_with("keys=0,")
        })
    }
}

/// Whether `found` (`7.0.15`) is at least `minimum` (`6.2`), number by number.
pub(super) fn is_at_least(found: &str, minimum: &str) -> bool {
    let numbers =
        |text: &str| text.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    numbers(found) >= numbers(minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> Info {
        let mut info = Info::default();
        info.add(text);
        info
    }

    #[test]
    fn a_master_is_read() {
        let master = info(
            "role:master\r\nslave0:ip=127.0.0.1,port=1,state=online,offset=50,lag=0\r\n\
             slave1:ip=127.0.0.1,port=2,state=online,offset=49,lag=1\r\n\
             slave2:ip=127.0.0.1,port=3,state=wait_bgsave,offset=90,lag=0\r\nmaster_repl_offset:50\r\n",
        );
        assert!(master.is_writable());
        assert_eq!(master.offset(), Some(50));
        assert_eq!(master.replicas_caught_up(50), 1);
        assert_eq!(master.follows(), None);
    }

    #[test]
    fn a_fenced_engine_follows_nobody_and_keeps_its_offset() {
        let fenced = info(
            "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:1\r\nmaster_link_status:down\r\n\
             master_sync_in_progress:0\r\nslave_repl_offset:77\r\nslave_read_only:1\r\nmaster_repl_offset:77\r\n",
        );
        assert_eq!(fenced.follows(), None);
        assert!(!fenced.is_writable());
        assert_eq!(fenced.offset(), Some(77));
    }

    #[test]
    fn a_replica_that_copies_holds_nothing_and_a_writable_one_is_seen() {
        let copying = info(
            "role:slave\r\nmaster_sync_in_progress:1\r\nslave_repl_offset:9\r\nmaster_repl_offset:9\r\n",
        );
        assert_eq!(copying.offset(), None);
        assert!(!copying.is_link_up());
        assert!(info("role:slave\r\nslave_read_only:0\r\n").is_writable());
    }

    #[test]
    fn emptiness_counts_keys_in_every_database() {
        assert!(info("# Keyspace\r\n").is_empty());
        assert!(!info("db3:keys=1,expires=0,avg_ttl=0\r\n").is_empty());
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(is_at_least("7.0.15", "6.2"));
        assert!(is_at_least("10.0.0", "6.2"));
        assert!(is_at_least("6.2.0", "6.2"));
        assert!(!is_at_least("6.0.16", "6.2"));
        assert!(!is_at_least("", "6.2"));
    }
}
