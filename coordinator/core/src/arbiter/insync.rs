//! The in-sync set (design, section of that name). At every moment: who counts ⊆ the recorded set ⊆ whose promise the
//! master needs. So growing asks the master first and shrinking asks it too, and only then is the record written.
//!
//! It must not know how an engine counts acknowledgements.

use super::Arbiter;
use super::set::{GuardState, Proposal, SetState};
use crate::engine::DataState;
use crate::ids::InstanceName;
use crate::message::{Health, Honoured};
use crate::record::Record;
use crate::time::Time;

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
            if let Some(next) = acknowledged.and_then(|honoured| agreed(&record, &proposal, honoured)) {
                self.write_in_sync(now, set, &record, &proposal, next);
            }
            return;
        }
        let suspect = set.master().is_none_or(|(_, guard)| {
            guard.heard_at.is_none_or(|heard| now.since(heard) > self.timing.beat_master * 2)
        });
        if suspect {
            return;
        }
        if let Some(leaver) = self.leaver(now, set, &record) {
            set.proposal = Some(Proposal::Shrink(leaver));
        } else if let Some(newcomer) = self.newcomer(now, set, &record) {
            // Whatever it was before it was taken in does not count against it; else it would leave again at once.
            if let Some(guard) = set.guards.get_mut(&newcomer) {
                guard.unsound_since = None;
            }
            set.proposal = Some(Proposal::Grow(newcomer));
        }
    }

    /// A member that may join, as its last beat shows it. One that would leave again for its silence is not taken in by
    /// what it said before: the record would be written to and fro for as long as the silence lasts.
    fn newcomer(&self, now: Time, set: &SetState, record: &Record) -> Option<InstanceName> {
        let patience = self.timing.lease_ttl;
        let heard = |guard: &&GuardState| guard.heard_at.is_some_and(|heard| now.since(heard) < patience);
        let outside = |guard: &&GuardState| !record.in_sync.contains(&guard.hello.instance);
        let mut joining = set.guards.values().filter(outside).filter(heard);
        joining.find(|guard| joins(guard, record)).map(|guard| guard.hello.instance.clone())
    }

    fn write_in_sync(
        &mut self,
        now: Time,
        set: &mut SetState,
        record: &Record,
        proposal: &Proposal,
        next: std::collections::BTreeSet<InstanceName>,
    ) {
        let Some(epoch) = self.epoch() else { return };
        let reason = match proposal {
            Proposal::Grow(member) => format!("grow {member}"),
            Proposal::Shrink(member) => format!("shrink {member}"),
            Proposal::Unpin => return,
        };
        // Whoever is in the set is counted there.
        let mut stragglers = record.stragglers.clone();
        stragglers.retain(|instance, _| !next.contains(instance));
        let record = Record {
            version: record.version.next(),
            in_sync: next,
            stragglers,
            ack_quorum: record.ack_quorum,
            reason,
            decided_by: self.config.coordinator.clone(),
            epoch,
            at_unix_millis: 0,
            ..record.clone()
        };
        self.write(now, set, record, None);
    }

    /// A member that has been no sound replica for a lease. Where commits wait for replicas, it must surely be cut off
    /// as well: its engine is down or severed by its own guard.
    fn leaver(&self, now: Time, set: &SetState, record: &Record) -> Option<InstanceName> {
        let patience = self.timing.lease_ttl;
        let unsound = |instance: &&InstanceName| match set.guards.get(*instance) {
            None => now >= set.patience + patience,
            Some(guard) => silent_or_unsound_since(set, guard)
                .is_some_and(|since| now.since(since.max(self.paced_from)) >= patience),
        };
        let cut = |instance: &&InstanceName| record.ack_quorum == 0 || surely_cut(set.guards.get(*instance));
        let others = record.in_sync.iter().filter(|instance| !set.is_master(instance));
        others.filter(unsound).find(cut).cloned()
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

pub(super) fn surely_cut(guard: Option<&GuardState>) -> bool {
    guard.filter(|guard| guard.session.is_some()).and_then(|guard| guard.beat.as_ref()).is_some_and(|beat| {
        beat.engine.health == Health::Down && beat.engine.run.is_none() || beat.severed.is_some()
    })
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

/// The new in-sync set, where the master's acknowledgement is of this very proposal and version.
fn agreed(
    record: &Record,
    proposal: &Proposal,
    honoured: Honoured,
) -> Option<std::collections::BTreeSet<InstanceName>> {
    let mut next = record.in_sync.clone();
    let dropped = match proposal {
        Proposal::Grow(member) => {
            next.insert(member.clone());
            None
        }
        Proposal::Shrink(member) => {
            next.remove(member);
            Some(member.clone())
        }
        Proposal::Unpin => return None,
    };
    (honoured.stamp.version == record.version && honoured.members == next && honoured.dropped == dropped)
        .then_some(next)
}
