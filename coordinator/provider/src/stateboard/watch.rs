//! A watch that goes on across the stateboard's restarts: every revision once, in order, or a snapshot that says that
//! the ones between are not told.

use super::Client;
use super::backoff::Backoff;
use super::outcome::{malformed, of_status};
use crate::error::ProviderError;
use crate::memory::revision_of;
use crate::{WatchEvent, WatchStream, wire};
use baton_board::Identity;
use baton_core::ids::Revision;
use baton_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use v1::watch_response::Event;

/// Events that may wait for the caller; then the stateboard's own limit for slow watchers applies.
const QUEUE: usize = 64;

type Out = mpsc::Sender<Result<WatchEvent, ProviderError>>;

pub(super) fn watch(client: Client, identity: Identity, after: Option<Revision>) -> WatchStream {
    let (out, events) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let closed = out.clone();
        tokio::select! {
            biased;
            () = closed.closed() => {}
            () = follow(client, identity, after, out) => {}
        }
    });
    Box::pin(ReceiverStream::new(events))
}

async fn follow(mut client: Client, identity: Identity, mut after: Option<Revision>, out: Out) {
    let mut backoff = Backoff::new();
    loop {
        let before = after;
        match follow_once(&mut client, &identity, &mut after, &out).await {
            Ok(()) => return,
            Err(error @ ProviderError::Fatal(_)) => {
                // The last event; nobody may be there to hear it.
                let _ = out.send(Err(error)).await;
                return;
            }
            Err(error) => tracing::debug!(%error, "the watch broke, resuming"),
        }
        if after != before {
            backoff.reset();
        }
        backoff.pause().await;
    }
}

/// One connection. `Ok` where nobody listens any more.
async fn follow_once(
    client: &mut Client,
    identity: &Identity,
    after: &mut Option<Revision>,
    out: &Out,
) -> Result<(), ProviderError> {
    let request = v1::WatchRequest {
        identity: Some(wire::identity_to_wire(identity)),
        after_revision: after.map(|revision| revision.0),
    };
    let response = client.watch(request).await.map_err(|status| of_status(&status))?;
    let mut stream = response.into_inner();
    loop {
        let message = stream.message().await.map_err(|status| of_status(&status))?;
        let message = message.ok_or_else(|| ProviderError::Unknown("the watch was closed".into()))?;
        let event = match message.event {
            Some(Event::Snapshot(snapshot)) => {
                let snapshot = wire::snapshot_from_wire(snapshot).map_err(|error| malformed(&error))?;
                WatchEvent::Snapshot(Box::new(snapshot))
            }
            Some(Event::Update(update)) => {
                let update = wire::update_from_wire(update).map_err(|error| malformed(&error))?;
                WatchEvent::Update(update)
            }
            None => continue,
        };
        let revision = revision_of(&event);
        if let WatchEvent::Update(_) = &event
            && after.is_some_and(|known| revision != Revision(known.0 + 1))
        {
            return Err(ProviderError::Unknown(format!("revision {revision} does not follow {after:?}")));
        }
        *after = Some(revision);
        if out.send(Ok(event)).await.is_err() {
            return Ok(());
        }
    }
}
