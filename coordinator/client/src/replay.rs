//! What a choice rested on, as JSON, and the choice made again from it: a stored decision is evidence only if the same
//! function still gives the same answer.
//!
//! It must not know where decisions are kept.

use crate::decision::{CHOSEN, DecisionRecord, ELIGIBLE, Ranked};
use baton_core::arbiter::select::{Candidate, Question, choose};
use baton_core::decision::{Hold, Verdict};
use baton_core::engine::DataState;
use baton_core::ids::{DataId, InstanceName, Term, Zone};
use baton_core::message::Health;
use baton_core::position::Position;
use baton_core::rules::Rules;
use baton_core::settings::ZonePolicy;
use baton_core::time::Span;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything that a choice rested on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inputs {
    /// The identity of the data, where it was known.
    pub data_id: Option<String>,
    /// What the old master held when its term started (`TERM:OFFSET`).
    pub start: String,
    /// Whether the recorded in-sync set had one member only; absent where an older build wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sole: Option<bool>,
    /// The old master's final position, which had to be held.
    pub reach: Option<String>,
    /// Who was asked for.
    pub target: Option<String>,
    /// Rather than others who hold as much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred: Option<String>,
    /// The old master was not wanted.
    pub spare_old_master: bool,
    /// The most bytes behind the best that were allowed.
    pub max_lag_bytes: Option<u64>,
    /// The old master's zone.
    pub zone: Option<String>,
    /// `prefer`, `same` or `any`.
    pub zone_policy: String,
    /// Nobody had asked for the change.
    pub by_itself: bool,
    /// What held the set: `paused`, `suppressed` or `budget`.
    pub hold: Option<String>,
    /// Nobody in a drained zone was wanted.
    pub avoid_drained: bool,
    /// Empty or foreign data was refused.
    pub check_identity: bool,
    /// What may be lost was accepted; whether the old master was surely over for members outside the in-sync set.
    pub forced: Option<bool>,
    /// The members.
    pub candidates: Vec<Member>,
}

/// One member as the choice saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Who.
    pub instance: String,
    /// By its configuration and what people said.
    pub electable: bool,
    /// In the recorded in-sync set.
    pub in_sync: bool,
    /// A stream to its guard was open.
    pub attached: bool,
    /// Its guard had read the provider.
    pub ready: bool,
    /// What it finally held (`TERM:OFFSET`); absent: not reported.
    pub reported: Option<String>,
    /// The old master with an engine that was started anew.
    pub restarted: bool,
    /// The old master.
    pub old_master: bool,
    /// `up`, `down` or `stalled`.
    pub health: String,
    /// Nothing was in it.
    pub empty: bool,
    /// The identity of its data and the term of its mark; absent: unmarked.
    pub data: Option<(String, u64)>,
    /// For how long it could not lead yet, in microseconds.
    pub hold_us: u64,
    /// Higher is preferred.
    pub priority: u32,
    /// Where it stood.
    pub zone: Option<String>,
    /// That zone was drained.
    pub drained: bool,
    /// For how much longer somebody worked on it, in microseconds.
    pub maintenance_us: Option<u64>,
}

/// A choice that was made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The ranking now.
    pub ranking: Vec<Ranked>,
    /// Whether it is the stored one.
    pub same: bool,
}

/// Why a choice cannot be made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReplay {
    /// A first appointment, a very large set, or an older build.
    #[error("this decision was stored without what it rested on")]
    NoInputs,
    /// Something in it is not what its field is documented to be.
    #[error("what it rested on cannot be read: {0}")]
    Unreadable(String),
}

