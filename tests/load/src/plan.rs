//! Who stands where: replica sets of three over three zones, so many to a host. Names and places follow from the numbers
//! alone, so that every process of a cluster, and whoever watches it, has the same plan without being told.

use std::ops::Range;

/// The zones; each set has a member in each of them. The first one's members come first by name, and are the first masters.
const ZONES: [char; 3] = ['a', 'b', 'c'];

/// Some replica sets and the hosts that only they use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The numbers of the sets.
    pub sets: Range<usize>,
    /// Members of different sets on one host.
    pub per_host: usize,
}

/// The place of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its name.
    pub instance: String,
    /// Its set's.
    pub replicaset: String,
    /// Its host's.
    pub host: String,
    /// Its zone's.
    pub zone: String,
}

impl Plan {
    /// The same cluster cut into so many parts that share no host: one for each process.
    #[must_use]
    pub fn split(&self, parts: usize) -> Vec<Self> {
        let parts = parts.max(1);
        let size = self.sets.len().div_ceil(parts).next_multiple_of(self.per_host.max(1));
        (0..parts)
            .map(|part| {
                let start = (self.sets.start + part * size).min(self.sets.end);
                Self { sets: start..(start + size).min(self.sets.end), per_host: self.per_host }
            })
            .filter(|plan| !plan.sets.is_empty())
            .collect()
    }

    /// Every member of every set. The replicas of one host's masters stand on many hosts: a host that is lost must not
    /// double the work of a single other one.
    #[must_use]
    pub fn seats(&self) -> Vec<Seat> {
        let per_host = self.per_host.max(1);
        let hosts = self.sets.len().div_ceil(per_host).max(1);
        let mut seats = Vec::with_capacity(self.sets.len() * ZONES.len());
        for (place, set) in self.sets.clone().enumerate() {
            let of_zone = [place / per_host, place % hosts, (place / per_host + place % per_host) % hosts];
            for (zone, host) in ZONES.into_iter().zip(of_zone) {
                seats.push(Seat {
                    instance: format!("s{set:05}-{zone}"),
                    replicaset: format!("s{set:05}"),
                    host: format!("h{:05}-{zone}", self.sets.start + host),
                    zone: zone.to_string(),
                });
            }
        }
        seats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn parts_share_no_host_and_leave_no_set_out() {
        let plan = Plan { sets: 0..1_000, per_host: 10 };
        let parts = plan.split(3);
        let hosts: Vec<BTreeSet<_>> =
            parts.iter().map(|part| part.seats().into_iter().map(|seat| seat.host).collect()).collect();
        assert_eq!(parts.iter().map(|part| part.sets.len()).sum::<usize>(), 1_000);
        assert_eq!(hosts.iter().map(BTreeSet::len).sum::<usize>(), 300);
        let all: BTreeSet<_> = hosts.iter().flatten().collect();
        assert_eq!(all.len(), 300, "no host is in two parts");
    }

    #[test]
    fn hosts_are_filled_alike_and_no_set_has_two_members_on_one() {
        let seats = Plan { sets: 20..80, per_host: 10 }.seats();
        let mut on_host: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for seat in &seats {
            assert!(on_host.entry(&seat.host).or_default().insert(&seat.replicaset), "{seat:?}");
        }
        assert!(on_host.values().all(|sets| sets.len() == 10), "{on_host:?}");
        assert_eq!(on_host.len(), 18);
    }
}
