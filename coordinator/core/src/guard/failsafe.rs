//! How a master goes on while no arbiter answers it, and what the other members owe it (design, *Failsafe*). Two roles
//! in one file, since each is the reason for the other: the master asks, a member promises or relays.
//!
//! A promise is safe whoever gives it and whenever: it only binds the promiser. That a member which still hears an
//! arbiter relays instead is for availability, so that one broken link is told from an outage.
//!
//! It must not know how members are reached.

use super::io::{Action, Note};
use super::settings::Kept;
use super::{Guard, Lead, Promotion, Proposal};
use crate::ids::{Epoch, Incarnation, InstanceName, Term};
use crate::message::{Ask, Beat, Grant, PeerAnswer, Promise, PromiseRefusal};
use crate::rules::Rule;
use crate::time::{Span, Time};
use std::collections::BTreeSet;

/// What a guard has promised: not to promote its own engine before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Promised {
    /// To the master of this term.
    pub term: Term,
    /// On this node's clock.
    pub until: Time,
}

impl Promised {
    /// Of a promise of an earlier boot that nobody remembers: before the provider was read it may be to any term.
    const UNREMEMBERED: Term = Term(u64::MAX);

    /// What may have been promised and is not remembered.
    pub(super) fn unremembered(until: Time) -> Self {
        Self { term: Self::UNREMEMBERED, until }
    }

    /// Whether it is not known to whose term it is.
    pub(super) fn is_unremembered(&self) -> bool {
        self.term == Self::UNREMEMBERED
    }
}

/// A master's request that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    from: InstanceName,
    incarnation: Incarnation,
    asked_at: Time,
    term: Term,
    ttl: Span,
}

/// A promise that leaves as soon as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unsent {
    to: InstanceName,
    until: Time,
    promise: Promise,
    /// The first since an earlier one lapsed: people are told.
    first: bool,
}

/// The member's side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Promiser {
    /// Since when no arbiter that is well has answered.
    silent_since: Option<Time>,
    asked: Option<Asked>,
    unsent: Option<Unsent>,
}

impl Promiser {
    pub(super) fn new(now: Time) -> Self {
        Self { silent_since: Some(now), asked: None, unsent: None }
    }

    pub(super) fn attached(&mut self) {
        self.silent_since = None;
    }

    pub(super) fn detached(&mut self, now: Time) {
        self.silent_since = self.silent_since.or(Some(now));
    }

    #[cfg(feature = "model")]
    pub(super) fn rebase(&mut self, by: Span) {
        let shift = |time: &mut Time| *time = time.folded(by);
        self.silent_since.iter_mut().for_each(shift);
        if let Some(unsent) = &mut self.unsent {
            shift(&mut unsent.until);
        }
    }
}

// The master's side.
impl Guard {
    /// Whose promise a mastership needs beside its own: everybody who may be appointed after it, a newcomer from the
    /// moment on at which the arbiter may record it on our word, a leaver until it is recorded as one.
    fn needed(&self, lead: &Lead) -> BTreeSet<InstanceName> {
        let mut needed = lead.in_sync.clone();
        match &self.proposal {
            Some(Proposal::Grow { member, .. }) if self.keep(Rule::HonourNewcomer) => {
                needed.insert(member.clone());
            }
            Some(Proposal::Shrink { member, .. }) if !self.keep(Rule::NeedLeaver) => {
                needed.remove(member);
            }
            _ => {}
        }
        needed.remove(&self.config.instance);
        needed
    }

    /// With each beat of a master whose right is not being extended as it should: everybody that may be appointed is
    /// asked for a promise. Begun while two beats of patience are still left.
    pub(super) fn ask_for_promises(&mut self, now: Time, beat: &Beat) {
        let timing = &self.config.timing;
        let patience = self.paced(timing.usable().less(timing.beat_master * 2));
        let Some(lead) = self.lead.as_ref().filter(|lead| lead.promotion == Promotion::Confirmed) else {
            return;
        };
        let Some(fence) = lead.fence_at().filter(|_| self.config.failsafe) else { return };
        if fence >= now + patience {
            return;
        }
        let (term, ttl) = (lead.term, timing.lease_ttl);
        let needed = self.needed(lead);
        if needed.is_empty() {
            // Nobody else may be appointed: its own word is enough, and counts from this beat.
            self.extend_on_promises(now);
        }
        for to in needed {
            let ask = Ask { beat: Box::new(beat.clone()), term, ttl };
            self.push(Action::Ask { to, ask: Box::new(ask) });
        }
    }

