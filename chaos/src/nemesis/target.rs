//! Whom a fault strikes, in words: `master`, `replica`, `arbiter`, `majority`, … Words are turned into machines when the
//! fault strikes, by how things stand then and by the seed.

use std::collections::BTreeSet;
use std::fmt;

use rand::rngs::StdRng;
use rand::seq::{IteratorRandom, SliceRandom};

pub use crate::field::host::Part;

/// A host of the set with what stands on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The host.
    pub host: String,
    /// Its instance.
    pub instance: String,
    /// Its zone.
    pub zone: String,
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The master's instance.
    pub master: String,
    /// Its host.
    pub master_host: String,
    /// Its term.
    pub term: u64,
    /// The host of the active arbiter.
    pub arbiter: String,
    /// The machine of the provider that leads.
    pub provider_leader: String,
    /// All hosts of the set, each with its instance and its zone.
    pub members: Vec<Member>,
    /// All machines of the provider.
    pub providers: Vec<String>,
    /// The machine of the clients.
    pub client: String,
    /// Who is struck by what lasts.
    pub struck: Vec<String>,
}

impl Standing {
    /// All hosts of the set.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        self.members.iter().map(|member| member.host.clone()).collect()
    }
}

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The host of the master.
    Master,
    /// The host of one replica.
    Replica,
    /// The hosts of all replicas.
    Replicas,
    /// The host of the active arbiter.
    Arbiter,
    /// One host, whatever it is.
    Host,
    /// More than half of the hosts.
    Majority,
    /// The master's host, and others until they are more than half.
    MastersSide,
    /// All hosts of the zone that the master is in.
    Zone,
    /// All hosts.
    All,
    /// All hosts that nothing strikes already.
    Rest,
    /// The machine of the provider that leads.
    ProviderLeader,
    /// All machines of the provider.
    Provider,
}

/// Who, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Whose.
    pub whom: Whom,
    /// Of hosts: which of its processes.
    pub part: Part,
}

/// All of the machine.
#[must_use]
pub const fn host_of(whom: Whom) -> Target {
    Target { whom, part: Part::Host }
}

/// Its coordinator alone.
#[must_use]
pub const fn sidecar_of(whom: Whom) -> Target {
    Target { whom, part: Part::Sidecar }
}

/// Its engine alone.
#[must_use]
pub const fn engine_of(whom: Whom) -> Target {
    Target { whom, part: Part::Engine }
}

/// Who it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victims {
    /// The machines, in the order in which they are struck.
    pub machines: Vec<String>,
    /// Which of their processes.
    pub part: Part,
    /// How things stood.
    pub standing: Standing,
}

impl Victims {
    /// The instances on the machines.
    #[must_use]
    pub fn instances(&self) -> Vec<String> {
        let on = |member: &&Member| self.machines.contains(&member.host);
        self.standing.members.iter().filter(on).map(|member| member.instance.clone()).collect()
    }

    /// Everybody else: hosts, provider, client.
    #[must_use]
    pub fn others(&self) -> Vec<String> {
        let mut all = self.standing.hosts();
        all.extend(self.standing.providers.iter().cloned());
        all.push(self.standing.client.clone());
        all.retain(|machine| !self.machines.contains(machine));
        all
    }
}

