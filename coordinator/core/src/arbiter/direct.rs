//! What each guard is told, and when: one order for each member, derived from the durable record and nothing else.
//!
//! It must not know why the record says what it says.

use super::Arbiter;
use super::io::{Action, WriteOutcome};
use super::set::{GuardState, Pending, Proposal, SetState};
use super::succession::all_heard;
use crate::decision::{Decision, Evidence, Phase};
use crate::engine::DataState;
use crate::ids::{DataId, InstanceName, OpId};
use crate::message::{Directive, Order, Stand, ToGuard};
use crate::record::Record;
use crate::rules::Rule;
use crate::time::{Span, Time};
use std::sync::Arc;

impl Arbiter {
    /// Sends every attached guard its order, where it is another than the last that went out.
    pub(super) fn direct(&mut self, now: Time, set: &mut SetState) {
        if !self.is_active(now) {
            return;
        }
        let Some(epoch) = self.epoch() else { return };
        let Some(record) = self.basis(set).filter(|_| !set.held) else { return };
        // An order of a drill counts for three beats of its master: long enough to arrive, too short to surprise anybody.
        let within = self.timing.beat_master * 3;
        // Where a commit waits for replicas, every connected one counts: it must be in the record before it connects.
        let counts = record.ack_quorum > 0 && self.keep(Rule::RecordBeforeCount);
        let news = set.guards.iter().filter_map(|(instance, guard)| {
            let order = order_for(set, &record, instance, within, counts)?;
            let session = guard.session?;
            let sent = guard.sent.as_ref().is_some_and(|(version, last)| {
                *version == record.version && same_but_for_reach(last, &order)
            });
            (!sent).then(|| (instance.clone(), session, guard.hello.incarnation, order))
        });
        let (version, term, news) = (record.version, record.term, news.collect::<Vec<_>>());
        for (instance, session, incarnation, order) in news {
            if let Some(guard) = set.guards.get_mut(&instance) {
                guard.sent = Some((version, order.clone()));
            }
            let directive = Directive { incarnation, epoch, version, term, order };
            self.push(Action::Send { session, instance, message: ToGuard::Directive(directive) });
        }
    }

    /// Writes a change; nothing of it is acted on before it is durable.
    pub(super) fn write(
        &mut self,
        now: Time,
        set: &mut SetState,
        record: Record,
        decision: Option<Box<Decision>>,
    ) {
        let expected = set.record.as_ref().map(|record| record.version);
        let follows = record.check_follows(set.record.as_deref());
        if self.keep(Rule::ChooseInSync) && self.keep(Rule::NarrowInSync) {
            assert_eq!(follows, Ok(()), "the arbiter writes only steps of the protocol");
        }
        let op = self.send_write(set, expected, &record, decision.as_deref());
        if !self.keep(Rule::RecordBeforeDirect) {
            set.outer_bound = now;
            set.take_record(record.clone());
        }
        set.pending = Some(Pending { op, expected, record, decision, since: now, retry_at: None });
    }

    fn send_write(
        &mut self,
        set: &SetState,
        expected: Option<crate::ids::Version>,
        record: &Record,
        decision: Option<&Decision>,
    ) -> OpId {
        let op = self.next_op();
        self.writes.insert(op, set.name.clone());
        let (record, decision) = (Box::new(record.clone()), decision.cloned().map(Box::new));
        self.push(Action::Write { op, expected, record, decision });
        op
    }

    /// Sends a write again whose outcome is unknown: the same change under the same condition. If the first one was
    /// applied, the conflict shows our own record; if not, this one raises the version, and the first can never land.
    pub(super) fn retry_pending(&mut self, now: Time, set: &mut SetState) {
        let Some(mut pending) = set.pending.take() else { return };
        if pending.retry_at.is_some_and(|at| now >= at) {
            pending.retry_at = None;
            pending.op = self.send_write(set, pending.expected, &pending.record, pending.decision.as_deref());
        }
        set.pending = Some(pending);
    }

