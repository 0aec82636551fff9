//! The decision record as JSON: one shape for the history, `explain`, the log and the web page. The core makes the
//! value, the daemon writes it in this shape, tools read it. Fields are only added.

use crate::replay::Inputs;
use serde::{Deserialize, Serialize};

/// Why a replica set has the master that it has, or why it was left as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The set.
    pub replicaset: String,
    /// The term when the decision began.
    pub term_before: u64,
    /// The term that it made; the same as before where it was a refusal.
    pub term_after: u64,
    /// The failure class, by its name (`crashed`, `silent`, …), or `switchover`, `bootstrap`, `grow`, ….
    pub class: String,
    /// The rule that fired, in words.
    pub rule: String,
    /// What was known of each member.
    #[serde(default)]
    pub observed: Vec<Observed>,
    /// What the choice rested on, for `batonctl explain --replay`; absent for a first appointment, and where it would be too
    /// long to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// Every member in the order of the choice, the chosen one first.
    #[serde(default)]
    pub ranking: Vec<Ranked>,
    /// What was done, in order and in words.
    #[serde(default)]
    pub effects: Vec<String>,
    /// What may be lost by it, where a person or the settings accepted that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// How long each phase took.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// When, in milliseconds since 1970 of the decider's wall clock.
    pub at_unix_millis: u64,
    /// Which arbiter.
    pub decided_by: String,
    /// In which epoch of the lock (`GENERATION.NUMBER`).
    pub epoch: String,
}

/// A text that is no decision record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a decision record cannot be read: {0}")]
pub struct BadDecision(String);

impl DecisionRecord {
    /// As every reader of it gets it: one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always encode")
    }

    /// From what a writer of any version wrote; fields that are not known here are skipped.
    ///
    /// # Errors
    /// [`BadDecision`] for what is no JSON of this shape.
    pub fn from_json(text: &str) -> Result<Self, BadDecision> {
        serde_json::from_str(text).map_err(|error| BadDecision(error.to_string()))
    }
}

/// What was known of one member at the moment of the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Who.
    pub instance: String,
    /// How long ago its last beat came, in milliseconds; absent where none ever did.
    pub seen_ago_ms: Option<u64>,
    /// `up`, `down`, `stalled` or `unknown`.
    pub health: String,
    /// `TERM:OFFSET` or `unknown`.
    pub position: String,
    /// Whether it was in the recorded in-sync set.
    pub in_sync: bool,
    /// How its guard stood to the mastership, in words.
    pub stand: String,
}

/// One row of the ranking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked {
    /// Who.
    pub instance: String,
    /// [`CHOSEN`], [`ELIGIBLE`], or why it was refused, in words.
    pub verdict: String,
}

/// The verdict of the one that was chosen.
pub const CHOSEN: &str = "chosen";
/// The verdict of one that could have been chosen.
pub const ELIGIBLE: &str = "eligible";

/// One phase of a failover against what `timing` allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// By the design's word: `evidence`, `sever`, `record`, `promote`, ….
    pub name: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// How long it may take, in microseconds; absent where nothing bounds it.
    pub budget_us: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tools of other people read this: a changed name here is a broken tool there.
    #[test]
    fn the_shape_is_pinned() {
        let decision = DecisionRecord {
            replicaset: "orders-1".into(),
            term_before: 6,
            term_after: 7,
            class: "crashed".into(),
            rule: "the engine of a1 ended".into(),
            observed: vec![Observed {
                instance: "a2".into(),
                seen_ago_ms: Some(12),
                health: "up".into(),
                position: "6:5120".into(),
                in_sync: true,
                stand: "standby".into(),
            }],
            ranking: vec![Ranked { instance: "a2".into(), verdict: CHOSEN.into() }],
            effects: vec!["record a2 at term 7".into()],
            accepted: None,
            inputs: None,
            phases: vec![Phase { name: "sever".into(), took_us: 900, budget_us: Some(250_000) }],
            at_unix_millis: 1_000,
            decided_by: "host-b".into(),
            epoch: "1.12".into(),
        };
        let text = decision.to_json();
        assert_eq!(
            text,
            r#"{"replicaset":"orders-1","term_before":6,"term_after":7,"class":"crashed","rule":"the engine of a1 ended","observed":[{"instance":"a2","seen_ago_ms":12,"health":"up","position":"6:5120","in_sync":true,"stand":"standby"}],"ranking":[{"instance":"a2","verdict":"chosen"}],"effects":["record a2 at term 7"],"phases":[{"name":"sever","took_us":900,"budget_us":250000}],"at_unix_millis":1000,"decided_by":"host-b","epoch":"1.12"}"#
        );
        assert_eq!(DecisionRecord::from_json(&text), Ok(decision));
        assert!(DecisionRecord::from_json("{}").is_err());
    }

    #[test]
    fn a_newer_writer_with_more_fields_is_understood() {
        let text = r#"{"replicaset":"s","term_before":1,"term_after":1,"class":"silent","rule":"r",
            "at_unix_millis":1,"decided_by":"h","epoch":"1.1","something_new":true}"#;
        let decision = DecisionRecord::from_json(text).expect("unknown fields are skipped");
        assert!(decision.ranking.is_empty());
    }
}
