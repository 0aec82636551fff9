//! The in-sync set (design, section of that name). At every moment: who counts ⊆ the recorded set ⊆ whose promise the
//! master needs. So growing asks the master first and shrinking asks it too, and only then is the record written.
//!
//! It must not know how an engine counts acknowledgements.

use super::Arbiter;
use super::set::{GuardState, Proposal, SetState};
use super::succession::severed;
use crate::engine::DataState;
use crate::ids::InstanceName;
use crate::message::Honoured;
use crate::record::Record;
use crate::rules::Rule;
use crate::time::Time;
use std::collections::BTreeSet;

impl Arbiter {
    /// One look: write what the master has acknowledged, or propose the next change.
    pub(super) fn maintain_in_sync(&mut self, now: Time, set: &mut SetState) {
        let busy = set.pending.is_some() || set.task.is_some() || !set.confirmed;
        let Some(record) = set.record.clone().filter(|_| !busy) else { return };
        if set.proposal == Some(Proposal::Unpin) {
            return;
        }
        if let Some(proposal) = set.proposal.clone() {
            let acknowledged = set.master_beat().and_then(|beat| beat.honoured.clone());
            if let Some(next) = acknowledged.and_then(|honoured| self.agreed(&record, &proposal, honoured)) {
                self.write_proposed(now, set, &record, &proposal, next);
            } else if !self.is_suspect(now, set) && self.is_withdrawn(now, set, &proposal) {
                self.write_same(now, set, &record, "withdraw what the master does not acknowledge");
            }
            return;
        }
        if self.is_suspect(now, set) {
            if !self.keep(Rule::EvidenceBeforeSever) {
                set.cutting = record.in_sync.iter().filter(|it| !set.is_master(it)).cloned().collect();
            }
            return;
        }
        self.prepare_raise(now, set, &record);
        set.cutting = self.to_cut(now, set, &record);
        let proposal = if let Some(leaver) = self.leaver(now, set, &record) {
            Some(Proposal::Shrink(leaver))
        } else if let Some(newcomer) = self.newcomer(now, set, &record) {
            // Whatever it was before it was taken in does not count against it; else it would leave again at once.
            if let Some(guard) = set.guards.get_mut(&newcomer) {
                guard.unsound_since = None;
            }
            Some(Proposal::Grow(newcomer))
        } else if self.write_lower_quorum(now, set, &record) || self.release(now, set, &record) {
            None
        } else {
            self.raise(now, set, &record)
        };
        if proposal.is_some() {
            set.proposal = proposal;
            set.proposed_at = now;
        }
    }

    /// Whether what the master was asked is not wanted any more, or not acknowledged for so long that others should not wait
    /// for it.
    fn is_withdrawn(&self, now: Time, set: &SetState, proposal: &Proposal) -> bool {
        let changed =
            matches!(proposal, Proposal::Quorum(raised) if *raised != self.settings.ack_quorum_of(&set.name));
        changed || now >= set.proposed_at + self.timing.lease_ttl * 2
    }

    pub(super) fn is_suspect(&self, now: Time, set: &SetState) -> bool {
        set.master().is_none_or(|(_, guard)| {
            guard.heard_at.is_none_or(|heard| now.since(heard) > self.timing.beat_master * 2)
        })
    }

    /// A member that may join, as its last beat shows it. One that would leave again for its silence is not taken in by
    /// what it said before: the record would be written to and fro for as long as the silence lasts.
    pub(super) fn newcomer(&self, now: Time, set: &SetState, record: &Record) -> Option<InstanceName> {
        let patience = self.timing.lease_ttl;
        let heard = |guard: &&GuardState| guard.heard_at.is_some_and(|heard| now.since(heard) < patience);
        let outside = |guard: &&GuardState| {
            let name = &guard.hello.instance;
            !record.in_sync.contains(name) && !set.expels(name)
        };
        let mut joining = set.guards.values().filter(outside).filter(heard);
        joining.find(|guard| joins(guard, record)).map(|guard| guard.hello.instance.clone())
    }

