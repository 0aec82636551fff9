//! From settings to the document.

use crate::keys::{KEYS, Key};
use baton_core::record::Settings;
use baton_core::settings::{MemberSettings, SetSettings};
use baton_core::time::Span;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};
use toml::{Table, Value};

/// Every value that is set or has a default; what is the provider's own (version, move, longest lease) is no setting.
#[must_use]
pub fn table(settings: &Settings) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            table.insert(key.to_owned(), value);
        }
    };
    put("lease_ttl", Some(span(settings.lease_ttl)));
    put("stall_timeout", settings.stall_timeout.map(span));
    put("max_failovers_per_minute", settings.max_failovers_per_minute.map(Value::from));
    put("failsafe", Some(settings.failsafe.into()));
    put("fence_command", settings.fence_command.clone().map(Value::from));
    put("clock_drift_ppm", Some(settings.clock_drift_ppm.into()));
    let zones: Vec<_> = settings.drained.iter().map(|zone| Value::from(zone.as_str())).collect();
    put("drained", Some(Value::Array(zones)));
    let of_all = SetSettings {
        max_lag_bytes: settings.max_lag_bytes,
        loss_policy: Some(settings.loss_policy),
        ack_quorum: Some(settings.ack_quorum),
        zone_policy: Some(settings.zone_policy),
        autoreturn: Some(settings.autoreturn),
        autoreturn_delay: Some(settings.autoreturn_delay),
        immunity: Some(settings.immunity),
        suppress_threshold: Some(settings.suppress_threshold),
        suppress_window: Some(settings.suppress_window),
        check_identity: Some(settings.check_identity),
    };
    table.extend(of_set(&of_all));
    let sets = settings.overrides.iter().map(|(set, own)| (set.to_string(), Value::Table(of_set(own))));
    add_sections(&mut table, "replicaset", sets.collect());
    let members = settings.members.iter().map(|(name, own)| (name.to_string(), Value::Table(of_member(own))));
    add_sections(&mut table, "member", members.collect());
    table
}

fn add_sections(table: &mut Table, key: &str, sections: Table) {
    if !sections.is_empty() {
        table.insert(key.to_owned(), Value::Table(sections));
    }
}

/// Takes a value out.
pub(crate) fn remove(table: &mut Table, path: &[String]) {
    match path {
        [] => {}
        [last] => drop(table.remove(last)),
        [section, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(section) {
                remove(inner, rest);
            }
        }
    }
}

fn span(span: Span) -> Value {
    Value::from(humantime::format_duration(span.as_duration()).to_string())
}

fn of_set(own: &SetSettings) -> Table {
    let values = [
        ("max_lag", own.max_lag_bytes.map(|bytes| Value::from(i64::try_from(bytes).unwrap_or(i64::MAX)))),
        ("loss_policy", own.loss_policy.map(|it| it.name().into())),
        ("ack_quorum", own.ack_quorum.map(Value::from)),
        ("zone_policy", own.zone_policy.map(|it| it.name().into())),
        ("autoreturn", own.autoreturn.map(Value::from)),
        ("autoreturn_delay", own.autoreturn_delay.map(span)),
        ("immunity", own.immunity.map(span)),
        ("suppress_threshold", own.suppress_threshold.map(Value::from)),
        ("suppress_window", own.suppress_window.map(span)),
        ("check_identity", own.check_identity.map(Value::from)),
    ];
    values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn of_member(own: &MemberSettings) -> Table {
    let moment = |millis: u64| {
        let time = UNIX_EPOCH + Duration::from_millis(millis);
        Value::from(humantime::format_rfc3339_millis(time).to_string())
    };
    let values = [
        ("electable", own.electable.map(Value::from)),
        ("priority", own.priority.map(Value::from)),
        ("maintenance_until", own.maintenance_until.map(moment)),
        ("expelled", own.expelled.then_some(Value::from(true))),
    ];
    values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The whole document for a person to read and edit, each value under what it is for.
#[must_use]
pub fn document(settings: &Settings) -> String {
    let table = table(settings);
    let mut text = String::from(
        "# The settings of the cluster. They are in the state provider, hold for every host, and apply at once.\n",
    );
    for key in &KEYS {
        describe(&mut text, key);
        match (table.get(key.name), key.unset) {
            (Some(value), _) => line(&mut text, "", key.name, value),
            (None, Some(example)) => {
                let _ = writeln!(text, "# {} = {example}", key.name);
            }
            (None, None) => {}
        }
    }
    text.push_str("\n# What single replica sets have otherwise:  [replicaset.\"NAME\"]\n");
    sections(&mut text, &table, "replicaset");
    text.push_str(
        "\n# What people said of single members (electable, priority, maintenance_until, expelled):  [member.\"NAME\"]\n",
    );
    sections(&mut text, &table, "member");
    text
}

fn describe(text: &mut String, key: &Key) {
    let scope = if key.of_set { " (a replica set can have its own)" } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(text, "\n# {}{scope}\n", key.help);
}

fn line(text: &mut String, indent: &str, key: &str, value: &Value) {
    let _ = writeln!(text, "{indent}{key} = {value}");
}

fn sections(text: &mut String, table: &Table, key: &str) {
    let Some(Value::Table(named)) = table.get(key) else { return };
    for (name, values) in named {
        let _ = write!(text, "\n[{key}.{:?}]\n", name);
        for (key, value) in values.as_table().into_iter().flatten() {
            line(text, "", key, value);
        }
    }
}
