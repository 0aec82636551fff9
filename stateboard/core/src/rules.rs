//! What may be written at all, whoever keeps the records: the rules of appointments, members and settings as pure
//! functions. The board asks them, and so does every provider that has no board, so that all refuse the same requests
//! for the same reasons. They know no lock, no revision and nothing of how conflicts are found.

use crate::limits::Limits;
use crate::outcome::{Refusal, RefusalReason};
use baton_core::contender::Bid;
use baton_core::ids::{Epoch, InstanceName, Term};
use baton_core::record::{Change, Member, Move, MovePhase, Record, Settings};
use baton_core::task::{StoredTask, TASK_ID_END};
use baton_core::timing::Timing;
use std::collections::BTreeSet;

/// Whether a request is one: something, not too much, and no set twice.
///
/// # Errors
/// The rule that it breaks.
pub fn check_request(limits: &Limits, changes: &[Change]) -> Result<(), Refusal> {
    if changes.is_empty() {
        return Err(Refusal::new(RefusalReason::Empty, None, "no change was asked for"));
    }
    if changes.len() > limits.changes_per_request {
        let detail = format!(
            "{} changes in one request, at most {} are taken",
            changes.len(),
            limits.changes_per_request
        );
        return Err(Refusal::new(RefusalReason::Limit, None, detail));
    }
    let mut seen = BTreeSet::new();
    for change in changes {
        let set = &change.record.replicaset;
        if !seen.insert(set) {
            return Err(Refusal::new(RefusalReason::Duplicate, Some(set), "named twice in one request"));
        }
    }
    Ok(())
}

/// Whether one change may be made by the holder of `epoch` to what is recorded now.
///
/// # Errors
/// The rule that it breaks.
pub fn check_change(
    limits: &Limits,
    epoch: Epoch,
    change: &Change,
    before: Option<&Record>,
) -> Result<(), Refusal> {
    check_shape(limits, epoch, change)?;
    let record = &change.record;
    record.check_follows(before).map_err(|error| Refusal::of_change(&record.replicaset, &error))
}

/// The part of [`check_change`] that does not look at what is recorded.
pub(crate) fn check_shape(limits: &Limits, epoch: Epoch, change: &Change) -> Result<(), Refusal> {
    let record = &change.record;
    let set = &record.replicaset;
    check_sizes(limits, change)?;
    if record.epoch != epoch {
        let detail = format!("the record names epoch {}, the request epoch {epoch}", record.epoch);
        return Err(Refusal::new(RefusalReason::WrongEpoch, Some(set), detail));
    }
    if record.term == Term(0) {
        return Err(Refusal::new(RefusalReason::TermFell, Some(set), "term 0 belongs to nobody"));
    }
    if record.master.is_none() && (!record.in_sync.is_empty() || record.endpoint.is_some()) {
        let detail = "a record without a master has no in-sync set and no endpoint";
        return Err(Refusal::new(RefusalReason::BadTombstone, Some(set), detail));
    }
    Ok(())
}

fn check_sizes(limits: &Limits, change: &Change) -> Result<(), Refusal> {
    let record = &change.record;
    let limit = |what: &str, found: usize, most: usize| {
        if found <= most {
            return Ok(());
        }
        let detail = format!("{what} of {found}, at most {most} are taken");
        Err(Refusal::new(RefusalReason::Limit, Some(&record.replicaset), detail))
    };
    let text = limits.text_bytes;
    limit("an in-sync set", record.in_sync.len(), limits.members_per_set)?;
    limit("a decision (bytes)", change.decision.len(), limits.decision_bytes)?;
    limit("a reason (bytes)", record.reason.len(), text)?;
    limit("an endpoint (bytes)", record.endpoint.as_ref().map_or(0, |it| it.0.len()), text)?;
    limit("a data identity (bytes)", record.data_id.as_ref().map_or(0, |it| it.0.len()), text)
}

/// Whether a member may be put. `of_its_set` counts the members that the set has besides a new one; `None` where it is
/// there already.
///
/// # Errors
/// The limit that it exceeds.
pub fn check_member(limits: &Limits, member: &Member, of_its_set: Option<usize>) -> Result<(), Refusal> {
    let limit = |detail: String| Err(Refusal::new(RefusalReason::Limit, Some(&member.replicaset), detail));
    if member.endpoint.0.len() > limits.text_bytes {
        return limit(format!("the endpoint of {} is too long", member.instance));
    }
    if of_its_set.is_some_and(|count| count >= limits.members_per_set) {
        return limit(format!("a set has at most {} members", limits.members_per_set));
    }
    Ok(())
}