    pub(super) fn written(&mut self, now: Time, op: OpId, outcome: WriteOutcome) {
        let Some(name) = self.writes.remove(&op) else { return };
        let settle = self.keep(Rule::SettleUnknown);
        let (repeat, burn) = (self.keep(Rule::RepeatUnknown), self.keep(Rule::BurnVersion));
        let Some(set) = self.sets.get_mut(&name) else { return };
        let Some(pending) = set.pending.take_if(|pending| pending.op == op) else { return };
        let ours = |current: &Option<Box<Record>>| {
            current.as_ref().is_some_and(|current| {
                let at_unix_millis = current.at_unix_millis;
                **current == Record { at_unix_millis, ..pending.record.clone() }
            })
        };
        match outcome {
            WriteOutcome::Applied => self.applied(now, &name, pending),
            WriteOutcome::Conflict(current) if ours(&current) => self.applied(now, &name, pending),
            WriteOutcome::Conflict(current) => self.adopt(now, &name, current.map(|record| *record)),
            WriteOutcome::StaleEpoch => {
                self.lock_lost();
                return;
            }
            WriteOutcome::Unknown if !settle => self.applied(now, &name, pending),
            WriteOutcome::Unknown if !repeat => set.proposal = None,
            WriteOutcome::Unknown if !burn => {
                // What a read would show that overtakes the write.
                let before = set.record.as_deref().cloned();
                self.adopt(now, &name, before);
            }
            WriteOutcome::NotApplied | WriteOutcome::Unknown => {
                let retry_at = now + self.timing.lease_ttl / 60;
                set.pending = Some(Pending { retry_at: Some(retry_at), ..pending });
            }
        }
        self.answer_removal(&name);
        self.drive(now, &name);
    }

    fn applied(&mut self, now: Time, name: &crate::ids::ReplicaSetName, pending: Pending) {
        let promote_wait = self.timing.promote_wait;
        let (budget, promised) = (self.timing.request_timeout, self.timing.hold);
        let Some(set) = self.sets.get_mut(name) else { return };
        let new_term = set.record.as_ref().is_none_or(|old| old.term < pending.record.term);
        let pinned = pending.record.pinned.map_or(Span::ZERO, |pin| pin.span);
        set.take_record(pending.record);
        if let Some(end) = set.pin_end_written.take() {
            set.pin_end = end;
        }
        if new_term {
            // Nobody was ever granted anything at this term: its bound starts now. One whose record is written back leads
            // already, by promises that nobody here has seen.
            let led = pending.decision.is_none();
            set.outer_bound = if led { set.outer_bound.max(now + promised) } else { now };
            set.leased_until = if led { set.leased_until.max(now + promised) } else { now };
            if led && pinned > Span::ZERO {
                // Its pin was told by nobody here: without its own word it must not be recorded as ended (P172).
                set.pin_bound = set.pin_bound.max(now + pinned);
                set.outer_bound = set.outer_bound.max(set.pin_bound);
            }
            set.patience = now + promote_wait;
            set.appointed_at = now;
        }
        if let Some(mut decision) = pending.decision {
            decision.phases.push(Phase { name: "record", took: now.since(pending.since), budget });
            set.unconfirmed = Some((decision, now));
        }
        set.bury();
    }

    /// Somebody else's record is there, though the epoch is ours (a restored or foreign provider). It is taken as it
    /// is, with the longest right that its master could hold.
    fn adopt(&mut self, now: Time, name: &crate::ids::ReplicaSetName, current: Option<Record>) {
        let bound = now + self.timing.hold;
        let Some(set) = self.sets.get_mut(name) else { return };
        set.forget_decisions();
        set.outer_bound = bound;
        set.leased_until = bound;
        set.patience = bound;
        if let Some(pin) = current.as_ref().and_then(|record| record.pinned) {
            set.take_over_pin(now, bound, pin, 0, true);
        }
        set.record = current.map(Arc::new);
    }
}

/// The reach of a follow order changes with every beat of the master; it goes out with the next repetition.
fn same_but_for_reach(last: &Order, order: &Order) -> bool {
    match (last, order) {
        (
            Order::Follow { master: m1, endpoint: e1, data_id: d1, start: s1, .. },
            Order::Follow { master: m2, endpoint: e2, data_id: d2, start: s2, .. },
        ) => (m1, e1, d1, s1) == (m2, e2, d2, s2),
        _ => last == order,
    }
}

