//! Drills, as they are asked for and as they are shown: one shape for `batonctl drill`, the task and the status of a set.

use baton_proto::v1;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A drill, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillAsked {
    /// Of this replica set.
    pub replicaset: String,
    /// `kill_engine` or `switchover`.
    pub fault: String,
    /// How many members besides the master must be fit to take over.
    pub spares: u32,
    /// What a crash may lose is accepted.
    pub accept_loss: bool,
    /// The old master is to lead again at the end.
    pub back: bool,
    /// How long the set may take to be whole again.
    pub timeout: Duration,
    /// When to begin, in milliseconds since 1970; `None`: at once.
    pub start_at_unix_millis: Option<u64>,
    /// Who asks, for people.
    pub by: String,
}

/// A drill in its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillRecord {
    /// `kill_engine` or `switchover`.
    pub fault: String,
    /// How many members besides the master must be fit to take over.
    pub spares: u32,
    /// What a crash may lose is accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_loss: bool,
    /// The old master is to lead again at the end.
    #[serde(default, rename = "return", skip_serializing_if = "std::ops::Not::not")]
    pub back: bool,
    /// How long its fault took; absent while it has not struck, and where nobody saw all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<DrillOutage>,
}

/// How long writes were refused by a drill, as the arbiter saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillOutage {
    /// The term that its fault led to.
    pub term: u64,
    /// From the order to the new master's confirmation, in microseconds.
    pub took_us: u64,
    /// The worst case of the settings, in microseconds.
    pub budget_us: u64,
}

impl DrillOutage {
    /// Whether it was within its budget.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.took_us <= self.budget_us
    }

    /// For the wire.
    #[must_use]
    pub fn to_wire(self) -> v1::DrillOutage {
        v1::DrillOutage { term: self.term, took_us: self.took_us, budget_us: self.budget_us }
    }

    /// From the wire.
    #[must_use]
    pub fn from_wire(outage: v1::DrillOutage) -> Self {
        Self { term: outage.term, took_us: outage.took_us, budget_us: outage.budget_us }
    }
}

/// The last drill of a set whose fault was brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrill {
    /// Its task.
    pub task: u64,
    /// `kill_engine` or `switchover`.
    pub fault: String,
    /// `done`, `failed` or `aborted`.
    pub state: String,
    /// When it ended (RFC 3339).
    pub at: String,
    /// How long its fault took; absent where nobody saw all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<DrillOutage>,
    /// Why it is not `done`; empty where it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl LastDrill {
    /// For the wire.
    #[must_use]
    pub fn to_wire(&self) -> v1::LastDrill {
        v1::LastDrill {
            task: self.task,
            fault: self.fault.clone(),
            state: self.state.clone(),
            at: self.at.clone(),
            outage: self.outage.map(DrillOutage::to_wire),
            why: self.why.clone(),
        }
    }

    /// From the wire.
    #[must_use]
    pub fn from_wire(last: &v1::LastDrill) -> Self {
        Self {
            task: last.task,
            fault: last.fault.clone(),
            state: last.state.clone(),
            at: last.at.clone(),
            outage: last.outage.map(DrillOutage::from_wire),
            why: last.why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coordinators of other versions read this.
    #[test]
    fn the_shape_in_a_task_is_pinned() {
        let outage = Some(DrillOutage { term: 7, took_us: 11_200, budget_us: 2_625_000 });
        let drill =
            DrillRecord { fault: "kill_engine".into(), spares: 1, accept_loss: true, back: true, outage };
        let text = serde_json::to_string(&drill).expect("it encodes");
        assert_eq!(
            text,
            r#"{"fault":"kill_engine","spares":1,"accept_loss":true,"return":true,"outage":{"term":7,"took_us":11200,"budget_us":2625000}}"#
        );
        assert_eq!(serde_json::from_str::<DrillRecord>(&text).expect("it is one"), drill);
        let bare: DrillRecord =
            serde_json::from_str(r#"{"fault":"switchover","spares":2}"#).expect("defaults");
        assert!(!bare.back && !bare.accept_loss && bare.outage.is_none());
    }

    #[test]
    fn what_is_on_its_budget_is_within_it() {
        let outage = |took_us| DrillOutage { term: 1, took_us, budget_us: 10 };
        assert!(outage(10).is_within() && !outage(11).is_within());
    }
}
