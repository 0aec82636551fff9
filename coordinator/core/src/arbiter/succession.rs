//! From evidence to the record of the next term: sever, choose, write; and after it, the confirmation (design,
//! *Promotion*).
//!
//! It must not know how evidence is found, or how the choice is made.

use super::Arbiter;
use super::forced::loss;
use super::forgotten::last_master;
use super::io::Action;
use super::quorum::listed;
use super::restored::named_by;
use super::select::{Candidate, Choice, Question, choose};
use super::set::{GuardState, SetState, Succession, Task, ago};
use crate::decision::{Class, Decision, Evidence, Hold, Observed, Phase, Ranked, Refusal, Verdict};
use crate::engine::DataState;
use crate::ids::{DataId, Epoch, InstanceName, Term};
use crate::message::{Beat, Health, Severed, Stand};
use crate::position::Position;
use crate::record::Record;
use crate::rules::Rule;
use crate::settings::LossPolicy;
use crate::time::{Span, Time};
use std::collections::BTreeSet;

/// How far terms jump where the provider has forgotten some: more than could have been recorded one after the other
/// without any member hearing of them.
const RESTORED_TERM_GAP: u64 = 1_000;
/// How often the gap is doubled at most, and grows by itself after that: terms are 64 bits wide.
const MOST_DOUBLED: u64 = 40;

/// The term of an appointment, above `highest`, which somebody knows. What was recorded in an earlier generation after the
/// backup, and what nobody was told of, is in nobody's memory; who watches masters may remember it all the same. Each
/// generation has a gap of its own, wider than those of all earlier ones together: two of them may go back to the same backup, and
/// nobody may be left who knows what the earlier one led to.
pub(super) fn next_term(highest: Term, appointed_in: u64, epoch: Epoch) -> Term {
    let restores = epoch.generation.saturating_sub(1);
    if appointed_in < epoch.generation && restores > 0 {
        let doubled = (restores - 1).min(MOST_DOUBLED);
        let gap = (RESTORED_TERM_GAP << doubled).saturating_mul(restores - doubled);
        Term(highest.0.saturating_add(gap))
    } else {
        highest.next()
    }
}

impl Arbiter {
    /// One look at a set whose master may be replaced.
    pub(super) fn succeed(&mut self, now: Time, set: &mut SetState) {
        self.doubt_restored(set);
        let Some((evidence, class)) = set.evidence else { return };
        if set.succession.is_none() {
            let reach = switchover_reach(set, evidence, class);
            set.succession = Some(Succession { since: now, reach, told: None });
        }
        let Some(record) = self.basis(set) else { return };
        if !self.may_appoint(now) || self.write_pin_wish(now, set, &record) || self.waits(now, set, &record) {
            return;
        }
        let hold = self.hold_of_decision(now, set, class);
        let question = self.question(now, set, &record, hold);
        let mut choice = choose(&question);
        let mut missing = self.missing_quorum(set, &record, &choice);
        missing = missing.or_else(|| self.may_lose(set, &record, &choice));
        let (mut accepted, mut question) = (None, question);
        if (choice.chosen.is_none() || missing.is_some()) && self.accepts_loss(set) {
            question.forced = Some(self.is_surely_over(now, set, &record));
            choice = choose(&question);
            accepted = loss(set, &record, &choice, missing.take().as_deref());
        }
        let mut decision = self.decision(now, set, class, &choice);
        decision.missing.clone_from(&missing);
        decision.accepted = accepted;
        decision.question = Some(Box::new(question));
        match choice.chosen.filter(|_| missing.is_none()) {
            Some((instance, position)) => self.appoint(now, set, &record, instance, position, decision),
            None => {
                let why = decision.sentence();
                // There is evidence; it is for those outside the in-sync set. Whoever is at hand under the old name may be chosen.
                self.ask_for_fence(now, set);
                self.tell_refusal(set, decision);
                self.record_over_budget(now, set, hold);
                self.give_up_forced(now, set, &why);
            }
        }
    }

    /// With `loss_policy = none` a change that nobody asked for must surely keep what was acknowledged: commits wait for
    /// replicas, or the chosen one holds the master's final position.
    fn may_lose(&self, set: &SetState, record: &Record, choice: &Choice) -> Option<String> {
        let policy = self.settings.of(&set.name).loss_policy;
        let asked = set.task.as_ref().is_some_and(Task::is_persons);
        let (chosen, own) = choice.chosen.as_ref()?;
        let accepted = match &set.evidence {
            Some((Evidence::Relinquished { position, .. }, _)) => Some(*position),
            _ => None,
        };
        let final_positions = accepted.into_iter().chain(self.final_position(set));
        let sure = final_positions.into_iter().any(|position| own.holds(&position));
        let nothing = record.ack_quorum > 0 || sure || set.is_master(chosen);
        (policy == LossPolicy::None && !asked && !nothing)
            .then(|| "nobody surely holds all that was acknowledged (loss_policy = none)".to_owned())
    }

