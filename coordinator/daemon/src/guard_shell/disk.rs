//! A guard's state file: read once at the start, written by one task, never answered before it is durable.

use super::Event;
use super::hand_over::{self, Left, Owner};
use baton_core::guard::{Home, Input, Promised, Saved};
use baton_core::ids::{EngineRun, Epoch, Incarnation, InstanceName, OpId, Stamp, Term, Version};
use baton_core::time::Time;
use baton_engine::files::{
    EpochEntry, FileError, GuardFile, InstanceDir, MasterEntry, PromiseEntry, boot_id,
};
use rand::Rng;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a write that failed waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the task is asked for.
#[derive(Debug)]
pub(super) enum Ask {
    /// One write.
    Persist { op: OpId, saved: Saved },
    /// The last one: what the next process goes on from. Answered with whether it is written.
    HandOver { left: Box<Left>, done: oneshot::Sender<bool> },
}

/// What the files said.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) incarnation: Incarnation,
    pub(super) saved: Saved,
    pub(super) same_boot: bool,
    /// What the process before has left, if that goes on here; as what it is counted is durable.
    pub(super) left: Option<Left>,
    file: GuardFile,
}

impl Start {
    /// How many hand-overs were taken in this home.
    pub(super) fn taken(&self) -> u64 {
        self.file.hand_overs
    }
}

/// Reads the files and counts this run, or the hand-over that it goes on from, durably: no two runs of a home ever have one
/// number, and no hand-over is taken twice.
pub(super) fn begin(dir: &InstanceDir, owner: &Owner) -> Result<Start, FileError> {
    let path = dir.guard_file();
    let boot = boot_id().map_err(|error| FileError::System {
        what: "read",
        file: PathBuf::from("/proc/sys/kernel/random/boot_id"),
        error,
    })?;
    let earlier = GuardFile::read(&path)?;
    let same_boot = earlier.as_ref().is_some_and(|earlier| earlier.boot == boot);
    // The file is of this boot once the guard writes into it: until then its promises are moments on another boot's clock, and
    // whoever starts next must take them for what they are.
    let written_on = earlier.as_ref().map_or(0, |earlier| earlier.boot);
    let mut file =
        earlier.unwrap_or_else(|| GuardFile { home: rand::rng().next_u64(), ..GuardFile::default() });
    file.boot = boot;
    let incarnation = |file: &GuardFile| Incarnation { home: file.home, boot, run: file.run };
    let EpochEntry { generation, number } = file.highest_epoch;
    let saved = Saved {
        highest_term: Term(file.highest_term),
        known_master: known_master(&file),
        highest_epoch: Epoch { generation, number },
        severed: severed(&file),
        promised: promised(&file),
        whole: file.whole_run.as_deref().map(|run| EngineRun(run.into())),
    };
    let home = Home {
        instance: owner.instance.clone(),
        replicaset: owner.replicaset.clone(),
        supervised: owner.supervised,
        incarnation: incarnation(&file),
        taken: file.hand_overs,
        saved: saved.clone(),
    };
    let left = hand_over::take(dir, owner, &home)?;
    match left {
        Some(_) => file.hand_overs += 1,
        None => file.run += 1,
    }
    // The directory is synced with it: what was left is gone for good before anybody goes on from it.
    GuardFile { boot: written_on, ..file.clone() }.write(&path)?;
    Ok(Start { incarnation: incarnation(&file), saved, same_boot, left, file })
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
pub(super) fn spawn(
    dir: InstanceDir,
    owner: Owner,
    start: Start,
    events: mpsc::Sender<Event>,
) -> mpsc::Sender<Ask> {
    let (asks, mut queue) = mpsc::channel::<Ask>(16);
    tokio::spawn(async move {
        let path = dir.guard_file();
        while let Some(ask) = queue.recv().await {
            match ask {
                Ask::Persist { op, saved } => {
                    persist(&path, file_of(&saved, &start.file)).await;
                    if events.send(Event::Machine(Input::Persisted(op))).await.is_err() {
                        return;
                    }
                }
                Ask::HandOver { left, done } => {
                    let written = tokio::task::spawn_blocking(move || {
                        let written = hand_over::write(&dir, &owner, &left);
                        // Before anybody is told: the next process takes the lock.
                        drop(dir);
                        written
                    });
                    let written = written.await.map_err(|error| error.to_string());
                    let written = written.and_then(|written| written.map_err(|error| error.to_string()));
                    if let Err(error) = &written {
                        tracing::error!(error, "the hand-over cannot be written");
                    }
                    // Whoever does not wait any more needs to hear nothing.
                    let _ = done.send(written.is_ok());
                    return;
                }
            }
        }
    });
    asks
}

fn file_of(saved: &Saved, start: &GuardFile) -> GuardFile {
    GuardFile {
        highest_term: saved.highest_term.0,
        known_master: saved.known_master.as_ref().map(master_entry),
        highest_epoch: EpochEntry {
            generation: saved.highest_epoch.generation,
            number: saved.highest_epoch.number,
        },
        severed_version: saved.severed.map(|stamp| stamp.version.0),
        severed_generation: saved.severed.map(|stamp| stamp.generation),
        promises: saved.promised.iter().map(promise_entry).collect(),
        whole_run: saved.whole.as_ref().map(ToString::to_string),
        ..start.clone()
    }
}

/// Tries until it is written: the guard waits for it, and nothing else would help.
async fn persist(path: &Path, file: GuardFile) {
    loop {
        let (file, path) = (file.clone(), path.to_owned());
        match tokio::task::spawn_blocking(move || file.write(&path)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(%error, "the guard's state file cannot be written"),
            Err(error) => tracing::error!(%error, "the write of the guard's state file was lost"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
