//! A set whose record is older than the epoch's generation: the provider was put back to an earlier state, or moved, and
//! what was appointed since may be missing from it (design, *Data-set identity*).
//!
//! Such a set is held: nobody is appointed on the word of an old record. A master of a later term may go on, unheard, by
//! promises of members that the old record does not name, or be a member itself that the old state does not list. The
//! hold ends when the master of the highest known term is heard, and its record written back, or when every member is
//! heard and leads nothing, the master of that term among them; or when a person vouches that whoever is not heard is off.
//!
//! It must not know how a restore is made.

use super::Arbiter;
use super::io::{Action, SessionId, TaskState};
use super::set::{GuardState, SetState};
use super::succession::all_heard;
use crate::decision::{Class, Evidence};
use crate::engine::DataState;
use crate::ids::{InstanceName, ReplicaSetName, Term, Version};
use crate::message::{Beat, Greeting, Stand, ToGuard};
use crate::position::Position;
use crate::record::{Pin, Record};
use crate::rules::Rule;
use crate::stragglers::Stragglers;
use crate::time::{Span, Time};
use std::collections::BTreeSet;

impl Arbiter {
    /// Whether the recorded state may be an earlier one than what was appointed.
    pub(super) fn is_held(&self, set: &SetState) -> bool {
        let Some(epoch) = self.epoch() else { return false };
        let older = |record: &Record| record.epoch.generation < epoch.generation && record.master.is_some();
        self.keep(Rule::HoldRestored) && set.evidence.is_none() && set.record.as_deref().is_some_and(older)
    }

    /// One look at a held set.
    pub(super) fn settle_restored(&mut self, now: Time, set: &mut SetState) {
        self.end_planned(set);
        if !self.may_appoint(now) {
            return;
        }
        if let Some(record) = self.leader(now, set).and_then(|guard| self.written_back(set, guard)) {
            self.write(now, set, record, None);
        } else if nobody_leads(set) && is_accounted_for(set) {
            self.decide_restored(now, set, Evidence::AllHeard, Class::Restored);
        } else if vouched_for(set) && nobody_attached_leads(set) {
            self.decide_restored(now, set, Evidence::Vouched, Class::Forced);
        } else {
            self.give_up_forced(now, set, "a member that is attached leads, or is starting");
        }
    }

    /// What was planned for a held set and is taken up: the earlier arbiter had refused it, or had not begun it. Nothing of it is done
    /// while the set is held, its end neither, and a person's word for those that are off would be refused for it.
    fn end_planned(&mut self, set: &mut SetState) {
        let planned = set.task.take_if(|task| task.class != Class::Forced).map(|task| task.id);
        let drill = set.drill.take().map(|drill| drill.id);
        for task in planned.into_iter().chain(drill) {
            let record = set.record.as_ref();
            let state = TaskState::Failed {
                why: "the provider was restored, and the set is held until its last master is known"
                    .to_owned(),
                master: record.and_then(|record| record.master.clone()),
                term: record.map_or(Term(0), |record| record.term),
            };
            self.push(Action::Task { task, state });
        }
    }

    pub(super) fn decide_restored(
        &mut self,
        now: Time,
        set: &mut SetState,
        evidence: Evidence,
        class: Class,
    ) {
        set.evidence = Some((evidence, class));
        // From now on reports are waited for.
        (set.proposal, set.succession) = (None, None);
        self.succeed(now, set);
    }

    /// While nobody is appointed yet somebody may come who was vouched for, or was never listed, and leads: the set is held again. So it
    /// is where nobody is left who knows of the life that the provider forgot.
    pub(super) fn doubt_restored(&self, set: &mut SetState) {
        let unknown = !set.has_master() && self.forgotten(set).is_none();
        if all_heard(set) && (unknown || !nobody_attached_leads(set)) {
            (set.evidence, set.succession) = (None, None);
        }
    }

    /// A set without a record whose master leads on: it was made after the state that the provider went back to.
    pub(super) fn write_back_unknown(&mut self, now: Time, set: &mut SetState) -> bool {
        let record = self.leader(now, set).and_then(|guard| self.written_back(set, guard));
        let found = record.is_some();
        if let Some(record) = record {
            self.write(now, set, record, None);
        }
        found
    }