    /// Whether reports that will likely come are still worth waiting for.
    fn waits(&self, now: Time, set: &SetState, record: &Record) -> bool {
        let Some(succession) = &set.succession else { return false };
        // Guards come one after the other to a new arbiter: whoever is heard first is not alone (P218).
        let coming = now < self.takeover_patience();
        let missing = |instance: &InstanceName| {
            let guard = set.guards.get(instance);
            // One that has attached and not beaten yet will: after a takeover all of them are like that.
            let attached = guard.is_some_and(|guard| guard.session.is_some());
            (attached || coming) && severed(guard, record).is_none()
        };
        // After a restore anybody may be chosen, and hold what nobody else does.
        let awaited = if all_heard(set) {
            set.guards.keys().cloned().collect()
        } else {
            self.who_may_have_acknowledged(set, record)
        };
        let mut replicas = awaited.iter();
        if let Some(task) = set.task_of_term().filter(|task| succession.reach.is_some() && !task.is_over(now))
        {
            let awaited = match &task.target {
                Some(target) => missing(target),
                None => replicas.clone().all(missing),
            };
            if awaited {
                return true;
            }
        }
        replicas.any(missing) && now < succession.since + self.timing.sever_wait
    }

    pub(super) fn question(
        &self,
        now: Time,
        set: &SetState,
        record: &Record,
        hold: Option<Hold>,
    ) -> Question {
        let policy = self.settings.of(&set.name);
        let in_force = |task: &&Task| task.class == Class::Forced && task.aborted.is_none();
        let forced = set.task.as_ref().filter(in_force);
        let reach = set.succession.as_ref().and_then(|succession| succession.reach);
        let task = set.task_of_term().filter(|_| reach.is_some());
        let in_time = task.filter(|task| !task.is_over(now));
        // The old master holds its own final position: whoever else does is no better.
        let back = task.filter(|task| task.is_over(now)).map(|task| task.old_master.clone());
        let wish = set.task_of_term().filter(|task| task.aborted.is_none());
        let old = record.master.as_ref();
        Question {
            candidates: set.guards.values().map(|guard| self.candidate(now, set, record, guard)).collect(),
            data_id: record.data_id.clone(),
            start: record.start,
            // Whoever is away counts: what it holds may be more than anybody who is heard has.
            sole: record.in_sync.len() == 1,
            reach: reach.filter(|_| in_time.is_some()),
            target: back.or_else(|| in_time.or(forced).and_then(|task| task.target.clone())),
            // Its old master was not fenced but ended, so that nobody knows what must be held (P230).
            preferred: wish.filter(|_| reach.is_none()).and_then(|task| task.target.clone()),
            // Whom an old record names is one like the others.
            spare_old_master: in_time.is_some()
                || forced.is_some_and(|task| task.target.as_ref() != old && !all_heard(set)),
            max_lag_bytes: policy.max_lag_bytes,
            zone: old.and_then(|old| set.guards.get(old)).and_then(|guard| guard.hello.zone.clone()),
            zone_policy: policy.zone_policy,
            by_itself: !set.task.as_ref().is_some_and(Task::is_persons),
            hold,
            avoid_drained: false,
            check_identity: policy.check_identity,
            forced: None,
            rules: self.config.rules,
        }
    }

