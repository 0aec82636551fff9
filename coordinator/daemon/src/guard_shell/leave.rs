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
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// What the guards of a host have in common when they hand over: they do it together, so that the right of the first does
/// not run down while the last one waits for an answer.
#[derive(Debug)]
pub struct Gate {
    unsettled: watch::Sender<usize>,
}

impl Gate {
    /// For so many guards.
    #[must_use]
    pub fn new(guards: usize) -> Self {
        Self { unsettled: watch::Sender::new(guards) }
    }
}

/// Whether, and how, a shell is about to end.
#[derive(Debug)]
pub(super) struct Leave {
    stage: Stage,
    gate: Arc<Gate>,
    others: watch::Receiver<usize>,
    /// This guard is among those that the others wait for.
    awaited: bool,
}

#[derive(Debug)]
enum Stage {
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
    pub(super) fn new(gate: &Arc<Gate>) -> Self {
        let others = gate.unsettled.subscribe();
        Self { stage: Stage::Stays, gate: Arc::clone(gate), others, awaited: true }
    }

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
    pub(super) fn is_time(&mut self, guard: &Guard) -> bool {
        let Stage::HandsOver { soon, .. } = self.stage else { return false };
        let settled = guard.settled().is_ok();
        self.await_this(!settled);
        let all = *self.others.borrow_and_update() == 0;
        settled && all && (guard.has_time_to_hand_over(clock::now()) || Instant::now() >= soon)
    }

    fn await_this(&mut self, awaited: bool) {
        match (std::mem::replace(&mut self.awaited, awaited), awaited) {
            (true, false) => self.gate.unsettled.send_modify(|count| *count = count.saturating_sub(1)),
            (false, true) => self.gate.unsettled.send_modify(|count| *count += 1),
            (true, true) | (false, false) => {}
        }
    }

    /// While a hand-over is waited for: comes when it may be time for it (`false`), or is too late (`true`).
    pub(super) async fn waits(&mut self) -> bool {
        let Stage::HandsOver { until, .. } = self.stage else { return std::future::pending().await };
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(until) => true,
            // The gate lives as long as this does.
            _ = self.others.changed() => false,
        }
    }

    pub(super) fn give_up(&mut self, instance: &InstanceName, guard: &Guard) -> Option<Input> {
        self.stage = Stage::Stops;
        self.await_this(false);
        let why = guard.settled().err().map_or("its deadman does not agree", |why| why.text());
        tracing::warn!(%instance, why, "nothing can be handed over to the next process: stopping as without --keep-engine");
        Some(Input::Stop)
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.await_this(false);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_of_a_host_wait_for_each_other_until_all_have_settled_or_ended() {
        let gate = Arc::new(Gate::new(2));
        let (mut one, other) = (Leave::new(&gate), Leave::new(&gate));
        let awaited = || *gate.unsettled.borrow();
        one.await_this(false);
        one.await_this(false);
        assert_eq!(awaited(), 1);
        drop(other);
        assert_eq!(awaited(), 0, "whoever has ended is not waited for");
        one.await_this(true);
        assert_eq!(awaited(), 1, "an answer is missing again");
    }
}
