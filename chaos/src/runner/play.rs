//! The steps of a scenario, one after another: draws victims, strikes, heals, and writes each fault down when it strikes
//! and again when it is healed.

mod people;
mod signs;

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use tokio::time::sleep;

use self::people::Rolling;
use self::signs::Marks;
use super::ending;
use super::watch::set_of;
use super::{LOOK, PATIENCE, healthy};
use crate::cluster::binaries::Binaries;
use crate::evidence::clock::Clock;
use crate::evidence::{Allowed, Bite, Fault as Line, Folder};
use crate::field::{CLIENT, Field};
use crate::nemesis::Fault;
use crate::nemesis::kind::Kind;
use crate::nemesis::target::{Member, Standing, Target, Victims, Whom};
use crate::report::narrator::Narrator;
use crate::scenario::{Scenario, Sign, Step};

/// Least and most time of undisturbed writing before a fault: room for the writes that a verdict needs, and another phase of
/// the beat each time.
const CALM: std::ops::Range<Duration> = Duration::from_millis(1_500)..Duration::from_millis(2_500);
/// How long a planned change may take before it counts as failed.
const SWITCHOVER: Duration = Duration::from_secs(30);

/// A fault that has struck.
struct Struck {
    kind: Kind,
    fault: Box<dyn Fault>,
    line: Line,
    /// What it was to come before was seen already.
    late: Option<Sign>,
}

/// A scenario that is being played.
pub(super) struct Play<'a> {
    field: Field,
    clock: Clock,
    random: StdRng,
    narrator: &'a Narrator,
    /// Who was master when something struck while nothing lasted.
    before: Standing,
    /// How far the coordinators' logs were then.
    marks: Marks,
    lasting: Vec<Struck>,
    struck: u64,
    /// This build's.
    binaries: Binaries,
}

impl<'a> Play<'a> {
    pub(super) fn new(
        field: Field,
        clock: Clock,
        random: StdRng,
        narrator: &'a Narrator,
        binaries: Binaries,
    ) -> Self {
        let (before, marks, lasting) = (Standing::default(), Marks::default(), Vec::new());
        Self { field, clock, random, narrator, before, marks, lasting, struck: 0, binaries }
    }

    pub(super) fn into_field(self) -> Field {
        self.field
    }

    /// All steps.
    pub(super) async fn all(&mut self, scenario: &Scenario, evidence: &mut Folder) -> anyhow::Result<()> {
        for (number, step) in scenario.steps.iter().enumerate() {
            let place = format!("{}, step {} of {}", scenario.name, number + 1, scenario.steps.len());
            self.narrator.doing(&format!("{place}: {step:?}"));
            self.step(*step, evidence).await.with_context(|| format!("{place} ({step:?})"))?;
        }
        Ok(())
    }

    async fn step(&mut self, step: Step, evidence: &mut Folder) -> anyhow::Result<()> {
        match step {
            Step::Calm => sleep(self.random.random_range(CALM)).await,
            Step::Healthy => healthy(&self.field).await.map(|_| ())?,
            Step::Place { with_arbiter } => self.place(with_arbiter).await?,
            Step::Strike { fault, target } => self.strike(fault, target, evidence).await?,
            Step::StrikeSoon { fault, target, most } => {
                let moment = most.mul_f64(self.random.random_range(0.0..=1.0));
                sleep(moment).await;
                self.strike(fault, target, evidence).await?;
            }
            Step::TryStrike { fault, target } => {
                // What it had begun is ended when it could not be done.
                if let Err(error) = self.strike(fault, target, evidence).await {
                    self.narrator.say(&format!("  {fault} of {target} was left out: {error:#}"));
                }
            }
            Step::Wait(time) => sleep(time).await,
            Step::Hold { leases } => sleep(self.field.plan.lease_ttl.mul_f64(leases)).await,
            Step::Replaced => self.replaced().await?,
            Step::Heal => {
                let struck = self.lasting.pop().context("nothing is struck that could be healed")?;
                self.heal(struck, evidence)?;
            }
            Step::HealOf(kind) => {
                let place = self.lasting.iter().rposition(|struck| struck.kind == kind);
                let place = place.with_context(|| format!("no {kind} lasts that could be ended"))?;
                let struck = self.lasting.remove(place);
                self.heal(struck, evidence)?;
            }
            Step::HealAll => self.heal_all(evidence)?,
            Step::Until(sign) => self.until(sign).await?,
            Step::NotYet(sign) => self.not_yet(sign).await?,
            Step::Waits => self.waits().await?,
            Step::Force => self.force(evidence).await?,
            Step::Switchover => self.switchover(evidence).await?,
            Step::RollingRestart => self.rolling(Rolling::Restart, evidence).await?,
            Step::RollingUpgrade => self.rolling(Rolling::Upgrade, evidence).await?,
            Step::Backup => self.backup()?,
        }
        Ok(())
    }