/// Makes the choice of a stored decision again.
///
/// # Errors
/// [`BadReplay`].
pub fn replay(decision: &DecisionRecord) -> Result<Replay, BadReplay> {
    let inputs = decision.inputs.as_ref().ok_or(BadReplay::NoInputs)?;
    let question = question(inputs).map_err(BadReplay::Unreadable)?;
    let ranked = |ranked: &baton_core::decision::Ranked| Ranked {
        instance: ranked.instance.to_string(),
        verdict: match &ranked.verdict {
            Verdict::Chosen => CHOSEN.to_owned(),
            Verdict::Eligible => ELIGIBLE.to_owned(),
            Verdict::Refused(refusal) => refusal.to_string(),
        },
    };
    let ranking: Vec<_> = choose(&question).ranking.iter().map(ranked).collect();
    let same = ranking == decision.ranking;
    Ok(Replay { ranking, same })
}

impl From<&Question> for Inputs {
    fn from(question: &Question) -> Self {
        Self {
            data_id: question.data_id.as_ref().map(ToString::to_string),
            start: question.start.to_string(),
            sole: Some(question.sole),
            reach: question.reach.map(|reach| reach.to_string()),
            target: question.target.as_ref().map(ToString::to_string),
            preferred: question.preferred.as_ref().map(ToString::to_string),
            spare_old_master: question.spare_old_master,
            max_lag_bytes: question.max_lag_bytes,
            zone: question.zone.as_ref().map(ToString::to_string),
            zone_policy: question.zone_policy.name().to_owned(),
            by_itself: question.by_itself,
            hold: question.hold.map(|hold| hold.name().to_owned()),
            avoid_drained: question.avoid_drained,
            check_identity: question.check_identity,
            forced: question.forced,
            candidates: question.candidates.iter().map(Member::from).collect(),
        }
    }
}

impl From<&Candidate> for Member {
    fn from(candidate: &Candidate) -> Self {
        Self {
            instance: candidate.instance.to_string(),
            electable: candidate.electable,
            in_sync: candidate.in_sync,
            attached: candidate.attached,
            ready: candidate.ready,
            reported: candidate.reported.map(|position| position.to_string()),
            restarted: candidate.restarted,
            old_master: candidate.old_master,
            health: health_name(candidate.health).to_owned(),
            empty: candidate.data == DataState::Empty,
            data: match &candidate.data {
                DataState::Marked { id, term } => Some((id.to_string(), term.0)),
                DataState::Empty | DataState::Unmarked => None,
            },
            hold_us: candidate.hold.0,
            priority: candidate.priority,
            zone: candidate.zone.as_ref().map(ToString::to_string),
            drained: candidate.drained,
            maintenance_us: candidate.maintenance.map(|left| left.0),
        }
    }
}