fn order_for(
    set: &SetState,
    record: &Record,
    instance: &InstanceName,
    within: Span,
    counts: bool,
) -> Option<Order> {
    let guard = set.guards.get(instance)?;
    // After a restore the recorded master may be a replica of one that the record does not know: it is severed like the others.
    if set.is_master(instance) && !all_heard(set) {
        let holder = record.incarnation == Some(guard.hello.incarnation);
        let order = match set.evidence {
            None => Some(set.drill_order(within).unwrap_or_else(|| master_order(set, record))),
            // One that was told too late to be granted anything still waits for it: it may be chosen once it has let go.
            Some(_) => (!has_relinquished(guard, record)).then_some(Order::Relinquish),
        };
        // A successor that started before the record was written has not read its term, and speaks for it all the same.
        let successor = record.incarnation.is_some_and(|run| guard.hello.incarnation.is_or_succeeds(&run));
        return order.filter(|order| holder || successor && *order == Order::Relinquish);
    }
    if set.evidence.is_some() {
        let reach = set.succession.as_ref().and_then(|succession| succession.reach);
        let relinquished = matches!(set.evidence, Some((Evidence::Relinquished { .. }, _)));
        let master = record.master.clone();
        return set.succession.as_ref().map(|_| Order::Sever { master, reach, relinquished });
    }
    if record.master.is_none() {
        // Removed: whoever still leads by what it was promised gives way to the tombstone's term.
        let leads = guard
            .beat
            .as_ref()
            .is_some_and(|beat| matches!(beat.stand, Stand::Candidate(_) | Stand::Leading { .. }));
        return leads.then_some(Order::Sever { master: None, reach: None, relinquished: false });
    }
    let outside = !record.in_sync.contains(instance);
    if set.cutting.contains(instance) || outside && (set.raising || set.expels(instance)) {
        return Some(Order::Sever { master: record.master.clone(), reach: None, relinquished: false });
    }
    if !set.confirmed {
        return None;
    }
    let beat = guard.beat.as_ref()?;
    let (master, endpoint) = (record.master.clone()?, record.endpoint.clone()?);
    let data_id = record.data_id.clone()?;
    let related = match &beat.engine.data {
        // A guard that has not seen its engine yet says nothing of its data; empty it is only by an engine's word.
        DataState::Empty => beat.engine.run.is_some(),
        DataState::Marked { id, .. } => *id == data_id,
        DataState::Unmarked => beat.engine.follows.as_ref() == Some(&endpoint),
    };
    if !related || counts && !record.in_sync.contains(instance) {
        return None;
    }
    let reach = set.master_beat().map(|beat| beat.engine.position).filter(|_| !beat.engine.whole);
    Some(Order::Follow { master, endpoint, data_id, start: record.start, reach })
}

fn has_relinquished(guard: &GuardState, record: &Record) -> bool {
    let relinquished = guard.beat.as_ref().and_then(|beat| beat.relinquished.as_ref());
    relinquished.is_some_and(|relinquished| relinquished.term >= record.term)
}

fn master_order(set: &SetState, record: &Record) -> Order {
    if set.task_of_term().is_some_and(|task| task.aborted.is_none() && !task.waits) {
        return Order::Relinquish;
    }
    match set.proposal.as_ref().filter(|_| set.confirmed) {
        Some(Proposal::Grow(member)) => {
            Order::Grow { member: member.clone(), in_sync: record.in_sync.clone() }
        }
        Some(Proposal::Shrink(member)) => Order::Shrink {
            member: member.clone(),
            in_sync: record.in_sync.clone(),
            ack_quorum: record.ack_quorum,
        },
        Some(Proposal::Quorum(raised)) => {
            Order::Quorum { in_sync: record.in_sync.clone(), ack_quorum: *raised }
        }
        Some(Proposal::Unpin) => Order::Unpin,
        None => Order::Lead {
            in_sync: record.in_sync.clone(),
            data_id: record.data_id.clone().unwrap_or_else(|| DataId("unmarked".into())),
            ack_quorum: record.ack_quorum,
        },
    }
}
