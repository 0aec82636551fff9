//! What single machines owe, looked at when they act: promises, severances, bounds, versions, who counts.
//!
//! It must not know what a property makes of it.

use super::World;
use baton_core::guard::{Action, Guard, Input, Note};
use baton_core::ids::{InstanceName, Stamp};
use baton_core::message::{Order, ToGuard};
use baton_core::record::Record;
use baton_core::time::{Span, Time};
use baton_oracle::{Moment, Violation, bounds, counted, promises, severances, versions};

impl World {
    /// A guard is about to do something.
    pub(super) fn watch_action(&mut self, instance: &InstanceName, action: &Action) {
        if matches!(action, Action::Note(Note::Severed { .. })) {
            self.watch_severed(instance);
        }
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
        let (current, now) = (self.provider.epoch(), self.now);
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let at = node.clock.read(now);
        let since = &mut node.remembered.silent_since;
        match input {
            Input::Attached => *since = None,
            Input::RelayAnswered { well: true, epoch, .. } if *epoch == current => *since = None,
            Input::Detached | Input::Asked { .. } => *since = since.or(Some(at)),
            _ => {}
        }
    }

    fn watch_severed(&mut self, instance: &InstanceName) {
        let Some(record) = self.settled_record().cloned() else { return };
        let expelled = self.expelled.contains(instance);
        let severed = self.nodes.get(instance).map(|node| node.disk.severed == Some(stamp_of(&record)));
        let master = record.master.as_ref().and_then(|master| self.nodes.get(master));
        let leads = master.is_some_and(|node| {
            // By promises it may go on after its outer bound; whoever promised holds still.
            let granted = node.guard.as_ref().filter(|guard| !guard.rests_on_promises());
            let at = granted.and_then(Guard::writable_at);
            at == Some(record.term) && node.engine.running && node.engine.writable && !node.frozen
        });
        if !expelled && severed == Some(true) {
            self.owe(severances::check_severed(&record, instance, leads));
        }
    }

    /// The record, where it is not from before a restore.
    fn settled_record(&self) -> Option<&Record> {
        let generation = self.provider.epoch().generation;
        self.provider.record().filter(|record| record.epoch.generation == generation)
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
        let paused = self.provider.record().is_none_or(|record| record.pinned.is_some());
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

    /// A record becomes durable after this one: whoever is replaced by it has no right any more.
    pub(super) fn watch_replaced(&mut self, before: &Record, after: &Record) {
        let settled = before.epoch.generation == after.epoch.generation;
        let Some(master) = before.master.as_ref().filter(|_| settled && after.term > before.term) else {
            return;
        };
        let Some(node) = self.nodes.get(master) else { return };
        // By promises it may go on: whoever is recorded after it has promised, or waits for its host.
        let granted = node.guard.as_ref().filter(|guard| !guard.rests_on_promises());
        let held = granted.and_then(Guard::right_until).filter(|(term, _)| *term == before.term);
        if let Some(until) = held.and_then(|(_, right)| node.clock.when(self.now, right)) {
            self.owe(bounds::check_replaced(Moment(self.now), master, Moment(until)));
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
pub(super) fn promised_until(guard: &Guard) -> Option<Time> {
    guard.promised_last().map(|promised| promised.until)
}

fn stamp_of(record: &Record) -> Stamp {
    Stamp { generation: record.epoch.generation, version: record.version }
}
