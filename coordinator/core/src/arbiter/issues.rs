//! What a person should look at in a set: a table, one row an issue, each with what to do about it. Pure: made from the
//! view, decides nothing.
//!
//! It must not know how an issue is shown.

use super::view::{MasterState, MemberView, SetView};
use crate::decision::{Hold, Verdict};
use crate::engine::DataState;
use crate::ids::InstanceName;
use crate::message::{Beat, Health, Stand};
use crate::record::{Pin, Record};
use crate::time::Span;

/// How soon somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Writes are refused now, or safety needs a person.
    Critical,
    /// The next fault may cost what this one did not.
    Warning,
    /// Good to know.
    Notice,
}

impl Severity {
    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// A stable word for programs.
    pub code: &'static str,
    /// How soon.
    pub severity: Severity,
    /// Whom it is about, if one member.
    pub instance: Option<InstanceName>,
    /// What is wrong, with the evidence.
    pub text: String,
    /// What to do about it.
    pub suggestion: &'static str,
    /// A command that is safe now and shows more, or mends it; `{set}` and `{instance}` are filled in already.
    pub command: String,
}

/// What the judgement needs beside the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norms {
    /// After so much silence a member is said to be silent.
    pub silence: Span,
    /// Beyond so many bytes behind the master a member is said to lag.
    pub max_lag_bytes: Option<u64>,
}

/// One row: what is found, and what is said of it.
struct Row {
    code: &'static str,
    severity: Severity,
    suggestion: &'static str,
    command: &'static str,
    find: fn(&SetView, Norms) -> Vec<Found>,
}

/// One finding of a row: whom it is about, and the text.
type Found = (Option<InstanceName>, String);

/// A pause that goes on for longer is a warning, however it was meant.
const LONG_PAUSE: Span = Span::from_secs(3_600);

const TABLE: [Row; 21] = [
    Row {
        code: "no_master",
        severity: Severity::Critical,
        suggestion: "bring back a member that may be appointed: the reasons are beside their names",
        command: "batonctl explain {set}",
        find: no_master,
    },
    Row {
        code: "provider_restored",
        severity: Severity::Critical,
        suggestion: "start the coordinators of all members; who was master last is then known, or that nobody leads",
        command: "batonctl status",
        find: provider_restored,
    },
    Row {
        code: "quorum_short",
        severity: Severity::Critical,
        suggestion: "bring back replicas: no commit that waits for them is confirmed meanwhile",
        command: "batonctl status",
        find: quorum_short,
    },
    Row {
        code: "engine_down",
        severity: Severity::Warning,
        suggestion: "look at the engine's own log on its host; a supervised engine is started again by itself",
        command: "batonctl status",
        find: engine_down,
    },
    Row {
        code: "engine_stalled",
        severity: Severity::Warning,
        suggestion: "look at the host's disk and memory: the engine is alive and finishes no write",
        command: "batonctl status",
        find: engine_stalled,
    },
    Row {
        code: "not_attached",
        severity: Severity::Warning,
        suggestion: "start the coordinator on its host, or look why it does not reach the arbiter",
        command: "systemctl status baton-coordinator",
        find: not_attached,
    },
    Row {
        code: "isolated",
        severity: Severity::Warning,
        suggestion: "mend the network between its host and the arbiter's; nothing is replaced meanwhile",
        command: "batonctl status",
        find: isolated,
    },
    Row {
        code: "silent",
        severity: Severity::Warning,
        suggestion: "its coordinator is connected and says nothing: look whether its host is overloaded or frozen",
        command: "batonctl status",
        find: silent,
    },
    Row {
        code: "foreign_data",
        severity: Severity::Warning,
        suggestion: "it is kept as it is. If its data is not needed, empty it, and it joins",
        command: "batonctl status",
        find: foreign_data,
    },
    Row {
        code: "empty_member",
        severity: Severity::Warning,
        suggestion: "it lost its data, or was started with another data directory: find the data before it copies the master's",
        command: "batonctl explain {set}",
        find: empty_member,
    },
    Row {
        code: "not_replicating",
        severity: Severity::Warning,
        suggestion: "look at the replica's own log: it may be appointed and receives nothing",
        command: "batonctl status",
        find: not_replicating,
    },
    Row {
        code: "lagging",
        severity: Severity::Warning,
        suggestion: "look at the network and the disk of the replica: beyond max_lag it is not appointed",
        command: "batonctl status",
        find: lagging,
    },
    Row {
        code: "not_in_sync",
        severity: Severity::Warning,
        suggestion: "it joins by itself once it has caught up; until then it cannot be appointed",
        command: "batonctl status",
        find: not_in_sync,
    },
    Row {
        code: "no_successor",
        severity: Severity::Warning,
        suggestion: "bring a replica into the in-sync set, or make one electable, before the master fails",
        command: "batonctl status",
        find: no_successor,
    },
    Row {
        code: "suppressed",
        severity: Severity::Warning,
        suggestion: "find out why it failed so often; then let it be decided again",
        command: "batonctl resume {set}",
        find: suppressed,
    },
    Row {
        code: "budget",
        severity: Severity::Warning,
        suggestion: "look at the network: so many failovers at once are one event; then let the rest be decided",
        command: "batonctl resume --all",
        find: over_budget,
    },
    Row {
        code: "paused_long",
        severity: Severity::Warning,
        suggestion: "end the pause, or pause it anew with an end: until then a master that fails is not replaced",
        command: "batonctl resume {set}",
        find: paused_long,
    },
    Row {
        code: "paused",
        severity: Severity::Notice,
        suggestion: "end the pause when the work is done: nobody takes over meanwhile",
        command: "batonctl resume {set}",
        find: paused,
    },
    Row {
        code: "straggler",
        severity: Severity::Warning,
        suggestion: "start its coordinator, or make sure that its engine is off: a failover waits for its report",
        command: "batonctl explain {set}",
        find: straggler,
    },
    Row {
        code: "quorum_waits",
        severity: Severity::Warning,
        suggestion: "bring the member back, or remove it for good once its engine is off; or take the setting back",
        command: "batonctl member list {set}",
        find: quorum_waits,
    },
    Row {
        code: "first_appointment",
        severity: Severity::Notice,
        suggestion: "start the members that are missing; the first master is chosen when they are heard",
        command: "batonctl explain {set}",
        find: first_appointment,
    },
];

