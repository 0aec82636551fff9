//! A router that watches: when it heard of each change of master. What it sees is what counts for clients.

use baton_client::{Client, ClientOptions, Master, MasterState};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks at all sets.
const LOOK: Duration = Duration::from_millis(50);

/// A set's new master as the router heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// When it was known to accept writes.
    pub at: Instant,
    /// Who it is, at which term.
    pub master: Master,
}

/// The router.
pub struct Router {
    client: Client,
}

impl Router {
    /// Watches the directory of a coordinator.
    ///
    /// # Errors
    /// The address is none.
    pub fn start(coordinator: &str) -> anyhow::Result<Self> {
        Ok(Self { client: Client::start(ClientOptions::new([coordinator]))? })
    }

    /// Every set as it is known now.
    #[must_use]
    pub fn masters(&self) -> BTreeMap<String, Master> {
        self.client.masters()
    }

    /// Waits until so many sets have an active master. The caller brings the deadline.
    pub async fn until_active(&mut self, sets: usize) {
        let active = |master: &&Master| master.state == MasterState::Active;
        while self.client.masters().values().filter(active).count() < sets {
            self.client.changed().await;
            // tidy: waits because many sets change at once, and looking at all of them for each costs what is measured
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Adds each of `before`'s sets to `changed` once it has an active master at a higher term; ends when all have. The
    /// caller brings the deadline, and keeps what was seen by then.
    pub async fn until_replaced(
        &mut self,
        before: &BTreeMap<String, Master>,
        changed: &mut BTreeMap<String, Changed>,
    ) {
        loop {
            let at = Instant::now();
            for (set, old) in before {
                if changed.contains_key(set) {
                    continue;
                }
                let Some(master) = self.client.master(set) else { continue };
                if master.term > old.term && master.state == MasterState::Active {
                    changed.insert(set.clone(), Changed { at, master });
                }
            }
            if changed.len() >= before.len() {
                return;
            }
            self.client.changed().await;
        }
    }
}
