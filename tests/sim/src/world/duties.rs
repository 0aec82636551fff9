//! What single machines owe, looked at when they act: promises, severances, bounds, versions, who counts.
//!
//! It must not know what a property makes of it.

use super::{Node, World};
use baton_core::arbiter::MasterState;
use baton_core::decision::{Decision, Evidence};
use baton_core::engine::{DataState, EngineCommand};
use baton_core::guard::{Action, Guard, HandOver, Input, Note};
use baton_core::ids::{InstanceName, Stamp, Term};
use baton_core::message::{Directive, Grant, Order, PeerAnswer, Promise, ToGuard};
use baton_core::record::Record;
use baton_core::time::{Span, Time};
use baton_oracle::{
    Moment, Violation, appointments, bounds, counted, evidence, promises, reports, rights, severances,
    versions,
};

impl World {
    /// A guard is about to do something.
    pub(super) fn watch_action(&mut self, instance: &InstanceName, action: &Action) {
        match action {
            Action::Note(Note::Severed { .. }) => self.watch_severed(instance),
            Action::Note(Note::Relinquished { term, position }) => {
                if let Some(node) = self.nodes.get_mut(instance) {
                    node.remembered.relinquished = Some((*term, *position));
                }
                let waits = |command: &EngineCommand| matches!(command, EngineCommand::Promote { term: promoted, .. } if promoted == term);
                let node = self.nodes.get(instance).filter(|node| node.engine.running);
                let waits = node.is_some_and(|node| node.unheard.iter().any(waits));
                self.owe(rights::check_relinquished(instance, *term, waits));
            }
            Action::Engine { command: EngineCommand::Follow { .. }, .. } => {
                let Some(node) = self.nodes.get(instance) else { return };
                // What was written on another boot is of no engine that runs.
                let whole = node.disk.whole.as_ref().filter(|whole| node.same_boot || whole.is_durable());
                self.owe(severances::check_followed(instance, &node.engine.name_of_run().lineage(), whole));
            }
            Action::Answer { to, answer } => {
                if let PeerAnswer::Promise(promise) = answer.as_ref() {
                    self.watch_promise(instance, to, promise);
                }
            }
            _ => {}
        }
    }

    /// A promise leaves. With a slow disk the step that answers with one may make the next, and the same ask may come twice: asked is
    /// what the disk holds against the right that this very promise gives.
    fn watch_promise(&mut self, instance: &InstanceName, to: &InstanceName, promise: &Promise) {
        let (Some(node), Some(asker)) = (self.nodes.get(instance), self.nodes.get(to)) else { return };
        let Some(guard) = asker.guard.as_ref().filter(|_| asker.incarnation() == promise.incarnation) else {
            return;
        };
        let given = (promise.asked_at + promise.ttl).back(guard.timing().margin_of(promise.ttl));
        if given <= asker.clock.read(self.now) {
            return;
        }
        let right = asker.clock.when(self.now, given).map(Moment);
        let held = node.disk.promised.and_then(|promised| node.clock.when(self.now, promised.until));
        if let Some(right) = right {
            self.owe(promises::check_durable(instance, right, held.map(Moment)));
        }
    }

    /// A step of a guard is over, before which it was severed.
    pub(super) fn watch_lifted(&mut self, instance: &InstanceName, severed: Stamp) {
        let Some(guard) = self.nodes.get(instance).and_then(|node| node.guard.as_ref()) else { return };
        if guard.severed_by() < Some(severed) {
            self.owe(severances::check_lifted(instance, severed, guard.directed_by()));
        }
    }

    /// Against whom an arbiter has accepted evidence, at which term.
    pub(super) fn accused(&self, arbiter: &str) -> Option<(InstanceName, Term)> {
        let machine = self.arbiters.get(arbiter)?.machine.as_ref()?;
        let (record, state) = machine.master_of(&self.replicaset)?;
        let settled = machine.epoch().is_some_and(|epoch| epoch.generation == record.epoch.generation);
        let accused = settled && state == MasterState::None;
        record.master.clone().filter(|_| accused).map(|master| (master, record.term))
    }