/// What is to be looked at in a set, the most urgent first.
#[must_use]
pub fn issues_of(view: &SetView, norms: Norms) -> Vec<Issue> {
    let issues = TABLE.iter().flat_map(|row| {
        (row.find)(view, norms).into_iter().map(|(instance, text)| Issue {
            code: row.code,
            severity: row.severity,
            command: row.command.replace("{set}", view.name.as_str()),
            instance,
            text,
            suggestion: row.suggestion,
        })
    });
    let mut issues: Vec<_> = issues.collect();
    issues.sort_by_key(|issue| issue.severity);
    issues
}

fn of_set(text: String) -> Vec<Found> {
    vec![(None, text)]
}

/// One finding for each member of whom `text` has something to say.
fn of_members(view: &SetView, text: impl Fn(&MemberView) -> Option<String>) -> Vec<Found> {
    let found = |member: &MemberView| {
        let name = member.listed.instance.clone();
        text(member).map(|text| (Some(name.clone()), format!("{name}: {text}")))
    };
    view.members.iter().filter_map(found).collect()
}

/// What a member that can be heard now said last.
fn heard(member: &MemberView) -> Option<&Beat> {
    let heard = member.attached_by.is_some() || member.relayed_by.is_some();
    member.beat.as_ref().filter(|_| heard)
}

fn is_master(view: &SetView, member: &MemberView) -> bool {
    let master = view.record.as_ref().and_then(|record| record.master.as_ref());
    master == Some(&member.listed.instance)
}

fn no_master(view: &SetView, _: Norms) -> Vec<Found> {
    if view.state != MasterState::None || view.record.is_none() || view.held {
        return Vec::new();
    }
    let decision = view.last_decision.as_ref().filter(|decision| decision.appointed.is_none());
    let refused = decision.into_iter().flat_map(|decision| &decision.ranking);
    let reasons: Vec<_> = refused
        .filter_map(|ranked| match &ranked.verdict {
            Verdict::Refused(why) => Some(format!("{}: {why}", ranked.instance)),
            Verdict::Chosen | Verdict::Eligible => None,
        })
        .collect();
    let missing = decision.and_then(|decision| decision.missing.clone());
    let why = missing.unwrap_or_else(|| match reasons.is_empty() {
        true => view.phase.clone(),
        false => format!("nobody can be appointed ({})", reasons.join("; ")),
    });
    of_set(format!("no active master: {why}"))
}

fn provider_restored(view: &SetView, _: Norms) -> Vec<Found> {
    if view.held { of_set(view.phase.clone()) } else { Vec::new() }
}