    /// Why a set without a record may have a master all the same, which was appointed after the state that the provider
    /// went back to. Where the provider was not restored, it has lost what it held, and that may be put back: a term that was given
    /// meanwhile would be given twice. So nothing but a person's word, or a generation that is raised, ends that (P233).
    pub(super) fn forgotten_master(&self, set: &SetState) -> Option<String> {
        let epoch = self.epoch().filter(|_| self.keep(Rule::HoldRestored))?;
        let highest = highest_term(set);
        if epoch.generation <= 1 {
            let lost = set.record.is_none() && highest > Term(0);
            return lost.then(|| {
                format!(
                    "the provider has lost the set's record: members know of term {highest}; put back what it held, or raise \
                     its generation"
                )
            });
        }
        let settled = highest == Term(0) || nobody_leads(set) && is_accounted_for(set);
        (!settled).then(|| {
            format!("the provider was restored; the master of term {highest}, or a member that knows of it, is not heard")
        })
    }

    /// The guard that leads at the highest term that any member has seen. What it said long ago does not count: alone in
    /// the in-sync set, a master that is gone by now could be replaced by nobody. Nor does what it said before it was greeted, which may
    /// have been on its way since before the restore: somebody else may lead by now (P224).
    fn leader<'a>(&self, now: Time, set: &'a SetState) -> Option<&'a GuardState> {
        let highest = highest_term(set);
        let patience = self.timing.beat_master * 2;
        let heard = |guard: &&GuardState| guard.heard_at.is_some_and(|heard| now.since(heard) <= patience);
        let since = |guard: &&GuardState| self.was_greeted(guard);
        set.guards.values().filter(heard).filter(since).find(|guard| {
            let stand = guard.beat.as_ref().map(|beat| beat.stand);
            matches!(stand, Some(Stand::Leading { term, writable: true }) if term >= highest)
        })
    }

    /// Whether its last beat was sent since this epoch began.
    fn was_greeted(&self, guard: &GuardState) -> bool {
        let greeted = guard.beat.as_ref().and_then(|beat| beat.greeted);
        greeted.is_some() && greeted == self.epoch()
    }

    /// What is said to a guard whose word a held set waits for, until a beat answers it.
    pub(super) fn greet(&mut self, session: SessionId, name: &ReplicaSetName, instance: &InstanceName) {
        let Some(epoch) = self.epoch().filter(|epoch| epoch.generation > 1) else { return };
        let Some(set) = self.sets.get(name).filter(|set| set.held || !set.has_master()) else { return };
        let Some(guard) = set.guards.get(instance).filter(|guard| !self.was_greeted(guard)) else { return };
        let greeting = Greeting { incarnation: guard.hello.incarnation, epoch };
        let message = ToGuard::Greeting(greeting);
        self.push(Action::Send { session, instance: instance.clone(), message });
    }

    /// What the master of the highest known term makes of the record. Alone in the in-sync set: by the time that this is
    /// recorded it may need fewer promises than it said, and nobody may be appointed whose promise it does not need. The
    /// others join again as ever, with its acknowledgement.
    fn written_back(&self, set: &SetState, guard: &GuardState) -> Option<Record> {
        let epoch = self.epoch()?;
        let beat = guard.beat.as_ref()?;
        let Stand::Leading { term, .. } = beat.stand else { return None };
        let before = set.record.as_deref();
        let data_id = match &beat.engine.data {
            DataState::Marked { id, .. } => Some(id.clone()),
            DataState::Empty | DataState::Unmarked => before.and_then(|before| before.data_id.clone()),
        };
        // What it waited for in truth: the older record, and the settings, may say more.
        let known = before.map_or_else(|| self.settings.ack_quorum_of(&set.name), |before| before.ack_quorum);
        let ack_quorum = beat.ack_quorum.unwrap_or(known);
        let mut stragglers = before.map(|before| before.stragglers.clone()).unwrap_or_default();
        if ack_quorum > 0 {
            // Anybody may replicate from it, or from whoever led before: who was a straggler in the record that is lost is told
            // by no other trace.
            let recorded = before.iter().flat_map(|before| &before.in_sync);
            let known = set.members.keys().chain(set.guards.keys()).chain(recorded).chain(&beat.needs);
            let earlier = stragglers;
            stragglers = Stragglers::all_of(known.chain(earlier.members()), &beat.instance);
        }
        stragglers.found(&beat.instance);
        let same_term = before.filter(|before| before.term == term);
        Some(Record {
            replicaset: set.name.clone(),
            term,
            version: before.map_or(Version(1), |before| before.version.next()),
            master: Some(guard.hello.instance.clone()),
            endpoint: Some(guard.hello.endpoint.clone()),
            incarnation: Some(beat.incarnation),
            // Where that term started nobody remembers; any later master must come from its in-sync set anyway.
            start: same_term.map_or(Position::at(0, 0), |before| before.start),
            in_sync: BTreeSet::from([guard.hello.instance.clone()]),
            stragglers,
            failovers: before.map(|before| before.failovers.clone()).unwrap_or_default(),
            over_budget: before.is_some_and(|before| before.over_budget),
            ack_quorum,
            data_id,
            pinned: pin_of(before, beat),
            forced: false,
            reason: Class::Restored.name().to_owned(),
            decided_by: self.config.coordinator.clone(),
            epoch,
            // A term that nobody remembers may lie between this one and the next (see `next_term`).
            term_generation: same_term
                .map_or(epoch.generation.saturating_sub(1), |before| before.term_generation),
            at_unix_millis: 0,
        })
    }
}