    /// An arbiter speaks: whoever it severs at this version while there is evidence may be severed late, under a successor that knows
    /// of none and lets the same master lead.
    pub(super) fn watch_sever(&mut self, arbiter: &str, directive: &Directive) {
        let severs = matches!(directive.order, Order::Sever { .. });
        if severs && self.accused(arbiter).is_some_and(|(_, term)| term == directive.term) {
            self.severed_by_right = self.severed_by_right.max(Some(directive.stamp()));
        }
    }

    /// An arbiter speaks, that had accepted evidence against `accused` before.
    pub(super) fn watch_grant(
        &mut self,
        accused: Option<&(InstanceName, Term)>,
        to: &InstanceName,
        grant: &Grant,
    ) {
        let over = accused.is_some_and(|(master, term)| master == to && grant.term <= *term);
        self.owe(evidence::check_granted(to, grant.term, over));
    }

    /// An arbiter asks for a new term.
    pub(super) fn watch_appointment(
        &mut self,
        arbiter: &str,
        before: &Record,
        after: &Record,
        why: Option<Evidence>,
    ) {
        self.watch_unpinned(arbiter, before, after);
        if after.term <= before.term {
            return;
        }
        let bound = self.arbiters.get(arbiter).map(|node| (node.clock.read(self.now), node.bound));
        if let Some((now, bound)) = bound {
            self.owe(bounds::check_patient(arbiter, now, bound));
        }
        let all_heard = matches!(why, Some(Evidence::AllHeard | Evidence::Vouched));
        if why.is_some() {
            self.owe(appointments::check_restored(before, after, all_heard));
        }
        // A fenced master that told its final position is a quorum by itself.
        let by_reports = match why {
            Some(Evidence::Relinquished { ended, .. }) => ended,
            Some(Evidence::AllHeard) | None => false,
            Some(_) => true,
        };
        // Whether it was told in time, or after it was replaceable for its silence.
        let old = before.master.as_ref().and_then(|master| self.nodes.get(master));
        let told = old.and_then(|node| node.remembered.relinquished);
        let by_final = told.is_some_and(|(term, held)| term == before.term && after.start.holds(&held));
        // Sent again it is the same choice, whoever took a severed member's name meanwhile.
        let asked = Some((after.epoch, after.version));
        let again = std::mem::replace(&mut self.asked, asked) == asked;
        if by_reports && !by_final && !after.forced && !again {
            let stamp = Stamp { generation: after.epoch.generation, version: before.version };
            // Whatever became of the host since: what was reported still stands.
            let bound = |node: &&Node| node.remembered.severed.is_some_and(|severed| severed >= stamp);
            let severed = self.nodes.values().filter(bound).map(|node| node.name.clone()).collect();
            self.owe(reports::check_severed(before, &severed));
        }
    }

    /// An arbiter asks for a first appointment.
    pub(super) fn watch_first(&mut self, arbiter: &str, before: Option<&Record>, after: &Record) {
        let Some(node) = self.arbiters.get(arbiter) else { return };
        let now = node.clock.read(self.now);
        let Some(view) = node.machine.as_ref().and_then(|it| it.set_view(now, &self.replicaset)) else {
            return;
        };
        let beats = view.members.iter().filter_map(|member| member.beat.as_ref());
        let marked = beats.clone().any(|beat| matches!(beat.engine.data, DataState::Marked { .. }));
        let known = beats.map(|beat| beat.highest_term).max().filter(|_| marked);
        self.owe(appointments::check_first(before, after, known));
    }

