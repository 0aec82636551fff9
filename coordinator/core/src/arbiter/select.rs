//! The choice of a master: a pure function that also says why each member was refused (design, *Promotion*, choose).

use crate::decision::{Hold, Ranked, Refusal, Verdict};
use crate::engine::DataState;
use crate::ids::{DataId, InstanceName, Zone};
use crate::message::Health;
use crate::position::Position;
use crate::rules::{Rule, Rules};
use crate::settings::ZonePolicy;
use crate::time::Span;
use std::cmp::Reverse;

/// A member as the choice sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Who.
    pub instance: InstanceName,
    /// Configured.
    pub electable: bool,
    /// In the recorded in-sync set.
    pub in_sync: bool,
    /// A stream to its guard is open.
    pub attached: bool,
    /// Its guard has read the provider.
    pub ready: bool,
    /// What it finally holds, reported since replication was to stop. `None`: not reported.
    pub reported: Option<Position>,
    /// It is the old master, and its engine was started anew since it led.
    pub restarted: bool,
    /// It is the old master.
    pub old_master: bool,
    /// Its engine.
    pub health: Health,
    /// Its data.
    pub data: DataState,
    /// How long it may not lead yet.
    pub hold: Span,
    /// Configured; higher is preferred.
    pub priority: u32,
    /// Where it stands.
    pub zone: Option<Zone>,
    /// That zone is drained.
    pub drained: bool,
    /// For how much longer somebody works on it.
    pub maintenance: Option<Span>,
}

/// Everything that the choice rests on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The members.
    pub candidates: Vec<Candidate>,
    /// The identity of the data, where it is known.
    pub data_id: Option<DataId>,
    /// What the old master held when its term started.
    pub start: Position,
    /// Whether the recorded in-sync set has one member only, heard or not.
    pub sole: bool,
    /// The old master's final position, which must be held (switchover).
    pub reach: Option<Position>,
    /// Only this one, if it can be.
    pub target: Option<InstanceName>,
    /// Rather this one than another who holds as much: the target of a change whose old master ended before it was fenced.
    pub preferred: Option<InstanceName>,
    /// The old master is not wanted (switchover without a target).
    pub spare_old_master: bool,
    /// Refused beyond this lag behind the best.
    pub max_lag_bytes: Option<u64>,
    /// The old master's, where it is known.
    pub zone: Option<Zone>,
    /// What that counts for.
    pub zone_policy: ZonePolicy,
    /// Whether nobody asked for the change.
    pub by_itself: bool,
    /// Why nobody but the old master may be appointed.
    pub hold: Option<Hold>,
    /// Whether nobody in a drained zone is wanted.
    pub avoid_drained: bool,
    /// Whether data with another identity, or none, is refused whoever asks for it.
    pub check_identity: bool,
    /// What may be lost is accepted; inside, whether the old master is surely over for members outside the in-sync set.
    pub forced: Option<bool>,
    /// Kept rules.
    pub rules: Rules,
}

/// The answer: who, if anybody, and what is said of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// The best.
    pub chosen: Option<(InstanceName, Position)>,
    /// All members, best first, each with its verdict.
    pub ranking: Vec<Ranked>,
}

/// Chooses. Most advanced position, then whom a person asked for, then a zone that is not drained, then priority, then the old master's zone, then the
/// name.
#[must_use]
pub fn choose(question: &Question) -> Choice {
    let unbroken = question
        .candidates
        .iter()
        .any(|candidate| !candidate.restarted && refusal(question, candidate).is_none());
    let mut judged: Vec<(&Candidate, Option<Refusal>)> = question
        .candidates
        .iter()
        .map(|candidate| {
            let restarted = (candidate.restarted && unbroken).then_some(Refusal::RestartedEngine);
            (candidate, refusal(question, candidate).or(restarted))
        })
        .collect();
    judged.sort_by_key(|(candidate, refused)| {
        (refused.is_some(), Reverse(rank(question, candidate)), candidate.instance.clone())
    });
    let best = judged.first().filter(|(_, refused)| refused.is_none()).map(|(candidate, _)| *candidate);
    let chosen = best.map(|best| (best.instance.clone(), best.reported.unwrap_or(Position::Unknown)));
    let ranking = judged
        .iter()
        .enumerate()
        .map(|(place, (candidate, refused))| Ranked {
            instance: candidate.instance.clone(),
            verdict: match refused {
                Some(refused) => Verdict::Refused(refused.clone()),
                None if place == 0 => Verdict::Chosen,
                None => Verdict::Eligible,
            },
        })
        .collect();
    Choice { chosen, ranking }
}

