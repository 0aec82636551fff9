//! The same name used twice: somebody sets up another machine by the file of a host of the set, and starts it.

use anyhow::Context;

use super::hand::end_sidecar;
use super::target::{Member, Part, Victims};
use super::{Fault, bite};
use crate::evidence::{Allowed, Bite};
use crate::field::Field;
use crate::field::host::Host;

/// A coordinator of its own name guards an empty engine under the name of the victim's instance, from a machine of its own.
#[derive(Debug, Default)]
pub struct SameName {
    victim: String,
    twin: Option<Host>,
}

impl Fault for SameName {
    fn available(&self, field: &Field) -> Result<(), String> {
        if field.plan.spare { Ok(()) } else { Err("this run has no machine but the set's".to_owned()) }
    }

    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        let Some(name) = victims.machines.first() else { anyhow::bail!("nobody to take the name of") };
        let of_host = |member: &&Member| member.host == *name;
        let member = victims.standing.members.iter().find(of_host).context("no instance is there")?;
        let mut twin = field.stranger(&member.instance, &member.zone)?;
        twin.start()?;
        name.clone_into(&mut self.victim);
        self.twin = Some(twin);
        Ok(format!("another machine starts under the name of {}, with an empty engine", member.instance))
    }

    fn bite(&mut self, _field: &Field) -> anyhow::Result<Bite> {
        let count = |part| self.twin.as_ref().map_or(0, |twin| twin.processes(part).len());
        let (coordinators, engines) = (count(Part::Sidecar), count(Part::Engine));
        bite(
            coordinators > 0,
            format!("on the other machine run {coordinators} coordinators and {engines} engines"),
        )
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        if let Some(twin) = self.twin.take() {
            twin.machine.group.kill()?;
        }
        // Whoever was told to stand down does so for good: a person starts it again.
        if field.host(&self.victim)?.processes(Part::Engine).is_empty() {
            end_sidecar(field, &self.victim)?;
        }
        field.start_what_is_down()
    }

    fn allowed(&self, _victims: &Victims) -> Allowed {
        Allowed::Nothing
    }
}