    /// The new in-sync set, where the master's acknowledgement is of this very proposal and version, and to this arbiter.
    fn agreed(
        &self,
        record: &Record,
        proposal: &Proposal,
        honoured: Honoured,
    ) -> Option<BTreeSet<InstanceName>> {
        let mut next = record.in_sync.clone();
        let (dropped, raised) = match proposal {
            Proposal::Grow(member) => {
                next.insert(member.clone());
                (None, None)
            }
            Proposal::Shrink(member) => {
                next.remove(member);
                (Some(member.clone()), None)
            }
            Proposal::Quorum(raised) => (None, Some(*raised)),
            Proposal::Unpin => return None,
        };
        // Our first order may have taken back what an arbiter before us was answered at this very version (P147). Of a guard of an
        // older build, which does not say whom it answers, no order to lead takes back more than a raise.
        let to_us = match honoured.epoch {
            Some(_) => honoured.epoch == self.epoch(),
            None => raised.is_none(),
        };
        let same = (&honoured.members, &honoured.dropped, honoured.ack_quorum) == (&next, &dropped, raised);
        let counts = to_us || !self.keep(Rule::CountOwnAnswers);
        (honoured.stamp.version == record.version && same && counts).then_some(next)
    }

    fn write_proposed(
        &mut self,
        now: Time,
        set: &mut SetState,
        record: &Record,
        proposal: &Proposal,
        next: BTreeSet<InstanceName>,
    ) {
        let mut stragglers = self.still_straggling(set, record, &next);
        let mut ack_quorum = record.ack_quorum;
        let reason = match proposal {
            Proposal::Grow(member) => format!("grow {member}"),
            Proposal::Shrink(member) => {
                // It was cut off.
                stragglers.found(member);
                format!("shrink {member}")
            }
            Proposal::Quorum(raised) => {
                ack_quorum = *raised;
                format!("ack_quorum {raised}")
            }
            Proposal::Unpin => return,
        };
        let changed = Record { in_sync: next, stragglers, ack_quorum, ..record.clone() };
        self.write_change(now, set, changed, reason);
    }

    /// The same record at the next version: what was proposed or severed on this one is over.
    fn write_same(&mut self, now: Time, set: &mut SetState, record: &Record, why: &str) {
        self.write_change(now, set, record.clone(), why.to_owned());
    }

    /// Writes a record of the same term, made from the present one.
    pub(super) fn write_change(&mut self, now: Time, set: &mut SetState, changed: Record, reason: String) {
        let Some(epoch) = self.epoch() else { return };
        let record = Record {
            version: changed.version.next(),
            reason,
            decided_by: self.config.coordinator.clone(),
            epoch,
            at_unix_millis: 0,
            ..changed
        };
        self.write(now, set, record, None);
    }

    /// A member that was cut off by a directive which binds it until a higher version, and is not to be any more: one that was
    /// about to leave and does not, or whoever an arbiter before us severed without replacing the master.
    fn release(&mut self, now: Time, set: &mut SetState, record: &Record) -> bool {
        let bound = |guard: &&GuardState| {
            let name = &guard.hello.instance;
            let expelled = set.expels(name) && !record.in_sync.contains(name);
            let wanted = set.cutting.contains(name) || expelled || set.is_master(name);
            is_cut(Some(guard), record) && !wanted
        };
        let Some(member) = set.guards.values().find(bound).map(|guard| guard.hello.instance.clone()) else {
            return false;
        };
        self.write_same(now, set, record, &format!("release {member}"));
        true
    }

    /// Who is to be cut off now.
    fn to_cut(&self, now: Time, set: &SetState, record: &Record) -> BTreeSet<InstanceName> {
        let outside = |instance: &&InstanceName| !record.in_sync.contains(*instance);
        let outsiders = set.guards.keys().filter(|_| set.raising).filter(outside);
        let leaving =
            self.leaving(now, set, record).filter(|instance| record.ack_quorum > 0 || set.expels(instance));
        // An order to whoever is not heard would arrive when it is again, and is not meant any more.
        let heard = |instance: &&InstanceName| self.hears_from(now, set.guards.get(*instance));
        let expelled = set.guards.keys().filter(|name| set.expels(name)).filter(outside);
        leaving.chain(outsiders).chain(expelled).filter(heard).cloned().collect()
    }

    /// Over its own stream, within the last lease.
    pub(super) fn hears_from(&self, now: Time, guard: Option<&GuardState>) -> bool {
        let heard = guard.filter(|guard| guard.session.is_some()).and_then(|guard| guard.heard_at);
        heard.is_some_and(|heard| now.since(heard) < self.timing.lease_ttl)
    }

