//! Faults of the network: a cable out, cuts in one direction or both, partial partitions by name, loss by chance, a narrow
//! line, and a machine that vanishes without a word.

use super::target::{Part, Victims, pairs};
use super::{Fault, allowed_for_silence, allowed_for_silence_as, bite};
use crate::evidence::{Allowed, Bite};
use crate::field::Field;
use crate::field::wire::{Cut, Filter};

/// The victims' cables are out of the switch.
#[derive(Debug, Default)]
pub struct LinkDown {
    machines: Vec<String>,
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// Between the victims and everybody else.
    Both,
    /// What the victims send.
    Outgoing,
    /// What is sent to the victims.
    Incoming,
    /// Between the victims and all machines but the clients': who is cut off there still has its clients.
    AllButClients,
    /// Between the victims and the active arbiter's host, or, where the victim is that, all other hosts.
    Arbiter,
    /// Between the victims and the other hosts; provider and clients are reached.
    Hosts,
    /// Between the victims and the other machines of the provider.
    Peers,
    /// Between the victims and the provider.
    Provider,
    /// Between the victims and their clients; otherwise they are well.
    Clients,
}

/// Packets between the victims and others are lost, without a word to anybody.
#[derive(Debug)]
pub struct Partition {
    lost: Lost,
    filter: Filter,
    cut: Option<Cut>,
}

impl Partition {
    /// All packets of this kind.
    #[must_use]
    pub fn new(lost: Lost) -> Self {
        Self { lost, filter: Filter::All, cut: None }
    }

    /// So many of a hundred, by chance.
    #[must_use]
    pub fn by_chance(lost: Lost, percent: u8) -> Self {
        Self { lost, filter: Filter::Percent(percent), cut: None }
    }

    /// Which machines no longer hear which: `(from, to)`.
    fn pairs(&self, victims: &Victims) -> Vec<(String, String)> {
        let (own, standing) = (&victims.machines, &victims.standing);
        let mut others = match self.lost {
            Lost::Both | Lost::Outgoing | Lost::Incoming | Lost::AllButClients => victims.others(),
            Lost::Arbiter if !own.contains(&standing.arbiter) => vec![standing.arbiter.clone()],
            Lost::Arbiter | Lost::Hosts => standing.hosts(),
            Lost::Provider | Lost::Peers => standing.providers.clone(),
            Lost::Clients => vec![standing.client.clone()],
        };
        others.retain(|other| !own.contains(other));
        if self.lost == Lost::AllButClients {
            others.retain(|other| *other != standing.client);
        }
        let mut lost = Vec::new();
        if self.lost != Lost::Incoming {
            lost.extend(pairs(own, &others));
        }
        if self.lost != Lost::Outgoing {
            lost.extend(pairs(&others, own));
        }
        lost
    }
}