    /// How things stand, by the word of the active arbiter and of the provider.
    async fn standing(&self) -> anyhow::Result<Standing> {
        let limit = PATIENCE + self.field.plan.lease_ttl * 20;
        let deadline = Instant::now() + limit;
        loop {
            match self.look(true).await {
                Ok(standing) => return Ok(standing),
                Err(error) => {
                    anyhow::ensure!(Instant::now() < deadline, "nobody says how things stand: {error:#}")
                }
            }
            sleep(LOOK).await;
        }
    }

    /// A provider that is struck may have no leader, and be asked for it in vain for long: where nobody wants to know, it is not.
    async fn look(&self, leader: bool) -> anyhow::Result<Standing> {
        let status = self.field.operator.status().await?;
        let record = set_of(&status).and_then(|set| set.record.as_ref()).context("the set has no record")?;
        let master = self.field.host_of(&record.master)?;
        let member = |host: &crate::field::host::Host| Member {
            host: host.machine.name.clone(),
            instance: host.instance.clone(),
            zone: host.zone.clone(),
        };
        let providers = self.field.provider.members();
        let leader = if leader { self.field.provider.leader().await.ok() } else { None };
        Ok(Standing {
            master: record.master.clone(),
            master_host: master.machine.name.clone(),
            term: record.term,
            arbiter: status.arbiter.context("no arbiter is known")?.coordinator,
            provider_leader: leader.unwrap_or_default(),
            members: self.field.hosts.iter().map(member).collect(),
            providers: providers.iter().map(|member| member.machine.name.clone()).collect(),
            client: CLIENT.0.to_owned(),
            struck: self.lasting.iter().flat_map(|struck| struck.line.targets.clone()).collect(),
        })
    }

    async fn place(&mut self, with_arbiter: bool) -> anyhow::Result<()> {
        healthy(&self.field).await?;
        let now = self.standing().await?;
        if (now.master_host == now.arbiter) == with_arbiter {
            return Ok(());
        }
        let fits = |host: &&crate::field::host::Host| (host.machine.name == now.arbiter) == with_arbiter;
        let target = self.field.hosts.iter().filter(fits).choose(&mut self.random);
        let target = target.context("no host suits the scenario")?.instance.clone();
        self.field.operator.switchover(&target, SWITCHOVER).await?;
        healthy(&self.field).await.map(|_| ())
    }

    async fn strike(&mut self, kind: Kind, target: Target, evidence: &mut Folder) -> anyhow::Result<()> {
        let mut fault = kind.make();
        if let Err(reason) = fault.available(&self.field) {
            anyhow::bail!("{kind} cannot be made here: {reason}");
        }
        // While something lasts, nobody may be able to say how things stand: then they count as they stood.
        let standing = if self.lasting.is_empty() {
            self.standing().await?
        } else {
            let looked = self.look(target.whom == Whom::ProviderLeader).await;
            looked.unwrap_or_else(|_| self.before.clone())
        };
        let marks = if self.lasting.is_empty() { Some(Marks::set(&self.field)) } else { None };
        let victims = target.resolve(&standing, &mut self.random);
        if kind == Kind::Restored {
            // What was recorded since the backup, and when, nobody can tell afterwards.
            ending::why_each_master(&self.field, evidence, self.clock).await?;
        }
        let injected_us = self.clock.now();
        let told = match fault.inject(&mut self.field, &victims) {
            Ok(told) => told,
            Err(error) => {
                // It may have struck one of several.
                let _ = fault.heal(&mut self.field);
                return Err(error);
            }
        };
        let mut targets = victims.machines.clone();
        targets.extend(victims.instances());
        let line = Line {
            id: self.struck,
            // Whether an engine or a sidecar was killed is another fault to whoever reads it.
            name: target.part.word().map_or(kind.name().to_owned(), |part| format!("{kind}-{part}")),
            what: told,
            targets,
            allowed: self.allowed(fault.as_ref(), &victims),
            injected_us,
            healed_us: None,
            froze: if fault.freezes() { victims.instances() } else { Vec::new() },
            opened: if fault.opens() { victims.instances() } else { Vec::new() },
            bite: None,
            may_lose: false,
        };
        self.struck += 1;
        // What lasts and this strike are one event: a successor may lead already when this one is struck.
        if let Some(marks) = marks {
            (self.before, self.marks) = (standing, marks);
        }
        evidence.faults.write(&line)?;
        self.narrator.say(&format!("  {} at {:.3} s: {}", target, seconds(injected_us), line.what));
        self.lasting.push(Struck { kind, fault, line, late: None });
        Ok(())
    }