    /// Where a commit waits for `k` replicas, at least `|in-sync replicas| - k + 1` of them must have severed and
    /// reported, each with a whole run; only then is the most advanced sure to hold every acknowledged write. A fenced
    /// old master that reported its final position is such a quorum by itself, for whoever holds that position.
    fn missing_quorum(&self, set: &SetState, record: &Record, choice: &Choice) -> Option<String> {
        let k = record.ack_quorum as usize;
        if k == 0 || !self.keep(Rule::SeverQuorum) {
            return None;
        }
        if let Some(position) = self.final_position(set)
            && choice.chosen.as_ref().is_some_and(|(_, own)| own.holds(&position))
        {
            return None;
        }
        if all_heard(set) {
            return beyond_of_all(set, record, choice);
        }
        let replicas = self.who_may_have_acknowledged(set, record);
        let needed = (replicas.len() + 1).saturating_sub(k);
        // A report beyond what the candidate holds is no vote for it: its sender may hold what was acknowledged, and be
        // out of reach or not electable now.
        let chosen = choice.chosen.as_ref().map(|(_, position)| *position);
        let report = |instance: &&InstanceName| severed(set.guards.get(*instance), record);
        let reports: Vec<_> = replicas.iter().filter_map(|it| report(&it)).filter(|it| it.whole).collect();
        let held = |report: &&&Severed| chosen.is_none_or(|chosen| chosen.holds(&report.position));
        let reported = reports.iter().filter(held).count();
        let beyond = reports.len() - reported;
        if reported >= needed {
            return None;
        }
        if beyond > 0 {
            return Some(format!(
                "{beyond} replicas reported more than the candidate holds (commits wait for {k})"
            ));
        }
        let mut text =
            format!("{reported} of {needed} replicas have severed and reported (commits wait for {k})");
        let silent: Vec<_> = replicas.iter().filter(|it| report(it).is_none()).collect();
        let unsure: Vec<_> = replicas.iter().filter(|it| report(it).is_some_and(|it| !it.whole)).collect();
        if !silent.is_empty() {
            text.push_str(&format!("; no report of {}", listed(silent)));
        }
        if !unsure.is_empty() {
            text.push_str(&format!("; a run of its engine may have lost something: {}", listed(unsure)));
        }
        Some(text)
    }

    fn appoint(
        &mut self,
        now: Time,
        set: &mut SetState,
        record: &Record,
        instance: InstanceName,
        position: Position,
        mut decision: Decision,
    ) {
        let Some(epoch) = self.epoch() else { return };
        let Some(hello) = set.guards.get(&instance).map(|guard| guard.hello.clone()) else { return };
        // Above every term that any member has seen: after a provider went back to an older state, a lower one would be
        // refused by whoever has seen more.
        let seen =
            set.guards.values().filter_map(|guard| guard.beat.as_ref()).map(|beat| beat.highest_term).max();
        let highest = seen.unwrap_or_default().max(record.term);
        let term = next_term(highest, record.term_generation, epoch);
        let since = set.succession.as_ref().map_or(now, |succession| succession.since);
        decision.appointed = Some((instance.clone(), term));
        let automatic =
            matches!(decision.class, Class::Crashed | Class::Silent | Class::Stalled | Class::Lapsed);
        if automatic && record.master.as_ref() != Some(&instance) {
            self.count_failover(now, set);
        }
        decision.phases.push(Phase { name: "sever", took: now.since(since), budget: self.timing.sever_wait });
        let successor = Record {
            replicaset: set.name.clone(),
            term,
            version: record.version.next(),
            master: Some(instance.clone()),
            endpoint: Some(hello.endpoint),
            incarnation: Some(hello.incarnation),
            start: position,
            in_sync: self.next_in_sync(set, record, &instance, position),
            stragglers: self.next_stragglers(set, record, &instance),
            failovers: self.failovers_to_record(now, set),
            over_budget: false,
            ack_quorum: record.ack_quorum,
            data_id: self.next_identity(set, record, &instance),
            pinned: record.pinned.filter(|_| set.is_paused(now)),
            forced: decision.accepted.is_some(),
            reason: decision.class.name().to_owned(),
            decided_by: self.config.coordinator.clone(),
            epoch,
            term_generation: epoch.generation,
            at_unix_millis: 0,
        };
        self.write(now, set, successor, Some(Box::new(decision)));
    }

    /// Where a person lets foreign data lead it is the set's from then on: its guard promotes nothing else, and whoever holds what
    /// was there before is foreign to it, and keeps that.
    fn next_identity(&self, set: &SetState, record: &Record, chosen: &InstanceName) -> Option<DataId> {
        let allowed = !self.settings.of(&set.name).check_identity;
        let beat = set.guards.get(chosen).and_then(|guard| guard.beat.as_ref());
        let foreign = beat.and_then(|beat| match &beat.engine.data {
            DataState::Marked { id, .. } => Some(id.clone()).filter(|_| allowed),
            DataState::Empty | DataState::Unmarked => None,
        });
        foreign.or_else(|| record.data_id.clone())
    }

    /// The chosen, and those of the old set that severed and reported nothing that the chosen does not hold.
    fn next_in_sync(
        &self,
        set: &SetState,
        record: &Record,
        chosen: &InstanceName,
        position: Position,
    ) -> BTreeSet<InstanceName> {
        let relinquished_at = self.final_position(set).unwrap_or_default();
        let holds = |instance: &&InstanceName| {
            let reported = if set.is_master(instance) && !all_heard(set) {
                relinquished_at
            } else {
                severed(set.guards.get(*instance), record).map_or(Position::Unknown, |report| report.position)
            };
            *instance == chosen || position.holds(&reported)
        };
        let everybody = all_heard(set) || !self.keep(Rule::NarrowInSync);
        let members: BTreeSet<InstanceName> =
            if everybody { set.guards.keys().cloned().collect() } else { record.in_sync.clone() };
        let mut next: BTreeSet<_> = members.iter().filter(holds).cloned().collect();
        next.insert(chosen.clone());
        next
    }

