//! What people do while clients write: moves, restarts, upgrades, backups, a forced failover. Each counts as a fault, so that what
//! clients notice of it is judged.

use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use rand::seq::IteratorRandom;
use tokio::time::sleep;

use super::{LOOK, PATIENCE, Play, SWITCHOVER, healthy, seconds, set_of};
use crate::cli::ProviderKind;
use crate::cluster::config::REPLICASET;
use crate::cluster::process::{Process, run_tool};
use crate::evidence::{Allowed, Fault as Line, Folder};
use crate::nemesis::target::Part;

/// What is done to one host after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rolling {
    /// Its coordinator ends and is started again.
    Restart,
    /// The same, as this build's program.
    Upgrade,
}

impl Rolling {
    fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Upgrade => "upgrade",
        }
    }
}

impl Play<'_> {
    /// A planned change counts as a fault of the class `switchover`: clients may notice it so long.
    pub(super) async fn switchover(&mut self, evidence: &mut Folder) -> anyhow::Result<()> {
        let standing = self.standing().await?;
        let others = self.field.hosts.iter().filter(|host| host.instance != standing.master);
        let target = others.choose(&mut self.random).context("there is no other instance")?.instance.clone();
        let line = Line {
            name: "switchover".to_owned(),
            what: format!("a person moves the master from {} to {target}", standing.master),
            targets: vec![standing.master.clone(), target.clone()],
            allowed: Allowed::Class { class: "switchover".to_owned() },
            ..self.planned()
        };
        self.before = standing;
        let line = self.begin(line, evidence)?;
        self.field.operator.switchover(&target, SWITCHOVER).await?;
        self.done(line, "the cluster says that it is done", evidence)
    }

    /// A coordinator that is told to end gives its rights up in good order; its master is replaced at once. One host after the
    /// other, each when all is well after the last.
    pub(super) async fn rolling(&mut self, how: Rolling, evidence: &mut Folder) -> anyhow::Result<()> {
        for place in 0..self.field.hosts.len() {
            healthy(&self.field).await?;
            let standing = self.standing().await?;
            let name = self.field.hosts[place].machine.name.clone();
            let masters = name == standing.master_host;
            let doing = match how {
                Rolling::Restart => format!("a person restarts the coordinator of {name}"),
                Rolling::Upgrade => format!(
                    "a person puts this build's coordinator in the place of the earlier one of {name}"
                ),
            };
            let line = Line {
                name: how.name().to_owned(),
                what: doing,
                targets: vec![name, self.field.hosts[place].instance.clone()],
                allowed: match masters {
                    true => Allowed::Class { class: "switchover".to_owned() },
                    false => Allowed::Nothing,
                },
                ..self.planned()
            };
            self.before = standing;
            let line = self.begin(line, evidence)?;
            let sidecars = self.field.hosts[place].processes(Part::Sidecar);
            sidecars.iter().for_each(Process::terminate);
            let deadline = Instant::now() + PATIENCE;
            while sidecars.iter().any(Process::alive) {
                anyhow::ensure!(Instant::now() < deadline, "a coordinator does not end when it is told to");
                sleep(LOOK).await;
            }
            if how == Rolling::Upgrade {
                self.field.hosts[place].exchange(&self.binaries.coordinator);
            }
            self.field.hosts[place].start()?;
            healthy(&self.field).await?;
            self.done(line, "it ended, and runs again", evidence)?;
        }
        if how == Rolling::Upgrade && self.field.plan.provider == ProviderKind::Stateboard {
            self.exchange_board(evidence).await?;
        }
        Ok(())
    }

    /// The stateboard last; nobody is to notice.
    async fn exchange_board(&mut self, evidence: &mut Folder) -> anyhow::Result<()> {
        let standing = self.standing().await?;
        let line = Line {
            name: Rolling::Upgrade.name().to_owned(),
            what: "a person puts this build's stateboard in the place of the earlier one".to_owned(),
            targets: standing.providers.clone(),
            ..self.planned()
        };
        self.before = standing;
        let line = self.begin(line, evidence)?;
        self.field.provider.exchange(&self.binaries.stateboard)?;
        healthy(&self.field).await?;
        self.done(line, "it ended, and runs again", evidence)
    }

    /// A backup of the provider; that it is taken strikes nobody.
    pub(super) fn backup(&mut self) -> anyhow::Result<()> {
        let what = self.field.take_backup().context("take a backup")?;
        self.narrator.say(&format!("  at {:.3} s: a person takes {what}", seconds(self.clock.now())));
        Ok(())
    }

    /// By the cluster's own word nobody leads, and nobody was made master since the last strike.
    pub(super) async fn waits(&self) -> anyhow::Result<()> {
        let status = self.field.operator.status().await?;
        let set = set_of(&status).context("the set is not known")?;
        let term = set.record.as_ref().map_or(0, |record| record.term);
        anyhow::ensure!(term == self.before.term, "term {term} was recorded, and nobody was to be appointed");
        let why = set.issues.join("; ");
        anyhow::ensure!(!why.is_empty(), "the set has no master, and the cluster names no reason");
        self.narrator.say(&format!("  nobody is appointed: {why}"));
        Ok(())
    }

    /// `batonctl failover SET --force`, once the cluster has said what that means. Nobody is served meanwhile: what clients wait for
    /// is judged by what made it necessary.
    pub(super) async fn force(&mut self, evidence: &mut Folder) -> anyhow::Result<()> {
        let preview = self.operate(&["failover", REPLICASET]).unwrap_or_else(|error| format!("{error:#}"));
        self.narrator.say(&format!("  a forced failover would mean: {}", preview.trim()));
        let line = Line {
            name: "forced-failover".to_owned(),
            what: "a person forces a failover, and accepts what may be lost".to_owned(),
            targets: Vec::new(),
            allowed: Allowed::Nothing,
            may_lose: true,
            ..self.planned()
        };
        let line = self.begin(line, evidence)?;
        let told = self.operate(&["failover", REPLICASET, "--force"]).context("force a failover")?;
        self.done(line, told.trim(), evidence)
    }

    /// What a person asks by `batonctl`, from where all is watched, of the hosts that are not known to be down.
    fn operate(&self, asked: &[&str]) -> anyhow::Result<String> {
        let up = self.field.hosts.iter().filter(|host| !self.field.off.contains(&host.machine.name));
        let endpoints: Vec<String> = up.map(|host| host.address().to_string()).collect();
        let mut command = Command::new(&self.binaries.ctl);
        command.args(asked).args(["--endpoint", &endpoints.join(",")]);
        Ok(run_tool(command, "")?)
    }

    /// The line of something that a person does by plan.
    fn planned(&mut self) -> Line {
        self.struck += 1;
        Line {
            id: self.struck - 1,
            name: String::new(),
            what: String::new(),
            targets: Vec::new(),
            allowed: Allowed::Nothing,
            injected_us: self.clock.now(),
            healed_us: None,
            froze: Vec::new(),
            opened: Vec::new(),
            bite: None,
            may_lose: false,
        }
    }
}
