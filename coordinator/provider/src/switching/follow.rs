//! Watches where the end in use stands in a move: looks whether the other end is reached, thaws what was forgotten, and
//! goes where the state went.

use super::{MovingView, Shared};
use crate::error::ProviderError;
use crate::{Item, StateProvider, WatchEvent, WatchStream};
use baton_board::SettingsOutcome;
use baton_core::record::{MovePhase, Settings};
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

/// Between two looks at what did not work.
const AGAIN: Duration = Duration::from_millis(100);

/// Until nobody has the provider any more.
pub(super) async fn follow(shared: Weak<Shared>) {
    while let Some(strong) = shared.upgrade() {
        let (end, at) = strong.end();
        let switches = strong.switches.subscribe();
        drop(strong);
        match end.watch(None).await {
            Ok(events) => {
                Watching { shared: shared.clone(), at, switches, frozen: None }.run(events, &*end).await
            }
            Err(error) => tracing::debug!(%error, "the end in use cannot be watched"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// One end, as long as it is in use.
struct Watching {
    shared: Weak<Shared>,
    at: usize,
    switches: watch::Receiver<usize>,
    /// Which move froze it, and when it is thawed.
    frozen: Option<(u64, Instant)>,
}

impl Watching {
    async fn run(mut self, mut events: WatchStream, end: &dyn StateProvider) {
        let mut settings: Option<Settings> = None;
        // What is looked at again: a move stands still while its other end is not reached.
        let mut again = false;
        loop {
            let event = tokio::select! {
                biased;
                _ = self.switches.changed() => return,
                event = events.next() => Some(event),
                () = tokio::time::sleep(AGAIN), if again => None,
            };
            match event {
                None => {}
                Some(Some(Ok(event))) => match settings_of(event) {
                    Some(news) => settings = Some(news),
                    None => continue,
                },
                Some(Some(Err(_)) | None) => return,
            }
            let (Some(shared), Some(settings)) = (self.shared.upgrade(), &settings) else { return };
            again = self.look(&shared, settings, end).await;
        }
    }

    /// Whether to look again soon.
    async fn look(&mut self, shared: &Shared, settings: &Settings, end: &dyn StateProvider) -> bool {
        let moving = settings.moving.clone();
        let next = match &moving {
            Some(it) if matches!(it.phase, MovePhase::Announced | MovePhase::Frozen) => {
                Some((it.id, shared.probe(self.at, it).await))
            }
            Some(it) if it.phase == MovePhase::Moved => Some((it.id, shared.switch(self.at).await)),
            Some(_) | None => None,
        };
        let view = MovingView { moving: moving.clone(), on_next: self.at % 2 == 1, next };
        let again = view.moving.is_some();
        shared.view.send_if_modified(|known| {
            let news = *known != view;
            known.clone_from(&view);
            news
        });
        self.frozen = match (&moving, self.frozen) {
            (Some(it), Some((id, at))) if it.phase == MovePhase::Frozen && it.id == id => Some((id, at)),
            (Some(it), _) if it.phase == MovePhase::Frozen => {
                // Spread, so that not all coordinators write in one moment.
                let patience = shared.thaw_after.mul_f64(1.0 + rand::random::<f64>() / 3.0);
                Some((it.id, Instant::now() + patience))
            }
            _ => None,
        };
        if self.frozen.is_some_and(|(_, at)| at <= Instant::now()) {
            thaw(settings, end).await;
        }
        again
    }
}

/// Takes back a move whose mover is gone. The same version is demanded by the move's commit: one of the two is done.
async fn thaw(settings: &Settings, end: &dyn StateProvider) {
    match end.put_move(settings.version, None).await {
        Ok(SettingsOutcome::Applied(_)) => {
            tracing::warn!(
                "the state was frozen for a move that did not go on: it is thawed, and the move taken back"
            );
        }
        Ok(SettingsOutcome::Conflict(_) | SettingsOutcome::Refused(_)) => {}
        Err(error @ ProviderError::Fatal(_)) => tracing::error!(%error, "a frozen state cannot be thawed"),
        Err(error) => tracing::debug!(%error, "a frozen state was not thawed, trying again"),
    }
}

fn settings_of(event: WatchEvent) -> Option<Settings> {
    match event {
        WatchEvent::Snapshot(snapshot) => Some(snapshot.settings),
        WatchEvent::Update(update) => update.items.into_iter().find_map(|item| match item {
            Item::Settings(settings) => Some(*settings),
            Item::Record(_) | Item::Member(_) | Item::MemberRemoved { .. } | Item::Lock(_) => None,
            Item::Task(_) | Item::TaskRemoved(_) => None,
        }),
    }
}
