//! The map of masters to its protobuf and back, whole or as what changed between two.

use crate::view::{MasterView, MastersView};
use baton_client::MasterState;
use baton_client::wire::{epoch_from_wire, epoch_to_wire};
use baton_core::ids::{BadName, Endpoint, InstanceName, ReplicaSetName, Revision, Term, Version};
use baton_proto::v1::{MasterEntry, MastersChange};

/// The whole map.
#[must_use]
pub fn snapshot(view: &MastersView) -> MastersChange {
    MastersChange {
        epoch: Some(epoch_to_wire(view.epoch)),
        revision: view.revision.0,
        snapshot: true,
        masters: view.masters.iter().map(|(set, master)| entry(set, master)).collect(),
    }
}

/// These entries of the map, for a reader who knows the others.
#[must_use]
pub fn part(view: &MastersView, masters: Vec<MasterEntry>) -> MastersChange {
    let (epoch, revision) = (Some(epoch_to_wire(view.epoch)), view.revision.0);
    MastersChange { epoch, revision, snapshot: false, masters }
}

/// What a reader of `before` must be told to know `after`; sets that are gone come with the state `none`.
#[must_use]
pub fn change(before: &MastersView, after: &MastersView) -> MastersChange {
    let differs = |(set, master): &(&ReplicaSetName, &MasterView)| before.masters.get(*set) != Some(*master);
    let changed = after.masters.iter().filter(differs).map(|(set, master)| entry(set, master));
    let gone = before.masters.iter().filter(|(set, _)| !after.masters.contains_key(*set));
    let gone = gone
        .map(|(set, master)| MasterEntry { state: MasterState::None.name().into(), ..entry(set, master) });
    part(after, changed.chain(gone).collect())
}

/// One set's.
#[must_use]
pub fn entry(set: &ReplicaSetName, master: &MasterView) -> MasterEntry {
    MasterEntry {
        replicaset: set.to_string(),
        term: master.term.0,
        master: master.master.as_ref().map(ToString::to_string).unwrap_or_default(),
        endpoint: master.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: master.state.name().to_owned(),
    }
}

/// Takes a message of the active arbiter into a map: what every other coordinator does. Versions are not on this wire
/// and stay what they were (0 for a new set). A set's term never goes back.
///
/// # Errors
/// [`BadName`] for a name that is none; the map is unchanged then.
pub fn apply(view: &mut MastersView, change: &MastersChange) -> Result<(), BadName> {
    let mut told = Vec::with_capacity(change.masters.len());
    for entry in &change.masters {
        let set = ReplicaSetName::parse(&entry.replicaset)?;
        let master = if entry.master.is_empty() { None } else { Some(InstanceName::parse(&entry.master)?) };
        let endpoint = (!entry.endpoint.is_empty()).then(|| Endpoint(entry.endpoint.as_str().into()));
        told.push((set, Term(entry.term), master, endpoint, MasterState::parse(&entry.state)));
    }
    if change.snapshot {
        let named: std::collections::BTreeSet<_> = told.iter().map(|(set, ..)| set.clone()).collect();
        view.masters.retain(|set, _| named.contains(set));
    }
    for (set, term, master, endpoint, state) in told {
        let known = view.masters.get(&set);
        if known.is_some_and(|known| known.term > term) {
            continue;
        }
        if master.is_none() && state == MasterState::None {
            // The set was removed. Whoever follows the map is told by the difference.
            view.masters.remove(&set);
            continue;
        }
        let version = known.map_or(Version(0), |known| known.version);
        view.masters.insert(set, MasterView { term, version, master, endpoint, state });
    }
    view.epoch = epoch_from_wire(change.epoch);
    view.revision = Revision(change.revision);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::Epoch;

    fn view(revision: u64, masters: &[(&str, u64, &str)]) -> MastersView {
        let one = |&(set, term, master): &(&str, u64, &str)| {
            let value = MasterView {
                term: Term(term),
                version: Version(0),
                master: Some(InstanceName::parse(master).expect("a name")),
                endpoint: Some(Endpoint(format!("{master}:6379").into())),
                state: MasterState::Active,
            };
            (ReplicaSetName::parse(set).expect("a name"), value)
        };
        let masters = masters.iter().map(one).collect();
        MastersView { epoch: Epoch { generation: 1, number: 3 }, revision: Revision(revision), masters }
    }

    #[test]
    fn changes_applied_in_turn_give_the_same_map_as_a_snapshot() {
        let maps = [
            view(1, &[("s", 1, "a1")]),
            view(2, &[("s", 2, "a2"), ("t", 1, "b1")]),
            view(3, &[("s", 2, "a2"), ("t", 2, "b2"), ("u", 1, "c1")]),
        ];
        let mut followed = MastersView::default();
        apply(&mut followed, &snapshot(&maps[0])).expect("good names");
        for pair in maps.windows(2) {
            let told = change(&pair[0], &pair[1]);
            assert!(!told.snapshot && told.masters.len() == 2, "only what changed travels: {told:?}");
            apply(&mut followed, &told).expect("good names");
            assert_eq!(followed, pair[1]);
        }
    }

    #[test]
    fn a_set_that_is_gone_is_told_once_as_none() {
        let told = change(&view(1, &[("s", 4, "a1"), ("t", 1, "b1")]), &view(2, &[("t", 1, "b1")]));
        assert_eq!(told.masters.len(), 1);
        assert_eq!((told.masters[0].replicaset.as_str(), told.masters[0].term), ("s", 4));
        assert_eq!(told.masters[0].state, "none");
    }

    #[test]
    fn a_set_that_was_removed_is_in_no_map_any_more() {
        let mut known = view(1, &[("s", 4, "a1"), ("t", 1, "b1")]);
        let gone = MasterEntry {
            master: String::new(),
            endpoint: String::new(),
            term: 5,
            state: "none".to_owned(),
            ..entry(&ReplicaSetName::parse("s").expect("a name"), known.masters.values().next().expect("two"))
        };
        let told = part(&view(2, &[]), vec![gone]);
        apply(&mut known, &told).expect("good names");
        assert_eq!(known.masters, view(2, &[("t", 1, "b1")]).masters);
    }

    #[test]
    fn a_bad_name_changes_nothing_and_a_lower_term_is_skipped() {
        let mut known = view(5, &[("s", 4, "a1")]);
        let before = known.clone();
        let mut bad = snapshot(&view(6, &[("s", 5, "a2")]));
        bad.masters[0].replicaset = "a b".into();
        assert!(apply(&mut known, &bad).is_err());
        assert_eq!(known, before);
        apply(&mut known, &snapshot(&view(7, &[("s", 3, "a2")]))).expect("good names");
        assert_eq!(known.masters, before.masters);
    }
}
