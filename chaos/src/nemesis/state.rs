//! Faults of what is kept: the provider loses everything or goes back in time, an instance comes back empty under its old name.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::target::{Part, Victims};
use super::{Fault, allowed_for_silence, bite};
use crate::cli::ProviderKind;
use crate::evidence::{Allowed, Bite};
use crate::field::Field;

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
        match (field.provider.kind(), field.backup().is_file()) {
            (ProviderKind::Etcd, _) => {
                Err("a backup of etcd is taken and restored by its own tools".to_owned())
            }
            (ProviderKind::Stateboard, false) => Err("no backup was taken in this run".to_owned()),
            (ProviderKind::Stateboard, true) => Ok(()),
        }
    }

    fn inject(&mut self, field: &mut Field, _victims: &Victims) -> anyhow::Result<String> {
        let backup = field.backup();
        let asked = [OsStr::new("restore"), backup.as_os_str(), OsStr::new("--force")];
        field.provider.administer(&asked).context("restore the backup")?;
        Ok("a person restores an older backup of the stateboard".to_owned())
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let said = field.provider.administer(&[OsStr::new("status"), OsStr::new("--json")])?;
        let status: serde_json::Value =
            serde_json::from_str(&said).context("read the stateboard's status")?;
        let restored = &status["restored"];
        bite(!restored.is_null(), format!("the stateboard says that it was restored: {restored}"))
    }

    fn heal(&mut self, _field: &mut Field) -> anyhow::Result<()> {
        Ok(())
    }

    fn allowed(&self, _victims: &Victims) -> Allowed {
        Allowed::Nothing
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
            let data = field.host(name)?.data();
            field.machine(name)?.group.kill()?;
            fs::remove_dir_all(&data).with_context(|| format!("empty {}", data.display()))?;
            fs::create_dir(&data)?;
            self.machines.push(name.clone());
        }
        field.start_what_is_down()?;
        Ok(format!("{} starts again at once, and its data is gone", victims.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut running = 0;
        for name in &self.machines {
            running += field.host(name)?.processes(Part::Engine).len();
        }
        bite(running >= self.machines.len(), format!("{running} engines run that had begun with nothing"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        field.start_what_is_down()
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        allowed_for_silence(victims, Part::Host)
    }
}
