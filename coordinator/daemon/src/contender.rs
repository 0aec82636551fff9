//! The shell of the contender: one task that owns the machine, watches the lock and this host's link, and carries out bids
//! and knocks. It decides nothing.

use crate::clock;
use crate::config::Config;
use crate::link::peers::Peers;
use crate::live::Live;
use baton_core::contender::{Action, Bid, Contender, Input, SeenLock};
use baton_core::ids::{CoordinatorName, Endpoint, Epoch};
use baton_core::time::Time;
use baton_provider::{LockView, StateProvider};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Most knocks that wait to be counted; one that does not fit comes again.
pub const KNOCKS_MAX: usize = 1_024;

/// Somebody that the arbiter does not reach is heard here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knock {
    /// Who.
    pub by: CoordinatorName,
    /// How many guards it has.
    pub guards: u32,
}

/// What the shell is made from.
pub struct Parts {
    /// The daemon's configuration.
    pub config: Arc<Config>,
    /// Where others reach this coordinator.
    pub address: String,
    /// How many guards this host has.
    pub guards: u32,
    /// The settings that hold.
    pub live: watch::Receiver<Arc<Live>>,
    /// Where a bid is put.
    pub provider: Arc<dyn StateProvider>,
    /// Who holds the lock, and what stands beside it.
    pub lock: watch::Receiver<Option<LockView>>,
    /// Whom this host is attached to, and how others are reached.
    pub peers: Arc<Peers>,
    /// Who knocks.
    pub knocks: mpsc::Receiver<Knock>,
}

struct Shell {
    parts: Parts,
    contender: Contender,
    campaign_from: watch::Sender<Option<Time>>,
    answers: mpsc::Sender<bool>,
}

/// Starts the task; it ends when `stop` is cancelled. From when on this coordinator may campaign, where it may not always.
pub fn start(parts: Parts, stop: CancellationToken) -> watch::Receiver<Option<Time>> {
    let (campaign_from, told) = watch::channel(None);
    let (answers, heard) = mpsc::channel(1);
    let guards = parts.guards;
    let (name, contends) = (parts.config.name.clone(), parts.config.arbiter_enabled);
    let contender = Contender::new(clock::now(), name, guards, contends, &parts.live.borrow().timing);
    let shell = Shell { parts, contender, campaign_from, answers };
    tokio::spawn(async move { stop.run_until_cancelled(shell.run(heard)).await });
    told
}

impl Shell {
    async fn run(mut self, mut heard: mpsc::Receiver<bool>) {
        let mut attached = self.parts.peers.attached_to();
        attached.mark_changed();
        self.parts.lock.mark_changed();
        loop {
            let deadline = self.contender.next_deadline();
            let alarm = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock::instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                biased;
                Ok(()) = self.parts.live.changed() => {
                    self.contender.take_timing(&self.parts.live.borrow_and_update().timing);
                    Input::Tick
                }
                changed = self.parts.lock.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    match self.parts.lock.borrow_and_update().as_ref() {
                        Some(lock) => Input::Lock(seen(lock)),
                        None => continue,
                    }
                }
                Ok(()) = attached.changed() => Input::Attached(attached.borrow_and_update().is_some()),
                Some(Knock { by, guards }) = self.parts.knocks.recv() => Input::Knocked { by, guards },
                Some(heard) = heard.recv() => Input::Answered(heard),
                () = alarm => Input::Tick,
            };
            self.contender.step(clock::now(), input);
            while let Some(action) = self.contender.pop_action() {
                self.execute(action);
            }
            let from = self.contender.campaign_from();
            self.campaign_from.send_if_modified(|known| std::mem::replace(known, from) != from);
        }
    }

    fn execute(&self, action: Action) {
        match action {
            Action::Bid { epoch, expected, hears } => {
                let bid = self.bid(hears);
                tracing::info!(
                    %epoch, hears,
                    "the arbiter does not reach this host and hears too few: this coordinator bids for its lock"
                );
                tokio::spawn(put_bid(Arc::clone(&self.parts.provider), epoch, expected, Some(bid)));
            }
            Action::Knock { address } => {
                let (peers, answers) = (Arc::clone(&self.parts.peers), self.answers.clone());
                let guards = self.parts.guards;
                tokio::spawn(async move {
                    let heard = peers.knock(&address.0, guards).await;
                    if let Err(status) = &heard {
                        tracing::debug!(bidder = %address, %status, "the bidder does not hear this host");
                    }
                    // One that waits to be taken says the same.
                    let _ = answers.try_send(heard.is_ok());
                });
            }
        }
    }

    fn bid(&self, hears: u32) -> Bid {
        Bid {
            by: self.parts.config.name.clone(),
            address: Endpoint(self.parts.address.as_str().into()),
            hears,
            number: 0,
        }
    }
}

fn seen(lock: &LockView) -> SeenLock {
    SeenLock {
        epoch: lock.epoch,
        holder: lock.holder.as_ref().map(|holder| holder.coordinator.clone()),
        bid: lock.bid.clone(),
    }
}

/// What stands afterwards is told by the watch, whoever was first.
pub(crate) async fn put_bid(provider: Arc<dyn StateProvider>, epoch: Epoch, expected: u64, bid: Option<Bid>) {
    match provider.put_bid(epoch, expected, bid).await {
        Ok(outcome) => tracing::debug!(?outcome, "a bid was put"),
        Err(error) => tracing::debug!(%error, "a bid was not put"),
    }
}
