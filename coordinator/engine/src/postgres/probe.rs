//! One look at a server: the statement, and what its answer means.

use super::mark::Memory;
use super::text::endpoint_of;
use crate::mark::Mark;
use baton_core::engine::{DataState, Probe};
use baton_core::ids::{Endpoint, EngineRun, Term};
use baton_core::position::Position;
use std::sync::Arc;

/// All but the mark, whose table may not exist. What is received counts for a standby while it receives, replayed or not: it will be.
/// (Where a receiver has just begun at a segment's start, what is replayed is further.) Once nothing comes any more, what is replayed
/// counts: of the last record only a part may have come, and that is nothing.
pub(super) const LOOK: &str = "SELECT pg_is_in_recovery() AS standby, \
    (SELECT system_identifier FROM pg_control_system()) AS system, \
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started, \
    (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), '0/0') \
        ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn) AS written, \
    (coalesce(pg_last_wal_replay_lsn(), '0/0') - '0/0'::pg_lsn) AS replayed, \
    EXISTS (SELECT FROM pg_stat_activity \
        WHERE backend_type = 'startup' AND wait_event = 'RecoveryRetrieveRetryInterval') AS idle, \
    current_setting('primary_conninfo') AS conninfo, \
    (SELECT count(*) FROM pg_stat_wal_receiver) AS receivers, \
    (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming') AS streaming, \
    (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND NOT pg_is_in_recovery() \
        AND flush_lsn >= CASE WHEN pg_is_in_recovery() THEN '0/0' ELSE pg_current_wal_flush_lsn() END) AS caught_up, \
    to_regclass('baton.identity') IS NOT NULL AS marked, \
    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind IN ('r', 'p', 'm', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'baton') \
        AND n.nspname NOT LIKE 'pg\\_%') OR (SELECT count(*) > 3 FROM pg_database) AS used, \
    current_setting('fsync') AS fsync, \
    current_setting('server_version_num') AS version, \
    current_setting('standard_conforming_strings') AS strings, \
    (SELECT source FROM pg_settings WHERE name = 'primary_conninfo') AS source, \
    (SELECT bytes_per_wal_segment FROM pg_control_init()) AS segment, \
    pg_backend_pid() AS backend";

/// The mark, where its table exists.
pub(super) const MARK: &str = "SELECT term, identity FROM baton.identity";

/// The answer to [`LOOK`], by column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) standby: bool,
    pub(super) run: String,
    /// Of which life its data is, where that could be told.
    pub(super) life: Option<String>,
    /// Whatever it confirms is on disk first.
    pub(super) synced: bool,
    /// Received, or written by a primary itself.
    pub(super) written: u64,
    pub(super) replayed: u64,
    /// It has looked for more to replay everywhere, and there is none.
    pub(super) idle: bool,
    pub(super) conninfo: String,
    pub(super) receivers: u32,
    pub(super) streaming: bool,
    pub(super) caught_up: u32,
    pub(super) marked: bool,
    pub(super) used: bool,
    pub(super) version: u32,
    pub(super) backend: u32,
    /// Size of a file of the log, in bytes.
    pub(super) segment: u64,
    /// Literals end where the standard says.
    pub(super) plain_strings: bool,
    /// Somebody's command line says whom to follow, and nothing of ours would count.
    pub(super) overridden: bool,
}

