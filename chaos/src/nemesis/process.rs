//! Faults of processes: killed, stopped, and whole machines frozen, all processes at once.

use anyhow::Context;

use super::target::{Part, Victims};
use super::{Fault, allowed_for_silence, bite};
use crate::cluster::process::Process;
use crate::evidence::{Allowed, Bite};
use crate::field::Field;
use crate::procfs;

/// SIGKILL. A whole machine goes at one moment, as by a power cut, but for the packets that its kernel still sends.
#[derive(Debug, Default)]
pub struct Kill {
    struck: Vec<Process>,
    off: Vec<String>,
}

/// SIGSTOP, and SIGCONT in the end, one process after another.
#[derive(Debug, Default)]
pub struct Stop {
    struck: Vec<Process>,
    engines: bool,
}

/// All processes of a machine at one moment, and all again at one.
#[derive(Debug, Default)]
pub struct Freeze {
    machines: Vec<String>,
}

/// The processes of the victims' part.
fn processes(field: &Field, victims: &Victims) -> anyhow::Result<Vec<Process>> {
    let mut found = Vec::new();
    for name in &victims.machines {
        let before = found.len();
        match field.host(name) {
            Ok(host) => found.extend(host.processes(victims.part)),
            Err(_) => {
                let all = field.machine(name)?.group.processes();
                found.extend(all.iter().filter_map(|process| Process::open(process.pid).ok()));
            }
        }
        anyhow::ensure!(found.len() > before, "{} does not run on {name}", part_in_words(victims));
    }
    Ok(found)
}

fn part_in_words(victims: &Victims) -> &'static str {
    match victims.part {
        Part::Host => "everything",
        Part::Sidecar => "the sidecar",
        Part::Engine => "the engine",
        Part::Deadman => "the deadman",
    }
}

fn told(signal: &str, victims: &Victims, struck: &[Process]) -> String {
    let numbers: Vec<String> = struck.iter().map(|process| process.pid().to_string()).collect();
    let (what, whose) = (part_in_words(victims), victims.machines.join(" and "));
    format!("{signal} to {what} on {whose} (processes {})", numbers.join(", "))
}

impl Fault for Kill {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        self.struck = processes(field, victims)?;
        if matches!(victims.part, Part::Host | Part::Sidecar) {
            // Another fault's end must not start them again.
            self.off.clone_from(&victims.machines);
            field.off.extend(self.off.iter().cloned());
        }
        if victims.part == Part::Host {
            for name in &victims.machines {
                field.machine(name)?.group.kill()?;
            }
        } else {
            self.struck.iter().for_each(Process::kill);
        }
        Ok(told("SIGKILL", victims, &self.struck))
    }

    fn bite(&mut self, _field: &Field) -> anyhow::Result<Bite> {
        let left = self.struck.iter().filter(|process| process.alive()).count();
        let how = format!("{left} of {} struck processes still ran", self.struck.len());
        bite(left == 0 && !self.struck.is_empty(), how)
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        field.off.retain(|name| !self.off.contains(name));
        field.start_what_is_down()
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        let masters = victims.machines.contains(&victims.standing.master_host);
        match victims.part {
            // The deadman tells the coordinator at once that the engine has ended.
            Part::Engine if masters => Allowed::Class { class: "crashed".to_owned() },
            part => allowed_for_silence(victims, part),
        }
    }
}

impl Fault for Stop {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        self.struck = processes(field, victims)?;
        self.engines = matches!(victims.part, Part::Host | Part::Engine);
        self.struck.iter().for_each(Process::freeze);
        Ok(told("SIGSTOP", victims, &self.struck))
    }

    fn bite(&mut self, _field: &Field) -> anyhow::Result<Bite> {
        let state = |process: &Process| match procfs::view(process.pid()).filter(|_| process.alive()) {
            Some(seen) => seen.state.to_string(),
            None => "ended".to_owned(),
        };
        let states: Vec<String> = self.struck.iter().map(state).collect();
        // A stopped engine may have been killed meanwhile, by its deadman: that is the fault at its work.
        let held = states.iter().all(|state| matches!(state.as_str(), "T" | "ended"));
        bite(held && !states.is_empty(), format!("states of the processes: {}", states.join(", ")))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        self.struck.iter().for_each(Process::thaw);
        field.start_what_is_down()
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        let masters = victims.machines.contains(&victims.standing.master_host);
        match victims.part {
            Part::Engine if masters => Allowed::Class { class: "stalled".to_owned() },
            Part::Deadman => Allowed::Nothing,
            part => allowed_for_silence(victims, part),
        }
    }

    fn freezes(&self) -> bool {
        self.engines
    }
}

impl Fault for Freeze {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            self.machines.push(name.clone());
            field.machine(name)?.group.freeze().with_context(|| format!("freeze {name}"))?;
        }
        Ok(format!("everything on {} stands still", victims.machines.join(" and ")))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut states = Vec::new();
        for name in &self.machines {
            states.push(format!("{name} {}", field.machine(name)?.group.state()));
        }
        bite(states.iter().all(|state| state.ends_with("FROZEN")), format!("freezer: {}", states.join(", ")))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        for name in self.machines.drain(..) {
            field.machine(&name)?.group.thaw()?;
        }
        Ok(())
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        allowed_for_silence(victims, Part::Host)
    }

    fn freezes(&self) -> bool {
        true
    }
}
