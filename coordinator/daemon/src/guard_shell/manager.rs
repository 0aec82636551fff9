//! Looks now and then whether somebody else chooses this engine's masters too, and notes it for people. It only looks, over
//! connections of its own: nothing that a guard asks of its engine waits for it.

use super::Parts;
use crate::notes::{self, Notes};
use baton_engine::EngineKind;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(30);
/// How long a look may take.
const WITHIN: Duration = Duration::from_secs(2);

pub(super) fn spawn(parts: &Parts, stop: CancellationToken) {
    let (instance, kind) = (parts.instance.name.to_string(), Arc::clone(&parts.kind));
    let notes = parts.notes.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = watch(&instance, &kind, &notes) => {}
        }
    });
}

async fn watch(instance: &str, kind: &Arc<dyn EngineKind>, notes: &Notes) {
    loop {
        // An engine that cannot be asked is told of elsewhere, and what was seen before may still hold.
        if let Ok(mut connection) = kind.connect(WITHIN).await {
            match connection.other_manager(WITHIN).await {
                Some(who) => notes.put(notes::OTHER_MANAGER, instance, format!("{instance}: {who}"), None),
                None => notes.take_back(notes::OTHER_MANAGER, instance),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