fn first_appointment(view: &SetView, _: Norms) -> Vec<Found> {
    if view.record.is_some() {
        return Vec::new();
    }
    let missing = view.last_decision.as_ref().and_then(|decision| decision.missing.clone());
    of_set(format!("no active master: {}", missing.unwrap_or_else(|| view.phase.clone())))
}

fn quorum_short(view: &SetView, _: Norms) -> Vec<Found> {
    let Some(record) = view.record.as_ref().filter(|_| view.state == MasterState::Active) else {
        return Vec::new();
    };
    let replicas = record.in_sync.len().saturating_sub(1);
    if replicas >= record.ack_quorum as usize {
        return Vec::new();
    }
    of_set(format!("commits wait for {} replicas, and {replicas} are in the in-sync set", record.ack_quorum))
}

fn engine_down(view: &SetView, _: Norms) -> Vec<Found> {
    let down = |beat: &&Beat| beat.engine.health == Health::Down && beat.stand != Stand::Starting;
    of_members(view, |member| heard(member).filter(down).map(|_| "the engine is down".to_owned()))
}

fn engine_stalled(view: &SetView, _: Norms) -> Vec<Found> {
    let stalled = |beat: &&Beat| beat.engine.health == Health::Stalled;
    of_members(view, |member| heard(member).filter(stalled).map(|_| "the engine is stalled".to_owned()))
}

fn not_attached(view: &SetView, _: Norms) -> Vec<Found> {
    of_members(view, |member| {
        // Somebody works on it, and knows.
        let expected = member.maintenance.is_some();
        let away = member.attached_by.is_none() && member.relayed_by.is_none() && !expected;
        let since = member.beat_age.map_or("it was never heard".to_owned(), |age| format!("heard {age} ago"));
        away.then(|| format!("no coordinator is attached ({since})"))
    })
}

fn isolated(view: &SetView, _: Norms) -> Vec<Found> {
    // That its stream is still open says nothing: a link that drops everything ends no connection.
    of_members(view, |member| {
        let by = member.relayed_by.as_ref()?;
        Some(format!("isolated: its link to the arbiter is broken, it is heard through {by}"))
    })
}

fn silent(view: &SetView, norms: Norms) -> Vec<Found> {
    of_members(view, |member| {
        let connected = member.attached_by.is_some() && member.relayed_by.is_none();
        let age = member.beat_age.filter(|age| connected && *age > norms.silence)?;
        Some(format!("its coordinator is attached, and has said nothing for {age}"))
    })
}

fn has_foreign_data(view: &SetView, record: &Record, member: &MemberView, beat: &Beat) -> bool {
    match &beat.engine.data {
        DataState::Marked { id, .. } => Some(id) != record.data_id.as_ref(),
        DataState::Unmarked => beat.engine.follows.is_none() && !is_master(view, member),
        DataState::Empty => false,
    }
}

fn foreign_data(view: &SetView, _: Norms) -> Vec<Found> {
    let Some(record) = &view.record else { return Vec::new() };
    of_members(view, |member| {
        heard(member)
            .filter(|beat| has_foreign_data(view, record, member, beat))
            .map(|_| "its data is not this set's; it does not follow".to_owned())
    })
}

/// Known to be empty and not being filled: one that copies does not know its position.
fn is_empty(beat: &Beat) -> bool {
    let engine = &beat.engine;
    let known = engine.health == Health::Up && engine.position.offset().is_some();
    known && engine.data == DataState::Empty && engine.follows.is_none()
}

/// One that had the set's data and is empty now. A newcomer is empty too, but in no in-sync set.
fn empty_member(view: &SetView, _: Norms) -> Vec<Found> {
    let Some(record) = &view.record else { return Vec::new() };
    of_members(view, |member| {
        // A master that somebody empties is what he wants.
        let leads = is_master(view, member) && view.state == MasterState::Active;
        let beat = heard(member).filter(|_| member.in_sync && !leads)?;
        let empty = is_empty(beat) && record.data_id.is_some();
        empty.then(|| "its engine is empty, though it is in the in-sync set".to_owned())
    })
}

/// A replica of the in-sync set, up, whose link to the master is down while the master is active.
fn not_replicating(view: &SetView, _: Norms) -> Vec<Found> {
    let Some(record) = view.record.as_ref().filter(|_| view.state == MasterState::Active) else {
        return Vec::new();
    };
    of_members(view, |member| {
        let beat = heard(member).filter(|_| member.in_sync && !is_master(view, member))?;
        let idle = beat.engine.health == Health::Up
            && !is_empty(beat)
            && beat.engine.follows.as_ref() != record.endpoint.as_ref();
        idle.then(|| "in the in-sync set, and not connected to the master".to_owned())
    })
}

