//! How a guard's shell ends: it stops its guard, which gives its right up; or, where the sidecar is restarted on purpose, it
//! hands the guard's state over to the next process, as soon as nothing is unanswered. What cannot be handed over in time is
//! stopped.
//!
//! It must not know what is handed over.

use super::hand_over::{Left, LeftBehind};
use super::{Shell, deadman, disk};
use crate::clock;
use baton_core::guard::{Guard, Input};
use baton_core::ids::InstanceName;
use baton_core::timing::Timing;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Whether, and how, a shell is about to end.
#[derive(Debug, Default)]
pub(super) struct Leave {
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Stays,
    HandsOver {
        /// From then on a right is handed over even if it was not extended just now.
        soon: Instant,
        /// Then it is given up.
        until: Instant,
    },
    Stops,
}

impl Leave {
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.stage, Stage::Stays)
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.stage, Stage::Stops)
    }

    /// The daemon is to end; `for_good`: nobody comes after it.
    pub(super) fn asked(&mut self, for_good: bool, timing: &Timing) -> Option<Input> {
        if for_good {
            self.stage = Stage::Stops;
            return Some(Input::Stop);
        }
        let now = Instant::now();
        // A promotion that is under way is worth waiting for; one that does not end in time is given up anyway.
        let longest = timing.promote_wait.max(timing.lease_ttl);
        self.stage = Stage::HandsOver {
            soon: now + (timing.lease_ttl / 4).as_duration(),
            until: now + longest.as_duration(),
        };
        None
    }

    /// Whether the state can be handed over now, and is best handed over now.
    pub(super) fn is_time(&self, guard: &Guard) -> bool {
        let Stage::HandsOver { soon, .. } = self.stage else { return false };
        guard.settled().is_ok() && (guard.has_time_to_hand_over(clock::now()) || Instant::now() >= soon)
    }

    /// Comes when a hand-over is not waited for any longer.
    pub(super) async fn too_late(&self) {
        match self.stage {
            Stage::HandsOver { until, .. } => tokio::time::sleep_until(until).await,
            Stage::Stays | Stage::Stops => std::future::pending().await,
        }
    }

    pub(super) fn give_up(&mut self, instance: &InstanceName, guard: &Guard) -> Option<Input> {
        self.stage = Stage::Stops;
        let why = guard.settled().err().map_or("its deadman does not agree", |why| why.text());
        tracing::warn!(%instance, why, "nothing can be handed over to the next process: stopping as without --keep-engine");
        Some(Input::Stop)
    }
}

impl Shell {
    /// Leaves the guard's state to the next process, as the last thing that is done for this guard; `false`: something is not
    /// as the guard believes, and it goes on.
    pub(super) async fn hand_over(&mut self) -> bool {
        let Some(behind) = self.look_behind().await else { return false };
        // No step was taken since it was looked at. What differs is in the queue of events.
        let armed_us = self.guard.armed().map(|deadline| deadline.0);
        let run = *self.run.borrow();
        if behind.armed_us != armed_us || behind.engine.map(|engine| engine.run) != run {
            return false;
        }
        let Ok(handed) = self.guard.hand_over(self.taken) else { return false };
        let term = handed.lead.as_ref().map(|lead| lead.term.0);
        let (done, written) = oneshot::channel();
        let left = Box::new(Left { handed, behind });
        // The queue is empty: nothing is handed over before the state is on disk.
        let asked = self.disk.send(disk::Ask::HandOver { left, done }).await;
        let written = asked.is_ok() && written.await.unwrap_or(false);
        let instance = &self.name;
        if written {
            tracing::info!(%instance, term, "handed over to the next process: engine and deadman go on");
        } else {
            tracing::error!(%instance, term, "not handed over: a master's deadman ends its engine at the deadline");
        }
        true
    }

    async fn look_behind(&self) -> Option<LeftBehind> {
        let (done, seen) = oneshot::channel();
        self.ask_deadman(deadman::Ask::LookBehind(done));
        let patience = self.parts.live.borrow().timing.kill_budget.as_duration();
        tokio::time::timeout(patience, seen).await.ok()?.ok()
    }
}
