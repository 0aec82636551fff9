//! What would become of a set if members, or the provider, were lost now: the rules of the succession, run on what is known at
//! this moment. Pure: changes nothing, promises nothing.
//!
//! It must not know how members are named by a person (zones, hosts).

use super::Arbiter;
use super::forced::{check_failover, loss};
use super::io::Forcing;
use super::rails::Rail;
use super::select::{Candidate, Question, choose};
use super::set::{GuardState, SetState};
use super::switchover::check_switchover;
use crate::decision::{Hold, Ranked};
use crate::ids::{InstanceName, ReplicaSetName};
use crate::message::Health;
use crate::record::Record;
use crate::time::{Span, Time};
use crate::timing::FailureClass;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is imagined to be lost, silently and at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Members: guard and engine.
    pub instances: BTreeSet<InstanceName>,
    /// The state provider.
    pub provider: bool,
}

/// What would become of the set's master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has none now.
    NoneNow,
    /// It stays.
    Stays,
    /// It goes on without an arbiter's leases, by the promises of its in-sync members.
    GoesOn,
    /// Nobody could extend its right: writes stop when the lease ends. Why.
    Stops(String),
    /// This one takes over.
    Replaced(InstanceName),
    /// Nobody takes over. Why.
    NoSuccessor(String),
}

/// The answer for one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The set.
    pub replicaset: ReplicaSetName,
    /// The master now.
    pub master: Option<InstanceName>,
    /// Which of its members would be lost.
    pub lost: BTreeSet<InstanceName>,
    /// What would become of the master.
    pub fate: Fate,
    /// The members as the choice would rank them; empty where none is made.
    pub ranking: Vec<Ranked>,
    /// The longest that writes would be refused where somebody takes over.
    pub within: Option<Span>,
    /// Commits wait for so many replicas, and so many would be left, where that is too few.
    pub commits_short: Option<(u32, usize)>,
    /// What may be lost by it, as far as anybody knows.
    pub may_lose: Option<String>,
    /// The guard rails of a drill; empty where none was asked about.
    pub rails: Vec<Rail>,
}

impl Forecast {
    /// Nothing is known yet but who is master.
    pub(super) fn new(replicaset: &ReplicaSetName, master: Option<InstanceName>) -> Self {
        Self {
            replicaset: replicaset.clone(),
            master,
            lost: BTreeSet::new(),
            fate: Fate::NoneNow,
            ranking: Vec::new(),
            within: None,
            commits_short: None,
            may_lose: None,
            rails: Vec::new(),
        }
    }
}

/// What may be lost where a set begins anew of which a restore forgot that it had a master.
const FORGOTTEN: &str = "all that the master held whom the restore forgot";

/// What would become of a set of whose earlier life nobody who is there has anything.
fn first_of_forgotten(set: &SetState) -> Forecast {
    let choice = Arbiter::first_choice(set);
    let fate = match choice.chosen {
        Some((chosen, _)) => Fate::Replaced(chosen),
        None => Fate::NoSuccessor("nobody who is there could begin".to_owned()),
    };
    let may_lose = Some(FORGOTTEN.to_owned());
    Forecast { fate, ranking: choice.ranking, may_lose, ..Forecast::new(&set.name, None) }
}

impl Arbiter {
    /// What would become of one set.
    #[must_use]
    pub fn forecast(&self, now: Time, name: &ReplicaSetName, loss: &Loss) -> Option<Forecast> {
        let set = self.sets.get(name)?;
        let known = set.members.keys().chain(set.guards.keys());
        let lost: BTreeSet<_> =
            known.filter(|instance| loss.instances.contains(*instance)).cloned().collect();
        let record = set.record.as_ref();
        let master = record.and_then(|record| record.master.clone());
        let mut forecast = Forecast { lost, ..Forecast::new(name, master.clone()) };
        let (Some(record), Some(master), true) = (record, master, set.confirmed && set.evidence.is_none())
        else {
            return Some(forecast);
        };
        let is_left = |instance: &&InstanceName| is_left(set, instance, &forecast.lost);
        if !forecast.lost.contains(&master) {
            let others = record.in_sync.iter().filter(|instance| **instance != master);
            let away: Vec<_> = others.clone().filter(|instance| !is_left(instance)).cloned().collect();
            forecast.commits_short = short(record, others.filter(is_left).count());
            forecast.fate = if loss.provider { self.without_provider(&away) } else { Fate::Stays };
        } else if loss.provider {
            let why = "an appointment cannot be recorded while the state provider is away";
            forecast.fate = Fate::NoSuccessor(why.to_owned());
        } else {
            self.forecast_succession(now, set, record, self.hold_of(now, set), &mut forecast);
        }
        Some(forecast)
    }

