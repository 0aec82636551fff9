//! The first appointment of a set, and the alarms that make the arbiter look again (design, *Data-set identity*).
//!
//! An instance found as the only writable master with data is adopted; else the most advanced data wins, then priority.
//! Never an empty one where one has data.

use super::Arbiter;
use super::restored::{nobody_attached_leads, vouched_for};
use super::select::Choice;
use super::set::{GuardState, SetState, Succession};
use super::succession::next_term;
use crate::decision::{Class, Evidence, Ranked, Refusal, Verdict};
use crate::engine::DataState;
use crate::ids::{DataId, Version};
use crate::message::{Beat, Stand};
use crate::position::Position;
use crate::record::Record;
use crate::rules::Rule;
use crate::stragglers::Stragglers;
use crate::time::{Span, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

impl Arbiter {
    pub(super) fn bootstrap(&mut self, now: Time, set: &mut SetState) {
        if !self.may_appoint(now) || set.guards.is_empty() {
            return;
        }
        if self.write_back_unknown(now, set) {
            return;
        }
        if set.succession.is_none() {
            set.succession = Some(Succession { since: now, reach: None, told: None });
        }
        let ready: Vec<&GuardState> = set.guards.values().filter(|guard| is_ready(guard)).collect();
        let vouched = vouched_for(set) && nobody_attached_leads(set);
        let wanted = set.guards.values().map(|guard| guard.hello.bootstrap_members).max().unwrap_or(1);
        let missing = (ready.len() < wanted as usize)
            .then(|| format!("{} of {wanted} members are up and heard", ready.len()))
            .or_else(|| self.forgotten_master(set).filter(|_| !vouched))
            .or_else(|| unheard_of_removed(set).filter(|_| self.keep(Rule::AwaitRemovedMaster)))
            .or_else(|| conflict(&ready).filter(|_| self.keep(Rule::CheckIdentity)));
        let choice = rank(set, &ready);
        if missing.is_none() && self.forgotten(set).is_some() {
            let (evidence, class) = match self.forgotten_master(set) {
                None => (Evidence::AllHeard, Class::Restored),
                Some(_) => (Evidence::Vouched, Class::Forced),
            };
            return self.decide_restored(now, set, evidence, class);
        }
        let mut decision = self.decision(now, set, Class::FirstAppointment, &choice);
        match choice.chosen {
            Some((instance, position)) if missing.is_none() => {
                let Some(guard) = set.guards.get(&instance) else { return };
                let Some(record) = self.first_record(set, guard, position) else { return };
                decision.appointed = Some((instance, record.term));
                self.write(now, set, record, Some(Box::new(decision)));
            }
            _ => {
                decision.missing = missing;
                let why = decision.sentence();
                self.tell_refusal(set, decision);
                self.give_up_vouching(now, set, &why);
            }
        }
    }

    /// Whom a first appointment would choose among those that are there.
    pub(super) fn first_choice(set: &SetState) -> Choice {
        let ready: Vec<&GuardState> = set.guards.values().filter(|guard| is_ready(guard)).collect();
        rank(set, &ready)
    }

    fn first_record(&self, set: &SetState, guard: &GuardState, position: Position) -> Option<Record> {
        let beat = guard.beat.as_ref()?;
        let epoch = self.epoch()?;
        let highest = set.guards.values().filter_map(|guard| guard.beat.as_ref());
        let highest = highest.map(|beat| beat.highest_term).max().unwrap_or_default();
        let before = set.record.as_ref();
        let data_id = match &beat.engine.data {
            DataState::Marked { id, .. } => id.clone(),
            DataState::Empty | DataState::Unmarked => self.new_data_id(set),
        };
        let ack_quorum = self.settings.ack_quorum_of(&set.name);
        // Engines may have been replicating before anybody here looked, an empty one too: from before the set was removed, or by hand.
        let known = set.members.keys().chain(set.guards.keys()).filter(|_| ack_quorum > 0);
        let stragglers = Stragglers::all_of(known, &guard.hello.instance);
        Some(Record {
            replicaset: set.name.clone(),
            // A set that is new to this generation may have been one before.
            term: match before {
                Some(before) => next_term(highest.max(before.term), before.term_generation, epoch),
                None => next_term(highest, 1, epoch),
            },
            version: before.map_or(Version(1), |before| before.version.next()),
            master: Some(guard.hello.instance.clone()),
            endpoint: Some(guard.hello.endpoint.clone()),
            incarnation: Some(guard.hello.incarnation),
            start: position,
            in_sync: BTreeSet::from([guard.hello.instance.clone()]),
            stragglers,
            failovers: Vec::new(),
            over_budget: false,
            ack_quorum,
            data_id: Some(data_id),
            pinned: None,
            forced: false,
            reason: Class::FirstAppointment.name().to_owned(),
            decided_by: self.config.coordinator.clone(),
            epoch,
            term_generation: epoch.generation,
            at_unix_millis: 0,
        })
    }

    /// Drawn from the seed, the set's name and the epoch: no two sets of a cluster share one, and no two clusters do
    /// unless they share a seed.
    fn new_data_id(&self, set: &SetState) -> DataId {
        let epoch = self.epoch().unwrap_or_default();
        let mut state = self.config.seed ^ (epoch.generation << 32) ^ epoch.number;
        for byte in set.name.as_str().bytes() {
            state = crate::rng::split_mix(state ^ u64::from(byte));
        }
        DataId(format!("{:016x}{:016x}", crate::rng::split_mix(state), crate::rng::split_mix(!state)).into())
    }

    /// When a set must be looked at again though nothing happens.
    pub(super) fn alarm_of(&self, now: Time, set: &SetState) -> Option<Time> {
        let later = |time: Time| Some(time).filter(|time| *time > now);
        if let Some(pending) = &set.pending {
            return pending.retry_at;
        }
        if !self.may_appoint(now) {
            return later(self.predecessor_bound());
        }
        let again = now + self.timing.beat_master;
        if !set.has_master() {
            return set.succession.as_ref().map(|_| again);
        }
        if let Some(succession) = set.succession.as_ref().filter(|_| set.evidence.is_some()) {
            let waited = later(succession.since + self.timing.sever_wait);
            let came = later(self.takeover_patience());
            let deadline = set.task.as_ref().and_then(|task| later(task.deadline));
            let drill = set.drill_alarm(self.timing.lease_ttl).and_then(later);
            return [waited, came, deadline, drill, Some(again)].into_iter().flatten().min();
        }
        let bound = later(set.outer_bound.max(set.patience));
        let promote =
            set.unconfirmed.as_ref().and_then(|(_, since)| later(*since + self.timing.promote_wait));
        let deadline = set.task.as_ref().and_then(|task| later(task.deadline));
        let in_sync = self.in_sync_alarm(set).and_then(later);
        let drill = set.drill_alarm(self.timing.lease_ttl).and_then(later);
        [bound, promote, deadline, drill, in_sync].into_iter().flatten().min()
    }
}

/// Why a set that was removed while its last master was not heard has no first appointment yet: that one could go on by
/// promises for as long as nobody reaches it.
fn unheard_of_removed(set: &SetState) -> Option<String> {
    let run = set.record.as_ref()?.incarnation?;
    let there = set.guards.values().any(|guard| {
        let own = guard.hello.incarnation;
        // A later boot of the same host has ended what ran before it.
        let same = own.is_or_succeeds(&run) || own.home == run.home && own.boot != run.boot;
        let stand = guard.beat.as_ref().map(|beat| beat.stand);
        same && guard.session.is_some() && stand == Some(Stand::Standby)
    });
    let text =
        "the host of the last master before the set was removed is not heard, and that one may still lead";
    (!there).then(|| text.to_owned())
}

fn is_ready(guard: &GuardState) -> bool {
    let read = guard.beat.as_ref().is_some_and(|beat| beat.stand != Stand::Starting);
    guard.session.is_some() && read && guard.is_up()
}

fn has_data(beat: &Beat) -> bool {
    beat.engine.data != DataState::Empty
}

fn adoptable(guard: &GuardState) -> bool {
    guard.beat.as_ref().is_some_and(|beat| beat.engine.found_writable && has_data(beat))
}

/// Data sets that exclude each other are for a person to decide between.
fn conflict(ready: &[&GuardState]) -> Option<String> {
    let masters: Vec<_> = ready.iter().filter(|guard| adoptable(guard)).collect();
    if masters.len() > 1 {
        let names: Vec<_> = masters.iter().map(|guard| guard.hello.instance.to_string()).collect();
        return Some(format!("{} were all found as writable masters with data", names.join(", ")));
    }
    let mut holders: BTreeMap<&DataId, Vec<&str>> = BTreeMap::new();
    for guard in ready {
        if let Some(DataState::Marked { id, .. }) = guard.beat.as_ref().map(|beat| &beat.engine.data) {
            holders.entry(id).or_default().push(guard.hello.instance.as_str());
        }
    }
    let count = holders.len();
    let each: Vec<_> = holders.into_values().map(|names| names.join(", ")).collect();
    (count > 1).then(|| format!("the members hold {count} different data sets ({})", each.join(" | ")))
}

/// The order of a first appointment: adopted, marked, with data; then position, priority, name.
fn rank(set: &SetState, ready: &[&GuardState]) -> Choice {
    let any_data = ready.iter().any(|guard| guard.beat.as_ref().is_some_and(has_data));
    let verdict = |guard: &GuardState| -> Option<Refusal> {
        let Some(beat) = guard.beat.as_ref() else { return Some(Refusal::NotAttached) };
        match () {
            () if guard.session.is_none() => Some(Refusal::NotAttached),
            () if beat.stand == Stand::Starting => Some(Refusal::Starting),
            () if !guard.is_up() => Some(Refusal::EngineDown),
            () if !set.is_electable(&guard.hello) => Some(Refusal::NotElectable),
            () if beat.hold > Span::ZERO => Some(Refusal::Holding(beat.hold)),
            () if any_data && !has_data(beat) => Some(Refusal::Empty),
            () => None,
        }
    };
    let mut judged: Vec<_> = set.guards.values().map(|guard| (guard, verdict(guard))).collect();
    judged.sort_by_key(|(guard, refused)| {
        let engine = guard.beat.as_ref().map(|beat| &beat.engine);
        let marked = engine.is_some_and(|engine| matches!(engine.data, DataState::Marked { .. }));
        let position = engine.map(|engine| engine.position).unwrap_or_default();
        let reach = (position.term(), position.offset());
        let better = (adoptable(guard), marked, any_data.then_some(reach), set.priority(&guard.hello));
        (refused.is_some(), Reverse(better), guard.hello.instance.clone())
    });
    let best = judged.first().filter(|(_, refused)| refused.is_none()).map(|(guard, _)| *guard);
    let position =
        |guard: &GuardState| guard.beat.as_ref().map_or(Position::Unknown, |beat| beat.engine.position);
    let ranking = judged.iter().enumerate().map(|(place, (guard, refused))| Ranked {
        instance: guard.hello.instance.clone(),
        verdict: match refused {
            Some(refused) => Verdict::Refused(refused.clone()),
            None if place == 0 => Verdict::Chosen,
            None => Verdict::Eligible,
        },
    });
    let ranking = ranking.collect();
    Choice { chosen: best.map(|guard| (guard.hello.instance.clone(), position(guard))), ranking }
}