    /// What it has promised is longer than `before`: while it had a stream, nobody answered it for a beat. (It leaves once it is
    /// on disk.)
    pub(super) fn watch_silence(&mut self, instance: &InstanceName, before: Option<Time>) {
        let Some(node) = self.nodes.get(instance) else { return };
        let Some(guard) = &node.guard else { return };
        let local = node.clock.read(self.now);
        let Some(until) = promised_until(guard).filter(|until| Some(*until) > before) else { return };
        let timing = guard.timing();
        let patience = timing.within(timing.beat_master, until.since(local));
        let silent = node.remembered.silent_since.map_or(Span::ZERO, |since| local.since(since));
        self.owe(promises::check_silence(instance, silent, patience));
    }

    /// Since when a member has heard nothing of an arbiter: from its start, from the loss of its stream, or from a question that
    /// it passed on and nobody answered.
    pub(super) fn note_contact(&mut self, instance: &InstanceName, input: &Input) {
        // Where the provider has lost its state, an arbiter of before may have the present epoch by chance.
        let (current, now) = (Some(self.provider.epoch()).filter(|_| !self.provider.is_lost()), self.now);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let at = node.clock.read(now);
        node.remembered.promised = node.guard.as_ref().and_then(promised_until);
        let since = &mut node.remembered.silent_since;
        match input {
            Input::Attached => *since = None,
            Input::RelayAnswered { well: true, epoch, .. } if Some(*epoch) == current => *since = None,
            Input::Detached | Input::Asked { .. } => *since = since.or(Some(at)),
            _ => {}
        }
    }

    fn watch_severed(&mut self, instance: &InstanceName) {
        let Some(record) = self.settled_record().cloned() else { return };
        let expelled = self.expelled.contains(instance);
        let stamp = Some(stamp_of(&record));
        let Some(node) = self.nodes.get_mut(instance) else { return };
        // Whose engine is started anew reports once more what binds it from long ago, when there was evidence.
        let told_before = std::mem::replace(&mut node.remembered.told_severed, node.disk.severed) == stamp;
        let severed = node.disk.severed == stamp && !told_before;
        let master = record.master.as_ref().and_then(|master| self.nodes.get(master));
        let leads = master.is_some_and(|node| {
            // By promises it may go on after its outer bound; whoever promised holds still.
            let granted = node.guard.as_ref().filter(|guard| !guard.rests_on_promises());
            let at = granted.and_then(Guard::writable_at);
            at == Some(record.term) && node.engine.running && node.engine.writable && !node.frozen
        });
        if !expelled && severed && self.severed_by_right != stamp {
            self.owe(severances::check_severed(&record, instance, leads));
        }
    }

    /// The record, where it is not from before a restore.
    fn settled_record(&self) -> Option<&Record> {
        let generation = self.provider.epoch().generation;
        self.provider.record().filter(|record| record.epoch.generation == generation)
    }

    /// Whoever may be appointed after a master is asked for a promise by it.
    pub(super) fn watch_needs(&mut self) {
        let Some(record) = self.settled_record() else { return };
        let Some(master) = record.master.as_ref() else { return };
        let Some(guard) = self.nodes.get(master).and_then(|node| node.guard.as_ref()) else { return };
        if guard.right_until().is_some_and(|(term, _)| term == record.term) {
            self.owe(promises::check_needed(master, &record.in_sync, &guard.needs()));
        }
    }

    /// A right that rests on promises is covered by all members of the recorded in-sync set.
    pub(super) fn watch_promises(&mut self) {
        let Some(record) = self.settled_record() else { return };
        let Some(master) = record.master.as_ref() else { return };
        let Some(node) = self.nodes.get(master) else { return };
        let Some(guard) = node.guard.as_ref().filter(|guard| guard.rests_on_promises()) else { return };
        let Some((term, right)) = guard.right_until().filter(|(term, _)| *term == record.term) else {
            return;
        };
        let Some(until) = node.clock.when(self.now, right) else { return };
        let members = record.in_sync.iter().filter(|member| *member != master);
        let uncovered = members.filter_map(|member| {
            let node = self.nodes.get(member)?;
            let guard = node.guard.as_ref().filter(|guard| guard.floor().is_some())?;
            // Whoever has seen a later term helps nobody any more, and is asked by nobody.
            let holds = node.clock.when(self.now, guard.held_until())?;
            let hears = guard.next_deadline().is_some() && guard.highest_term() <= term;
            hears.then(|| promises::check_covered(master, Moment(until), member, Moment(holds)))
        });
        let found = uncovered.collect::<Result<Vec<()>, _>>().map(|_| ());
        self.owe(found);
    }