/// What may still keep the master going: a pin that the older record has, or one that only the master knows. Whoever takes the
/// lock over later has to find it.
fn pin_of(before: Option<&Record>, beat: &Beat) -> Option<Pin> {
    let known = before.and_then(|before| before.pinned);
    let own = Some(beat.pinned).filter(|left| *left > known.map_or(Span::ZERO, |pin| pin.span));
    let until_unix_millis = known.map_or(0, |pin| pin.until_unix_millis);
    own.map(|span| Pin { span, until_unix_millis }).or(known)
}

pub(super) fn highest_term(set: &SetState) -> Term {
    let seen = beats(set).map(|beat| beat.highest_term).max().unwrap_or_default();
    seen.max(set.record.as_ref().map(|record| record.term).unwrap_or_default())
}

/// It is attached, has read the provider, has no right, and its engine surely takes no writes: whoever gave its right up may still wait
/// for an engine that does not answer.
pub(super) fn is_fenced(guard: &GuardState) -> bool {
    let Some(beat) = guard.beat.as_ref().filter(|_| guard.session.is_some()) else { return false };
    matches!(beat.stand, Stand::Standby | Stand::Candidate(_)) && !beat.engine.may_write
}

/// Every member that is listed, that the record names, or that ever came, is heard, has read the provider, and has no right.
/// A member may be named by the record and not be listed: the write that was to list it may have been lost, and it may lead.
fn nobody_leads(set: &SetState) -> bool {
    let named = set.record.iter().flat_map(|record| named_by(record));
    let heard = set.members.keys().chain(named).all(|instance| set.guards.contains_key(instance));
    heard && !set.guards.is_empty() && set.guards.values().all(is_fenced)
}

/// Everybody of whom a record says something.
pub(super) fn named_by(record: &Record) -> impl Iterator<Item = &InstanceName> {
    record.master.iter().chain(&record.in_sync).chain(record.stragglers.members())
}

/// Whether a person's word stands for whoever is not attached.
pub(super) fn vouched_for(set: &SetState) -> bool {
    set.task.as_ref().is_some_and(|task| task.forcing.others_off && task.aborted.is_none())
}

/// Of those that are there to be asked, every one has read the provider, and has no right.
pub(super) fn nobody_attached_leads(set: &SetState) -> bool {
    let mut attached = set.guards.values().filter(|guard| guard.session.is_some()).peekable();
    attached.peek().is_some() && attached.all(is_fenced)
}

/// The master of the highest known term is among those who are heard: a member that joined after the state that the provider
/// went back to is listed nowhere, and may lead there.
fn is_accounted_for(set: &SetState) -> bool {
    let (highest, record) = (highest_term(set), set.record.as_ref());
    let recorded = record.is_some_and(|record| record.term >= highest);
    let named = beats(set)
        .filter_map(|beat| beat.known_master.as_ref())
        .any(|(term, master)| *term >= highest && set.guards.contains_key(master));
    recorded || named
}

pub(super) fn beats(set: &SetState) -> impl Iterator<Item = &Beat> {
    set.guards.values().filter_map(|guard| guard.beat.as_ref())
}