/// Whether a member may be removed from a set with this record: nobody leaves who may still count.
///
/// # Errors
/// What it still is.
pub fn check_removal(record: Option<&Record>, instance: &InstanceName) -> Result<(), Refusal> {
    let Some(record) = record else { return Ok(()) };
    let role = if record.master.as_ref() == Some(instance) {
        Some("the recorded master")
    } else {
        record.in_sync.contains(instance).then_some("in the in-sync set")
    };
    let Some(role) = role else { return Ok(()) };
    let detail = format!("{instance} is {role} and must leave it first");
    Err(Refusal::new(RefusalReason::InUse, Some(&record.replicaset), detail))
}

/// Whether settings may be put, and what timing follows from them.
///
/// # Errors
/// Why not.
pub fn check_settings(limits: &Limits, settings: &Settings) -> Result<Timing, Refusal> {
    let timing =
        settings.check().map_err(|error| Refusal::new(RefusalReason::Timing, None, error.to_string()))?;
    if settings.members.len() > limits.members {
        let detail = format!("at most {} members have settings of their own", limits.members);
        return Err(Refusal::new(RefusalReason::Limit, None, detail));
    }
    if settings.drained.len() > limits.members_per_set {
        let detail = format!("at most {} zones are drained", limits.members_per_set);
        return Err(Refusal::new(RefusalReason::Limit, None, detail));
    }
    if settings.overrides.len() > limits.overrides {
        let detail = format!("at most {} sets have settings of their own", limits.overrides);
        return Err(Refusal::new(RefusalReason::Limit, None, detail));
    }
    Ok(timing)
}

/// Whether a task may be put. `others` counts the tasks besides a new one; `None` where it is there already.
///
/// # Errors
/// The limit that it exceeds.
pub fn check_task(limits: &Limits, task: &StoredTask, others: Option<usize>) -> Result<(), Refusal> {
    let limit = |detail: String| Err(Refusal::new(RefusalReason::Limit, None, detail));
    if task.id.0 == 0 || task.id.0 >= TASK_ID_END {
        return limit(format!("a task's number is between 1 and {}, not {}", TASK_ID_END - 1, task.id));
    }
    if task.body.len() > limits.task_bytes {
        let found = task.body.len();
        return limit(format!("task {} has {found} bytes, at most {} are kept", task.id, limits.task_bytes));
    }
    if others.is_some_and(|count| count >= limits.tasks) {
        return limit(format!("at most {} tasks are kept", limits.tasks));
    }
    Ok(())
}

/// Whether a call or a bid may stand where `standing` does, of which its maker knew the number `expected`.
///
/// # Errors
/// Another was first, or a limit.
pub fn check_bid(
    limits: &Limits,
    standing: Option<&Bid>,
    expected: u64,
    bid: Option<&Bid>,
) -> Result<(), Refusal> {
    let found = standing.map_or(0, |bid| bid.number);
    if found != expected {
        let detail = format!("bid {found} stands beside the lock, not {expected}");
        return Err(Refusal::new(RefusalReason::Version, None, detail));
    }
    if bid.is_some_and(|bid| bid.address.0.len() > limits.text_bytes) {
        return Err(Refusal::new(RefusalReason::Limit, None, "the bidder's address is too long"));
    }
    Ok(())
}

/// Whether an end that stands at `before` in a move may go on to `after`.
///
/// # Errors
/// Why not.
pub fn check_move(limits: &Limits, before: Option<&Move>, after: Option<&Move>) -> Result<(), Refusal> {
    let refuse = |detail: String| Err(Refusal::new(RefusalReason::Moving, None, detail));
    if let Some(it) = after
        && it.other.len() > limits.text_bytes
    {
        return refuse("the other end's address is too long".to_owned());
    }
    let (from, to) = (before.map(|it| it.phase), after.map(|it| it.phase));
    let same = before.map(|it| it.id) == after.map(|it| it.id);
    if MovePhase::may_step(from, to, same) {
        return Ok(());
    }
    let named = |phase: Option<MovePhase>| phase.map_or_else(|| "no move".to_owned(), |it| format!("{it:?}"));
    refuse(format!("a move makes no step from {} to {} (same move: {same})", named(from), named(to)))
}
