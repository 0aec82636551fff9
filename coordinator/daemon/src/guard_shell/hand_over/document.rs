//! The hand-over as it lies in the file. An unknown field is an error: whoever does not know what it means cannot go on from
//! it, and starts anew.

use super::values::{HandOverEntry, Kept};
use super::{Left, LeftBehind, LeftEngine, Owner};
use baton_core::guard::HandOver;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    cluster: String,
    /// Where it lies: one that was copied elsewhere is of no use there.
    dir: String,
    deadman_pid: u32,
    engine: Option<EngineEntry>,
    armed_us: Option<u64>,
    guard: HandOverEntry,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineEntry {
    run: u64,
    pid: u32,
    started_us: u64,
}

impl Document {
    pub(super) fn new(owner: &Owner, dir: &str, left: &Left) -> Self {
        let LeftBehind { deadman_pid, engine, armed_us } = left.behind;
        Self {
            cluster: owner.cluster.to_string(),
            dir: dir.to_owned(),
            deadman_pid,
            engine: engine.map(|LeftEngine { run, pid, started_us }| EngineEntry { run, pid, started_us }),
            armed_us,
            guard: left.handed.keep(),
        }
    }

    /// Whether it was written for this cluster, here. The rest is the core's to check.
    pub(super) fn check(&self, owner: &Owner, dir: &str) -> Result<(), String> {
        if self.cluster != owner.cluster.as_str() {
            return Err(format!("it is of cluster {:?}", self.cluster));
        }
        if self.dir != dir {
            return Err(format!("it was written in {}", self.dir));
        }
        Ok(())
    }

    pub(super) fn into_left(self) -> Option<Left> {
        let engine =
            self.engine.map(|EngineEntry { run, pid, started_us }| LeftEngine { run, pid, started_us });
        let behind = LeftBehind { deadman_pid: self.deadman_pid, engine, armed_us: self.armed_us };
        Some(Left { handed: HandOver::restore(self.guard)?, behind })
    }
}
