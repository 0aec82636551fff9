//! The record as JSON: the fields of the contract, in its order.

use super::{Document, FORMAT};
use baton_core::ids::{
    CoordinatorName, DataId, Endpoint, Epoch, Incarnation, InstanceName, ReplicaSetName, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{Pin, Record};
use baton_core::stragglers::StragglerTexts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Serialize, Deserialize)]
pub(in super::super) struct RecordDoc {
    format: u32,
    replicaset: String,
    term: u64,
    version: u64,
    master: Option<String>,
    endpoint: Option<String>,
    start: String,
    in_sync: Vec<String>,
    ack_quorum: u32,
    data_id: Option<String>,
    pinned: bool,
    reason: String,
    decided_by: String,
    epoch: String,
    at: String,
    /// `HOME-BOOT-RUN`, the first two in hexadecimal.
    #[serde(default)]
    incarnation: Option<String>,
    /// Absent where an older build wrote it: the epoch's.
    #[serde(default)]
    term_generation: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stragglers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stragglers_also: BTreeMap<String, Vec<String>>,
    /// When it failed over by itself, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failovers: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    over_budget: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pinned_for: Option<String>,
    /// When a pause ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pinned_until: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
}

impl From<&Record> for RecordDoc {
    fn from(record: &Record) -> Self {
        let stragglers = StragglerTexts::from(&record.stragglers);
        Self {
            format: FORMAT,
            replicaset: record.replicaset.to_string(),
            term: record.term.0,
            version: record.version.0,
            master: record.master.as_ref().map(ToString::to_string),
            endpoint: record.endpoint.as_ref().map(ToString::to_string),
            start: record.start.to_string(),
            in_sync: record.in_sync.iter().map(ToString::to_string).collect(),
            ack_quorum: record.ack_quorum,
            data_id: record.data_id.as_ref().map(ToString::to_string),
            pinned: record.pinned.is_some(),
            reason: record.reason.clone(),
            decided_by: record.decided_by.to_string(),
            epoch: record.epoch.to_string(),
            at: time_to_text(record.at_unix_millis),
            incarnation: record.incarnation.map(|it| it.to_string()),
            term_generation: Some(record.term_generation),
            stragglers: stragglers.first,
            stragglers_also: stragglers.also,
            failovers: record.failovers.iter().map(|at| time_to_text(*at)).collect(),
            over_budget: record.over_budget,
            pinned_for: record.pinned.map(|pin| super::settings::span_to_text(pin.span)),
            pinned_until: record
                .pinned
                .filter(|pin| pin.until_unix_millis > 0)
                .map(|pin| time_to_text(pin.until_unix_millis)),
            forced: record.forced,
        }
    }
}

impl Document for RecordDoc {
    type Value = Record;

    fn into_value(self) -> Result<Record, String> {
        let mut in_sync = BTreeSet::new();
        for name in &self.in_sync {
            let name = InstanceName::parse(name).map_err(|error| error.to_string())?;
            if !in_sync.insert(name) {
                return Err("in_sync names a member twice".to_owned());
            }
        }
        let text = |error: baton_core::ids::BadName| error.to_string();
        let stragglers = StragglerTexts { first: self.stragglers, also: self.stragglers_also };
        let epoch = self.epoch.parse::<Epoch>().map_err(text)?;
        let pin = Pin {
            // One that an older build wrote down has no end.
            span: super::settings::span_from(self.pinned_for)?.unwrap_or(Pin::FOR_GOOD),
            until_unix_millis: self.pinned_until.map(|it| time_from_text(&it)).transpose()?.unwrap_or(0),
        };
        let failovers: Result<Vec<_>, _> = self.failovers.iter().map(|at| time_from_text(at)).collect();
        Ok(Record {
            replicaset: ReplicaSetName::parse(&self.replicaset).map_err(text)?,
            term: Term(self.term),
            version: Version(self.version),
            master: self.master.map(|name| InstanceName::parse(&name)).transpose().map_err(text)?,
            endpoint: self.endpoint.map(|it| Endpoint(Arc::from(it))),
            incarnation: self.incarnation.map(|it| incarnation(&it)).transpose()?,
            start: self.start.parse::<Position>().map_err(|error| error.to_string())?,
            in_sync,
            stragglers: stragglers.try_into().map_err(text)?,
            failovers: crate::wire::newest(failovers?),
            over_budget: self.over_budget,
            ack_quorum: self.ack_quorum,
            data_id: self.data_id.map(|it| DataId(Arc::from(it))),
            pinned: self.pinned.then_some(pin),
            forced: self.forced,
            reason: self.reason,
            decided_by: CoordinatorName::parse(&self.decided_by).map_err(text)?,
            epoch,
            term_generation: self.term_generation.unwrap_or(epoch.generation),
            at_unix_millis: time_from_text(&self.at)?,
        })
    }
}

fn incarnation(text: &str) -> Result<Incarnation, String> {
    let bad = || format!("{text:?} is no incarnation: it is written HOME-BOOT-RUN");
    let parts: Vec<&str> = text.split('-').collect();
    let [home, boot, run] = parts.as_slice() else { return Err(bad()) };
    Ok(Incarnation {
        home: u64::from_str_radix(home, 16).map_err(|_| bad())?,
        boot: u64::from_str_radix(boot, 16).map_err(|_| bad())?,
        run: run.parse().map_err(|_| bad())?,
    })
}

/// Later than the end of the year 9999 there is no text for a time.
const MILLIS_MAX: u64 = 253_402_300_799_999;

/// For people; a clock that is off by millennia is shown as the last moment that has a text.
pub(super) fn time_to_text(unix_millis: u64) -> String {
    let since = Duration::from_millis(unix_millis.min(MILLIS_MAX));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

pub(super) fn time_from_text(text: &str) -> Result<u64, String> {
    let time: SystemTime =
        humantime::parse_rfc3339(text).map_err(|error| format!("{text:?} is no time: {error}"))?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| format!("{text:?} is before 1970"))?;
    u64::try_from(since.as_millis()).map_err(|_| format!("{text:?} is too far away"))
}
