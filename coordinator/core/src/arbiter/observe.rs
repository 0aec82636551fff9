//! What guards say: attach, detach, beat; and the grant that answers a master's beat (design, *The lease*).
//!
//! It must not know what is decided from it.

use super::Arbiter;
use super::io::{Action, RelayId, SessionId};
use super::set::{GuardState, SetState};
use crate::ids::{Epoch, InstanceName, ReplicaSetName, Stamp, Term, Version};
use crate::message::{Beat, Directive, Grant, Health, Hello, Order, Stand, ToGuard};
use crate::rules::Rule;
use crate::time::{Span, Time};

/// How many of the master's positions are kept: those of a lease and a half.
const REACHED_MAX: usize = 12;

impl Arbiter {
    pub(super) fn attached(&mut self, now: Time, session: SessionId, guards: Vec<Hello>) {
        for hello in guards {
            let name = hello.replicaset.clone();
            self.attach_one(now, session, hello);
            self.drive(now, &name);
        }
    }

    fn attach_one(&mut self, now: Time, session: SessionId, hello: Hello) {
        let patience = self.timing.lease_ttl;
        let expelled = self.is_expelled(&hello.instance);
        if expelled && self.has_left(&hello) {
            self.turned_away(session, &hello);
            return;
        }
        if let Some(home) = self.homes.get(&hello.instance)
            && *home != hello.replicaset
        {
            self.refuse_name(session, &hello);
            return;
        }
        let set = self.set_mut(&hello.replicaset);
        if let Some(known) = set.guards.get(&hello.instance) {
            let successor = hello.incarnation.is_or_succeeds(&known.hello.incarnation);
            // The same home on a later boot is the same host, whose earlier run ended with the boot. It is no witness for
            // that run (evidence 1 asks for the same boot), but it may come back under its name. A power failure closes no
            // stream: one over which nothing came for long enough is as good as closed.
            let quiet = known.heard_at.is_none_or(|heard| now.since(heard) > patience);
            let same_home = hello.incarnation.home == known.hello.incarnation.home;
            let rebooted = same_home && (known.session.is_none() || quiet);
            let silent = known.session.is_none() && quiet;
            if !successor && !rebooted && !silent {
                self.refuse_name(session, &hello);
                return;
            }
            let old = known.clone();
            if old.hello.incarnation != hello.incarnation
                && let Some(old_session) = old.session
            {
                self.stand_down(old_session, &old.hello);
            }
        }
        self.homes.insert(hello.instance.clone(), hello.replicaset.clone());
        if !expelled {
            self.list_member(now, &hello);
        }
        let said = self.said_of(&hello.instance);
        let set = self.set_mut(&hello.replicaset);
        let mut guard = GuardState::new(hello, session);
        guard.unsound_since = Some(now);
        if let Some(known) = set.guards.get(&guard.hello.instance)
            && known.hello.incarnation == guard.hello.incarnation
        {
            // The same run over a new stream: what it said still holds.
            guard.beat.clone_from(&known.beat);
            guard.heard_at = known.heard_at;
            guard.unsound_since = known.unsound_since;
            guard.sound_since = known.sound_since;
        }
        set.said.insert(guard.hello.instance.clone(), said);
        set.guards.insert(guard.hello.instance.clone(), guard);
    }

    /// Two guards use one name, on two hosts: the one that was there first, and is heard, stays.
    fn refuse_name(&mut self, session: SessionId, hello: &Hello) {
        self.stand_down(session, hello);
        self.push(Action::NameUsedTwice { instance: hello.instance.clone() });
    }

    pub(super) fn stand_down(&mut self, session: SessionId, hello: &Hello) {
        let Some(epoch) = self.epoch() else { return };
        let directive = Directive {
            incarnation: hello.incarnation,
            epoch,
            version: Version(0),
            term: Term(0),
            order: Order::StandDown,
        };
        let message = ToGuard::Directive(directive);
        self.push(Action::Send { session, instance: hello.instance.clone(), message });
    }

    pub(super) fn detached(&mut self, now: Time, session: SessionId) {
        let mut touched = Vec::new();
        for set in self.sets.values_mut() {
            for guard in set.guards.values_mut().filter(|guard| guard.session == Some(session)) {
                guard.session = None;
                guard.sent = None;
                touched.push(set.name.clone());
            }
            // Whoever was expelled and goes is no member that anybody waits for.
            let record = set.record.as_ref();
            let (said, master) = (&set.said, record.and_then(|record| record.master.as_ref()));
            set.guards.retain(|name, guard| {
                let expelled = said.get(name).is_some_and(|said| said.expelled);
                guard.session.is_some() || !expelled || master == Some(name)
            });
        }
        for name in touched {
            self.drive(now, &name);
        }
        self.count_later(now);
    }

