//! The lock, snapshots, updates and outcomes on the wire.

use super::{
    Malformed, epoch_from_wire, epoch_to_wire, member_from_wire, member_to_wire, record_from_wire,
    record_to_wire, required, settings_from_wire, settings_to_wire, task_from_wire, task_to_wire,
};
use baton_board::{
    AppointOutcome, Candidate, Identity, Item, LockSecret, LockToken, LockView, Refusal, RefusalReason,
    Restored, SettingsOutcome, Snapshot, Status, Update, WriteOutcome,
};
use baton_core::contender::Bid;
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, InstanceName, ReplicaSetName, Revision, TaskId,
};
use baton_proto::v1;
use std::collections::BTreeMap;
use std::sync::Arc;
use v1::refused::Reason;

/// Out.
#[must_use]
pub fn identity_to_wire(identity: &Identity) -> v1::ClusterIdentity {
    v1::ClusterIdentity { cluster: identity.cluster.to_string(), secret_hash: identity.secret_hash.to_vec() }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn identity_from_wire(identity: Option<v1::ClusterIdentity>) -> Result<Identity, Malformed> {
    let identity = required(identity, "the cluster's identity")?;
    Ok(Identity {
        cluster: ClusterName::parse(&identity.cluster)?,
        secret_hash: array("the hash of the secret", &identity.secret_hash)?,
    })
}

/// Out.
#[must_use]
pub fn candidate_to_wire(candidate: &Candidate) -> v1::Candidate {
    v1::Candidate { coordinator: candidate.coordinator.to_string(), address: candidate.address.to_string() }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn candidate_from_wire(candidate: v1::Candidate) -> Result<Candidate, Malformed> {
    Ok(Candidate {
        coordinator: CoordinatorName::parse(&candidate.coordinator)?,
        address: Endpoint(Arc::from(candidate.address)),
    })
}

/// Out.
#[must_use]
pub fn bid_to_wire(bid: &Bid) -> v1::Bid {
    v1::Bid { by: bid.by.to_string(), address: bid.address.to_string(), hears: bid.hears, number: bid.number }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn bid_from_wire(bid: v1::Bid) -> Result<Bid, Malformed> {
    Ok(Bid {
        by: CoordinatorName::parse(&bid.by)?,
        address: Endpoint(Arc::from(bid.address)),
        hears: bid.hears,
        number: bid.number,
    })
}

/// Out.
#[must_use]
pub fn token_to_wire(token: LockToken) -> v1::LockToken {
    v1::LockToken { epoch: Some(epoch_to_wire(token.epoch)), secret: token.secret.0.to_be_bytes().to_vec() }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn token_from_wire(token: Option<v1::LockToken>) -> Result<LockToken, Malformed> {
    let token = required(token, "the lock's token")?;
    Ok(LockToken { epoch: epoch_from_wire(token.epoch)?, secret: secret_from_wire(&token.secret)? })
}

/// In.
///
/// # Errors
/// [`Malformed`] where it has another length.
pub fn secret_from_wire(secret: &[u8]) -> Result<LockSecret, Malformed> {
    array("the lock's secret", secret).map(u128::from_be_bytes).map(LockSecret)
}

/// Out.
#[must_use]
pub fn lock_to_wire(lock: &LockView) -> v1::LockView {
    v1::LockView {
        epoch: Some(epoch_to_wire(lock.epoch)),
        holder: lock.holder.as_ref().map(candidate_to_wire),
        bid: lock.bid.as_ref().map(bid_to_wire),
    }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn lock_from_wire(lock: Option<v1::LockView>) -> Result<LockView, Malformed> {
    let lock = required(lock, "the lock")?;
    Ok(LockView {
        epoch: epoch_from_wire(lock.epoch)?,
        holder: lock.holder.map(candidate_from_wire).transpose()?,
        bid: lock.bid.map(bid_from_wire).transpose()?,
    })
}

/// Out.
#[must_use]
pub fn snapshot_to_wire(snapshot: &Snapshot) -> v1::Snapshot {
    v1::Snapshot {
        revision: snapshot.revision.0,
        lock: Some(lock_to_wire(&snapshot.lock)),
        records: snapshot.records.values().map(record_to_wire).collect(),
        members: snapshot.members.values().map(member_to_wire).collect(),
        settings: Some(settings_to_wire(&snapshot.settings)),
        tasks: snapshot.tasks.values().map(task_to_wire).collect(),
    }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn snapshot_from_wire(snapshot: v1::Snapshot) -> Result<Snapshot, Malformed> {
    let mut records = BTreeMap::new();
    for record in snapshot.records {
        let record = record_from_wire(record)?;
        records.insert(record.replicaset.clone(), record);
    }
    let mut members = BTreeMap::new();
    for member in snapshot.members {
        let member = member_from_wire(member)?;
        members.insert((member.replicaset.clone(), member.instance.clone()), member);
    }
    let mut tasks = BTreeMap::new();
    for task in snapshot.tasks {
        let task = task_from_wire(task)?;
        tasks.insert(task.id, task);
    }
    Ok(Snapshot {
        revision: Revision(snapshot.revision),
        lock: lock_from_wire(snapshot.lock)?,
        records,
        members,
        settings: settings_from_wire(required(snapshot.settings, "settings")?)?,
        tasks,
    })
}

/// Out.
#[must_use]
pub fn update_to_wire(update: &Update) -> v1::Update {
    use v1::item::Item as Wire;
    let item = |item: &Item| match item {
        Item::Record(record) => Wire::Record(record_to_wire(record)),
        Item::Member(member) => Wire::Member(member_to_wire(member)),
        Item::MemberRemoved { replicaset, instance } => {
            Wire::MemberRemoved(member_key_to_wire(replicaset, instance))
        }
        Item::Settings(settings) => Wire::Settings(settings_to_wire(settings)),
        Item::Lock(lock) => Wire::Lock(lock_to_wire(lock)),
        Item::Task(task) => Wire::Task(task_to_wire(task)),
        Item::TaskRemoved(id) => Wire::TaskRemoved(v1::TaskKey { id: id.0 }),
    };
    let items = update.items.iter().map(|it| v1::Item { item: Some(item(it)) }).collect();
    v1::Update { revision: update.revision.0, items }
}

/// In. An item of a kind that this version does not know is left out: it is about something that it does not use.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn update_from_wire(update: v1::Update) -> Result<Update, Malformed> {
    use v1::item::Item as Wire;
    let mut items = Vec::with_capacity(update.items.len());
    for item in update.items.into_iter().filter_map(|it| it.item) {
        items.push(match item {
            Wire::Record(record) => Item::Record(Box::new(record_from_wire(record)?)),
            Wire::Member(member) => Item::Member(Box::new(member_from_wire(member)?)),
            Wire::MemberRemoved(key) => {
                let (replicaset, instance) = member_key_from_wire(Some(key))?;
                Item::MemberRemoved { replicaset, instance }
            }
            Wire::Settings(settings) => Item::Settings(Box::new(settings_from_wire(settings)?)),
            Wire::Lock(lock) => Item::Lock(lock_from_wire(Some(lock))?),
            Wire::Task(task) => Item::Task(Box::new(task_from_wire(task)?)),
            Wire::TaskRemoved(key) => Item::TaskRemoved(TaskId(key.id)),
        });
    }
    Ok(Update { revision: Revision(update.revision), items })
}

/// Out.
#[must_use]
pub fn member_key_to_wire(replicaset: &ReplicaSetName, instance: &InstanceName) -> v1::MemberKey {
    v1::MemberKey { replicaset: replicaset.to_string(), instance: instance.to_string() }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn member_key_from_wire(key: Option<v1::MemberKey>) -> Result<(ReplicaSetName, InstanceName), Malformed> {
    let key = required(key, "the member's key")?;
    Ok((ReplicaSetName::parse(&key.replicaset)?, InstanceName::parse(&key.instance)?))
}

/// Out.
#[must_use]
pub fn appointed_to_wire(outcome: &AppointOutcome) -> v1::AppointResponse {
    use v1::appoint_response::Outcome;
    let outcome = match outcome {
        AppointOutcome::Applied(revision) => Outcome::Applied(v1::Applied { revision: revision.0 }),
        AppointOutcome::Conflict(sets) => Outcome::Conflict(v1::Conflict {
            sets: sets
                .iter()
                .map(|(set, current)| v1::ConflictingSet {
                    replicaset: set.to_string(),
                    current: current.as_ref().map(record_to_wire),
                })
                .collect(),
        }),
        AppointOutcome::StaleEpoch(current) => {
            Outcome::StaleEpoch(v1::StaleEpoch { current: Some(epoch_to_wire(*current)) })
        }
        AppointOutcome::Refused(refusal) => Outcome::Refused(refusal_to_wire(refusal)),
    };
    v1::AppointResponse { outcome: Some(outcome) }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn appointed_from_wire(response: v1::AppointResponse) -> Result<AppointOutcome, Malformed> {
    use v1::appoint_response::Outcome;
    Ok(match required(response.outcome, "the outcome")? {
        Outcome::Applied(applied) => AppointOutcome::Applied(Revision(applied.revision)),
        Outcome::Conflict(conflict) => {
            let mut sets = BTreeMap::new();
            for set in conflict.sets {
                let current = set.current.map(record_from_wire).transpose()?;
                sets.insert(ReplicaSetName::parse(&set.replicaset)?, current);
            }
            AppointOutcome::Conflict(sets)
        }
        Outcome::StaleEpoch(stale) => AppointOutcome::StaleEpoch(epoch_from_wire(stale.current)?),
        Outcome::Refused(refused) => AppointOutcome::Refused(refusal_from_wire(refused)?),
    })
}

/// Out.
#[must_use]
pub fn written_to_wire(outcome: &WriteOutcome) -> v1::WriteResponse {
    use v1::write_response::Outcome;
    let outcome = match outcome {
        WriteOutcome::Applied(revision) => Outcome::Applied(v1::Applied { revision: revision.0 }),
        WriteOutcome::StaleEpoch(current) => {
            Outcome::StaleEpoch(v1::StaleEpoch { current: Some(epoch_to_wire(*current)) })
        }
        WriteOutcome::Refused(refusal) => Outcome::Refused(refusal_to_wire(refusal)),
    };
    v1::WriteResponse { outcome: Some(outcome) }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn written_from_wire(response: v1::WriteResponse) -> Result<WriteOutcome, Malformed> {
    use v1::write_response::Outcome;
    Ok(match required(response.outcome, "the outcome")? {
        Outcome::Applied(applied) => WriteOutcome::Applied(Revision(applied.revision)),
        Outcome::StaleEpoch(stale) => WriteOutcome::StaleEpoch(epoch_from_wire(stale.current)?),
        Outcome::Refused(refused) => WriteOutcome::Refused(refusal_from_wire(refused)?),
    })
}

/// Out.
#[must_use]
pub fn settings_outcome_to_wire(outcome: &SettingsOutcome) -> v1::PutSettingsResponse {
    use v1::put_settings_response::Outcome;
    let outcome = match outcome {
        SettingsOutcome::Applied(revision) => Outcome::Applied(v1::Applied { revision: revision.0 }),
        SettingsOutcome::Conflict(current) => Outcome::Conflict(settings_to_wire(current)),
        SettingsOutcome::Refused(refusal) => Outcome::Refused(refusal_to_wire(refusal)),
    };
    v1::PutSettingsResponse { outcome: Some(outcome) }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn settings_outcome_from_wire(response: v1::PutSettingsResponse) -> Result<SettingsOutcome, Malformed> {
    use v1::put_settings_response::Outcome;
    Ok(match required(response.outcome, "the outcome")? {
        Outcome::Applied(applied) => SettingsOutcome::Applied(Revision(applied.revision)),
        Outcome::Conflict(current) => SettingsOutcome::Conflict(Box::new(settings_from_wire(current)?)),
        Outcome::Refused(refused) => SettingsOutcome::Refused(refusal_from_wire(refused)?),
    })
}

/// Out.
#[must_use]
pub fn status_to_wire(status: &Status, version: &str) -> v1::StatusResponse {
    v1::StatusResponse {
        revision: status.revision.0,
        lock: Some(lock_to_wire(&status.lock)),
        waiting: status.waiting,
        records: status.records,
        members: status.members,
        version: version.to_owned(),
        restored: status.restored.map(restored_to_wire),
        ..v1::StatusResponse::default()
    }
}

/// In.
///
/// # Errors
/// [`Malformed`] says what is wrong with it.
pub fn status_from_wire(status: v1::StatusResponse) -> Result<Status, Malformed> {
    Ok(Status {
        revision: Revision(status.revision),
        lock: lock_from_wire(status.lock)?,
        waiting: status.waiting,
        records: status.records,
        members: status.members,
        restored: status.restored.map(restored_from_wire),
    })
}

/// Out.
#[must_use]
pub fn restored_to_wire(restored: Restored) -> v1::Restored {
    v1::Restored {
        backup_at_unix_millis: restored.backup_at_unix_millis,
        backup_revision: restored.backup_revision.0,
        at_unix_millis: restored.at_unix_millis,
    }
}

/// In.
#[must_use]
pub fn restored_from_wire(restored: v1::Restored) -> Restored {
    Restored {
        backup_at_unix_millis: restored.backup_at_unix_millis,
        backup_revision: Revision(restored.backup_revision),
        at_unix_millis: restored.at_unix_millis,
    }
}

/// The one table of reasons.
const REASONS: [(RefusalReason, Reason); 14] = [
    (RefusalReason::Other, Reason::Other),
    (RefusalReason::Empty, Reason::Empty),
    (RefusalReason::Duplicate, Reason::Duplicate),
    (RefusalReason::Version, Reason::Version),
    (RefusalReason::TermFell, Reason::TermFell),
    (RefusalReason::TermReused, Reason::TermReused),
    (RefusalReason::MasterNotInSync, Reason::MasterNotInSync),
    (RefusalReason::InSyncGrew, Reason::InSyncGrew),
    (RefusalReason::BadTombstone, Reason::BadTombstone),
    (RefusalReason::WrongEpoch, Reason::WrongEpoch),
    (RefusalReason::Limit, Reason::Limit),
    (RefusalReason::InUse, Reason::InUse),
    (RefusalReason::Timing, Reason::Timing),
    (RefusalReason::Moving, Reason::Moving),
];

pub(super) fn refusal_to_wire(refusal: &Refusal) -> v1::Refused {
    let reason =
        REASONS.iter().find(|(ours, _)| *ours == refusal.reason).map_or(Reason::Other, |(_, wire)| *wire);
    v1::Refused {
        reason: reason.into(),
        replicaset: refusal.replicaset.as_ref().map(ToString::to_string).unwrap_or_default(),
        detail: refusal.detail.clone(),
    }
}

pub(super) fn refusal_from_wire(refused: v1::Refused) -> Result<Refusal, Malformed> {
    let wire = refused.reason();
    let reason =
        REASONS.iter().find(|(_, theirs)| *theirs == wire).map_or(RefusalReason::Other, |(ours, _)| *ours);
    let replicaset = match refused.replicaset.as_str() {
        "" => None,
        name => Some(ReplicaSetName::parse(name)?),
    };
    Ok(Refusal { reason, replicaset, detail: refused.detail })
}

fn array<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed::Length { what, found: bytes.len(), expected: N })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_in_the_table() {
        for (ours, wire) in REASONS {
            assert_eq!(REASONS.iter().filter(|(other, _)| *other == ours).count(), 1, "{ours:?}");
            assert_eq!(REASONS.iter().filter(|(_, other)| *other == wire).count(), 1, "{wire:?}");
            let refusal = Refusal { reason: ours, replicaset: None, detail: "why".into() };
            assert_eq!(refusal_from_wire(refusal_to_wire(&refusal)), Ok(refusal.clone()));
        }
        let newer = v1::Refused { reason: 99, ..v1::Refused::default() };
        assert_eq!(refusal_from_wire(newer).map(|it| it.reason), Ok(RefusalReason::Other));
    }

    #[test]
    fn a_token_of_the_wrong_length_is_refused() {
        let token = v1::LockToken { epoch: Some(v1::Epoch::default()), secret: vec![1; 15] };
        assert!(matches!(token_from_wire(Some(token)), Err(Malformed::Length { found: 15, .. })));
    }
}
