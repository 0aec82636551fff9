//! What an operator asked for, as JSON: one shape for the provider, the arbiter that carries it out and the tools that show
//! it. Fields are only added; what a later version wrote otherwise is kept as it is and shown as not understood.

use crate::decision::DecisionRecord;
use crate::drill::DrillRecord;
use serde::{Deserialize, Serialize};

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;
/// Longest text of a task; what makes it longer (the decision) is left out, since the history has it.
pub const BYTES_MAX: usize = 16 * 1024;

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// What is to be done.
    pub kind: Kind,
    /// How it stands.
    pub state: State,
    /// The set.
    pub replicaset: String,
    /// To whom; absent: the arbiter chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How long the fenced master waits for the target.
    pub timeout_ms: u64,
    /// Of a failover: whether the fence command may be run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fence: bool,
    /// Of a failover: the asker's word that every instance of the set which is not attached is off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub others_off: bool,
    /// Who asked, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// When it was asked for: milliseconds since 1970, as all times here.
    pub created_at_unix_millis: u64,
    /// When it is to begin; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at_unix_millis: Option<u64>,
    /// The generation of the provider's epochs in which it was asked for. In a later one, after a restore from a backup, it
    /// is not gone on with.
    pub generation: u64,
    /// From where it began; absent while it is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// When nobody waits for the target any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_unix_millis: Option<u64>,
    /// The old master is wanted back.
    #[serde(default)]
    pub abort_asked: bool,
    /// Its phases, in order.
    #[serde(default)]
    pub phases: Vec<PhaseBegan>,
    /// How it ended; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Of a drill only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillRecord>,
    /// The decision that it led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
}

/// What a task is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A planned change of master.
    Switchover,
    /// A change of master whatever may be lost.
    Failover,
    /// A fault that is brought about on purpose.
    Drill,
}

impl Kind {
    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Switchover => "switchover",
            Self::Failover => "failover",
            Self::Drill => "drill",
        }
    }
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for its time.
    Planned,
    /// It is under way.
    Running,
    /// It was done.
    Done,
    /// It ended without what was asked for.
    Failed,
    /// A person ended it.
    Aborted,
}

/// What was there when a switchover began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The master.
    pub master: String,
    /// Its term.
    pub term: u64,
}

/// When a phase began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseBegan {
    /// `planned`, `accepted`, `taken_up`, `check`, `strike`, `relinquish`, `catch_up`, `record`, `confirm`, `recover`, `return`,
    /// `done`, `failed` or `aborted`.
    pub name: String,
    /// When.
    pub at_unix_millis: u64,
}

/// How a task ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Who is master after it; absent: nobody, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// At which term.
    pub term: u64,
    /// Why it was not done, for people; empty where it was.
    #[serde(default)]
    pub why: String,
    /// The same for programs, as in a refusal.
    #[serde(default)]
    pub reason: String,
}

impl TaskRecord {
    /// As it is kept: one line, no longer than [`BYTES_MAX`] where leaving the decision out helps.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |record: &Self| serde_json::to_string(record).expect("texts and numbers always encode");
        let whole = text(self);
        if whole.len() <= BYTES_MAX { whole } else { text(&Self { decision: None, ..self.clone() }) }
    }

    /// From what is kept; `None` where this version does not understand it.
    #[must_use]
    pub fn from_json(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok().filter(|record: &Self| record.format == FORMAT)
    }

    /// Whether nothing will be done about it any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Done | State::Failed | State::Aborted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> TaskRecord {
        TaskRecord {
            format: FORMAT,
            kind: Kind::Switchover,
            fence: false,
            others_off: false,
            state: State::Aborted,
            replicaset: "orders-1".into(),
            to: Some("a2".into()),
            timeout_ms: 10_000,
            asked_by: Some("ann".into()),
            created_at_unix_millis: 1_000,
            start_at_unix_millis: Some(2_000),
            generation: 1,
            before: Some(Before { master: "a1".into(), term: 6 }),
            deadline_unix_millis: Some(12_000),
            abort_asked: true,
            phases: vec![PhaseBegan { name: "relinquish".into(), at_unix_millis: 2_001 }],
            outcome: Some(Outcome { master: Some("a1".into()), term: 7, ..Outcome::default() }),
            drill: None,
            decision: None,
        }
    }

    /// Coordinators of other versions read this.
    #[test]
    fn the_shape_is_pinned() {
        let text = record().to_json();
        assert_eq!(
            text,
            r#"{"format":1,"kind":"switchover","state":"aborted","replicaset":"orders-1","to":"a2","timeout_ms":10000,"asked_by":"ann","created_at_unix_millis":1000,"start_at_unix_millis":2000,"generation":1,"before":{"master":"a1","term":6},"deadline_unix_millis":12000,"abort_asked":true,"phases":[{"name":"relinquish","at_unix_millis":2001}],"outcome":{"master":"a1","term":7,"why":"","reason":""}}"#
        );
        assert_eq!(TaskRecord::from_json(&text), Some(record()));
    }

    #[test]
    fn what_a_later_version_wrote_is_not_guessed_at() {
        let text = record().to_json();
        let more = text.replacen("{\"format\"", "{\"new\":true,\"format\"", 1);
        assert_eq!(TaskRecord::from_json(&more), Some(record()), "a new field is passed over");
        for newer in [
            text.replacen("\"format\":1", "\"format\":2", 1),
            text.replace("switchover", "drain"),
            text.replace("\"aborted\"", "\"paused\""),
            "no JSON".to_owned(),
        ] {
            assert_eq!(TaskRecord::from_json(&newer), None, "{newer}");
        }
    }

    #[test]
    fn a_decision_that_is_too_long_is_left_to_the_history() {
        let decision = DecisionRecord { rule: "x".repeat(BYTES_MAX), ..DecisionRecord::default() };
        let long = TaskRecord { decision: Some(decision), ..record() };
        assert!(long.to_json().len() <= BYTES_MAX);
        assert_eq!(TaskRecord::from_json(&long.to_json()), Some(record()));
    }
}