    pub(super) fn answered(&mut self, now: Time, from: InstanceName, answer: PeerAnswer) {
        match answer {
            PeerAnswer::Promise(promise) => self.promised(now, from, promise),
            PeerAnswer::Relayed(grant) => self.granted(now, grant),
            PeerAnswer::Refused(why) => self.promise_refused(from, why),
        }
    }

    /// Nothing follows from it but that people are told, once.
    fn promise_refused(&mut self, by: InstanceName, why: PromiseRefusal) {
        let Some(lead) = &mut self.lead else { return };
        if lead.refusals.insert(by.clone(), why) != Some(why) {
            self.push(Action::Note(Note::PromiseRefused { by, why }));
        }
    }

    /// A promise: matched to its very request, and counted from it.
    fn promised(&mut self, now: Time, from: InstanceName, promise: Promise) {
        let own = promise.incarnation == self.config.incarnation && promise.asked_at <= now;
        let counts_from = if self.keep(Rule::LeaseFromSend) { promise.asked_at } else { now };
        // Nobody was ever asked for more.
        let ttl = promise.ttl.min(self.config.timing.hold);
        let end = (counts_from + ttl).back(self.config.timing.margin_of(ttl));
        let Some(lead) = self.lead.as_mut().filter(|lead| own && lead.term == promise.term) else { return };
        lead.refusals.remove(&from);
        let known = lead.promises.entry(from).or_insert(Kept { end, ttl });
        if end > known.end {
            *known = Kept { end, ttl };
        }
        self.extend_on_promises(now);
    }

    /// The right that all promises together give: the earliest of them. It never begins a right, and never revives one.
    fn extend_on_promises(&mut self, now: Time) {
        let every = self.keep(Rule::NeedEveryPromise);
        let Some(lead) = self.lead.as_ref().filter(|lead| lead.right.is_some()) else { return };
        let needed = self.needed(lead);
        let timing = &self.config.timing;
        let alone = (now + timing.lease_ttl).back(timing.margin);
        let kept: Vec<_> = needed.iter().filter_map(|member| lead.promises.get(member)).collect();
        let ends = kept.iter().map(|kept| kept.end);
        let end = match (needed.is_empty(), every) {
            (true, _) => Some(alone),
            (false, true) if kept.len() < needed.len() => None,
            (false, true) => ends.min(),
            (false, false) => ends.max(),
        };
        // Whoever promises for the shortest time has to be asked often enough.
        let lease = kept.iter().map(|kept| kept.ttl).min().unwrap_or(timing.lease_ttl);
        let Some(right) = end else { return };
        self.keep_pace(now, lease);
        if self.extend_right(now, right, lease) {
            self.set_on_promises(true);
            self.regranted(now);
        }
    }

    /// The other members whose promise the mastership needs; of whoever leads nothing, none.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<InstanceName> {
        self.lead.as_ref().map(|lead| self.needed(lead)).unwrap_or_default()
    }

    pub(super) fn set_on_promises(&mut self, on: bool) {
        let Some(lead) = &mut self.lead else { return };
        if std::mem::replace(&mut lead.on_promises, on) != on {
            let term = lead.term;
            self.push(Action::Note(if on { Note::OnPromises(term) } else { Note::OnGrants(term) }));
        }
    }

    /// Whether the right in force was last extended by the promises of the other members.
    #[must_use]
    pub fn rests_on_promises(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.on_promises)
    }
}

// The member's side.
impl Guard {
    /// Until when this guard may not promote its engine: promises of this run and of earlier ones.
    #[must_use]
    pub fn held_until(&self) -> Time {
        let promised = self.saved.promised.filter(|_| self.keep(Rule::HoldPromise));
        promised.map_or(self.hold_until, |promised| promised.until.max(self.hold_until))
    }

    /// What it has promised last.
    #[must_use]
    pub fn promised_last(&self) -> Option<Promised> {
        self.saved.promised
    }

    pub(super) fn asked(&mut self, now: Time, from: InstanceName, ask: Ask) {
        if let Some(why) = self.promise_refusal(&ask) {
            self.promiser.asked = None;
            self.push(Action::Answer { to: from, answer: Box::new(PeerAnswer::Refused(why)) });
            return;
        }
        let Ask { beat, term, ttl } = ask;
        self.promiser.asked = Some(Asked {
            from: from.clone(),
            incarnation: beat.incarnation,
            asked_at: beat.sent_at,
            term,
            ttl: ttl.min(self.config.timing.lease_ttl),
        });
        if self.attached {
            // What it does not answer counts as silence from the first time on.
            self.promiser.silent_since = self.promiser.silent_since.or(Some(now));
            self.push(Action::Relay { of: from, beat });
        }
    }

