//! A provider that follows the cluster's state from one provider to another and back. Everybody in the daemon has this one,
//! and need not know that there are two: a lock of the end that was left is lost, a watch goes on with a snapshot, whoever
//! waits for the lock waits for it at the new end.
//!
//! It decides nothing about a move but two things that need no judgement: a state that was frozen for too long is thawed
//! again (by a write that excludes the move's commit), and a state that has arrived by a committed move is opened.

mod follow;
mod session;

use crate::error::ProviderError;
use crate::{LockSession, StateProvider, WatchEvent, WatchStream};
use async_trait::async_trait;
use baton_board::{
    AppointOutcome, Candidate, LockToken, SettingsOutcome, Snapshot, Status, TaskOutcome, WriteOutcome,
};
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, InstanceName, ReplicaSetName, Revision, TaskId, Version};
use baton_core::record::{Change, HistoryEntry, Member, Move, MovePhase, Settings};
use baton_core::task::StoredTask;
use baton_core::time::Span;
use baton_core::timing::Timing;
use session::SwitchingSession;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// For how long a state stays frozen before a coordinator thaws it, at least: whoever froze it is gone.
pub const THAW_AFTER: Duration = Duration::from_secs(15);
/// Events of a watch that wait for the caller.
const QUEUE: usize = 64;

/// What is known of a move, for people and for the arbiter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovingView {
    /// Where the provider in use stands.
    pub moving: Option<Move>,
    /// Whether the provider in use is that of `[provider.next]`.
    pub on_next: bool,
    /// Whether the other end of the move with this id is reached, or why not.
    pub next: Option<(u64, Result<(), String>)>,
}

struct Shared {
    /// What is configured, and the other one where one is.
    ends: Vec<Arc<dyn StateProvider>>,
    /// How often it was switched; even: the first end is in use.
    switches: watch::Sender<usize>,
    view: watch::Sender<MovingView>,
    thaw_after: Duration,
}

/// See the file. Clones share everything.
#[derive(Clone)]
pub struct SwitchingProvider {
    shared: Arc<Shared>,
}

impl SwitchingProvider {
    /// Over what `[provider]` and `[provider.next]` name. To be called inside a Tokio runtime.
    #[must_use]
    pub fn new(first: Arc<dyn StateProvider>, next: Option<Arc<dyn StateProvider>>) -> Self {
        Self::with(first, next, THAW_AFTER)
    }

    /// The same with another patience.
    #[must_use]
    pub fn with(
        first: Arc<dyn StateProvider>,
        next: Option<Arc<dyn StateProvider>>,
        thaw_after: Duration,
    ) -> Self {
        let ends = std::iter::once(first).chain(next).collect();
        let (switches, view) = (watch::Sender::new(0), watch::Sender::new(MovingView::default()));
        let shared = Arc::new(Shared { ends, switches, view, thaw_after });
        tokio::spawn(follow::follow(Arc::downgrade(&shared)));
        Self { shared }
    }

    /// What is known of a move, and every change of it.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<MovingView> {
        self.shared.view.subscribe()
    }
}

impl Shared {
    /// The end in use, and the number by which a switch is noticed.
    fn end(&self) -> (Arc<dyn StateProvider>, usize) {
        let at = *self.switches.borrow();
        let end = self.ends.get(at % 2).or(self.ends.first()).expect("there is one end at least");
        (Arc::clone(end), at)
    }

    fn other(&self, at: usize) -> Option<Arc<dyn StateProvider>> {
        self.ends.get((at + 1) % 2).filter(|_| self.ends.len() == 2).cloned()
    }

    /// Whether what the end `at` announces has its other end where `[provider.next]` says.
    async fn probe(&self, at: usize, moving: &Move) -> Result<(), String> {
        let missing = || "it has no [provider.next] in its configuration".to_owned();
        let other = self.other(at).ok_or_else(missing)?;
        let snapshot = other.read().await.map_err(|error| error.to_string())?;
        let arriving = snapshot.settings.moving.as_ref().filter(|it| it.phase == MovePhase::Arriving);
        match arriving {
            Some(arriving) if arriving.id == moving.id => Ok(()),
            Some(_) | None => Err("what its [provider.next] names is not where this move leads".to_owned()),
        }
    }

    /// Goes to the other end, where the one at `at` was left for it. Opens it where nobody has done that yet: that the move
    /// is committed was read here.
    async fn switch(&self, at: usize) -> Result<(), String> {
        let (here, now) = self.end();
        if now != at {
            return Ok(());
        }
        let text = |error: ProviderError| error.to_string();
        let left = here.read().await.map_err(text)?;
        let Some(moved) = left.settings.moving.filter(|it| it.phase == MovePhase::Moved) else {
            return Ok(());
        };
        let missing = || {
            format!(
                "the cluster's state was moved to {}: name it in [provider], or in [provider.next]",
                moved.other
            )
        };
        let other = self.other(at).ok_or_else(missing)?;
        let there = other.read().await.map_err(text)?;
        let arrived = match &there.settings.moving {
            Some(it) if it.phase == MovePhase::Arriving && it.id == moved.id => {
                match other.put_move(there.settings.version, None).await.map_err(text)? {
                    SettingsOutcome::Applied(_) => true,
                    // Another coordinator, or whoever moves the state, was first: the next look tells.
                    SettingsOutcome::Conflict(_) | SettingsOutcome::Refused(_) => {
                        return Err("it was opened by somebody else at this moment".to_owned());
                    }
                }
            }
            Some(it) => !matches!(it.phase, MovePhase::Arriving | MovePhase::Moved),
            None => true,
        };
        // A cluster that was founded anew there by mistake knows nothing of our epochs.
        if !arrived || there.lock.epoch < left.lock.epoch {
            return Err(format!(
                "what [provider.next] names is not where the state was moved to: {}",
                moved.other
            ));
        }
        self.switches.send_if_modified(|switches| {
            let ours = *switches == at;
            *switches += usize::from(ours);
            ours
        });
        tracing::warn!(
            now = other.kind(),
            moved_to = %moved.other,
            "the cluster's state was moved: this coordinator follows. Name the new provider in [provider] of its file"
        );
        Ok(())
    }
}

