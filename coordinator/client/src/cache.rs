//! The masters that a router knows, and the one rule of its cache: a replica set's term never goes back. A coordinator
//! that was cut off may tell an old map; nobody who has seen the newer one believes it.

use baton_core::ids::Epoch;
use baton_proto::v1::{MasterEntry, MastersChange};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a master is known to accept writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MasterState {
    /// The record names it; its promotion is not confirmed yet.
    Appointed,
    /// It accepts writes.
    Active,
    /// There is none, or no such set any more.
    #[default]
    None,
}

impl MasterState {
    /// The word on the wire and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Appointed => "appointed",
            Self::Active => "active",
            Self::None => "none",
        }
    }

    /// From the word; one that this version does not know is treated as "do not write there".
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "appointed" => Self::Appointed,
            "active" => Self::Active,
            _ => Self::None,
        }
    }
}

/// The master of one replica set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// Its name; empty where there is none.
    pub instance: String,
    /// Where clients reach it, `host:port`.
    pub endpoint: String,
    /// Its term.
    pub term: u64,
    /// Whether it is known to accept writes.
    pub state: MasterState,
}

/// What one coordinator after another told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    pub(crate) masters: BTreeMap<String, Master>,
    /// Where the last applied message stood: what a watch resumes after.
    pub(crate) epoch: Epoch,
    pub(crate) revision: u64,
    /// The newest that anybody told: a message from before it is behind.
    highest: (Epoch, u64),
}

/// Most sets that a router keeps: a runaway peer must not fill its memory.
const SETS_MAX: usize = 100_000;

impl Cache {
    /// Takes a message in. Answers whether anything that a router sees has changed.
    pub(crate) fn apply(&mut self, change: &MastersChange) -> bool {
        let epoch = change.epoch.unwrap_or_default();
        let epoch = Epoch { generation: epoch.generation, number: epoch.number };
        let behind = (epoch, change.revision) < self.highest;
        let mut changed = false;
        // A set that a snapshot from behind does not name may be newer than the snapshot: it stays.
        if change.snapshot && !behind {
            let named: BTreeSet<_> = change.masters.iter().map(|entry| entry.replicaset.as_str()).collect();
            for (_, master) in self.masters.iter_mut().filter(|(set, _)| !named.contains(set.as_str())) {
                changed |= master.state != MasterState::None;
                master.state = MasterState::None;
            }
        }
        for entry in &change.masters {
            changed |= self.apply_entry(entry, behind);
        }
        (self.epoch, self.revision) = (epoch, change.revision);
        self.highest = self.highest.max((epoch, change.revision));
        changed
    }

    fn apply_entry(&mut self, entry: &MasterEntry, behind: bool) -> bool {
        let told = Master {
            instance: entry.master.clone(),
            endpoint: entry.endpoint.clone(),
            term: entry.term,
            state: MasterState::parse(&entry.state),
        };
        let room = self.masters.len() < SETS_MAX;
        match self.masters.get_mut(&entry.replicaset) {
            // The term check. At the same term, an older word on the state is no news.
            Some(known) if known.term > told.term || (behind && known.term == told.term) => false,
            Some(known) if *known == told => false,
            Some(known) => {
                *known = told;
                true
            }
            None if !room => false,
            None => {
                self.masters.insert(entry.replicaset.clone(), told);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        epoch: u64,
        revision: u64,
        snapshot: bool,
        entries: &[(&str, u64, &str, &str)],
    ) -> MastersChange {
        let entry = |&(set, term, master, state): &(&str, u64, &str, &str)| MasterEntry {
            replicaset: set.into(),
            term,
            master: master.into(),
            endpoint: format!("{master}:6379"),
            state: state.into(),
        };
        MastersChange {
            epoch: Some(baton_proto::v1::Epoch { generation: 1, number: epoch }),
            revision,
            snapshot,
            masters: entries.iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_lower_term_is_never_believed() {
        let mut cache = Cache::default();
        assert!(cache.apply(&change(2, 5, true, &[("s", 7, "a2", "active")])));
        assert!(
            !cache.apply(&change(3, 1, false, &[("s", 6, "a1", "active")])),
            "not even from a later epoch"
        );
        assert!(!cache.apply(&change(1, 9, true, &[("s", 6, "a1", "active")])));
        assert_eq!(cache.masters["s"].instance, "a2");
        assert!(cache.apply(&change(3, 2, false, &[("s", 8, "a1", "appointed")])));
        assert_eq!(cache.masters["s"].state, MasterState::Appointed);
    }

    #[test]
    fn an_older_arbiter_does_not_change_the_state_of_the_same_term() {
        let mut cache = Cache::default();
        cache.apply(&change(2, 5, true, &[("s", 7, "a2", "active")]));
        assert!(!cache.apply(&change(1, 50, true, &[("s", 7, "a2", "appointed")])));
        assert!(
            !cache.apply(&change(2, 4, true, &[("s", 7, "a2", "appointed")])),
            "an older revision neither"
        );
        assert!(!cache.apply(&change(1, 60, true, &[])), "and what was behind once lowers no bar");
        assert_eq!(cache.masters["s"].state, MasterState::Active);
    }

    #[test]
    fn a_set_that_a_newer_snapshot_does_not_name_is_gone_and_its_term_is_kept() {
        let mut cache = Cache::default();
        cache.apply(&change(1, 1, true, &[("s", 7, "a2", "active"), ("t", 1, "b1", "active")]));
        assert!(cache.apply(&change(1, 2, true, &[("t", 1, "b1", "active")])));
        assert_eq!(cache.masters["s"].state, MasterState::None);
        assert!(!cache.apply(&change(1, 3, false, &[("s", 6, "a1", "active")])), "the term still guards");
    }

    #[test]
    fn a_snapshot_from_behind_removes_nothing() {
        let mut cache = Cache::default();
        cache.apply(&change(2, 5, true, &[("s", 7, "a2", "active")]));
        assert!(!cache.apply(&change(1, 9, true, &[])));
        assert_eq!(cache.masters["s"].state, MasterState::Active);
    }
}