    pub(super) fn beat(&mut self, now: Time, session: SessionId, mut beat: Beat) {
        self.forget_other_generations(&mut beat);
        let (pace, epoch) = (self.timing.beat_master, self.epoch());
        let Some(name) = self.homes.get(&beat.instance).cloned() else { return };
        let Some(set) = self.sets.get_mut(&name) else { return };
        let Some(guard) = set.guards.get_mut(&beat.instance) else { return };
        if guard.session != Some(session) || guard.hello.incarnation != beat.incarnation {
            return;
        }
        // It came through another member before, and a later one with it: what was given up since would be taken for held again.
        if guard.beat.as_ref().is_some_and(|known| known.sent_at > beat.sent_at) {
            return;
        }
        let instance = beat.instance.clone();
        guard.heard_at = Some(now);
        let pinned = beat.pinned;
        guard.beat = Some(beat);
        guard.relayed_by = None;
        set.note_pinned(now, &instance, pinned);
        if let Some(grant) = self.grant(now, &name, &instance) {
            let message = ToGuard::Grant(grant);
            self.push(Action::Send { session, instance: instance.clone(), message });
        }
        if let Some(set) = self.sets.get_mut(&name) {
            set.judge_soundness(now, &instance);
            set.note_reached(now, &instance, pace);
            set.resend(&instance, epoch);
        }
        self.drive(now, &name);
        self.greet(session, &name, &instance);
    }

    /// An answer to what was asked before a restore of the provider says nothing of a record that has its version by
    /// chance. Guards of older builds do not say the generation.
    fn forget_other_generations(&self, beat: &mut Beat) {
        let own = self.epoch().map_or(0, |epoch| epoch.generation);
        let other = |stamp: Stamp| stamp.generation != own && stamp.generation != 0;
        beat.severed.take_if(|severed| other(severed.stamp));
        beat.honoured.take_if(|honoured| other(honoured.stamp));
    }

    /// Answers a master's beat. The outer bound is noted before the grant leaves, so that no right is ever given that
    /// the arbiter does not wait for.
    fn grant(&mut self, now: Time, name: &ReplicaSetName, instance: &InstanceName) -> Option<Grant> {
        if !self.is_active(now) {
            return None;
        }
        let (leased, lease) = (self.grantable(now), self.timing.lease_ttl);
        let after_evidence = !self.keep(Rule::NoGrantAfterEvidence);
        let (epoch, set) = (self.epoch()?, self.sets.get_mut(name)?);
        if !set.is_master(instance) || set.refused || set.evidence.is_some() && !after_evidence {
            return None;
        }
        let term = set.record.as_ref()?.term;
        let beat = set.master_beat()?;
        if set.held && !matches!(beat.stand, Stand::Leading { .. }) {
            return None;
        }
        match beat.stand {
            Stand::Candidate(asked) | Stand::Leading { term: asked, .. } if asked == term => {}
            Stand::Starting | Stand::Standby | Stand::Candidate(_) | Stand::Leading { .. } => return None,
        }
        if beat.relinquished.as_ref().is_some_and(|relinquished| relinquished.term >= term) {
            return None;
        }
        let pin = set.pin_to_grant(now).filter(|(ttl, _)| *ttl > leased);
        let (ttl, pinned) = pin.map_or((leased, None), |(ttl, version)| (ttl, Some(version)));
        let (beat, incarnation) = (beat.sent_at, beat.incarnation);
        if pinned.is_some() {
            set.pin_bound = set.pin_bound.max(now + ttl);
        }
        set.leased_until = set.leased_until.max(now + leased);
        set.outer_bound = set.outer_bound.max(now + ttl);
        Some(Grant { beat, incarnation, epoch, term, ttl, lease, pinned })
    }

    /// A master's beat that came through another member: only the direct link is broken, and it is granted as ever
    /// (design, *Failsafe*). Whoever relays learns whether we can be counted on.
    pub(super) fn relayed(
        &mut self,
        now: Time,
        relay: RelayId,
        by: InstanceName,
        hello: Hello,
        mut beat: Beat,
    ) {
        self.forget_other_generations(&mut beat);
        let Some(epoch) = self.epoch().filter(|_| self.is_active(now)) else { return };
        let (name, instance) = (hello.replicaset.clone(), hello.instance.clone());
        let mut grant = None;
        if beat.instance == instance && beat.incarnation == hello.incarnation && self.knows_relayed(hello) {
            let guard = self.sets.get_mut(&name).and_then(|set| set.guards.get_mut(&instance));
            let known = |guard: &GuardState| guard.beat.as_ref().map(|known| known.sent_at);
            // The very beat that came directly, too, is granted once more: its first grant may be what was lost.
            if let Some(guard) = guard.filter(|guard| known(guard) <= Some(beat.sent_at)) {
                if known(guard) < Some(beat.sent_at) {
                    guard.relayed_by = Some(by);
                }
                guard.heard_at = Some(now);
                let pinned = beat.pinned;
                guard.beat = Some(beat);
                if let Some(set) = self.sets.get_mut(&name) {
                    set.note_pinned(now, &instance, pinned);
                }
                grant = self.grant(now, &name, &instance);
            }
            self.drive(now, &name);
        }
        // A master that the provider has forgotten cannot be granted anything before its record is written back: until then it
        // needs the members' promises, as if nobody were here.
        let forgotten = self.sets.get(&name).is_some_and(|set| set.held || set.record.is_none());
        let well = self.grantable(now) >= self.timing.lease_ttl && !forgotten;
        self.push(Action::AnswerRelay { relay, epoch, well, grant });
    }

