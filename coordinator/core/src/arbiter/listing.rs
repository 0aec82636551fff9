//! Which members the provider lists: every guard that attached, as it says of itself. After a restore whoever is arbiter then
//! waits for those who are listed, and knows of nobody else: so a member is asked to be listed until it surely is.
//!
//! It must not know what is done with the list.

use super::Arbiter;
use super::io::Action;
use crate::ids::{InstanceName, Version};
use crate::message::Hello;
use crate::record::Member;
use crate::time::{Span, Time};
use std::collections::BTreeMap;

/// What the provider was asked to list, and is not known to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Listings {
    open: BTreeMap<InstanceName, (Member, Time)>,
}

impl Listings {
    /// Of another epoch everything is read and listed anew.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// It is no member any more.
    pub(super) fn remove(&mut self, instance: &InstanceName) {
        self.open.remove(instance);
    }

    /// When one of them is to be asked for again.
    pub(super) fn due(&self) -> Option<Time> {
        self.open.values().map(|(_, again)| *again).min()
    }

    #[cfg(feature = "model")]
    pub(super) fn rebase(&mut self, by: Span) {
        self.open.values_mut().for_each(|(_, again)| *again = again.folded(by));
    }
}

impl Arbiter {
    /// Lists every attached guard that the provider does not list as it is.
    pub(super) fn list_guards(&mut self, now: Time) {
        let guards = self.sets.values().flat_map(|set| set.guards.values());
        let listed = guards.filter(|guard| !self.is_expelled(&guard.hello.instance));
        let hellos: Vec<Hello> = listed.map(|guard| guard.hello.clone()).collect();
        for hello in hellos {
            self.list_member(now, &hello);
        }
    }

    /// Lists a member in the provider where it is new or has changed; not before it is known what is listed.
    pub(super) fn list_member(&mut self, now: Time, hello: &Hello) {
        if !self.is_loaded() {
            return;
        }
        let set = self.set_mut(&hello.replicaset);
        let known = set.members.get(&hello.instance);
        let member = Member {
            instance: hello.instance.clone(),
            replicaset: hello.replicaset.clone(),
            coordinator: hello.coordinator.clone(),
            endpoint: hello.endpoint.clone(),
            zone: hello.zone.clone(),
            priority: hello.priority,
            electable: hello.electable,
            bootstrap_members: hello.bootstrap_members,
            version: known.map_or(Version(0), |known| known.version),
        };
        if known != Some(&member) {
            // It counts as a member at once: whoever is here is waited for, listed or not.
            set.members.insert(hello.instance.clone(), member.clone());
            self.ask_to_list(now, member);
        }
    }

    fn ask_to_list(&mut self, now: Time, member: Member) {
        let again = now + self.listing_pace();
        self.listings.open.insert(member.instance.clone(), (member.clone(), again));
        self.push(Action::PutMember(member));
    }

    /// Whatever becomes of a request it has ended by then; a repeated one changes nothing.
    fn listing_pace(&self) -> Span {
        self.timing.lease_ttl
    }

    /// Without a lock that is valid nothing is asked for: a pace later there may be one again.
    pub(super) fn list_later(&mut self, now: Time) {
        let later = now + self.listing_pace();
        for (_, again) in self.listings.open.values_mut().filter(|(_, again)| *again <= now) {
            *again = later;
        }
    }

    /// It is listed. The answer to what a guard said of itself earlier is none to what it has said since.
    pub(super) fn listed(&mut self, member: &Member) {
        if self.listings.open.get(&member.instance).is_some_and(|(open, _)| open == member) {
            self.listings.open.remove(&member.instance);
        }
    }

    /// Asks again for what was not answered, or not applied. Whoever was expelled meanwhile is not to come back by it.
    pub(super) fn list_again(&mut self, now: Time) {
        let due = self.listings.open.values().filter(|(_, again)| *again <= now);
        for member in due.map(|(member, _)| member.clone()).collect::<Vec<_>>() {
            if self.is_expelled(&member.instance) {
                self.listings.remove(&member.instance);
            } else {
                self.ask_to_list(now, member);
            }
        }
    }
}