    pub(super) fn decision(&self, now: Time, set: &SetState, class: Class, choice: &Choice) -> Decision {
        let record = self.basis(set);
        let record = record.as_ref();
        // A new arbiter that never heard the master waits for its predecessor's lock rather than for a lease.
        let (silent, budget) = match set.evidence {
            Some((Evidence::OuterBound { silent_for: Some(silent) }, _)) => (silent, self.timing.lease_ttl),
            Some((Evidence::OuterBound { silent_for: None }, _)) => {
                (self.timing.lock_ttl, self.timing.lock_ttl)
            }
            _ => (Span::ZERO, self.timing.beat_master),
        };
        Decision {
            replicaset: set.name.clone(),
            epoch: self.epoch().unwrap_or_default(),
            class,
            evidence: set.evidence.map(|(evidence, _)| evidence),
            old_master: record.and_then(|record| record.master.clone()),
            term_before: record.map_or(Term(0), |record| record.term),
            appointed: None,
            observed: set.guards.values().map(|guard| observed(now, set, guard)).collect(),
            question: None,
            ranking: choice.ranking.clone(),
            missing: None,
            accepted: None,
            phases: match class {
                Class::FirstAppointment => Vec::new(),
                _ => vec![Phase { name: "evidence", took: silent, budget }],
            },
        }
    }

    /// Says that nobody can be appointed, and why; once, until the reasons change.
    pub(super) fn tell_refusal(&mut self, set: &mut SetState, decision: Decision) {
        let Some(succession) = &mut set.succession else { return };
        // Before the first appointment the order of those who have come yet says nothing.
        let first = decision.class == Class::FirstAppointment && decision.missing.is_some();
        let known = succession.told.as_ref().is_some_and(|told| {
            told.missing == decision.missing && (first || alike(&told.ranking, &decision.ranking))
        });
        if !known {
            let decision = Box::new(decision);
            succession.told = Some(decision.clone());
            set.last_decision = Some(decision.clone());
            self.push(Action::Decided(decision));
        }
    }

    /// Notes that the recorded master accepts writes, or that it does not in time.
    pub(super) fn confirm(&mut self, now: Time, set: &mut SetState) {
        let Some(term) = set.record.as_ref().map(|record| record.term) else { return };
        let stand = set.master_beat().map(|beat| beat.stand);
        if stand == Some(Stand::Leading { term, writable: true }) {
            set.confirmed = true;
            set.refused = false;
        }
        let Some((mut decision, since)) = set.unconfirmed.take() else { return };
        if set.confirmed {
            let budget = self.timing.promote_wait;
            decision.phases.push(Phase { name: "promote", took: now.since(since), budget });
            set.last_decision = Some(decision.clone());
            self.push(Action::Decided(decision));
        } else {
            // Not in time: no grant any more, so that its right runs out and another can be appointed.
            set.refused = set.refused || now >= since + self.timing.promote_wait;
            set.unconfirmed = Some((decision, since));
        }
    }
}

/// Whether the decision rests on the word of the members, or of a person for them, rather than on the record.
pub(super) fn all_heard(set: &SetState) -> bool {
    matches!(set.evidence, Some((Evidence::AllHeard | Evidence::Vouched, _)))
}

/// Where commits wait for replicas and nobody knows which counted: the chosen one must hold what each member reported.
fn beyond_of_all(set: &SetState, record: &Record, choice: &Choice) -> Option<String> {
    let (_, own) = choice.chosen.as_ref()?;
    let sure = |guard: &&GuardState| {
        let instance = &guard.hello.instance;
        // What the recorded master was told is confirmed others hold, whatever became of its own run.
        severed(Some(guard), record).is_some_and(|report| {
            (report.whole || record.master.as_ref() == Some(instance)) && own.holds(&report.position)
        })
    };
    // Whoever a person vouched for has reported nothing.
    let known = last_master(set);
    let named = named_by(record).chain(set.members.keys()).chain(&known);
    let absent: BTreeSet<_> = named.filter(|instance| !set.guards.contains_key(*instance)).collect();
    let unsure = set.guards.values().filter(|guard| !sure(guard)).count() + absent.len();
    (unsure > 0)
        .then(|| format!("{unsure} members may hold more than the candidate (the provider was restored)"))
}