    /// Somebody takes the lock: what it is told covers every granted right.
    pub(super) fn watch_bound(&mut self, told: Span) {
        // A set that a restore holds is decided by what its members say, and by no bound: its record may be from before a pin that is
        // just being given up.
        let generation = self.provider.epoch().generation;
        let held = |record: &Record| record.epoch.generation < generation;
        let paused = self.provider.record().is_none_or(|record| record.pinned.is_some() || held(record));
        let told = Moment(self.now + told.0);
        let granted = self.nodes.values().filter_map(|node| {
            let guard = node.guard.as_ref().filter(|guard| !guard.rests_on_promises())?;
            let (_, right) = guard.right_until()?;
            let until = node.clock.when(self.now, right)?;
            // A pin that only its master knows, after a restore, is written back before anything is decided.
            let pinned = guard.pinned_left(node.clock.read(self.now)) > Span::ZERO;
            (!paused && !pinned).then(|| bounds::check_told(told, &node.name, Moment(until)))
        });
        let found = granted.collect::<Result<Vec<()>, _>>().map(|_| ());
        self.owe(found);
    }

    /// When the right of a member at a term ends; `promises`: also one that rests on them.
    fn right_of(&self, member: &InstanceName, term: Term, promises: bool) -> Option<Moment> {
        let node = self.nodes.get(member)?;
        let guard = node.guard.as_ref().filter(|guard| promises || !guard.rests_on_promises())?;
        let (_, right) = guard.right_until().filter(|(held, _)| *held == term)?;
        node.clock.when(self.now, right).map(Moment)
    }

    /// A record becomes durable after this one: whoever is replaced by it has no right any more.
    pub(super) fn watch_replaced(&mut self, before: &Record, after: &Record) {
        if before.epoch.generation < after.epoch.generation {
            return;
        }
        if after.term == before.term {
            return self.watch_raised(before, after);
        }
        // By promises it may go on: whoever is recorded after it has promised, or waits for its host.
        let outside = after.master.as_ref().is_some_and(|master| !before.in_sync.contains(master));
        let holder = before.master.clone().filter(|_| after.master.is_some());
        if let Some((master, until)) =
            holder.and_then(|master| Some((master.clone(), self.right_of(&master, before.term, outside)?)))
        {
            self.owe(bounds::check_replaced(Moment(self.now), &master, until));
        }
        if before.master.is_none() {
            // Under the name of a set that was removed: nobody leads by what it was before.
            let left = self.nodes.keys().find_map(|member| {
                let (term, _) = self.nodes.get(member)?.guard.as_ref()?.right_until()?;
                Some((member.clone(), self.right_of(member, term, true)?))
            });
            if let Some((member, until)) = left {
                self.owe(bounds::check_replaced(Moment(self.now), &member, until));
            }
        }
    }

    fn watch_raised(&mut self, before: &Record, after: &Record) {
        let Some(master) = after.master.as_ref().and_then(|master| self.nodes.get(master)) else { return };
        let serves = master.engine.running && master.engine.promoted == Some(after.term);
        if after.ack_quorum <= before.ack_quorum || !serves {
            return;
        }
        let waits_for = u32::try_from(master.engine.ack_quorum).unwrap_or(u32::MAX);
        let attached: Vec<InstanceName> = master.engine.attached.keys().cloned().collect();
        self.owe(counted::check_raised(after, waits_for));
        for replica in attached {
            self.owe(counted::check_counted(after, &replica));
        }
    }