fn lagging(view: &SetView, norms: Norms) -> Vec<Found> {
    let Some(max) = norms.max_lag_bytes else { return Vec::new() };
    let master = view.members.iter().find(|member| is_master(view, member));
    let Some(reach) = master.and_then(heard).and_then(|beat| beat.engine.position.offset()) else {
        return Vec::new();
    };
    of_members(view, |member| {
        let own = heard(member).filter(|_| !is_master(view, member))?.engine.position.offset()?;
        let lag = reach.checked_sub(own).filter(|lag| *lag > max)?;
        Some(format!("{lag} bytes behind the master, more than max_lag {max}"))
    })
}

fn not_in_sync(view: &SetView, _: Norms) -> Vec<Found> {
    let Some(record) = &view.record else { return Vec::new() };
    of_members(view, |member| {
        let beat = heard(member).filter(|_| !member.in_sync)?;
        let ours = beat.engine.health == Health::Up && !has_foreign_data(view, record, member, beat);
        ours.then(|| "not in the in-sync set".to_owned())
    })
}

/// The master is fine, and if it fails nobody may take over. A set of one member has nobody by its owner's choice.
fn no_successor(view: &SetView, _: Norms) -> Vec<Found> {
    if view.state != MasterState::Active || view.members.len() < 2 {
        return Vec::new();
    }
    let fit = |member: &&MemberView| {
        let up = heard(member).is_some_and(|beat| beat.engine.health == Health::Up);
        member.in_sync && member.electable && up && !is_master(view, member)
    };
    match view.members.iter().any(|member| fit(&member)) {
        true => Vec::new(),
        false => of_set("if the master failed now, nobody could be appointed in its place".to_owned()),
    }
}

fn suppressed(view: &SetView, _: Norms) -> Vec<Found> {
    if view.hold != Some(Hold::Suppressed) {
        return Vec::new();
    }
    of_set("held after too many automatic failovers: nobody else is made master by itself".to_owned())
}

fn over_budget(view: &SetView, _: Norms) -> Vec<Found> {
    // Of a set that has its master nothing is being held.
    if view.hold != Some(Hold::Budget) || view.state == MasterState::Active {
        return Vec::new();
    }
    of_set("held: the cluster had more failovers within a minute than max_failovers_per_minute".to_owned())
}

/// The pause that holds the set, if one does; and whether it goes on for long.
fn pause_of(view: &SetView) -> Option<(Pin, bool)> {
    let pin = view.record.as_ref()?.pinned.filter(|_| view.hold == Some(Hold::Paused))?;
    Some((pin, pin.is_for_good() || view.paused_for > LONG_PAUSE))
}

fn paused_long(view: &SetView, _: Norms) -> Vec<Found> {
    match pause_of(view) {
        Some((pin, true)) if pin.is_for_good() => of_set("paused, until a person ends it".to_owned()),
        Some((_, true)) => of_set(format!("paused for {} more", view.paused_for)),
        Some((_, false)) | None => Vec::new(),
    }
}

fn paused(view: &SetView, _: Norms) -> Vec<Found> {
    match pause_of(view) {
        Some((_, false)) => of_set(format!("paused for {} more", view.paused_for)),
        Some((_, true)) | None => Vec::new(),
    }
}

fn straggler(view: &SetView, _: Norms) -> Vec<Found> {
    let Some(record) = &view.record else { return Vec::new() };
    let Some(master) = &record.master else { return Vec::new() };
    let text = |member: &InstanceName| {
        let text = format!("{member}: not heard since it followed {master}, and may replicate from it again");
        (Some(member.clone()), text)
    };
    let outside = |member: &&InstanceName| !record.in_sync.contains(*member);
    record.stragglers.of(master).filter(outside).map(text).collect()
}

fn quorum_waits(view: &SetView, _: Norms) -> Vec<Found> {
    let Some(record) = &view.record else { return Vec::new() };
    let text = |why: &String| format!("ack_quorum stays {}: {why}", record.ack_quorum);
    view.quorum_waits.as_ref().map_or_else(Vec::new, |why| of_set(text(why)))
}

#[cfg(test)]
pub(super) mod tests;
