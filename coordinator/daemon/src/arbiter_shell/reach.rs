//! The arbiter's end of calls and bids: what stands beside our lock, what we put there, and for whom we give it up.

use super::Shell;
use crate::contender::put_bid;
use baton_core::arbiter::Input;
use baton_core::contender::Bid;
use baton_core::ids::{CoordinatorName, Endpoint};
use baton_provider::LockView;
use std::sync::Arc;

impl Shell {
    /// Somebody else's lock is nothing to the machine, but to people. (A provider that has lost its state gives epochs again.)
    pub(super) fn lock_changed(&mut self, lock: &Option<LockView>) {
        self.status.touch();
        let own = |lock: &&LockView| {
            let holder = lock.holder.as_ref().map(|holder| &holder.coordinator);
            self.arbiter.epoch() == Some(lock.epoch) && holder == Some(&self.parts.config.name)
        };
        if let Some(lock) = lock.as_ref().filter(own) {
            self.step(Input::Bid(lock.bid.clone()));
        }
    }

    pub(super) fn bid(&self, expected: u64, hears: Option<u32>) {
        let Some(epoch) = self.arbiter.epoch() else { return };
        let bid = hears.map(|hears| Bid {
            by: self.parts.config.name.clone(),
            address: Endpoint(self.parts.address.as_str().into()),
            hears,
            number: 0,
        });
        tokio::spawn(put_bid(Arc::clone(&self.parts.provider), epoch, expected, bid));
    }

    pub(super) fn give_up(&self, to: &CoordinatorName, hears: u32, heard: u32, listed: u32) {
        tracing::warn!(
            %to, hears, heard, listed,
            "this arbiter hears too few guards, and gives its lock up for one that hears more"
        );
        self.give_up.send_replace(self.arbiter.epoch());
    }
}
