//! The reads with which guards start. A read that began after a guard asked is as good for every guard that had asked by
//! then, so that those of one process share it: a thousand hosts would each make their own.

use baton_core::ids::{Epoch, ReplicaSetName};
use baton_core::record::Record;
use baton_provider::StateProvider;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);

/// What a guard's read says.
pub(crate) type ReadOfSet = (Option<Record>, Epoch);

/// One guard's question.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) replicaset: ReplicaSetName,
    pub(crate) reply: oneshot::Sender<ReadOfSet>,
}

/// Answers until nobody asks any more.
pub(crate) async fn answer(provider: Arc<dyn StateProvider>, mut asks: mpsc::Receiver<Ask>) {
    let mut asked = Vec::new();
    while asks.recv_many(&mut asked, usize::MAX).await > 0 {
        let snapshot = loop {
            match provider.read().await {
                Ok(snapshot) => break snapshot,
                Err(_) if asks.is_closed() => return,
                // tidy: waits because a provider that does not answer is not asked without a pause
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        for Ask { replicaset, reply } in asked.drain(..) {
            // A guard that has ended needs to hear nothing.
            let _ = reply.send((snapshot.records.get(&replicaset).cloned(), snapshot.lock.epoch));
        }
    }
}