    /// What would become of one set if a switchover were asked for now.
    ///
    /// # Errors
    /// Why it would be refused at once, for people.
    pub fn forecast_switchover(
        &self,
        now: Time,
        name: &ReplicaSetName,
        target: Option<&InstanceName>,
    ) -> Result<Forecast, String> {
        let set = self.sets.get(name).ok_or_else(|| format!("there is no replica set {name}"))?;
        if set.is_drilled() {
            return Err(format!("a drill of {name} is under way"));
        }
        self.forecast_switchover_of(now, set, target)
    }

    pub(super) fn forecast_switchover_of(
        &self,
        now: Time,
        set: &SetState,
        target: Option<&InstanceName>,
    ) -> Result<Forecast, String> {
        let name = &set.name;
        let master = check_switchover(now, set, target)?;
        let record = set.record.as_ref().ok_or_else(|| format!("{name} has had no master yet"))?;
        let lost = BTreeSet::new();
        let question = Question {
            target: target.cloned(),
            spare_old_master: true,
            candidates: self.imagined_candidates(now, set, record, &lost),
            ..self.question(now, set, record, None)
        };
        let choice = choose(&question);
        let wanted = |chosen: &InstanceName| target.is_none_or(|target| target == chosen);
        let fate = match &choice.chosen {
            Some((chosen, _)) if wanted(chosen) => Fate::Replaced(chosen.clone()),
            _ => Fate::NoSuccessor("nobody who is asked for could be appointed".to_owned()),
        };
        let replicas = record
            .in_sync
            .iter()
            .filter(|instance| !matches!(&fate, Fate::Replaced(chosen) if chosen == *instance));
        let commits_short = short(record, replicas.filter(|instance| is_left(set, instance, &lost)).count());
        Ok(Forecast {
            within: matches!(fate, Fate::Replaced(_))
                .then(|| self.timing.worst_outage(FailureClass::Switchover)),
            fate,
            ranking: choice.ranking,
            commits_short,
            ..Forecast::new(name, Some(master))
        })
    }

    /// What would become of one set if a failover were forced now, with what a person adds to it.
    ///
    /// # Errors
    /// Why it would be refused at once, for people.
    pub fn forecast_failover(
        &self,
        now: Time,
        name: &ReplicaSetName,
        target: Option<&InstanceName>,
        forcing: Forcing,
    ) -> Result<Forecast, String> {
        let set = self.sets.get(name).ok_or_else(|| format!("there is no replica set {name}"))?;
        let master = check_failover(set, target, forcing)?;
        let Some(record) = self.basis(set).or_else(|| self.forgotten(set).map(Arc::new)) else {
            return Ok(first_of_forgotten(set));
        };
        let record = record.as_ref();
        let lost = BTreeSet::new();
        let question = Question {
            target: target.cloned(),
            spare_old_master: target != Some(&master),
            by_itself: false,
            candidates: self.imagined_candidates(now, set, record, &lost),
            ..self.question(now, set, record, None)
        };
        let mut choice = choose(&question);
        let missing = self.missing_reports(set, record, &lost);
        let wanted = |chosen: &InstanceName| target.is_none_or(|target| target == chosen);
        let mut may_lose = None;
        if missing.is_some() || !choice.chosen.as_ref().is_some_and(|(chosen, _)| wanted(chosen)) {
            // Whoever vouches for the others says so of the master, too.
            let vouched = forcing.others_off && (set.held || set.unsettled);
            let over = vouched || self.would_be_over(now, set, record);
            choice = choose(&Question { forced: Some(over), ..question });
            may_lose = loss(set, record, &choice, missing.as_deref());
            may_lose = may_lose.or_else(|| set.unsettled.then(|| FORGOTTEN.to_owned()));
        }
        let fate = match &choice.chosen {
            Some((chosen, _)) if wanted(chosen) => Fate::Replaced(chosen.clone()),
            _ => Fate::NoSuccessor("nobody who is asked for could be appointed".to_owned()),
        };
        let within = matches!(fate, Fate::Replaced(_)).then(|| match self.is_heard(now, set) {
            true => self.timing.worst_outage(FailureClass::Switchover),
            false => self.timing.worst_outage(FailureClass::Silent),
        });
        let ranking = choice.ranking;
        Ok(Forecast { fate, ranking, within, may_lose, ..Forecast::new(name, Some(master)) })
    }

