//! What an earlier deadman of the same instance may have left behind: written down when an engine is started, killed and
//! waited for before the next deadman takes a request.

use super::cgroup::Cgroup;
use super::held::{Engine, kill_pid, processes, stat_of};
use crate::files;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a starting deadman waits for what it killed.
const WAIT: Duration = Duration::from_secs(2);
/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(2);

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Nothing of another boot is left.
    boot: u64,
    cgroup: Option<PathBuf>,
    /// The main process, which leads the engine's session.
    session: u32,
    started: u64,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("engine.json")
}

/// Notes an engine that was started. Not synced: it is of use within one boot only.
///
/// # Errors
/// The file system's.
pub(super) fn note(dir: &Path, engine: &Engine) -> io::Result<()> {
    let started = stat_of(engine.pid()).map_or(0, |stat| stat.started);
    let note = Note { boot: files::boot_id()?, cgroup: engine.cgroup(), session: engine.pid(), started };
    let text = serde_json::to_vec(&note)?;
    let next = dir.join("engine.json.next");
    fs::write(&next, text)?;
    fs::rename(next, path(dir))
}

/// Forgets it: it has wholly ended.
pub(super) fn forget(dir: &Path) {
    // Left in place it only makes the next deadman look once more.
    let _ = fs::remove_file(path(dir));
}

/// Kills what an earlier deadman left. `Err` says what is still there, or why that cannot be said.
pub(super) fn clear(dir: &Path) -> Result<(), String> {
    let text = match fs::read(path(dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{}: {error}", path(dir).display())),
    };
    let note: Note =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path(dir).display()))?;
    if files::boot_id().map_err(|error| error.to_string())? == note.boot {
        kill_all(&note)?;
    }
    forget(dir);
    Ok(())
}

fn kill_all(note: &Note) -> Result<(), String> {
    let give_up = Instant::now() + WAIT;
    loop {
        let left = match &note.cgroup {
            Some(path) => kill_group(path).map_err(|error| format!("{}: {error}", path.display()))?,
            None => false,
        };
        let session = members(note);
        session.iter().copied().for_each(kill_pid);
        if !left && session.is_empty() {
            return Ok(());
        }
        if Instant::now() >= give_up {
            return Err(format!("processes of an earlier engine do not end: {session:?}"));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Whether something is left in the group.
fn kill_group(path: &Path) -> io::Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let group = Cgroup::open(path)?;
    group.kill()?;
    let left = group.is_populated()?;
    if !left {
        group.remove();
    }
    Ok(left)
}

/// The living processes of the engine's session. Its number cannot be given to another while one is in it; where the
/// leader is another process than the one that was noted, the session is another too.
fn members(note: &Note) -> Vec<u32> {
    let all = processes();
    if all.get(&note.session).is_some_and(|leader| leader.started != note.started && note.started != 0) {
        return Vec::new();
    }
    all.iter()
        .filter(|(_, stat)| stat.session == note.session && !matches!(stat.state, 'Z' | 'X'))
        .map(|(pid, _)| *pid)
        .collect()
}
