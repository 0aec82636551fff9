//! The JSON of answers that have no shape of their own in the client: thin, with the names of the wire.

use crate::render::state_word;
use baton_client::OperatorError;
use baton_client::decision::DecisionRecord;
use baton_client::drill::DrillOutage;
use baton_client::wire::record_from_wire;
use baton_proto::v1::{MastersChange, OperatorTask, Refusal, SetHistory, StatusResponse, TimingResponse};
use baton_provider::Restored;
use baton_provider::backup::Header;
use baton_provider::stateboard::RestoreDone;
use serde_json::{Value, json};
use std::path::Path;

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The shape of the coordinators' `/v1/masters`.
pub(crate) fn masters(change: &MastersChange) -> Value {
    let master = |entry: &baton_proto::v1::MasterEntry| {
        json!({
            "replicaset": entry.replicaset, "term": entry.term, "master": filled(&entry.master),
            "endpoint": filled(&entry.endpoint), "state": entry.state,
        })
    };
    json!({"revision": change.revision, "masters": change.masters.iter().map(master).collect::<Vec<_>>()})
}

pub(crate) fn history(history: &SetHistory) -> Value {
    let item = |item: &baton_proto::v1::SetHistoryItem| {
        // A decision of another version that cannot be read is shown as it is rather than not at all.
        let decision = match DecisionRecord::from_json(&item.decision) {
            Ok(decision) => json!(decision),
            Err(_) => json!(filled(&item.decision)),
        };
        json!({"record": item.record.as_ref().map(record_from_wire), "decision": decision,
            "drill": item.drill.map(outage)})
    };
    history.items.iter().map(item).collect()
}

fn outage(outage: baton_proto::v1::DrillOutage) -> Value {
    let outage = DrillOutage::from_wire(outage);
    json!({"term": outage.term, "took_us": outage.took_us, "budget_us": outage.budget_us,
        "within_budget": outage.is_within()})
}

fn drill(drill: &baton_proto::v1::TaskDrill) -> Value {
    json!({"fault": drill.fault, "spares": drill.spares, "accept_loss": drill.accept_loss, "return": drill.back,
        "outage": drill.outage.map(outage)})
}

pub(crate) fn task(task: &OperatorTask, decision: Option<DecisionRecord>) -> Value {
    let phase = |phase: &baton_proto::v1::TaskPhase| json!({"name": phase.name, "at_unix_millis": phase.at_unix_millis});
    json!({
        "task": task.id, "replicaset": task.replicaset, "state": state_word(task.state()),
        "term_before": task.term_before, "term_after": task.term_after, "master": filled(&task.master),
        "decision": decision, "refusal": task.refusal.as_ref().map(refusal), "kind": filled(&task.kind),
        "to": filled(&task.to), "old_master": filled(&task.old_master), "timeout_us": task.timeout_us,
        "asked_by": filled(&task.asked_by), "created_at_unix_millis": task.created_at_unix_millis,
        "start_at_unix_millis": task.start_at_unix_millis, "deadline_unix_millis": task.deadline_unix_millis,
        "abort_asked": task.abort_asked, "waits_for": filled(&task.waits_for),
        "phases": task.phases.iter().map(phase).collect::<Vec<_>>(), "body": filled(&task.body),
        "drill": task.drill.as_ref().map(drill),
    })
}

pub(crate) fn timing(timing: &TimingResponse) -> Value {
    let class = |class: &baton_proto::v1::ClassTiming| {
        let part = |part: &baton_proto::v1::TimingPart| json!({"what": part.what, "span_us": part.span_us});
        let parts: Vec<Value> = class.parts.iter().map(part).collect();
        json!({"class": class.class, "worst_us": class.worst_us, "parts": parts})
    };
    json!({
        "lease_ttl_us": timing.lease_ttl_us, "stall_timeout_us": timing.stall_timeout_us,
        "clock_drift_ppm": timing.clock_drift_ppm,
        "classes": timing.classes.iter().map(class).collect::<Vec<_>>(),
    })
}

pub(crate) fn board_status(status: &StatusResponse) -> Value {
    let lock = status.lock.as_ref();
    let epoch = lock.and_then(|lock| lock.epoch).unwrap_or_default();
    let holder = lock.and_then(|lock| lock.holder.as_ref());
    json!({
        "version": status.version, "revision": status.revision, "generation": epoch.generation,
        "epoch": format!("{}.{}", epoch.generation, epoch.number),
        "holder": holder.map(|holder| json!({"coordinator": holder.coordinator, "address": holder.address})),
        "waiting": status.waiting, "records": status.records, "members": status.members,
        "format": status.format, "uptime_us": status.uptime_us, "file_bytes": status.file_bytes,
        "free_bytes": status.free_bytes, "full": status.full,
        "restored": status.restored.map(|it| json!({
            "backup_at_unix_millis": it.backup_at_unix_millis, "backup_revision": it.backup_revision,
            "at_unix_millis": it.at_unix_millis,
        })),
    })
}

pub(crate) fn board_backup(file: &Path, bytes: u64, header: &Header) -> Value {
    json!({
        "file": file.display().to_string(), "bytes": bytes, "items": header.items,
        "revision": header.revision.0, "epoch": header.epoch.to_string(),
        "at_unix_millis": header.at_unix_millis, "version": header.version,
    })
}

pub(crate) fn board_restored(header: &Header, done: &RestoreDone) -> Value {
    let Restored { backup_at_unix_millis, backup_revision, at_unix_millis } = done.restored;
    json!({
        "revision": done.revision.0, "generation": done.generation, "records": done.records,
        "members": done.members, "items": header.items, "kept_as": filled(&done.kept_as),
        "restored": {
            "backup_at_unix_millis": backup_at_unix_millis, "backup_revision": backup_revision.0,
            "at_unix_millis": at_unix_millis,
        },
    })
}

pub(crate) fn board_failure(reason: &str, message: &str) -> Value {
    json!({"error": {"reason": reason, "message": message, "detail": null}})
}

fn refusal(refusal: &Refusal) -> Value {
    let facts: std::collections::BTreeMap<_, _> = refusal.facts.iter().collect();
    json!({"reason": refusal.reason, "facts": facts, "what_to_do": refusal.what_to_do})
}

pub(crate) fn failure(message: &str, error: Option<&OperatorError>) -> Value {
    let (reason, detail) = match error {
        Some(OperatorError::Refused { refusal: Some(detail), .. }) => {
            (detail.reason.as_str(), refusal(detail))
        }
        Some(OperatorError::Refused { .. }) => ("refused", Value::Null),
        Some(OperatorError::Unreachable { tried }) => {
            let tried = tried.iter().map(|(address, cause)| json!({"endpoint": address, "cause": cause}));
            ("unreachable", json!({"tried": tried.collect::<Vec<_>>()}))
        }
        Some(OperatorError::OutcomeUnknown { .. }) => ("outcome_unknown", Value::Null),
        Some(OperatorError::BadAnswer(_)) => ("bad_answer", Value::Null),
        None => ("bad_request", Value::Null),
    };
    json!({"error": {"reason": reason, "message": message, "detail": detail}})
}
