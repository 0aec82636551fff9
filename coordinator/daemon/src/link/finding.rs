//! Where a host looks for the active arbiter: where the provider says that it is, or, where another coordinator has seen a later one,
//! there. So a host that has lost the provider and nobody else still finds the arbiter (docs/protocol.md, P225).
//!
//! It must not know what is said to an arbiter. What it finds is a hint: whom to believe is the guards' to say.

use super::peers::Peers;
use crate::surroundings;
use baton_core::ids::Epoch;
use baton_proto::v1;
use baton_provider::LockView;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Most coordinators that are asked at a time.
const ASKED_MAX: usize = 8;
/// Longest address that is believed, in bytes.
const ADDRESS_BYTES_MAX: usize = 512;

/// An arbiter that somebody saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The epoch of its lock: of two sightings the one with the higher is later.
    pub(super) epoch: Epoch,
    /// Where it is reached.
    pub(super) address: String,
}

impl Sighting {
    /// What the provider says of the lock, where anybody holds it.
    pub(super) fn of(lock: &LockView) -> Option<Self> {
        let address = lock.holder.as_ref()?.address.to_string();
        Some(Self { epoch: lock.epoch, address })
    }

    /// `None` where nobody was seen, or where what is said cannot be an address.
    pub(super) fn from_wire(said: v1::FindArbiterResponse) -> Option<Self> {
        let v1::Epoch { generation, number } = said.epoch?;
        let fits = !said.address.is_empty() && said.address.len() <= ADDRESS_BYTES_MAX;
        fits.then_some(Self { epoch: Epoch { generation, number }, address: said.address })
    }

    pub(super) fn into_wire(self) -> v1::FindArbiterResponse {
        let Epoch { generation, number } = self.epoch;
        let epoch = Some(v1::Epoch { generation, number });
        v1::FindArbiterResponse { epoch, address: self.address }
    }
}

/// Where to look: where somebody has seen a later lock than the provider told of, else where that says. A lock that the provider says
/// is nobody's is not looked for at its last holder, whoever still takes that one for the arbiter.
pub(super) fn latest(lock: Option<&LockView>, told: Option<&Sighting>) -> Option<Sighting> {
    let known = lock.map(|lock| lock.epoch);
    told.filter(|told| Some(told.epoch) > known).cloned().or_else(|| Sighting::of(lock?))
}

/// Asks up to `most` of the coordinators that are known for the arbiter that they saw last; the latest of their answers.
pub(super) async fn ask(peers: &Arc<Peers>, own: &str, most: usize) -> Option<Sighting> {
    let mut known = peers.known_addresses();
    known.remove(own);
    let mut known: Vec<_> = known.into_iter().collect();
    if !known.is_empty() {
        // Not the same ones each time.
        let turn = usize::try_from(surroundings::chance()).unwrap_or(0) % known.len();
        known.rotate_left(turn);
    }
    let mut asked = JoinSet::new();
    for address in known.into_iter().take(most.min(ASKED_MAX)) {
        let peers = Arc::clone(peers);
        asked.spawn(async move { peers.find_arbiter(&address).await });
    }
    let mut latest = None;
    while let Some(answer) = asked.join_next().await {
        // Whoever does not answer, or is of an older build, has seen nobody.
        if let Ok(Ok(told)) = answer {
            latest = latest.max(Sighting::from_wire(told));
        }
    }
    latest
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::{CoordinatorName, Endpoint};
    use baton_provider::Candidate;

    fn seen(generation: u64, number: u64, address: &str) -> Option<Sighting> {
        Some(Sighting { epoch: Epoch { generation, number }, address: address.to_owned() })
    }

    #[test]
    fn only_a_later_epoch_is_looked_for_elsewhere() {
        let holder = Candidate {
            coordinator: CoordinatorName::parse("a").expect("a good name"),
            address: Endpoint("a:1".into()),
        };
        let epoch = Epoch { generation: 1, number: 7 };
        let held = LockView { epoch, holder: Some(holder), bid: None };
        let free = LockView { holder: None, ..held.clone() };
        let look = |lock: &LockView, told: Option<Sighting>| latest(Some(lock), told.as_ref());
        for later in [seen(1, 8, "b:1"), seen(2, 1, "b:1")] {
            assert_eq!(look(&held, later.clone()), later);
            assert_eq!(look(&free, later.clone()), later);
        }
        for other in [None, seen(1, 6, "b:1"), seen(1, 7, "b:1")] {
            assert_eq!(look(&held, other.clone()), seen(1, 7, "a:1"));
            assert_eq!(look(&free, other), None, "the provider says that it is over");
        }
        assert_eq!(latest(None, seen(1, 1, "b:1").as_ref()), seen(1, 1, "b:1"), "nothing is known yet");
    }

    #[test]
    fn what_cannot_be_an_arbiter_is_none() {
        let said = |epoch: Option<v1::Epoch>, address: &str| {
            Sighting::from_wire(v1::FindArbiterResponse { epoch, address: address.to_owned() })
        };
        let epoch = Some(v1::Epoch { generation: 1, number: 7 });
        assert_eq!(said(epoch, "a:1"), seen(1, 7, "a:1"));
        assert_eq!(said(epoch, ""), None);
        assert_eq!(said(None, "a:1"), None);
        assert_eq!(said(epoch, &"a".repeat(ADDRESS_BYTES_MAX + 1)), None);
        let there = seen(3, 4, "h:5").expect("it is one");
        assert_eq!(Sighting::from_wire(there.clone().into_wire()), Some(there));
    }
}