    /// Whether the master would hear an order to let go.
    fn is_heard(&self, now: Time, set: &SetState) -> bool {
        let heard = set.master().and_then(|(_, guard)| guard.heard_at.filter(|_| guard.session.is_some()));
        heard.is_some_and(|heard| now.since(heard) <= self.timing.lease_ttl)
    }

    /// Whether, once its outer bound has passed or it was told to let go, nothing would keep the master going.
    fn would_be_over(&self, now: Time, set: &SetState, record: &Record) -> bool {
        let mut others = record.in_sync.iter().filter(|instance| !set.is_master(instance));
        self.is_heard(now, set) || others.any(|instance| is_left(set, instance, &BTreeSet::new()))
    }

    /// Where commits wait for replicas, whether too few would sever and report.
    fn missing_reports(
        &self,
        set: &SetState,
        record: &Record,
        lost: &BTreeSet<InstanceName>,
    ) -> Option<String> {
        let replicas = self.who_may_have_acknowledged(set, record);
        let k = record.ack_quorum as usize;
        let needed = (replicas.len() + 1).saturating_sub(k);
        let whole = |instance: &&InstanceName| {
            let beat = set.guards.get(*instance).and_then(|guard| guard.beat.as_ref());
            is_left(set, instance, lost) && beat.is_some_and(|beat| beat.engine.whole)
        };
        let reports = replicas.iter().filter(whole).count();
        (k > 0 && reports < needed)
            .then(|| format!("{reports} of {needed} replicas would sever and report (commits wait for {k})"))
    }

    pub(super) fn imagined_candidates(
        &self,
        now: Time,
        set: &SetState,
        record: &Record,
        lost: &BTreeSet<InstanceName>,
    ) -> Vec<Candidate> {
        let imagined = |guard: &GuardState| imagined(self.candidate(now, set, record, guard), guard, lost);
        set.guards.values().map(imagined).collect()
    }

    fn without_provider(&self, away: &[InstanceName]) -> Fate {
        if !self.settings.failsafe {
            return Fate::Stops("failsafe is off".to_owned());
        }
        match away {
            [] => Fate::GoesOn,
            away => {
                let names: Vec<_> = away.iter().map(ToString::to_string).collect();
                Fate::Stops(format!("{} cannot promise to lead nothing", names.join(", ")))
            }
        }
    }

    pub(super) fn forecast_succession(
        &self,
        now: Time,
        set: &SetState,
        record: &Record,
        hold: Option<Hold>,
        forecast: &mut Forecast,
    ) {
        let mut question = self.question(now, set, record, hold);
        let lost = &forecast.lost;
        question.candidates = self.imagined_candidates(now, set, record, lost);
        let choice = choose(&question);
        let missing = self.missing_reports(set, record, lost);
        forecast.fate = match &choice.chosen {
            None => Fate::NoSuccessor("no member could be appointed".to_owned()),
            Some(_) if missing.is_some() => Fate::NoSuccessor(missing.unwrap_or_default()),
            Some((chosen, _)) => {
                let left = record.in_sync.iter().filter(|instance| *instance != chosen);
                let left = left.filter(|instance| is_left(set, instance, lost)).count();
                forecast.commits_short = short(record, left);
                forecast.within = Some(self.timing.worst_outage(FailureClass::Silent));
                Fate::Replaced(chosen.clone())
            }
        };
        forecast.ranking = choice.ranking;
    }
}

/// Not among the lost, attached, and with an engine that is up.
fn is_left(set: &SetState, instance: &InstanceName, lost: &BTreeSet<InstanceName>) -> bool {
    let guard = set.guards.get(instance).filter(|_| !lost.contains(instance));
    guard.is_some_and(|guard| guard.session.is_some() && guard.is_up())
}

/// A candidate as it would be once it has severed: what it holds now is what it would report.
fn imagined(candidate: Candidate, guard: &GuardState, lost: &BTreeSet<InstanceName>) -> Candidate {
    let beat = guard.beat.as_ref().filter(|beat| beat.engine.health == Health::Up);
    let attached = candidate.attached && !lost.contains(&candidate.instance);
    Candidate { attached, reported: beat.map(|beat| beat.engine.position), ..candidate }
}

fn short(record: &Record, left: usize) -> Option<(u32, usize)> {
    (left < record.ack_quorum as usize).then_some((record.ack_quorum, left))
}
