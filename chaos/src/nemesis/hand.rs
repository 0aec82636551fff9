//! What people do by mistake: an engine made writable behind the coordinator's back, a wrong file on one host.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::target::{Part, Victims};
use super::{Fault, allowed_for_silence, bite};
use crate::cluster::process::Process;
use crate::evidence::{Allowed, Bite};
use crate::field::Field;

/// How long a killed process may take to be gone, and how often it is looked at.
const END: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);

/// Somebody connects to an engine and makes it a master by hand.
#[derive(Debug, Default)]
pub struct MadeWritable {
    answers: Vec<(String, bool)>,
}

impl Fault for MadeWritable {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            let host = field.host(name)?;
            self.answers.push(host.engine().make_writable(host.endpoint())?);
        }
        Ok(format!("a person makes the engine of {} a master by hand", victims.machines.join(" and ")))
    }

    fn bite(&mut self, _field: &Field) -> anyhow::Result<Bite> {
        let taken = self.answers.iter().all(|(_, obeyed)| *obeyed);
        let said: Vec<_> = self.answers.iter().map(|(answer, _)| answer).collect();
        bite(taken && !said.is_empty(), format!("the engine said {said:?}"))
    }

    fn heal(&mut self, _field: &mut Field) -> anyhow::Result<()> {
        Ok(())
    }

    fn allowed(&self, _victims: &Victims) -> Allowed {
        Allowed::Nothing
    }

    fn opens(&self) -> bool {
        true
    }
}

/// Kills a coordinator and waits until it is gone, so that it can be started again.
pub(super) fn end_sidecar(field: &Field, host: &str) -> anyhow::Result<()> {
    let processes = field.host(host)?.processes(Part::Sidecar);
    processes.iter().for_each(Process::kill);
    let deadline = Instant::now() + END;
    while processes.iter().any(Process::alive) {
        anyhow::ensure!(Instant::now() < deadline, "the coordinator of {host} does not end");
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The coordinator of a host is restarted with a file that names another secret.
#[derive(Debug, Default)]
pub struct WrongFile {
    files: Vec<(String, PathBuf, String)>,
}

impl Fault for WrongFile {
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String> {
        for name in &victims.machines {
            let host = field.host(name)?;
            let file = host.machine.folder().join("coordinator.toml");
            let secret = host.machine.folder().join("another-secret");
            fs::write(&secret, "of-another-cluster-0123456789abcdef\n")?;
            let text = fs::read_to_string(&file)?;
            let line = text.lines().find(|line| line.starts_with("secret_file"));
            let line = line.context("the configuration names no secret")?.to_owned();
            fs::write(&file, text.replace(&line, &format!("secret_file = \"{}\"", secret.display())))?;
            self.files.push((name.clone(), file, text));
            end_sidecar(field, name)?;
        }
        field.start_what_is_down()?;
        Ok(format!(
            "the coordinator of {} starts with the secret of another cluster",
            victims.machines.join(" and ")
        ))
    }

    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite> {
        let mut wrong = 0;
        for (_, file, right) in &self.files {
            wrong += usize::from(fs::read_to_string(file)? != *right);
        }
        let ended = field.who_ended().unwrap_or_else(|| "nobody has ended".to_owned());
        bite(wrong == self.files.len() && wrong > 0, format!("{wrong} files are wrong; {ended}"))
    }

    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()> {
        for (name, file, text) in std::mem::take(&mut self.files) {
            fs::write(&file, text)?;
            end_sidecar(field, &name)?;
        }
        field.start_what_is_down()
    }

    fn allowed(&self, victims: &Victims) -> Allowed {
        allowed_for_silence(victims, Part::Sidecar)
    }
}
