//! `batonctl settings`: asks for the settings, asks for changes of them, and shows what came of it. What is right is said by
//! the coordinator; only the editor's text is read here too, since its problems have lines.

mod edit;

use crate::args::{Cli, HowArgs, SettingsArgs, SettingsCommand};
use crate::{Exit, Failure, Io, render, write_json};
use baton_client::{OperatorClient, OperatorError};
use baton_core::record::Settings;
use baton_proto::v1::{SettingsChange, SettingsResponse};
use serde_json::{Value, json};
use std::io::Write as _;

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsFailure {
    #[error("{0}")]
    Usage(String),
    #[error("the editor cannot be used: {0}")]
    Editor(String),
    #[error("nothing was changed; your text is kept in {0}")]
    Kept(String),
}

impl SettingsFailure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Editor(_) | Self::Kept(_) => Exit::Failed,
        }
    }

    /// For programs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Usage(_) => "bad_request",
            Self::Editor(_) => "editor",
            Self::Kept(_) => "refused",
        }
    }
}

pub(crate) async fn run(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &SettingsArgs,
) -> Result<Exit, Failure> {
    match &args.command {
        SettingsCommand::Show { replicaset, toml, changed } => {
            let answer = client.settings(None).await?;
            show(cli, io, &answer, replicaset.as_deref(), *toml, *changed)?;
        }
        SettingsCommand::Set { changes, how } => {
            if let Some(wrong) = changes.iter().find(|change| !change.contains('=')) {
                let text = format!("{wrong:?} must be KEY=VALUE, such as lease_ttl=1s");
                return Err(SettingsFailure::Usage(text).into());
            }
            put(cli, io, client, change_of(changes.clone(), how)).await?;
        }
        SettingsCommand::Unset { keys, how } => {
            let changes = keys.iter().map(|key| format!("{key}=")).collect();
            put(cli, io, client, change_of(changes, how)).await?;
        }
        SettingsCommand::Edit { editor, force } => {
            edit::run(cli, io, client, editor.as_deref(), *force).await?;
        }
    }
    Ok(Exit::Done)
}

fn change_of(changes: Vec<String>, how: &HowArgs) -> SettingsChange {
    let changes = match &how.replicaset {
        None => changes,
        Some(set) => changes.iter().map(|change| format!("replicaset.{set}.{change}")).collect(),
    };
    let HowArgs { expected, force, dry_run, .. } = *how;
    SettingsChange { expected, changes, document: None, force, dry_run }
}

/// Asks for a change and shows what came of it.
pub(crate) async fn put(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    change: SettingsChange,
) -> Result<(), Failure> {
    let dry_run = change.dry_run;
    let done = client.settings(Some(change)).await?;
    show_done(cli, io, &done, dry_run)
}

fn show_done(cli: &Cli, io: &mut Io<'_>, done: &SettingsResponse, dry_run: bool) -> Result<(), Failure> {
    if cli.json {
        let SettingsResponse { version, changed, remarks, .. } = done;
        let value = json!({"version": version, "changed": changed, "remarks": remarks, "dry_run": dry_run});
        write_json(io, &value)?;
    } else {
        write!(io.out, "{}", render::settings_changed(done, dry_run, io.palette))?;
    }
    Ok(())
}

/// The settings of an answer, as this version of the program understands them.
pub(crate) fn settings_of(answer: &SettingsResponse) -> Result<Settings, Failure> {
    baton_settings::parse("settings", &answer.toml).map_err(|problems| {
        let text = format!("the settings are of a newer version than this batonctl: {problems}");
        Failure::Operator(OperatorError::BadAnswer(text))
    })
}

fn show(
    cli: &Cli,
    io: &mut Io<'_>,
    answer: &SettingsResponse,
    replicaset: Option<&str>,
    toml: bool,
    changed: bool,
) -> Result<(), Failure> {
    if toml {
        for remark in &answer.remarks {
            writeln!(io.err, "! {remark}")?;
        }
        write!(io.out, "{}", answer.toml)?;
        return Ok(());
    }
    if cli.json && replicaset.is_none() && !changed {
        let all: Value = serde_json::from_str(&answer.json).unwrap_or_default();
        let value = json!({"version": answer.version, "settings": all, "remarks": answer.remarks});
        write_json(io, &value)?;
        return Ok(());
    }
    let lines = render::setting_lines(&settings_of(answer)?, replicaset, changed);
    if cli.json {
        let value = |line: &render::SettingLine| {
            let value = json!({"value": line.value, "from": line.from, "otherwise": line.otherwise});
            (line.key.clone(), value)
        };
        let settings: serde_json::Map<_, _> = lines.iter().map(value).collect();
        let value = json!({"version": answer.version, "settings": settings, "remarks": answer.remarks});
        write_json(io, &value)?;
    } else {
        write!(io.out, "{}", render::settings(answer, &lines, io.palette))?;
    }
    Ok(())
}
