//! What people do by plan while clients write: moves, restarts, upgrades, backups. Each counts as a fault, so that what clients notice of
//! it is judged.

use std::ffi::OsStr;
use std::time::Instant;

use anyhow::Context;
use rand::seq::IteratorRandom;
use tokio::time::sleep;

use super::{LOOK, PATIENCE, Play, SWITCHOVER, healthy, seconds};
use crate::cli::ProviderKind;
use crate::cluster::process::Process;
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

    /// A backup of the stateboard; that it is taken strikes nobody.
    pub(super) fn backup(&mut self) -> anyhow::Result<()> {
        let file = self.field.backup();
        self.field.provider.administer(&[OsStr::new("backup"), file.as_os_str()]).context("take a backup")?;
        self.narrator.say(&format!(
            "  at {:.3} s: a person takes a backup of the stateboard",
            seconds(self.clock.now())
        ));
        Ok(())
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