    /// Whether the run that beats through another is the one that we know, or follows it; then it is known from now on.
    fn knows_relayed(&mut self, hello: Hello) -> bool {
        if self.homes.get(&hello.instance).is_some_and(|home| *home != hello.replicaset) {
            return false;
        }
        let set = self.set_mut(&hello.replicaset);
        match set.guards.get(&hello.instance).map(|known| known.hello.incarnation) {
            Some(known) if known == hello.incarnation => return true,
            Some(known) if !hello.incarnation.is_or_succeeds(&known) => return false,
            _ => {}
        }
        let instance = hello.instance.clone();
        let guard = GuardState { session: None, ..GuardState::new(hello.clone(), SessionId(0)) };
        set.guards.insert(instance.clone(), guard);
        self.homes.insert(instance, hello.replicaset);
        true
    }
}

impl SetState {
    /// Notes since when a member has been no sound replica of the recorded master.
    fn judge_soundness(&mut self, now: Time, instance: &InstanceName) {
        let endpoint = self.record.as_ref().and_then(|record| record.endpoint.clone());
        let master = self.is_master(instance);
        let Some(guard) = self.guards.get_mut(instance) else { return };
        let sound = guard.beat.as_ref().is_some_and(|beat| {
            beat.engine.health == Health::Up
                && (master || endpoint.is_some() && beat.engine.follows == endpoint)
        });
        guard.unsound_since = if sound { None } else { guard.unsound_since.or(Some(now)) };
        guard.sound_since = if sound { guard.sound_since.or(Some(now)) } else { None };
    }

    /// Notes what the master holds, not more often than it beats by itself.
    fn note_reached(&mut self, now: Time, instance: &InstanceName, pace: Span) {
        let Some(beat) = self.master_beat().filter(|_| self.is_master(instance)) else { return };
        let position = beat.engine.position;
        if self.reached.back().is_some_and(|(at, _)| now.since(*at) < pace * 3 / 4) {
            return;
        }
        if self.reached.len() >= REACHED_MAX {
            self.reached.pop_front();
        }
        self.reached.push_back((now, position));
    }

    /// How many bytes a member lacked, when it was last heard, of what the master had said by then. A member's word is up
    /// to `age` older than its beat. `None`: nothing can be said.
    pub(super) fn behind(&self, guard: &GuardState, age: Span) -> Option<u64> {
        let own = guard.beat.as_ref()?.engine.position;
        if self.reached.back().is_some_and(|(_, newest)| own.holds(newest)) {
            return Some(0);
        }
        let then = guard.heard_at?.back(age);
        let (_, known) = self.reached.iter().rev().find(|(at, _)| *at <= then)?;
        if own.holds(known) {
            return Some(0);
        }
        (own.term() == known.term()).then_some(())?;
        Some(known.offset()?.saturating_sub(own.offset()?))
    }

    /// A beat that does not show what was directed makes the directive go out again.
    fn resend(&mut self, instance: &InstanceName, epoch: Option<Epoch>) {
        let term = self.record.as_ref().map(|record| record.term).unwrap_or_default();
        if let Some(guard) = self.guards.get_mut(instance) {
            let satisfied = match (&guard.beat, &guard.sent) {
                (Some(beat), Some((version, order))) => satisfied(beat, term, *version, epoch, order),
                _ => true,
            };
            if !satisfied {
                guard.sent = None;
            }
        }
    }
}

/// Whether a beat shows that an order was carried out.
fn satisfied(beat: &Beat, term: Term, version: Version, epoch: Option<Epoch>, order: &Order) -> bool {
    match order {
        Order::Lead { .. } => matches!(beat.stand, Stand::Candidate(_) | Stand::Leading { .. }),
        Order::Follow { endpoint, .. } => beat.engine.follows.as_ref() == Some(endpoint) && beat.engine.whole,
        Order::Sever { .. } => beat.severed.as_ref().is_some_and(|severed| severed.stamp.version == version),
        Order::Relinquish | Order::EndEngine { .. } => {
            beat.relinquished.as_ref().is_some_and(|relinquished| relinquished.term >= term)
        }
        Order::Grow { .. } | Order::Shrink { .. } | Order::Quorum { .. } => {
            let to_us = |answered: Option<Epoch>| answered.is_none() || answered == epoch;
            let honoured = beat.honoured.as_ref();
            honoured.is_some_and(|honoured| honoured.stamp.version == version && to_us(honoured.epoch))
        }
        // Whether it was said to this arbiter is judged where it counts; until then it goes out with every beat.
        Order::Unpin | Order::StandDown => false,
    }
}