    /// What the fault allows beside what lasts already. An arbiter that is taken away may have been replacing a master; and where
    /// provider and any host are struck at once, a master may lack the promise by which it would go on without an arbiter.
    fn allowed(&self, fault: &dyn Fault, victims: &Victims) -> Allowed {
        let allowed = fault.allowed(victims);
        if allowed != Allowed::Nothing || self.lasting.is_empty() {
            return allowed;
        }
        let class = "silent-with-arbiter".to_owned();
        let lasting = self.lasting.iter().flat_map(|struck| &struck.line.targets);
        let struck: Vec<&String> = lasting.chain(&victims.machines).collect();
        let any = |machines: &[String]| machines.iter().any(|machine| struck.contains(&machine));
        if any(&victims.standing.providers) && any(&victims.standing.hosts()) {
            Allowed::UntilHealed { class }
        } else if victims.machines.contains(&victims.standing.arbiter) {
            Allowed::Class { class }
        } else {
            allowed
        }
    }

    fn heal(&mut self, struck: Struck, evidence: &mut Folder) -> anyhow::Result<()> {
        let Struck { mut fault, mut line, late, kind: _ } = struck;
        let late = late.map(|sign| Bite { bit: false, how: format!("it came too late: {sign:?} was seen") });
        line.bite = Some(late.map_or_else(|| fault.bite(&self.field), Ok)?);
        fault.heal(&mut self.field).with_context(|| format!("end {}: {}", line.name, line.what))?;
        let healed_us = self.clock.now();
        line.healed_us = Some(healed_us);
        evidence.faults.write(&line)?;
        self.narrator.say(&format!("  ended at {:.3} s: {}", seconds(healed_us), line.what));
        Ok(())
    }

    /// Ends everything that lasts, the last one too if an earlier one will not end.
    pub(super) fn heal_all(&mut self, evidence: &mut Folder) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        // What struck last ends first: a disk that was filled, and then hung, can be emptied only once it goes on.
        for struck in std::mem::take(&mut self.lasting).into_iter().rev() {
            let healed = self.heal(struck, evidence);
            outcome = outcome.and(healed);
        }
        outcome
    }

    /// Until an active master is recorded at a higher term than when something struck.
    async fn replaced(&self) -> anyhow::Result<()> {
        let limit = PATIENCE + self.field.plan.lease_ttl * 20;
        let deadline = Instant::now() + limit;
        loop {
            if let Ok(status) = self.field.operator.status().await {
                let newer = |set: &&baton_proto::v1::ReplicaSetStatus| {
                    set.state == "active"
                        && set.record.as_ref().is_some_and(|record| record.term > self.before.term)
                };
                if set_of(&status).as_ref().is_some_and(newer) {
                    return Ok(());
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "no new master within {limit:?}");
            sleep(LOOK).await;
        }
    }

    fn begin(&self, line: Line, evidence: &mut Folder) -> anyhow::Result<Line> {
        evidence.faults.write(&line)?;
        self.narrator.say(&format!("  at {:.3} s: {}", seconds(line.injected_us), line.what));
        Ok(line)
    }

    fn done(&self, mut line: Line, how: &str, evidence: &mut Folder) -> anyhow::Result<()> {
        line.healed_us = Some(self.clock.now());
        line.bite = Some(Bite { bit: true, how: how.to_owned() });
        Ok(evidence.faults.write(&line)?)
    }
}

fn seconds(at_us: u64) -> f64 {
    Duration::from_micros(at_us).as_secs_f64()
}
