//! What a person should look at: the sets' from the machine's table, the cluster's own here.

use crate::notes::{self, Note};
use baton_client::status::IssueStatus;
use baton_core::arbiter::{Norms, SetView, Severity, issues_of};
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_core::timing::Timing;
use std::time::Duration;

pub(super) fn of_set(view: &SetView, timing: &Timing, settings: &Settings) -> Vec<IssueStatus> {
    let norms = Norms { silence: timing.lease_ttl, max_lag_bytes: settings.max_lag_bytes_of(&view.name) };
    let status = |issue: baton_core::arbiter::Issue| IssueStatus {
        code: issue.code.to_owned(),
        severity: issue.severity.name().to_owned(),
        replicaset: Some(view.name.to_string()),
        instance: issue.instance.map(|instance| instance.to_string()),
        text: issue.text,
        suggestion: issue.suggestion.to_owned(),
        command: issue.command,
    };
    issues_of(view, norms).into_iter().map(status).collect()
}

/// What the configuration allows and should not be forgotten.
pub(super) fn of_configuration(text: &str) -> IssueStatus {
    IssueStatus {
        code: "configuration".to_owned(),
        severity: Severity::Warning.name().to_owned(),
        text: text.to_owned(),
        suggestion: "change the coordinator's configuration, if this is not meant".to_owned(),
        command: "baton-coordinator check-config".to_owned(),
        ..IssueStatus::default()
    }
}

pub(super) fn store_blind() -> IssueStatus {
    IssueStatus {
        code: "store_blind".to_owned(),
        severity: Severity::Critical.name().to_owned(),
        text: "store-blind: the arbiter's lock cannot be renewed at the state provider; nothing is decided, and masters go \
               on by the promises of their in-sync members"
            .to_owned(),
        suggestion: "bring the state provider back: a second fault now may stop writes".to_owned(),
        command: "batonctl status".to_owned(),
        ..IssueStatus::default()
    }
}

pub(super) fn hears_too_few(heard: u32, listed: u32) -> IssueStatus {
    IssueStatus {
        code: "hears_too_few".to_owned(),
        severity: Severity::Warning.name().to_owned(),
        text: format!(
            "the arbiter hears {heard} of {listed} guards that are listed: it gives its lock up for a coordinator that hears \
             more, where there is one"
        ),
        suggestion:
            "start the coordinators that are missing, mend the network, or remove members that are gone"
                .to_owned(),
        command: "batonctl status".to_owned(),
        ..IssueStatus::default()
    }
}

/// For sorting: the first is the most urgent.
pub(super) fn urgency(severity: &str) -> u8 {
    match severity {
        "critical" => 0,
        "warning" => 1,
        _ => 2,
    }
}

/// From how far apart two wall clocks are a notice, and a warning, in milliseconds.
const CLOCK_NOTICE_MS: u64 = 1_000;
const CLOCK_WARNING_MS: u64 = 60_000;

/// `ahead_ms`: how far a host's wall clock is ahead of the arbiter's.
pub(super) fn clock_difference(coordinator: &str, ahead_ms: i64) -> Option<IssueStatus> {
    let off = ahead_ms.unsigned_abs();
    if off <= CLOCK_NOTICE_MS {
        return None;
    }
    let severity = if off > CLOCK_WARNING_MS { Severity::Warning } else { Severity::Notice };
    let which = if ahead_ms < 0 { "behind" } else { "ahead of" };
    Some(IssueStatus {
        code: "clock_difference".to_owned(),
        severity: severity.name().to_owned(),
        text: format!("{coordinator}: its wall clock is {} {which} the arbiter's", Span::from_millis(off)),
        suggestion: "set both by NTP: no lease depends on it, but logs and histories are read by it"
            .to_owned(),
        command: "timedatectl".to_owned(),
        ..IssueStatus::default()
    })
}

/// Two guards came under one name; the later one was told to stand down.
pub(super) fn used_twice(instance: &str, ago: Duration) -> IssueStatus {
    let ago = Span::from_secs(ago.as_secs());
    IssueStatus {
        code: "name_used_twice".to_owned(),
        severity: Severity::Warning.name().to_owned(),
        instance: Some(instance.to_owned()),
        text: format!(
            "{instance}: a second guard came under this name {ago} ago, and was told to stand down"
        ),
        suggestion:
            "give one of the two another name, and restart its coordinator: it guards nothing until then"
                .to_owned(),
        command: "batonctl member list".to_owned(),
        ..IssueStatus::default()
    }
}

/// A guard came, or was there, whose instance was expelled.
pub(super) fn turned_away(instance: &str, ago: Duration) -> IssueStatus {
    let ago = Span::from_secs(ago.as_secs());
    IssueStatus {
        code: "expelled".to_owned(),
        severity: Severity::Notice.name().to_owned(),
        instance: Some(instance.to_owned()),
        text: format!("{instance}: it was expelled, and its coordinator was told to stand down {ago} ago"),
        suggestion: "stop its coordinator and its engine for good, or let it come back".to_owned(),
        command: format!("batonctl member admit {instance}"),
        ..IssueStatus::default()
    }
}

/// What a host told of itself; `replicaset` is its instance's, where it is about one.
pub(super) fn of_note(coordinator: &str, replicaset: Option<&str>, note: &Note) -> IssueStatus {
    let (severity, suggestion, command) = match note.code.as_str() {
        notes::WRITABLE_BY_HAND => (
            Severity::Warning,
            "find out who promotes or starts it outside of Baton; a master is changed by a switchover",
            "batonctl status",
        ),
        notes::ENGINE_UNUSABLE => (
            Severity::Warning,
            "correct what the text names; on its host, doctor looks at all of it",
            "batonctl doctor",
        ),
        notes::OTHER_MANAGER => (
            Severity::Critical,
            "let only one choose: take the set out of the Sentinels (SENTINEL REMOVE), or out of Baton",
            "batonctl status",
        ),
        notes::CONFIGURATION => (
            Severity::Warning,
            "change the coordinator's configuration, if this is not meant",
            "baton-coordinator check-config",
        ),
        notes::CERTIFICATE_EXPIRES => {
            (Severity::Warning, "renew it on its host; the new file is read by itself", "batonctl doctor")
        }
        notes::STALE_ROUTER => (
            Severity::Warning,
            "look whether it runs: one that does may send writes to a master that was replaced",
            "batonctl masters",
        ),
        // A newer build's word.
        _ => (Severity::Notice, "its host runs a newer build, which knows more of it", "batonctl status"),
    };
    IssueStatus {
        code: note.code.clone(),
        severity: severity.name().to_owned(),
        replicaset: replicaset.map(str::to_owned),
        instance: replicaset.map(|_| note.about.clone()),
        // Whose words they are, where the set does not say it.
        text: if replicaset.is_some() { note.text.clone() } else { format!("{coordinator}: {}", note.text) },
        suggestion: suggestion.to_owned(),
        command: command.to_owned(),
    }
}
