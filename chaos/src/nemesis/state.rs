//! Faults of what is kept: the provider loses everything or goes back in time, an instance comes back empty under its old name,
//! machines never come back.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::cut::PowerOff;
use super::target::{Part, Victims};
use super::{Fault, allowed_for_silence, bite};
use crate::evidence::{Allowed, Bite};
use crate::field::Field;

/// How long an engine may be away that begins with nothing.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The provider's machines start with nothing; in the end what they had is put back.
#[derive(Debug, Default)]
pub struct Wiped {
    aside: Vec<(String, PathBuf)>,
}

impl Fault for Wiped {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            let data = field.provider.member(name)?.data();
            field.machine(name)?.group.kill()?;
            let aside = data.with_extension("aside");
            fs::rename(&data, &aside).with_context(|| format!("move {} aside", data.display()))?;
            fs::create_dir(&data)?;
            self.aside.push((name.clone(), data));
        }
        field.start_what_is_down()?;
        Ok(format!("{} starts again and has lost everything", victims.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut anew = 0;
        for (name, data) in &self.aside {
            let runs = field.provider.member(name)?.process().is_some();
            anew += usize::from(runs && fs::read_dir(data)?.next().is_some());
        }
        let all = self.aside.len();
        bite(anew == all && all > 0, format!("{anew} of {all} run and keep something new"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        for (name, data) in std::mem::take(&mut self.aside) {
            field.machine(&name)?.group.kill()?;
            fs::remove_dir_all(&data)?;
            fs::rename(data.with_extension("aside"), &data)?;
        }
        field.start_what_is_down()
    }

    fn allowed(&self, _victims: &Victims) -> Allowed {
        Allowed::Nothing
    }
}

/// A person restores the backup that was taken earlier in the run: what was recorded since is forgotten.
#[derive(Debug)]
pub struct Restored;

impl Fault for Restored {
    fn available(&self, field: &Field) -> Result<(), String> {
        if field.has_backup() { Ok(()) } else { Err("no backup was taken in this run".to_owned()) }
    }

    fn inject(&mut self, field: &mut Field, _victims: &Victims) -> anyhow::Result<String> {
        let what = field.restore_backup().context("restore the backup")?;
        Ok(format!("a person puts {what}"))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let (restored, how) = field.was_restored()?;
        bite(restored, how)
    }

    fn heal(&mut self, _field: &mut Field) -> anyhow::Result<()> {
        Ok(())
    }

    fn allowed(&self, _victims: &Victims) -> Allowed {
        Allowed::Nothing
    }
}

/// Machines that vanish without a last word, and never come back: in the end new ones take their places under their old names,
/// with nothing on their disks.
#[derive(Debug, Default)]
pub struct Gone {
    power: PowerOff,
    machines: Vec<String>,
}

impl Fault for Gone {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        self.machines.clone_from(&victims.machines);
        self.power.inject(field, victims)?;
        Ok(format!("{} are gone for good", victims.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        self.power.bite(field)
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        for name in &self.machines {
            let host = field.host(name)?;
            host.empty()?;
            let state = host.state();
            fs::remove_dir_all(&state).with_context(|| format!("empty {}", state.display()))?;
            fs::create_dir(&state)?;
        }
        self.power.heal(field)
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        self.power.allowed(victims)
    }
}

/// Everything on a host is killed, its engine's data is gone, and it starts again at once under its old name.
#[derive(Debug, Default)]
pub struct Emptied {
    machines: Vec<String>,
}

impl Fault for Emptied {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            field.machine(name)?.group.kill()?;
            field.host(name)?.empty()?;
            self.machines.push(name.clone());
        }
        field.start_what_is_down()?;
        Ok(format!("{} starts again at once, and its data is gone", victims.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        // An engine that is made a copy of another one is between two runs for a while.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut running = 0;
            for name in &self.machines {
                running += field.host(name)?.processes(Part::Engine).len();
            }
            if running >= self.machines.len() || Instant::now() > deadline {
                let all = running >= self.machines.len();
                return bite(all, format!("{running} engines run that had begun with nothing"));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        field.start_what_is_down()
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        allowed_for_silence(victims, Part::Host)
    }
}