#[async_trait]
impl StateProvider for SwitchingProvider {
    fn kind(&self) -> &'static str {
        self.shared.end().0.kind()
    }

    fn lock_ttl(&self, timing: &Timing) -> Span {
        self.shared.end().0.lock_ttl(timing)
    }

    async fn join(&self) -> Result<(), ProviderError> {
        self.shared.end().0.join().await
    }

    async fn campaign(
        &self,
        candidate: &Candidate,
        mut resume: Option<LockToken>,
    ) -> Result<Box<dyn LockSession>, ProviderError> {
        let mut switches = self.shared.switches.subscribe();
        loop {
            switches.borrow_and_update();
            let (end, at) = self.shared.end();
            let campaign = tokio::select! {
                biased;
                _ = switches.changed() => None,
                campaign = end.campaign(candidate, resume) => Some(campaign),
            };
            // The epoch of one end is none at the other.
            resume = resume.filter(|_| campaign.is_some());
            match campaign {
                None => {}
                Some(Ok(session)) => return Ok(Box::new(SwitchingSession::new(session, switches, at))),
                Some(Err(error)) => {
                    let _ = self.shared.switch(at).await;
                    if self.shared.end().1 == at {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn appoint(&self, token: LockToken, changes: Vec<Change>) -> Result<AppointOutcome, ProviderError> {
        self.shared.end().0.appoint(token, changes).await
    }

    async fn read(&self) -> Result<Snapshot, ProviderError> {
        loop {
            let (end, at) = self.shared.end();
            let snapshot = end.read().await?;
            match snapshot.settings.phase() {
                None | Some(MovePhase::Announced | MovePhase::Frozen) => return Ok(snapshot),
                Some(MovePhase::Arriving) => {
                    let why = snapshot.settings.standstill().unwrap_or_default();
                    return Err(ProviderError::NotApplied(why));
                }
                Some(MovePhase::Moved) => self.shared.switch(at).await.map_err(ProviderError::NotApplied)?,
            }
        }
    }

    async fn watch(&self, after: Option<Revision>) -> Result<WatchStream, ProviderError> {
        let (out, events) = mpsc::channel(QUEUE);
        let (end, at) = self.shared.end();
        // Asked here, so that a foreign cluster is told at once and not by the stream.
        let first = end.watch(after).await?;
        tokio::spawn(forward(Arc::clone(&self.shared), first, at, out));
        Ok(Box::pin(ReceiverStream::new(events)))
    }

    async fn put_member(&self, token: LockToken, member: Member) -> Result<WriteOutcome, ProviderError> {
        self.shared.end().0.put_member(token, member).await
    }

    async fn remove_member(
        &self,
        token: LockToken,
        replicaset: &ReplicaSetName,
        instance: &InstanceName,
    ) -> Result<WriteOutcome, ProviderError> {
        self.shared.end().0.remove_member(token, replicaset, instance).await
    }

    async fn put_settings(
        &self,
        expected: Version,
        settings: Settings,
    ) -> Result<SettingsOutcome, ProviderError> {
        self.shared.end().0.put_settings(expected, settings).await
    }

    async fn put_move(
        &self,
        expected: Version,
        moving: Option<Move>,
    ) -> Result<SettingsOutcome, ProviderError> {
        self.shared.end().0.put_move(expected, moving).await
    }

    async fn put_task(
        &self,
        token: LockToken,
        expected: Option<Version>,
        task: StoredTask,
    ) -> Result<TaskOutcome, ProviderError> {
        self.shared.end().0.put_task(token, expected, task).await
    }

    async fn remove_task(&self, token: LockToken, id: TaskId) -> Result<WriteOutcome, ProviderError> {
        self.shared.end().0.remove_task(token, id).await
    }

    async fn put_bid(
        &self,
        epoch: Epoch,
        expected: u64,
        bid: Option<Bid>,
    ) -> Result<WriteOutcome, ProviderError> {
        self.shared.end().0.put_bid(epoch, expected, bid).await
    }

    async fn history(
        &self,
        replicaset: &ReplicaSetName,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, ProviderError> {
        self.shared.end().0.history(replicaset, limit).await
    }

    async fn status(&self) -> Result<Status, ProviderError> {
        self.shared.end().0.status().await
    }
}

/// Hands on the events of the end in use; of another end they begin with a snapshot.
async fn forward(
    shared: Arc<Shared>,
    mut events: WatchStream,
    mut at: usize,
    out: mpsc::Sender<Result<WatchEvent, ProviderError>>,
) {
    let mut switches = shared.switches.subscribe();
    loop {
        let (end, now) = shared.end();
        if now != at {
            at = now;
            events = match end.watch(None).await {
                Ok(events) => events,
                Err(error) => {
                    // The last event; nobody may be there to hear it.
                    let _ = out.send(Err(error)).await;
                    return;
                }
            };
        }
        let event = tokio::select! {
            biased;
            () = out.closed() => return,
            _ = switches.changed() => continue,
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        // What stands at an end that was left, or where nothing has arrived yet, is not the state.
        let closed =
            |settings: &Settings| matches!(settings.phase(), Some(MovePhase::Moved | MovePhase::Arriving));
        if matches!(&event, Ok(WatchEvent::Snapshot(snapshot)) if closed(&snapshot.settings)) {
            continue;
        }
        if out.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