/// Whether two rankings say the same of everybody. How long a hold or a maintenance still lasts is no news.
fn alike(one: &[Ranked], other: &[Ranked]) -> bool {
    let timeless = |ranked: &Ranked| match &ranked.verdict {
        Verdict::Refused(Refusal::Holding(_)) => Verdict::Refused(Refusal::Holding(Span::ZERO)),
        Verdict::Refused(Refusal::Maintenance(_)) => Verdict::Refused(Refusal::Maintenance(Span::ZERO)),
        other => other.clone(),
    };
    let same =
        |(one, other): (&Ranked, &Ranked)| one.instance == other.instance && timeless(one) == timeless(other);
    one.len() == other.len() && one.iter().zip(other).all(same)
}

fn switchover_reach(set: &SetState, evidence: Evidence, class: Class) -> Option<Position> {
    match (evidence, class) {
        (
            Evidence::Relinquished { ended: false, position },
            Class::Switchover | Class::Autoreturn | Class::Drain | Class::DrillSwitchover,
        ) if set.task.is_some() => Some(position).filter(|position| *position != Position::Unknown),
        _ => None,
    }
}

/// A member's report since replication from the old master was to stop.
pub(super) fn severed<'a>(guard: Option<&'a GuardState>, record: &Record) -> Option<&'a Severed> {
    let beat = guard?.beat.as_ref()?;
    beat.severed.as_ref().filter(|severed| severed.stamp.version == record.version)
}

impl Arbiter {
    pub(super) fn candidate(
        &self,
        now: Time,
        set: &SetState,
        record: &Record,
        guard: &GuardState,
    ) -> Candidate {
        let hello = &guard.hello;
        let old_master = set.is_master(&hello.instance);
        let beat = guard.beat.as_ref();
        // What it relinquished at an earlier term says nothing of this one: one that was appointed anew and went silent would
        // be appointed again and again by its last beat.
        let relinquished = beat
            .and_then(|beat| beat.relinquished.as_ref())
            .filter(|relinquished| old_master && relinquished.term >= record.term);
        let restarted = relinquished.is_some_and(|relinquished| relinquished.ended);
        let reported = match relinquished {
            // The recorded master may have followed another since it relinquished.
            _ if all_heard(set) => severed(Some(guard), record).map(|report| report.position),
            Some(relinquished) if relinquished.position == Position::Unknown => {
                beat.filter(|beat| beat.engine.health == Health::Up).map(|beat| beat.engine.position)
            }
            Some(relinquished) => Some(relinquished.position),
            None => severed(Some(guard), record).map(|report| report.position),
        };
        Candidate {
            instance: hello.instance.clone(),
            electable: set.is_electable(hello),
            // After a restore the recorded set says nothing; that everybody was heard is worth more.
            in_sync: record.in_sync.contains(&hello.instance) || all_heard(set),
            attached: guard.session.is_some(),
            ready: beat.is_some_and(|beat| beat.stand != Stand::Starting),
            reported: reported.filter(|position| *position != Position::Unknown),
            restarted,
            old_master,
            health: beat.map_or(Health::Down, |beat| beat.engine.health),
            data: beat.map(|beat| beat.engine.data.clone()).unwrap_or_default(),
            hold: hold_left(now, guard, beat),
            priority: set.priority(hello),
            zone: hello.zone.clone(),
            drained: self.is_drained(hello.zone.as_ref()),
            maintenance: set.in_maintenance(now, &hello.instance),
        }
    }
}

/// What is left of the time that a guard may not lead yet, as it said when it was last heard.
pub(super) fn hold_left(now: Time, guard: &GuardState, beat: Option<&Beat>) -> Span {
    let since = ago(now, guard.heard_at).unwrap_or(Span::ZERO);
    beat.map_or(Span::ZERO, |beat| beat.hold.less(since))
}

fn observed(now: Time, set: &SetState, guard: &GuardState) -> Observed {
    let beat = guard.beat.as_ref();
    let severed = beat.and_then(|beat| beat.severed.as_ref()).map(|severed| severed.position);
    Observed {
        instance: guard.hello.instance.clone(),
        seen_ago: ago(now, guard.heard_at),
        health: beat.map(|beat| beat.engine.health),
        position: severed.or(beat.map(|beat| beat.engine.position)).unwrap_or_default(),
        in_sync: set.record.as_ref().is_some_and(|record| record.in_sync.contains(&guard.hello.instance)),
        stand: beat.map(|beat| beat.stand),
    }
}
