//! The check of a master's write path: a tiny write through the engine and an fsync beside its data, every beat, each
//! on its own, so that an engine or a disk that hangs is seen whatever else goes on (design, *Failure classes*, stalled).
//!
//! It says only whether they finish; what that means is the guard's.

use super::Event;
use crate::live::Live;
use baton_core::guard::Input;
use baton_engine::disk::{DiskCheck, DiskProbe};
use baton_engine::{EngineConnection, EngineKind, WriteCheck};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// While there is a master but no run is known yet.
const AGAIN: Duration = Duration::from_millis(10);

pub(super) struct Checker {
    pub(super) kind: Arc<dyn EngineKind>,
    pub(super) disk: Option<DiskProbe>,
    pub(super) live: watch::Receiver<Arc<Live>>,
    pub(super) runs: watch::Receiver<Option<u64>>,
    pub(super) writables: watch::Receiver<bool>,
    pub(super) events: mpsc::Sender<Event>,
}

impl Checker {
    /// Runs while anybody listens.
    pub(super) async fn run(mut self) {
        let mut connection = None;
        // Since when no write has gone through.
        let mut failing: Option<Instant> = None;
        loop {
            if !*self.writables.borrow_and_update() {
                (connection, failing) = (None, None);
                if self.writables.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let Some(run) = *self.runs.borrow() else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let started = Instant::now();
            let sound = self.write(&mut connection).await && self.sync().await;
            failing = if sound { None } else { failing.or(Some(started)) };
            let patience = self.stall_timeout();
            let stalled = failing.is_some_and(|since| since.elapsed() >= patience);
            let told = Event::OfRun(run, Input::WritePath { finished: !stalled });
            if (sound || stalled) && *self.writables.borrow() && self.events.send(told).await.is_err() {
                return;
            }
            let beat = self.live.borrow().timing.beat_master.as_duration();
            tokio::time::sleep(beat).await;
        }
    }

    fn stall_timeout(&self) -> Duration {
        self.live.borrow().timing.stall_timeout.as_duration()
    }

    /// Whether a tiny write went through. A connection that breaks is made anew by the next check.
    async fn write(&self, connection: &mut Option<Box<dyn EngineConnection>>) -> bool {
        let patience = self.stall_timeout();
        if connection.is_none() {
            *connection = self.kind.connect(patience).await.ok();
        }
        let Some(open) = connection else { return false };
        let check = open.check_write(patience).await;
        if open.is_closed() {
            *connection = None;
        }
        match check {
            WriteCheck::Done(_) => true,
            // A check that was on its way when the guard fenced is refused as it should be.
            WriteCheck::Refused(_) if !*self.writables.borrow() => false,
            WriteCheck::Refused(why) => {
                tracing::warn!(why, "the engine refuses the tiny write of the write-path check");
                false
            }
            WriteCheck::Unknown(_) => false,
        }
    }

    async fn sync(&self) -> bool {
        let Some(disk) = &self.disk else { return true };
        match disk.check(self.stall_timeout()).await {
            DiskCheck::Done(_) => true,
            DiskCheck::Failed(why) => {
                tracing::warn!(why, "the fsync of the write-path check failed");
                false
            }
            DiskCheck::Stalled => false,
        }
    }
}