    /// None of these is what keeps two masters apart: that is the hold of whoever is appointed, and that it is asked. They
    /// keep a member from helping a master whose time is over.
    fn promise_refusal(&self, ask: &Ask) -> Option<PromiseRefusal> {
        if self.floor.is_none() {
            return Some(PromiseRefusal::Starting);
        }
        if ask.term < self.saved.highest_term {
            return Some(PromiseRefusal::HigherTerm(self.saved.highest_term));
        }
        if self.stopping {
            return Some(PromiseRefusal::Stopping);
        }
        // Severed by an arbiter that has evidence against the master: it is to be replaced, not to be helped.
        (self.severance.is_some() || self.lead.is_some()).then_some(PromiseRefusal::Severed)
    }

    /// The active arbiter has answered a beat that we relayed. One that is not well (its lock is running out, it cannot
    /// give full leases) does not count as heard: a promise is worth more than what is left of its lock.
    pub(super) fn relay_answered(
        &mut self,
        of: InstanceName,
        epoch: Epoch,
        well: bool,
        grant: Option<Grant>,
    ) {
        if !self.admit_epoch(epoch) || !well {
            return;
        }
        self.promiser.silent_since = None;
        self.promiser.asked = None;
        let answer = grant.map_or(PeerAnswer::Refused(PromiseRefusal::InContact), PeerAnswer::Relayed);
        self.push(Action::Answer { to: of, answer: Box::new(answer) });
    }

    /// When a request that waits may be answered with a promise: a beat of silence after the arbiter was last well, and
    /// not while an earlier promise is on its way to the disk. That one is answered first: were it replaced, a disk that
    /// needs longer than a beat would keep every promise from leaving.
    pub(super) fn promise_due(&self) -> Option<Time> {
        let asked = self.promiser.asked.as_ref().filter(|_| self.promiser.unsent.is_none())?;
        if !self.keep(Rule::RelayInContact) {
            return Some(Time::default());
        }
        let timing = &self.config.timing;
        // Of a master whose lease is shorter than ours a beat is shorter too, and that is what it can wait for.
        Some(self.promiser.silent_since? + timing.within(timing.beat_master, asked.ttl))
    }

    /// Sends what has become durable, and promises where it is time to.
    pub(super) fn keep_promising(&mut self, now: Time) {
        self.send_promise();
        if self.promise_due().is_some_and(|due| now >= due)
            && let Some(asked) = self.promiser.asked.take()
        {
            // An older promise to somebody else is not shortened by a new one.
            let earlier = self.saved.promised.map_or(Time::default(), |promised| promised.until);
            let until = earlier.max(now + asked.ttl);
            self.note_master(asked.term, asked.from.clone());
            self.saved.highest_term = self.saved.highest_term.max(asked.term);
            self.saved.promised = Some(Promised { term: asked.term, until });
            let promise = Promise {
                incarnation: asked.incarnation,
                asked_at: asked.asked_at,
                term: asked.term,
                ttl: asked.ttl,
            };
            self.promiser.unsent = Some(Unsent { to: asked.from, until, promise, first: earlier < now });
            self.send_promise();
        }
    }

    fn send_promise(&mut self) {
        let persisted = self.persisted.promised.map(|promised| promised.until);
        let at_once = !self.keep(Rule::PersistPromise);
        let durable = |unsent: &mut Unsent| at_once || persisted >= Some(unsent.until);
        if let Some(Unsent { to, promise, first, .. }) = self.promiser.unsent.take_if(durable) {
            if first {
                self.push(Action::Note(Note::Promised { to: to.clone(), term: promise.term }));
            }
            self.push(Action::Answer { to, answer: Box::new(PeerAnswer::Promise(promise)) });
        }
    }

    /// The master of this term, or of an earlier one, will never lead there again: what it was promised is over.
    pub(super) fn release_promise(&mut self, term: Term) {
        if self.saved.promised.is_some_and(|promised| promised.term <= term) {
            self.saved.promised = None;
            // What was not sent yet is not owed any more, and would wait for a disk that is never told.
            self.promiser.unsent = None;
        }
    }
}
