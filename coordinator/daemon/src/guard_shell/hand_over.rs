//! The file in which a guard's state waits for the next process of its run, where the sidecar is restarted on purpose:
//! written as the last act of the one, and gone, durably, before the other takes a step.
//!
//! It must not know what the state means; whether it fits is the core's to say.

mod document;
mod values;

use baton_core::guard::{HandOver, Home, Saved};
use baton_core::ids::{ClusterName, InstanceName, ReplicaSetName};
use baton_engine::deadman::protocol::Status;
use baton_engine::files::{self, FileError, InstanceDir};
use document::Document;

/// The format of the file that is written. Another one is not read: the start is an ordinary one then.
const FORMAT: u32 = 1;
/// The first word of the file; the format and a sum over what follows come after it.
const MAGIC: &str = "baton-hand-over";

/// Whose file it has to be.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) cluster: ClusterName,
    pub(super) instance: InstanceName,
    pub(super) replicaset: ReplicaSetName,
    pub(super) supervised: bool,
}

/// The deadman and the engine in it, as they were left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftBehind {
    pub(super) deadman_pid: u32,
    /// The run of the engine that it held, if it held one.
    pub(super) engine: Option<LeftEngine>,
    pub(super) armed_us: Option<u64>,
}

/// An engine as a deadman names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftEngine {
    pub(super) run: u64,
    pub(super) pid: u32,
    pub(super) started_us: u64,
}

impl LeftBehind {
    /// How things are; `None` where the engine is being killed.
    pub(super) fn of(status: &Status) -> Option<Self> {
        let engine = match &status.engine {
            Some(held) if held.killing => return None,
            Some(held) => Some(LeftEngine { run: held.run, pid: held.pid, started_us: held.started_us }),
            None => None,
        };
        Some(Self { deadman_pid: status.deadman_pid, engine, armed_us: status.armed_us })
    }
}

/// What one process leaves to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) handed: HandOver,
    pub(super) behind: LeftBehind,
}

/// Writes it. Nothing may be done for this guard afterwards, whatever this answers.
pub(super) fn write(dir: &InstanceDir, owner: &Owner, left: &Left) -> Result<(), FileError> {
    let file = dir.hand_over_file();
    let document = Document::new(owner, &dir.path().display().to_string(), left);
    let body = serde_json::to_string(&document)
        .map_err(|error| FileError::Damaged { file: file.clone(), what: error.to_string() })?;
    // Not synced: once the machine has booted anew it is of no use.
    files::leave(&file, format!("{MAGIC} {FORMAT} {:016x}\n{body}\n", sum(&body)).as_bytes())
}

/// What lies there, if it can be read and is of this very instance. It is gone afterwards, whatever it was; durably so once
/// the state file beside it is written.
///
/// # Errors
/// It cannot be removed: nothing may be started then.
pub(super) fn take(dir: &InstanceDir, owner: &Owner, home: &Home) -> Result<Option<Left>, FileError> {
    let file = dir.hand_over_file();
    let found = match files::read(&file) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => read(&bytes, owner, &dir.path().display().to_string()),
        Err(error) => Err(error.to_string()),
    };
    files::unlink(&file)?;
    let fits = found.and_then(|left| match left.handed.fits(home, crate::kept::rules()) {
        Ok(()) => {
            // What the disk says of it this file leaves out: an earlier build would not read it.
            let saved = Saved { whole: home.saved.whole.clone(), ..left.handed.saved.clone() };
            Ok(Left { handed: HandOver { saved, ..left.handed }, ..left })
        }
        Err(why) => Err(why.text().to_owned()),
    });
    match fits {
        Ok(left) => Ok(Some(left)),
        Err(why) => {
            tracing::warn!(instance = %home.instance, why, "the hand-over of the process before is not taken: starting anew");
            Ok(None)
        }
    }
}

fn read(bytes: &[u8], owner: &Owner, dir: &str) -> Result<Left, String> {
    let damaged = || "it is damaged".to_owned();
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let (head, body) = text.split_once('\n').ok_or_else(damaged)?;
    let body = body.strip_suffix('\n').ok_or_else(damaged)?;
    let mut words = head.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(damaged());
    }
    let format = words.next().ok_or_else(damaged)?;
    if format != FORMAT.to_string() {
        return Err(format!("it has format {format}, and this version reads format {FORMAT}"));
    }
    if words.next() != Some(&format!("{:016x}", sum(body))) || words.next().is_some() {
        return Err(damaged());
    }
    let document: Document = serde_json::from_str(body).map_err(|error| format!("it is damaged: {error}"))?;
    document.check(owner, dir)?;
    document.into_left().ok_or_else(damaged)
}

/// FNV-1a: tells a damaged file from a whole one. Whoever wants to deceive a guard can write its state file too.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