impl Target {
    /// Who that is as things stand.
    #[must_use]
    pub fn resolve(self, standing: &Standing, random: &mut StdRng) -> Victims {
        let mut hosts = standing.hosts();
        hosts.shuffle(random);
        let replicas: Vec<String> =
            hosts.iter().filter(|host| **host != standing.master_host).cloned().collect();
        let machines = match self.whom {
            Whom::Master => vec![standing.master_host.clone()],
            Whom::Replica => replicas.into_iter().choose(random).into_iter().collect(),
            Whom::Replicas => replicas,
            Whom::Arbiter => vec![standing.arbiter.clone()],
            Whom::Host => hosts.into_iter().take(1).collect(),
            Whom::Majority => {
                let more_than_half = hosts.len() / 2 + 1;
                hosts.into_iter().take(more_than_half).collect()
            }
            Whom::MastersSide => {
                let others = hosts.len() / 2;
                replicas.into_iter().take(others).chain([standing.master_host.clone()]).collect()
            }
            Whom::Zone => {
                let of_host = |host: &String| standing.members.iter().find(|member| member.host == *host);
                let zone = |host: &String| of_host(host).map(|member| member.zone.clone());
                let masters = zone(&standing.master_host);
                hosts.into_iter().filter(|host| zone(host) == masters).collect()
            }
            Whom::All => hosts,
            Whom::Rest => hosts.into_iter().filter(|host| !standing.struck.contains(host)).collect(),
            Whom::ProviderLeader => vec![standing.provider_leader.clone()],
            Whom::Provider => standing.providers.clone(),
        };
        Victims { machines, part: self.part, standing: standing.clone() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match self.whom {
            Whom::Master => "master",
            Whom::Replica => "replica",
            Whom::Replicas => "replicas",
            Whom::Arbiter => "arbiter",
            Whom::Host => "host",
            Whom::Majority => "majority",
            Whom::MastersSide => "master's side",
            Whom::Zone => "zone",
            Whom::All => "all",
            Whom::Rest => "rest",
            Whom::ProviderLeader => "provider-leader",
            Whom::Provider => "provider",
        };
        match self.part.word() {
            Some(part) => write!(formatter, "{whom}/{part}"),
            None => formatter.write_str(whom),
        }
    }
}

/// Every ordered pair between two groups, in one direction.
#[must_use]
pub fn pairs(from: &[String], to: &[String]) -> Vec<(String, String)> {
    let all: BTreeSet<(String, String)> = from
        .iter()
        .flat_map(|from| to.iter().map(move |to| (from.clone(), to.clone())))
        .filter(|(from, to)| from != to)
        .collect();
    all.into_iter().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Three hosts, `host-a` the master's and `host-b` the arbiter's.
    pub(crate) fn standing() -> Standing {
        let member = |host: &str, instance: &str, zone: &str| Member {
            host: host.to_owned(),
            instance: instance.to_owned(),
            zone: zone.to_owned(),
        };
        Standing {
            master: "a1".into(),
            master_host: "host-a".into(),
            term: 3,
            arbiter: "host-b".into(),
            provider_leader: "board".into(),
            members: vec![
                member("host-a", "a1", "east"),
                member("host-b", "b1", "west"),
                member("host-c", "c1", "west"),
            ],
            providers: vec!["board".into()],
            client: "client".into(),
            struck: vec!["host-b".into()],
        }
    }

    fn who(whom: Whom, seed: u64) -> Vec<String> {
        let mut found = host_of(whom).resolve(&standing(), &mut StdRng::seed_from_u64(seed)).machines;
        found.sort_unstable();
        found
    }

    #[test]
    fn words_become_machines() {
        assert_eq!(who(Whom::Master, 1), ["host-a"]);
        assert_eq!(who(Whom::Replicas, 1), ["host-b", "host-c"]);
        assert_eq!(who(Whom::Arbiter, 1), ["host-b"]);
        assert_eq!(who(Whom::Zone, 1), ["host-a"]);
        assert_eq!(who(Whom::All, 1).len(), 3);
        assert_eq!(who(Whom::Rest, 1), ["host-a", "host-c"]);
        assert_eq!(who(Whom::Majority, 1).len(), 2);
        assert_eq!(who(Whom::Provider, 1), ["board"]);
        for seed in 0..20 {
            let side = who(Whom::MastersSide, seed);
            assert!(side.len() == 2 && side.contains(&"host-a".to_owned()), "{side:?}");
            assert_ne!(who(Whom::Replica, seed), ["host-a"]);
            assert_eq!(who(Whom::Host, seed), who(Whom::Host, seed), "one seed, one victim");
        }
        let drawn: BTreeSet<_> = (0..20).map(|seed| who(Whom::Host, seed)).collect();
        assert_eq!(drawn.len(), 3, "any host can be it");
    }

    #[test]
    fn others_are_all_machines_but_the_victims() {
        let victims = host_of(Whom::Master).resolve(&standing(), &mut StdRng::seed_from_u64(1));
        assert_eq!(victims.others(), ["host-b", "host-c", "board", "client"]);
        assert_eq!(victims.instances(), ["a1"]);
        assert_eq!(pairs(&["x".into(), "y".into()], &["x".into()]), [("y".into(), "x".into())]);
        assert_eq!(engine_of(Whom::Master).to_string(), "master/engine");
    }
}