    /// A decision rests on evidence 2: the right that it is about is over. (Whoever has lost its lock and does not know it yet
    /// decides nothing; nor does whoever has one of what the provider lost.)
    pub(super) fn watch_evidence(&mut self, decision: &Decision) {
        let (Some(Evidence::OuterBound { .. }), Some(master)) = (&decision.evidence, &decision.old_master)
        else {
            return;
        };
        let known = decision.epoch == self.provider.epoch() && !self.provider.is_lost();
        if !known || decision.appointed.is_some() {
            return;
        }
        if let Some(until) = self.right_of(master, decision.term_before, false) {
            self.owe(bounds::check_replaced(Moment(self.now), master, until));
        }
    }

    /// An arbiter asks for the end of a pin: the right that is left ends within its lock. (Whoever has lost its lock and does not know it
    /// yet ends nothing, and its successor may have given the pin anew.)
    fn watch_unpinned(&mut self, arbiter: &str, before: &Record, after: &Record) {
        if after.epoch != self.provider.epoch()
            || before.pinned.is_none()
            || after.pinned.is_some()
            || before.term != after.term
        {
            return;
        }
        let Some(node) = self.arbiters.get(arbiter) else { return };
        let local = node.clock.read(self.now);
        let left = node.machine.as_ref().map_or(Span::ZERO, |machine| machine.lock_left(local));
        let lock = node.clock.when(self.now, local + left).map(Moment);
        let right =
            before.master.as_ref().and_then(|it| Some((it.clone(), self.right_of(it, before.term, false)?)));
        if let (Some(lock), Some((master, right))) = (lock, right) {
            self.owe(bounds::check_unpinned(lock, &master, right));
        }
    }

    /// A guard goes on from a hand-over.
    pub(super) fn watch_taken(&mut self, instance: &InstanceName, handed: &HandOver, taken: u64) {
        self.owe(rights::check_taken(instance, handed.taken, taken));
        let held = self.nodes.get(instance).and_then(|node| node.guard.as_ref()).map(Guard::held_until);
        if let (Some(held), Some(promised)) = (held, handed.saved.promised) {
            self.owe(promises::check_kept(instance, promised.until, Some(held)));
        }
    }

    /// What a single machine owes: looked at where the invariants alone are not asked for.
    fn owe(&mut self, result: Result<(), Violation>) {
        if self.duties {
            self.check(result);
        }
    }

    /// A replica's confirmation lets a write be acknowledged.
    pub(super) fn watch_counted(&mut self, master: &InstanceName, replica: &InstanceName) {
        let Some(record) = self.settled_record().cloned() else { return };
        let promoted = self.nodes.get(master).and_then(|node| node.engine.promoted);
        if record.master.as_ref() == Some(master) && promoted == Some(record.term) {
            self.owe(counted::check_counted(&record, replica));
        }
    }

    /// A directive below the highest that was seen had an effect.
    pub(super) fn watch_version(&mut self, instance: &InstanceName, (message, highest): (Stamp, Stamp)) {
        self.owe(versions::check_heeded(instance, message, highest));
    }
}

/// The version of a directive that must have no effect, and the highest that was seen. (One of an epoch that is not known yet has
/// that effect that it is known.)
pub(super) fn outdated(guard: &Guard, input: &Input) -> Option<(Stamp, Stamp)> {
    let Input::FromArbiter(ToGuard::Directive(directive)) = input else { return None };
    let (stamp, seen) = (directive.stamp(), guard.directed_by());
    let news = directive.epoch > guard.heard_epoch() || directive.order == Order::StandDown;
    (stamp < seen && !news).then_some((stamp, seen))
}

/// Until when it has promised to lead nothing.
fn promised_until(guard: &Guard) -> Option<Time> {
    guard.promised_last().map(|promised| promised.until)
}

fn stamp_of(record: &Record) -> Stamp {
    Stamp { generation: record.epoch.generation, version: record.version }
}
