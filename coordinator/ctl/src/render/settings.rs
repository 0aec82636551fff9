//! The settings as a table: what holds, where it is from, what it would be otherwise.

use super::{Palette, line, table};
use baton_core::record::Settings;
use baton_proto::v1::SettingsResponse;
use baton_settings::keys::KEYS;
use baton_settings::values;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingLine {
    /// Its key, with its sections.
    pub key: String,
    /// What holds; `None`: it is not set.
    pub value: Option<String>,
    /// `default`, `cluster`, or the name of the set or member that has it.
    pub from: String,
    /// What would hold without it; `None`: it would not be set.
    pub otherwise: Option<String>,
}

/// Every value, or every one that holds for a replica set; with `changed` only those that are not the default.
#[must_use]
pub fn setting_lines(settings: &Settings, replicaset: Option<&str>, changed: bool) -> Vec<SettingLine> {
    let (now, default) = (values(settings), values(&Settings::default()));
    let of_cluster = |key: &str| {
        let path = vec![key.to_owned()];
        let (value, otherwise) = (now.get(&path).cloned(), default.get(&path).cloned());
        let from = if value == otherwise { "default" } else { "cluster" };
        SettingLine { key: key.to_owned(), value, from: from.to_owned(), otherwise }
    };
    let of_set = |key: &str, set: &str| {
        let cluster = of_cluster(key);
        let own = now.get(&vec!["replicaset".to_owned(), set.to_owned(), key.to_owned()]);
        match own {
            None => cluster,
            Some(own) => SettingLine {
                value: Some(own.clone()),
                from: set.to_owned(),
                otherwise: cluster.value.clone(),
                ..cluster
            },
        }
    };
    let mut lines: Vec<SettingLine> = match replicaset {
        None => KEYS.iter().map(|key| of_cluster(key.name)).collect(),
        Some(set) => KEYS.iter().filter(|key| key.of_set).map(|key| of_set(key.name, set)).collect(),
    };
    if replicaset.is_none() {
        let own = now.iter().filter(|(path, _)| path.len() > 1);
        lines.extend(own.map(|(path, value)| {
            let otherwise = match path.as_slice() {
                [section, _, key] if section == "replicaset" => now.get(&vec![key.clone()]).cloned(),
                _ => None,
            };
            let from = path.get(1).cloned().unwrap_or_default();
            SettingLine { key: path.join("."), value: Some(value.clone()), from, otherwise }
        }));
    }
    lines.retain(|line| !changed || line.from != "default");
    lines
}

fn shown(value: Option<&str>) -> &str {
    match value {
        None => "not set",
        Some("") => "none",
        Some(value) => value,
    }
}

/// The table.
#[must_use]
pub fn settings(answer: &SettingsResponse, lines: &[SettingLine], palette: Palette) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("settings of version {}", answer.version));
    remarks(&mut text, &answer.remarks, palette);
    line(&mut text, "");
    if lines.is_empty() {
        line(&mut text, "all as by default");
        return text;
    }
    let mut found = table::new(&["KEY", "VALUE", "FROM"]);
    for setting in lines {
        let from = match setting.from.as_str() {
            "default" => "default".to_owned(),
            from => format!("{from} (otherwise {})", shown(setting.otherwise.as_deref())),
        };
        let value = shown(setting.value.as_deref());
        found.add_row(vec![setting.key.as_str(), value, from.as_str()]);
    }
    text + &table::indented(found, palette.color, "")
}

/// What a change changed, and what should be known of it.
#[must_use]
pub fn settings_changed(done: &SettingsResponse, dry_run: bool, palette: Palette) -> String {
    let mut text = String::new();
    for changed in &done.changed {
        line(&mut text, palette.strong(changed));
    }
    remarks(&mut text, &done.remarks, palette);
    let version = done.version;
    match (done.changed.is_empty(), dry_run) {
        (true, _) => {
            line(&mut text, format_args!("nothing to change: it is so already, as of version {version}"))
        }
        (false, true) => line(&mut text, "only checked: nothing was changed"),
        (false, false) => {
            line(&mut text, format_args!("settings are of version {version} now; every host follows"))
        }
    }
    text
}

fn remarks(text: &mut String, remarks: &[String], palette: Palette) {
    for remark in remarks {
        line(text, format_args!("  {} {remark}", palette.doubtful("!")));
    }
}
