//! What a person should look at: the sets' from the machine's table, the cluster's own here.

use baton_client::status::IssueStatus;
use baton_core::arbiter::{Norms, SetView, Severity, issues_of};
use baton_core::record::Settings;
use baton_core::timing::Timing;

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
