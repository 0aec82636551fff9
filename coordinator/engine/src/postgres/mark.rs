//! The statements that keep the mark, and what a run is remembered to have been marked with.

use super::text::literal;
use crate::mark::Mark;
use baton_core::ids::EngineRun;

/// The table; clients must leave it alone.
pub(super) const TABLE: &str = "baton.identity";
/// The terms that the data went through: a returning server finds out by them whether it shares all of its own.
const TERMS: &str = "baton.terms";
/// The timeline that a primary writes, in hexadecimal.
pub(super) const TIMELINE: &str = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
impl Mark {
    /// Puts it into the data. Commits of the mark wait for this server's disk alone: a new master's replicas are not there yet.
    pub(super) fn write(&self) -> String {
        self.put("term = excluded.term, identity = excluded.identity, touched = now()")
    }

    /// Puts it back where it is gone, and changes it where it is not.
    pub(super) fn put_back(&self) -> String {
        self.put("touched = now()")
    }

    fn put(&self, update: &str) -> String {
        let (term, id) = (self.term, literal(&self.id.0));
        format!(
            "BEGIN; SET LOCAL synchronous_commit = local; \
             CREATE TABLE IF NOT EXISTS {TABLE} (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), \
             term bigint NOT NULL, identity text NOT NULL, touched timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO {TABLE} (term, identity) VALUES ({term}, {id}) ON CONFLICT (only_one) DO UPDATE SET {update}; \
             CREATE TABLE IF NOT EXISTS {TERMS} (term bigint PRIMARY KEY, timeline text NOT NULL, \
             begun timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO {TERMS} (term, timeline) VALUES ({term}, {TIMELINE}) ON CONFLICT DO NOTHING; \
             COMMIT"
        )
    }
}

/// One tiny write that passes what a client's would, but the wait for replicas: a master without enough of them is well.
pub(super) const TOUCH: &str = "BEGIN; SET LOCAL synchronous_commit = local; \
    UPDATE baton.identity SET touched = now(); COMMIT";

/// What one run of the engine was marked with while it was master: a user may remove the table, and the run is still the same data.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    known: Option<(EngineRun, Mark)>,
}

impl Memory {
    /// The mark of a look at a master, as it is read or as it was.
    pub(super) fn of_master(&mut self, run: &EngineRun, read: Option<Mark>) -> Option<Mark> {
        if let Some(mark) = read {
            self.known = Some((run.clone(), mark));
        }
        self.of_run(run)
    }

    /// What this run was marked with.
    pub(super) fn of_run(&self, run: &EngineRun) -> Option<Mark> {
        self.known.as_ref().filter(|(known, _)| known == run).map(|(_, mark)| mark.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::{DataId, Term};
    use std::sync::Arc;

    #[test]
    fn an_identity_cannot_end_its_literal() {
        let mark = Mark { id: DataId(Arc::from("a'; DROP TABLE t; --")), term: Term(3) };
        assert!(mark.write().contains("VALUES (3, 'a''; DROP TABLE t; --')"));
    }

    #[test]
    fn the_memory_is_of_one_run() {
        let (one, other) = (EngineRun("1".into()), EngineRun("2".into()));
        let mut memory = Memory::default();
        let mark = Mark::read("7", "orders");
        assert_eq!(memory.of_master(&one, mark.clone()), mark);
        assert_eq!(memory.of_master(&one, None), mark, "a user removed it");
        assert_eq!(memory.of_master(&other, None), None);
    }
}