fn health_name(health: Health) -> &'static str {
    match health {
        Health::Up => "up",
        Health::Down => "down",
        Health::Stalled => "stalled",
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn position(found: &str) -> Result<Position, String> {
    found.parse().map_err(text)
}

fn zone(found: Option<&String>) -> Result<Option<Zone>, String> {
    found.map(|zone| Zone::parse(zone)).transpose().map_err(text)
}

fn instance(found: Option<&String>) -> Result<Option<InstanceName>, String> {
    found.map(|name| InstanceName::parse(name)).transpose().map_err(text)
}

fn question(inputs: &Inputs) -> Result<Question, String> {
    let known = |name: &String| {
        [Hold::Paused, Hold::Suppressed, Hold::Budget].into_iter().find(|it| it.name() == name)
    };
    let hold = match &inputs.hold {
        None => None,
        Some(name) => Some(known(name).ok_or_else(|| format!("{name:?} holds nothing that is known"))?),
    };
    let policy = ZonePolicy::ALL.into_iter().find(|policy| policy.name() == inputs.zone_policy);
    let candidates: Result<Vec<_>, _> = inputs.candidates.iter().map(candidate).collect();
    let candidates = candidates?;
    // As builds took it that did not write it down.
    let heard = candidates.iter().filter(|candidate| candidate.in_sync).count();
    Ok(Question {
        sole: inputs.sole.unwrap_or(heard == 1),
        candidates,
        data_id: inputs.data_id.as_ref().map(|id| DataId(Arc::from(id.as_str()))),
        start: position(&inputs.start)?,
        reach: inputs.reach.as_deref().map(position).transpose()?,
        target: instance(inputs.target.as_ref())?,
        preferred: instance(inputs.preferred.as_ref())?,
        spare_old_master: inputs.spare_old_master,
        max_lag_bytes: inputs.max_lag_bytes,
        zone: zone(inputs.zone.as_ref())?,
        zone_policy: policy.ok_or_else(|| format!("{:?} is no zone policy", inputs.zone_policy))?,
        by_itself: inputs.by_itself,
        hold,
        avoid_drained: inputs.avoid_drained,
        check_identity: inputs.check_identity,
        forced: inputs.forced,
        rules: Rules::default(),
    })
}

fn candidate(member: &Member) -> Result<Candidate, String> {
    let health = [Health::Up, Health::Down, Health::Stalled];
    let health = health.into_iter().find(|health| health_name(*health) == member.health);
    Ok(Candidate {
        instance: InstanceName::parse(&member.instance).map_err(text)?,
        electable: member.electable,
        in_sync: member.in_sync,
        attached: member.attached,
        ready: member.ready,
        reported: member.reported.as_deref().map(position).transpose()?,
        restarted: member.restarted,
        old_master: member.old_master,
        health: health.ok_or_else(|| format!("{:?} is no health", member.health))?,
        data: match (&member.data, member.empty) {
            (_, true) => DataState::Empty,
            (Some((id, term)), false) => {
                DataState::Marked { id: DataId(Arc::from(id.as_str())), term: Term(*term) }
            }
            (None, false) => DataState::Unmarked,
        },
        hold: Span(member.hold_us),
        priority: member.priority,
        zone: zone(member.zone.as_ref())?,
        drained: member.drained,
        maintenance: member.maintenance_us.map(Span),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> DecisionRecord {
        let member = |name: &str, reported: &str, health: &str| Member {
            instance: name.into(),
            electable: true,
            in_sync: true,
            attached: true,
            ready: true,
            reported: Some(reported.into()),
            health: health.into(),
            data: Some(("d".into(), 3)),
            ..Member::default()
        };
        let inputs = Inputs {
            data_id: Some("d".into()),
            start: "2:50".into(),
            sole: None,
            zone_policy: "prefer".into(),
            check_identity: true,
            candidates: vec![
                member("a1", "3:99", "up"),
                member("a2", "3:100", "up"),
                member("a3", "3:101", "down"),
            ],
            ..Inputs::default()
        };
        let ranked =
            |instance: &str, verdict: &str| Ranked { instance: instance.into(), verdict: verdict.into() };
        let ranking = vec![ranked("a2", CHOSEN), ranked("a1", ELIGIBLE), ranked("a3", "its engine is down")];
        DecisionRecord { inputs: Some(inputs), ranking, ..DecisionRecord::default() }
    }

    #[test]
    fn a_stored_decision_is_made_again_and_a_bent_one_is_seen() {
        let text = stored().to_json();
        let read = DecisionRecord::from_json(&text).expect("it was just written");
        assert_eq!(replay(&read).map(|replay| replay.same), Ok(true));
        let bent = text.replace("3:100", "3:98");
        let bent = DecisionRecord::from_json(&bent).expect("it is one all the same");
        let again = replay(&bent).expect("it can be read");
        assert!(!again.same);
        assert_eq!(again.ranking[0].instance, "a1");
    }

    #[test]
    fn what_cannot_be_made_again_says_why() {
        assert_eq!(replay(&DecisionRecord::default()), Err(BadReplay::NoInputs));
        let mut record = stored();
        record.inputs.as_mut().expect("it has some").candidates[0].health = "fine".into();
        assert_eq!(replay(&record), Err(BadReplay::Unreadable("\"fine\" is no health".into())));
    }
}
