//! What would become of a replica set if something were lost: one shape for `batonctl what-if --json` and the wire.

use baton_proto::v1;
use serde::{Deserialize, Serialize};

/// The forecast of one set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastStatus {
    /// The set.
    pub replicaset: String,
    /// The master now.
    pub master: Option<String>,
    /// Which of its members would be lost.
    pub lost: Vec<String>,
    /// `none_now`, `stays`, `goes_on`, `stops`, `replaced` or `no_successor`.
    pub fate: String,
    /// Who would take over.
    pub successor: Option<String>,
    /// Why writes would stop, or nobody would take over.
    pub why: Option<String>,
    /// The members as the choice would rank them, best first.
    pub ranking: Vec<ForecastRank>,
    /// The longest that writes would be refused, in milliseconds, where somebody takes over.
    pub within_ms: Option<u64>,
    /// Where too few replicas would be left for commits that wait: for how many they wait, and how many would be left.
    pub commits_short: Option<CommitsShort>,
    /// What may be lost by it, as far as anybody knows (a forced failover).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_lose: Option<String>,
    /// The guard rails of a drill, those that hold too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rails: Vec<RailStatus>,
}

/// One guard rail of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RailStatus {
    /// A stable word for programs.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was seen, for people.
    pub seen: String,
}

/// A member in the ranking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastRank {
    /// Who.
    pub instance: String,
    /// `chosen`, `eligible`, or why it is refused.
    pub verdict: String,
}

/// Too few replicas for commits that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitsShort {
    /// For how many replicas a commit waits.
    pub wait_for: u32,
    /// How many would be left.
    pub left: u32,
}

impl From<&ForecastStatus> for v1::Forecast {
    fn from(forecast: &ForecastStatus) -> Self {
        let rail = |rail: &RailStatus| v1::ForecastRail {
            name: rail.name.clone(),
            holds: rail.holds,
            seen: rail.seen.clone(),
        };
        let rank = |rank: &ForecastRank| v1::ForecastRank {
            instance: rank.instance.clone(),
            verdict: rank.verdict.clone(),
        };
        Self {
            replicaset: forecast.replicaset.clone(),
            master: forecast.master.clone().unwrap_or_default(),
            lost: forecast.lost.clone(),
            fate: forecast.fate.clone(),
            successor: forecast.successor.clone().unwrap_or_default(),
            why: forecast.why.clone().unwrap_or_default(),
            ranking: forecast.ranking.iter().map(rank).collect(),
            within_ms: forecast.within_ms,
            commits_wait_for: forecast.commits_short.map(|short| short.wait_for),
            replicas_left: forecast.commits_short.map_or(0, |short| short.left),
            may_lose: forecast.may_lose.clone().unwrap_or_default(),
            rails: forecast.rails.iter().map(rail).collect(),
        }
    }
}

impl From<v1::Forecast> for ForecastStatus {
    fn from(forecast: v1::Forecast) -> Self {
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let left = forecast.replicas_left;
        let rail =
            |rail: v1::ForecastRail| RailStatus { name: rail.name, holds: rail.holds, seen: rail.seen };
        let rank = |rank: v1::ForecastRank| ForecastRank { instance: rank.instance, verdict: rank.verdict };
        Self {
            replicaset: forecast.replicaset,
            master: filled(forecast.master),
            lost: forecast.lost,
            fate: forecast.fate,
            successor: filled(forecast.successor),
            why: filled(forecast.why),
            ranking: forecast.ranking.into_iter().map(rank).collect(),
            within_ms: forecast.within_ms,
            commits_short: forecast.commits_wait_for.map(|wait_for| CommitsShort { wait_for, left }),
            may_lose: filled(forecast.may_lose),
            rails: forecast.rails.into_iter().map(rail).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_is_the_same_after_the_wire() {
        let whole = ForecastStatus {
            replicaset: "orders-1".into(),
            master: Some("a1".into()),
            lost: vec!["a1".into()],
            fate: "replaced".into(),
            successor: Some("a2".into()),
            why: Some("for the test".into()),
            ranking: vec![ForecastRank { instance: "a2".into(), verdict: "chosen".into() }],
            within_ms: Some(4_500),
            commits_short: Some(CommitsShort { wait_for: 2, left: 0 }),
            may_lose: Some("200 bytes".into()),
            rails: vec![RailStatus { name: "spares".into(), holds: true, seen: "a2".into() }],
        };
        for forecast in [whole, ForecastStatus::default()] {
            assert_eq!(ForecastStatus::from(v1::Forecast::from(&forecast)), forecast);
        }
    }
}