    /// A member that has been no sound replica for a lease, or was expelled. Where commits wait for replicas, enough others
    /// must be there to wait for.
    fn leaving<'a>(
        &'a self,
        now: Time,
        set: &'a SetState,
        record: &'a Record,
    ) -> impl Iterator<Item = &'a InstanceName> {
        let patience = self.timing.lease_ttl;
        let unsound = move |instance: &InstanceName| match set.guards.get(instance) {
            None => now >= set.patience + patience,
            Some(guard) => silent_or_unsound_since(set, guard)
                .is_some_and(|since| now.since(since.max(self.paced_from)) >= patience),
        };
        let others = record.in_sync.iter().filter(move |instance| !set.is_master(instance));
        let left = move |instance: &InstanceName| {
            let others = record.in_sync.iter().filter(|other| *other != instance && !set.is_master(other));
            others.filter(|other| is_sound(set, other)).count() >= record.ack_quorum as usize
        };
        let left_of_others = others.filter(move |instance| set.expels(instance) || unsound(instance));
        // Who was one under an earlier master may lead by now.
        let expelled = record
            .stragglers
            .members()
            .filter(move |instance| set.expels(instance) && !set.is_master(instance));
        left_of_others.chain(expelled).filter(move |instance| left(instance))
    }

    /// Who of them can leave: where commits wait for replicas, it must surely be cut off.
    fn leaver(&self, now: Time, set: &SetState, record: &Record) -> Option<InstanceName> {
        let cut = |instance: &&InstanceName| {
            // Whoever is expelled and heard is severed in any case: there may be commits that wait later.
            let waits = record.ack_quorum > 0
                || set.expels(instance) && self.hears_from(now, set.guards.get(*instance));
            !waits || is_cut(set.guards.get(*instance), record)
        };
        self.leaving(now, set, record).find(cut).cloned()
    }

    /// When the next look at the in-sync set is due.
    pub(super) fn in_sync_alarm(&self, set: &SetState) -> Option<Time> {
        let record = set.record.as_ref().filter(|_| set.confirmed)?;
        let patience = self.timing.lease_ttl;
        let others = record.in_sync.iter().filter(|instance| !set.is_master(instance));
        others
            .filter_map(|instance| match set.guards.get(instance) {
                None => Some(set.patience + patience),
                Some(guard) => {
                    silent_or_unsound_since(set, guard).map(|since| since.max(self.paced_from) + patience)
                }
            })
            .min()
    }
}

/// Since when a member was not heard, or was heard to be no sound replica. One that has just attached has said nothing
/// yet: that counts from its attach, not from ever.
fn silent_or_unsound_since(set: &SetState, guard: &GuardState) -> Option<Time> {
    match (guard.heard_at, guard.unsound_since) {
        (Some(heard), Some(unsound)) => Some(heard.min(unsound)),
        (None, None) => Some(set.patience),
        (heard, unsound) => heard.or(unsound),
    }
}

/// Whether a member replicates from nobody, and from nobody before the record has a higher version: older orders to follow
/// that are still on their way are ignored by it.
pub(super) fn is_cut(guard: Option<&GuardState>, record: &Record) -> bool {
    let attached = guard.filter(|guard| guard.session.is_some());
    attached.is_some() && severed(attached, record).is_some()
}

/// Whether a member is heard to replicate from the recorded master.
pub(super) fn is_sound(set: &SetState, instance: &InstanceName) -> bool {
    let guard = set.guards.get(instance).filter(|guard| guard.session.is_some());
    guard.is_some_and(|guard| guard.beat.is_some() && guard.unsound_since.is_none())
}

/// Whether a member has caught up with the master at this term; or, where commits wait for replicas and every connected
/// one counts, is ready to connect.
fn joins(guard: &GuardState, record: &Record) -> bool {
    let Some(beat) = guard.beat.as_ref().filter(|_| guard.session.is_some() && guard.is_up()) else {
        return false;
    };
    let engine = &beat.engine;
    let same = |id: &crate::ids::DataId| Some(id) == record.data_id.as_ref();
    if record.ack_quorum > 0 {
        return match &engine.data {
            DataState::Empty => true,
            DataState::Marked { id, .. } => same(id),
            DataState::Unmarked => engine.follows.is_some() && engine.follows == record.endpoint,
        };
    }
    let current = matches!(&engine.data, DataState::Marked { id, term } if same(id) && *term == record.term);
    current && engine.follows.is_some() && engine.follows == record.endpoint && engine.whole
}