impl Look {
    /// Reads it by the names of the columns; `None` where one is missing or is nothing that such a server says.
    pub(super) fn read<'a>(column: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let flag = |name: &str| column(name).map(|text| text == "t");
        let (system, started) = (column("system")?, column("started")?);
        Some(Self {
            standby: flag("standby")?,
            run: format!("{system}.{started}"),
            life: None,
            synced: column("fsync")? == "on",
            written: column("written")?.parse().ok()?,
            replayed: column("replayed")?.parse().ok()?,
            idle: flag("idle")?,
            conninfo: column("conninfo")?.to_owned(),
            receivers: column("receivers")?.parse().ok()?,
            streaming: column("streaming")? != "0",
            caught_up: column("caught_up")?.parse().ok()?,
            marked: flag("marked")?,
            used: flag("used")?,
            version: column("version")?.parse().ok()?,
            backend: column("backend")?.parse().ok()?,
            segment: column("segment")?.parse().ok().filter(|size| *size > 0)?,
            plain_strings: column("strings")? == "on",
            overridden: column("source") == Some("command line"),
        })
    }

    /// Which initdb made it.
    pub(super) fn system(&self) -> &str {
        self.run.split('.').next().unwrap_or_default()
    }

    /// The run of the server.
    pub(super) fn engine_run(&self) -> EngineRun {
        match self.life.as_ref().filter(|_| self.synced) {
            Some(life) => EngineRun::of_durable(&format!("{}.{life}", self.system()), &self.run),
            None => EngineRun(Arc::from(self.run.as_str())),
        }
    }

    /// Whether it has replayed all that it has: what came in this run, or all that lay there, which nothing tells but that it waits.
    pub(super) fn has_replayed(&self) -> bool {
        self.idle || self.written > 0 && self.replayed >= self.written
    }

    /// Whether its position is the last that it knows of.
    pub(super) fn knows_its_end(&self) -> bool {
        self.receivers > 0 || self.has_replayed()
    }

    /// Whether it follows nobody, and holds all that it ever received in a form that it can be asked about.
    pub(super) fn is_cut(&self) -> bool {
        self.standby && self.receivers == 0 && self.conninfo.is_empty() && self.has_replayed()
    }

    /// How far its data reaches, as an offset in the log.
    pub(super) fn offset(&self) -> u64 {
        match (self.standby, self.receivers) {
            (false, _) => self.written,
            (true, 0) => self.replayed,
            (true, _) => self.written.max(self.replayed),
        }
    }

    /// As the guard sees it.
    pub(super) fn to_probe(&self, read: Option<Mark>, memory: &mut Memory) -> Probe {
        let run = self.engine_run();
        let mark = if self.standby { read } else { memory.of_master(&run, read) };
        let data = match &mark {
            Some(mark) => DataState::Marked { id: mark.id.clone(), term: mark.term },
            None if self.used => DataState::Unmarked,
            None => DataState::Empty,
        };
        let follows = endpoint_of(&self.conninfo).filter(|_| self.standby);
        Probe {
            run,
            writable: !self.standby,
            link_up: follows.is_some() && self.streaming,
            follows: follows.map(|endpoint| Endpoint(endpoint.into())),
            position: Position::At { term: mark.map_or(Term(0), |mark| mark.term), offset: self.offset() },
            data,
            replicas_caught_up: self.caught_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standby() -> Look {
        Look {
            standby: true,
            run: "7.1".into(),
            written: 100,
            replayed: 90,
            conninfo: "host='db1' port='5432'".into(),
            receivers: 1,
            streaming: true,
            used: true,
            ..Look::default()
        }
    }

    #[test]
    fn a_standby_is_cut_once_it_follows_nobody_and_has_replayed_everything() {
        let cut =
            Look { conninfo: String::new(), receivers: 0, streaming: false, replayed: 100, ..standby() };
        assert!(cut.is_cut());
        // Of the last record only a part came.
        let partly = Look { replayed: 99, idle: true, ..cut.clone() };
        assert_eq!((partly.is_cut(), partly.offset()), (true, 99));
        // It was started, and has received nothing: what lies there may be more.
        assert!(!Look { written: 0, ..cut.clone() }.is_cut());
        assert!(Look { written: 0, idle: true, ..cut.clone() }.is_cut());
        assert!(!Look { written: 0, ..cut.clone() }.knows_its_end());
        assert!(standby().knows_its_end(), "what it receives counts");
        for other in [
            standby(),
            Look { receivers: 1, ..cut.clone() },
            Look { replayed: 99, ..cut.clone() },
            Look { conninfo: "host=a port=1".into(), ..cut.clone() },
            Look { standby: false, ..cut },
        ] {
            assert!(!other.is_cut(), "{other:?}");
        }
    }

    #[test]
    fn a_run_is_of_its_datas_life_where_nothing_is_lost_with_it() {
        let look = Look { life: Some("9.1".into()), synced: true, ..standby() };
        let next = Look { run: "7.2".into(), ..look.clone() };
        assert_ne!(look.engine_run(), next.engine_run());
        assert_eq!(look.engine_run().lineage(), next.engine_run().lineage());
        assert!(next.engine_run().is_durable());
        let other = Look { life: Some("9.2".into()), ..next.clone() };
        assert_ne!(other.engine_run().lineage(), next.engine_run().lineage(), "it was replaced");
        let careless = Look { synced: false, ..look };
        assert!(!careless.engine_run().is_durable());
    }

    #[test]
    fn each_role_is_seen_as_what_it_is() {
        let mut memory = Memory::default();
        let mark = Mark::read("4", "orders");
        let probe = standby().to_probe(mark.clone(), &mut memory);
        assert_eq!(probe.follows, Some(Endpoint("db1:5432".into())));
        assert!(probe.link_up && !probe.writable);
        assert_eq!(probe.position, Position::At { term: Term(4), offset: 100 });
        let master = Look { standby: false, receivers: 0, streaming: false, ..standby() };
        let probe = master.to_probe(mark.clone(), &mut memory);
        assert_eq!((probe.writable, probe.follows), (true, None), "what it followed once is no matter");
        assert_eq!(master.to_probe(None, &mut memory).data, probe.data, "a user removed the mark");
        let fresh = Look { used: false, run: "7.2".into(), ..master };
        assert_eq!(fresh.to_probe(None, &mut memory).data, DataState::Empty);
        assert_eq!(Look { used: true, ..fresh }.to_probe(None, &mut memory).data, DataState::Unmarked);
    }
}