/// What decides between two that may both be appointed. Greater is better.
fn rank(question: &Question, candidate: &Candidate) -> (bool, (u64, u64), bool, bool, u32, bool) {
    let wanted = question.target.as_ref() == Some(&candidate.instance);
    let reach = candidate.reported.unwrap_or_default();
    let position = (reach.term().map_or(0, |term| term.0), reach.offset().unwrap_or(0));
    let counts = question.zone.is_some() && question.zone_policy != ZonePolicy::Any;
    let near = counts && candidate.zone == question.zone;
    let preferred = question.preferred.as_ref() == Some(&candidate.instance);
    (wanted, position, preferred, !candidate.drained, candidate.priority, near)
}

fn refusal(question: &Question, candidate: &Candidate) -> Option<Refusal> {
    let Candidate { in_sync, health, data, hold, .. } = candidate;
    if !candidate.electable {
        return Some(Refusal::NotElectable);
    }
    match question.forced {
        _ if *in_sync || !question.rules.keep(Rule::ChooseInSync) => {}
        None => return Some(Refusal::NotInSync),
        Some(false) => return Some(Refusal::MayGoOn),
        Some(true) => {}
    }
    if let Some(refused) = policy_refusal(question, candidate) {
        return Some(refused);
    }
    if candidate.old_master && question.spare_old_master {
        return Some(Refusal::OldMaster);
    }
    if !candidate.attached {
        return Some(Refusal::NotAttached);
    }
    if !candidate.ready {
        return Some(Refusal::Starting);
    }
    match health {
        Health::Down => return Some(Refusal::EngineDown),
        Health::Stalled => return Some(Refusal::EngineStalled),
        Health::Up => {}
    }
    if *hold > Span::ZERO {
        return Some(Refusal::Holding(*hold));
    }
    if let Some(refused) = identity_refusal(question, data) {
        return Some(refused);
    }
    let Some(own) = candidate.reported else { return Some(Refusal::NotReported) };
    position_refusal(question, own)
}

/// What people's settings refuse.
fn policy_refusal(question: &Question, candidate: &Candidate) -> Option<Refusal> {
    let far = question.zone.is_some() && candidate.zone != question.zone;
    let others_only = !candidate.old_master;
    match (question.hold, candidate.maintenance) {
        (Some(hold), _) if others_only => Some(Refusal::Held(hold)),
        (_, Some(left)) => Some(Refusal::Maintenance(left)),
        _ if question.avoid_drained && candidate.drained => Some(Refusal::Drained),
        _ if question.by_itself && question.zone_policy == ZonePolicy::Same && far => {
            Some(Refusal::OtherZone)
        }
        _ => None,
    }
}

fn identity_refusal(question: &Question, data: &DataState) -> Option<Refusal> {
    // That everything is gone, or is somebody else's, is for a person to say each time: the setting stays when that is done.
    let allowed = !question.check_identity && !question.by_itself;
    if allowed || !question.rules.keep(Rule::CheckIdentity) {
        return None;
    }
    match (data, &question.data_id) {
        (DataState::Empty, _) => Some(Refusal::Empty),
        (DataState::Unmarked, Some(_)) => Some(Refusal::Unmarked),
        (DataState::Marked { id, .. }, Some(recorded)) if id != recorded => Some(Refusal::Foreign),
        (DataState::Unmarked | DataState::Marked { .. }, _) => None,
    }
}

fn position_refusal(question: &Question, own: Position) -> Option<Refusal> {
    if let Some(reach) = question.reach
        && !own.holds(&reach)
    {
        return Some(Refusal::NotReached { reach });
    }
    if question.forced.is_some() {
        return None;
    }
    // The only member that may be appointed at all holds all that there is, wherever its engine counts from.
    let bound = !question.sole && question.rules.keep(Rule::HoldTermStart);
    if bound && !own.holds(&question.start) {
        return Some(Refusal::BehindStart { own, start: question.start });
    }
    let best = question
        .candidates
        .iter()
        .filter_map(|candidate| candidate.reported)
        .max_by(|a, b| a.compare(b).unwrap_or(std::cmp::Ordering::Equal))?;
    match (question.max_lag_bytes, best, own) {
        (Some(max), Position::At { term: t1, offset: o1 }, Position::At { term: t2, offset: o2 }) => {
            let bytes = if t1 == t2 { o1.saturating_sub(o2) } else { u64::MAX };
            (t1 >= t2 && bytes > max).then_some(Refusal::Lag { bytes, max })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
