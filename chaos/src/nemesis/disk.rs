//! Faults of disks: full, slow, hung, failing, under an engine, a sidecar or the provider.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::target::{Part, Victims};
use super::{Fault, allowed_for_silence, bite};
use crate::evidence::{Allowed, Bite};
use crate::field::Field;
use crate::field::machine::{DATA, STATE};

/// How many bytes a second a slow disk takes.
const SLOW_BYTES: u64 = 65_536;
/// How long a synced write of [`SLOW_BYTES`] has to take for a disk to count as slow.
const SLOW: Duration = Duration::from_millis(300);

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Not a byte is free.
    Full,
    /// It takes few bytes a second.
    Slow,
    /// A write to it does not come back, and who waits for it cannot even be killed.
    Hung,
    /// It refuses every write from one moment on, as after an error of the device.
    Failing,
}

/// The victims' disks are in trouble.
#[derive(Debug)]
pub struct BadDisk {
    trouble: Trouble,
    struck: Vec<(String, &'static str)>,
}

impl BadDisk {
    /// In this trouble.
    #[must_use]
    pub fn new(trouble: Trouble) -> Self {
        Self { trouble, struck: Vec::new() }
    }
}

/// Which disks of a machine a part uses. A provider has one.
fn disks_of(field: &Field, machine: &str, part: Part) -> &'static [&'static str] {
    match part {
        _ if field.host(machine).is_err() => &[DATA],
        Part::Engine => &[DATA],
        Part::Sidecar | Part::Deadman => &[STATE],
        Part::Host => &[DATA, STATE],
    }
}

impl Fault for BadDisk {
    fn available(&self, field: &Field) -> Result<(), String> {
        let all = field.hosts.iter().all(|host| host.machine.disk(DATA).is_ok());
        if all { Ok(()) } else { Err("the machines have no disks of their own in this run".to_owned()) }
    }

    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            let machine = field.machine(name)?;
            for which in disks_of(field, name, victims.part) {
                let disk = machine.disk(which)?;
                self.struck.push((name.clone(), which));
                match self.trouble {
                    Trouble::Full => disk.fill()?,
                    Trouble::Slow => machine.group.limit_disk(&disk.device()?, Some(SLOW_BYTES))?,
                    Trouble::Hung => disk.hang()?,
                    Trouble::Failing => disk.fail()?,
                }
            }
        }
        let how = match self.trouble {
            Trouble::Full => "is full",
            Trouble::Slow => "is slow",
            Trouble::Hung => "hangs",
            Trouble::Failing => "refuses every write",
        };
        let disks: Vec<String> = self.struck.iter().map(|(name, which)| format!("{name}/{which}")).collect();
        Ok(format!("the disk {} {how}", disks.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let (mut bit, mut how) = (!self.struck.is_empty(), String::new());
        for (name, which) in &self.struck {
            let machine = field.machine(name)?;
            let disk = machine.disk(which)?;
            let (seen, words) = match self.trouble {
                Trouble::Full => {
                    let free = disk.free_bytes()?;
                    (free < 65_536, format!("{free} bytes free"))
                }
                Trouble::Slow => {
                    let began = Instant::now();
                    machine.inside_group(|| disk.write_synced(usize::try_from(SLOW_BYTES)?))??;
                    (began.elapsed() >= SLOW, format!("{SLOW_BYTES} bytes took {:.1?}", began.elapsed()))
                }
                Trouble::Hung => (disk.hangs(), "frozen by the kernel's own word, or not".to_owned()),
                Trouble::Failing => {
                    let refused = disk.write_synced(1).err().map(|error| error.to_string());
                    (refused.is_some(), refused.unwrap_or_else(|| "a write was taken".to_owned()))
                }
            };
            bit &= seen;
            // Writing to a string cannot fail.
            let _ = write!(how, "{name}/{which}: {words}; ");
        }
        bite(bit, how.trim_end_matches("; ").to_owned())
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        for (name, which) in std::mem::take(&mut self.struck) {
            let machine = field.machine(&name)?;
            let disk = machine.disk(which)?;
            match self.trouble {
                Trouble::Full => disk.empty()?,
                Trouble::Slow => machine.group.limit_disk(&disk.device()?, None)?,
                Trouble::Hung => disk.go_on()?,
                // A device that failed is exchanged with the machine off.
                Trouble::Failing => {
                    machine.group.kill()?;
                    disk.exchange()?;
                }
            }
        }
        field.start_what_is_down()
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        let masters = victims.machines.contains(&victims.standing.master_host);
        let hosts = victims.standing.members.iter().any(|member| victims.machines.contains(&member.host));
        match (self.trouble, victims.part) {
            (Trouble::Slow, _) if masters => Allowed::Unbounded {
                why: "a slow disk delays every write that waits for it; no bound is promised for that"
                    .to_owned(),
            },
            (Trouble::Slow, _) | (_, Part::Engine | Part::Host) if !hosts => Allowed::Nothing,
            (_, Part::Engine | Part::Host) if masters => Allowed::Class { class: "stalled".to_owned() },
            // A sidecar that cannot keep its state gives its right up, or is lost with it.
            (_, part) => allowed_for_silence(victims, part),
        }
    }
}
