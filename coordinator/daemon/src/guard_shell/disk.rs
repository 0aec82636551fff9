//! A guard's state file: read once at the start, written by one task, never answered before it is durable.

use super::Event;
use baton_core::guard::{Input, Promised, Saved};
use baton_core::ids::{Epoch, Incarnation, InstanceName, OpId, Stamp, Term, Version};
use baton_core::time::Time;
use baton_engine::files::{
    EpochEntry, FileError, GuardFile, InstanceDir, MasterEntry, PromiseEntry, boot_id,
};
use rand::Rng;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a write that failed waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// One write.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) op: OpId,
    pub(super) saved: Saved,
}

/// What the file said.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) incarnation: Incarnation,
    pub(super) saved: Saved,
    pub(super) same_boot: bool,
    file: GuardFile,
}

/// Reads the file and counts this run, durably: no two runs of a home ever have one number.
pub(super) fn begin(dir: &InstanceDir) -> Result<Start, FileError> {
    let path = dir.guard_file();
    let boot = boot_id().map_err(|error| FileError::System {
        what: "read",
        file: PathBuf::from("/proc/sys/kernel/random/boot_id"),
        error,
    })?;
    let earlier = GuardFile::read(&path)?;
    let same_boot = earlier.as_ref().is_some_and(|earlier| earlier.boot == boot);
    let mut file =
        earlier.unwrap_or_else(|| GuardFile { home: rand::rng().next_u64(), ..GuardFile::default() });
    file.boot = boot;
    file.run += 1;
    file.write(&path)?;
    let EpochEntry { generation, number } = file.highest_epoch;
    Ok(Start {
        incarnation: Incarnation { home: file.home, boot, run: file.run },
        saved: Saved {
            highest_term: Term(file.highest_term),
            known_master: known_master(&file),
            highest_epoch: Epoch { generation, number },
            severed: severed(&file),
            promised: promised(&file),
        },
        same_boot,
        file,
    })
}

/// A name that is none is as good as not known: it only makes an arbiter wait.
fn known_master(file: &GuardFile) -> Option<(Term, InstanceName)> {
    let known = file.known_master.as_ref()?;
    Some((Term(known.term), InstanceName::parse(&known.instance).ok()?))
}

fn master_entry((term, master): &(Term, InstanceName)) -> MasterEntry {
    MasterEntry { term: term.0, instance: master.to_string() }
}

/// Where the generation is not told, the latest one that was seen then.
fn severed(file: &GuardFile) -> Option<Stamp> {
    let generation = file.severed_generation.unwrap_or(file.highest_epoch.generation);
    file.severed_version.map(|version| Stamp { generation, version: Version(version) })
}

/// The promise that holds longest.
fn promised(file: &GuardFile) -> Option<Promised> {
    let last = file.promises.iter().max_by_key(|promise| promise.until_us)?;
    Some(Promised { term: Term(last.term), until: Time(last.until_us) })
}

fn promise_entry(promised: &Promised) -> PromiseEntry {
    PromiseEntry { term: promised.term.0, until_us: promised.until.0 }
}

/// The writing task; it also keeps the instance's lock, which therefore lives as long as anybody may write.
pub(super) fn spawn(dir: InstanceDir, start: Start, events: mpsc::Sender<Event>) -> mpsc::Sender<Ask> {
    let (asks, mut queue) = mpsc::channel::<Ask>(16);
    tokio::spawn(async move {
        let path = dir.guard_file();
        while let Some(ask) = queue.recv().await {
            let file = GuardFile {
                highest_term: ask.saved.highest_term.0,
                known_master: ask.saved.known_master.as_ref().map(master_entry),
                highest_epoch: EpochEntry {
                    generation: ask.saved.highest_epoch.generation,
                    number: ask.saved.highest_epoch.number,
                },
                severed_version: ask.saved.severed.map(|stamp| stamp.version.0),
                severed_generation: ask.saved.severed.map(|stamp| stamp.generation),
                promises: ask.saved.promised.iter().map(promise_entry).collect(),
                ..start.file.clone()
            };
            loop {
                let (file, path) = (file.clone(), path.clone());
                let written = tokio::task::spawn_blocking(move || file.write(&path)).await;
                match written {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => tracing::error!(%error, "the guard's state file cannot be written"),
                    Err(error) => tracing::error!(%error, "the write of the guard's state file was lost"),
                }
                tokio::time::sleep(RETRY).await;
            }
            if events.send(Event::Machine(Input::Persisted(ask.op))).await.is_err() {
                return;
            }
        }
    });
    asks
}