impl Fault for Partition {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        let lost = self.pairs(victims);
        self.cut = Some(field.wire.cut(&lost, self.filter)?);
        let how = match self.filter {
            Filter::All => "lost".to_owned(),
            Filter::Percent(percent) => format!("lost with a chance of {percent} %"),
        };
        let words: Vec<String> = lost.iter().map(|(from, to)| format!("{from} to {to}")).collect();
        Ok(format!("packets are {how}: {}", words.join(", ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let dropped = self.cut.as_ref().map_or(Ok(0), |cut| field.wire.dropped(cut))?;
        bite(dropped > 0, format!("{dropped} packets dropped"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        self.cut.take().map_or(Ok(()), |cut| field.wire.mend(&cut))
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        let unbounded = |why: &str| Allowed::Unbounded { why: why.to_owned() };
        if self.filter != Filter::All {
            return unbounded(
                "what is lost by chance delays every connection; no bound is promised for that",
            );
        }
        let masters = victims.machines.contains(&victims.standing.master_host);
        match self.lost {
            Lost::Clients if masters => {
                unbounded("the master is well, only its clients are cut off: nobody is to be replaced")
            }
            // Another member passes its beats on, or the promises of all in-sync members take the arbiter's place.
            Lost::Arbiter if !victims.machines.contains(&victims.standing.arbiter) => Allowed::Nothing,
            Lost::Clients | Lost::Provider | Lost::Peers => Allowed::Nothing,
            // It keeps the lock, by the provider, until somebody who hears more asks for it.
            Lost::Arbiter | Lost::Hosts if victims.machines.contains(&victims.standing.arbiter) => {
                allowed_for_silence_as(victims, Part::Host, "alone-with-arbiter")
            }
            Lost::Both
            | Lost::Outgoing
            | Lost::Incoming
            | Lost::AllButClients
            | Lost::Arbiter
            | Lost::Hosts => allowed_for_silence(victims, Part::Host),
        }
    }
}

impl Fault for LinkDown {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            self.machines.push(name.clone());
            field.wire.plug(name, false)?;
        }
        Ok(format!("the cable of {} is out", victims.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut carriers = 0;
        for name in &self.machines {
            carriers += u32::from(field.wire.has_carrier(name)?);
        }
        bite(carriers == 0, format!("{carriers} of {} have a carrier", self.machines.len()))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        self.machines.drain(..).try_for_each(|name| field.wire.plug(&name, true))
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        allowed_for_silence(victims, Part::Host)
    }
}

/// The machine is gone without a last word: no packet leaves it while its processes are killed, so that its peers keep
/// connections to nobody.
#[derive(Debug, Default)]
pub struct PowerOff {
    machines: Vec<String>,
}

impl Fault for PowerOff {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            self.machines.push(name.clone());
            field.off.insert(name.clone());
            field.wire.plug(name, false)?;
            field.machine(name)?.group.kill()?;
        }
        Ok(format!("the power of {} is off", victims.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut left = 0;
        for name in &self.machines {
            left += field.machine(name)?.group.processes().len();
        }
        bite(left == 0, format!("{left} processes are left, and no packet told of their end"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        for name in self.machines.drain(..) {
            field.off.remove(&name);
            field.wire.plug(&name, true)?;
        }
        field.start_what_is_down()
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        allowed_for_silence(victims, Part::Host)
    }
}

/// The line to the victims is narrow.
#[derive(Debug)]
pub struct Narrow {
    kbit: u32,
    machines: Vec<String>,
}

impl Narrow {
    /// So many kilobits a second.
    #[must_use]
    pub fn new(kbit: u32) -> Self {
        Self { kbit, machines: Vec::new() }
    }
}

impl Fault for Narrow {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            self.machines.push(name.clone());
            field.wire.narrow(name, Some(self.kbit))?;
        }
        Ok(format!("the line to {} carries {} kbit/s", victims.machines.join(" and "), self.kbit))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut over = 0;
        for name in &self.machines {
            over += field.wire.overlimits(name)?;
        }
        bite(over > 0, format!("{over} times there was more to carry"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        self.machines.drain(..).try_for_each(|name| field.wire.narrow(&name, None))
    }

    fn allowed(&self, _victims: &Victims) -> Allowed {
        Allowed::Unbounded {
            why: "a narrow line delays everything; no bound is promised for that".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::standing;
    use super::*;

    fn lost(lost: Lost, machine: &str) -> Vec<(String, String)> {
        let machines = vec![machine.to_owned()];
        Partition::new(lost).pairs(&Victims { machines, part: Part::Host, standing: standing() })
    }

    fn has(pairs: &[(String, String)], from: &str, to: &str) -> bool {
        pairs.contains(&(from.to_owned(), to.to_owned()))
    }

    #[test]
    fn each_name_loses_what_it_says_and_no_more() {
        let both = lost(Lost::Both, "host-a");
        assert_eq!(both.len(), 8);
        assert!(has(&both, "host-a", "client") && has(&both, "board", "host-a"));
        let out = lost(Lost::Outgoing, "host-a");
        assert!(has(&out, "host-a", "host-b") && !has(&out, "host-b", "host-a"));
        let into = lost(Lost::Incoming, "host-a");
        assert!(has(&into, "host-b", "host-a") && !has(&into, "host-a", "host-b"));
        let still_served = lost(Lost::AllButClients, "host-a");
        assert!(!has(&still_served, "host-a", "client") && has(&still_served, "host-a", "board"));
        assert_eq!(lost(Lost::Arbiter, "host-a").len(), 2, "the master and the arbiter's host, both ways");
        assert_eq!(lost(Lost::Arbiter, "host-b").len(), 4, "the arbiter and all other hosts");
        assert!(lost(Lost::Peers, "board").is_empty(), "it has no peers");
        let provider = lost(Lost::Provider, "host-b");
        assert!(has(&provider, "host-b", "board") && provider.len() == 2);
    }

    #[test]
    fn what_clients_may_wait_for_follows_from_whom_it_silences() {
        let allowed = |machines: &[&str], arbiter: &str| {
            let machines = machines.iter().map(ToString::to_string).collect();
            let standing = super::super::target::Standing { arbiter: arbiter.to_owned(), ..standing() };
            LinkDown::default().allowed(&Victims { machines, part: Part::Host, standing })
        };
        let class = |class: &str| Allowed::Class { class: class.to_owned() };
        assert_eq!(allowed(&["host-a"], "host-b"), class("silent"));
        assert_eq!(allowed(&["host-a"], "host-a"), class("silent-with-arbiter"));
        assert_eq!(allowed(&["host-b"], "host-b"), class("silent-with-arbiter"), "its promise goes with it");
        assert_eq!(allowed(&["host-c"], "host-b"), Allowed::Nothing);
        let too_many = Allowed::UntilHealed { class: "silent-with-arbiter".to_owned() };
        assert_eq!(allowed(&["host-a", "host-b"], "host-b"), too_many);
    }

    #[test]
    fn an_arbiter_that_still_reaches_the_provider_has_a_class_of_its_own() {
        let allowed = |lost: Lost, machines: &[&str], arbiter: &str| {
            let machines = machines.iter().map(ToString::to_string).collect();
            let standing = super::super::target::Standing { arbiter: arbiter.to_owned(), ..standing() };
            Partition::new(lost).allowed(&Victims { machines, part: Part::Host, standing })
        };
        let class = |class: &str| Allowed::Class { class: class.to_owned() };
        assert_eq!(allowed(Lost::Hosts, &["host-a"], "host-a"), class("alone-with-arbiter"));
        assert_eq!(allowed(Lost::Hosts, &["host-b"], "host-b"), class("alone-with-arbiter"));
        assert_eq!(allowed(Lost::Arbiter, &["host-b"], "host-b"), class("alone-with-arbiter"));
        assert_eq!(
            allowed(Lost::Hosts, &["host-a"], "host-b"),
            class("silent"),
            "the arbiter hears the others"
        );
        assert_eq!(
            allowed(Lost::Both, &["host-a"], "host-a"),
            class("silent-with-arbiter"),
            "its lock runs out"
        );
        let too_many = Allowed::UntilHealed { class: "alone-with-arbiter".to_owned() };
        assert_eq!(allowed(Lost::Hosts, &["host-a", "host-b"], "host-b"), too_many);
    }
}
