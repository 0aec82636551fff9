//! The read at a guard's start: linearizable, repeated until it is answered.

use super::Event;
use baton_core::guard::Input;
use baton_core::ids::ReplicaSetName;
use baton_provider::StateProvider;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// First and longest wait between two tries.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// See [`WAIT_MIN`].
const WAIT_MAX: Duration = Duration::from_millis(500);

pub(super) async fn read(
    provider: Arc<dyn StateProvider>,
    replicaset: ReplicaSetName,
    events: mpsc::Sender<Event>,
) {
    let mut wait = WAIT_MIN;
    let mut told = false;
    loop {
        match provider.read().await {
            Ok(mut snapshot) => {
                let record = snapshot.records.remove(&replicaset);
                let input = Input::ProviderRead { record, epoch: snapshot.lock.epoch };
                // Nobody to tell: the guard has ended.
                let _ = events.send(Event::Machine(input)).await;
                return;
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(%replicaset, %error, "a starting guard waits for the state provider");
            }
            Err(_) => {}
        }
        if events.is_closed() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}
