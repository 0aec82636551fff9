//! The settings as people see and change them, through any coordinator: read from the provider, changed, checked as a whole,
//! and put only from the version that was read. An outcome that is not known is settled before anybody is answered.
//!
//! It must not know what a setting does; it only warns of what deserves a word.

mod members;
mod remarks;
mod write;

pub(super) use members::{list, removal};

use super::command::{Refused, RefusedKind};
use baton_config::Origin;
use baton_config::Problems;
use baton_core::ids::Version;
use baton_core::record::Settings;
use baton_proto::v1;
use baton_provider::{ProviderError, Snapshot, StateProvider};
use baton_settings::{Change, differences};
use std::time::Duration;
use write::Put;

/// How often a change of single values is made again where somebody else was faster.
const ATTEMPTS: usize = 5;
/// How long one request to the provider may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What holds; where the provider does not answer, what this coordinator knows.
pub(super) async fn show(provider: &dyn StateProvider, known: &Settings) -> v1::SettingsResponse {
    match read(provider).await {
        Ok(snapshot) => answer(&snapshot.settings),
        Err(error) => {
            let remark =
                format!("the state provider does not answer ({error}): this is what this coordinator knows");
            v1::SettingsResponse { remarks: vec![remark], ..answer(known) }
        }
    }
}

/// Changes them, or says why not.
pub(super) async fn put(
    provider: &dyn StateProvider,
    asked: &v1::SettingsChange,
) -> Result<v1::SettingsResponse, Refused> {
    for _ in 0..ATTEMPTS {
        let snapshot = read(provider).await.map_err(|error| unavailable(&error))?;
        let before = &snapshot.settings;
        let after = changed(before, asked)?;
        let same = *before == after;
        if let Some(expected) = asked.expected.filter(|expected| *expected != before.version.0) {
            // Where an earlier try was not answered, what is there now may be our own.
            if same && before.version == Version(expected).next() {
                return Ok(answer(before));
            }
            return Err(overtaken(expected, before));
        }
        if !asked.force {
            remarks::check_names(&snapshot, &after)?;
        }
        let changed = differences(before, &after).iter().map(ToString::to_string).collect();
        let remarks = remarks::remarks(provider, &snapshot, &after);
        let done = |settings: &Settings| v1::SettingsResponse { changed, remarks, ..answer(settings) };
        if same || asked.dry_run {
            return Ok(done(&after));
        }
        match write::settle(provider, before.version, &after).await? {
            Put::Done(settings) => return Ok(done(&settings)),
            Put::Overtaken(now) if asked.expected.is_some() => {
                return Err(overtaken(before.version.0, &now));
            }
            Put::Overtaken(_) => {}
        }
    }
    let message = "others changed the settings at the same time, again and again";
    Err(Refused::new(RefusedKind::Busy, message, "look at them with: batonctl settings show"))
}

async fn read(provider: &dyn StateProvider) -> Result<Snapshot, ProviderError> {
    match tokio::time::timeout(PATIENCE, provider.read()).await {
        Ok(answer) => answer,
        Err(_) => Err(ProviderError::NotApplied(format!("no answer within {PATIENCE:?}"))),
    }
}

fn changed(before: &Settings, asked: &v1::SettingsChange) -> Result<Settings, Refused> {
    if let Some(document) = &asked.document {
        if asked.expected.is_none() {
            let message = "a whole document is put only in the place of a version that was seen";
            return Err(Refused::new(RefusedKind::BadSettings, message, "name the version: --expected"));
        }
        return baton_settings::replace(before, "settings", document).map_err(|problems| bad(&problems));
    }
    let refuse = |rule| Refused::new(RefusedKind::BadSettings, rule, "batonctl settings show lists the keys");
    let changes: Result<Vec<_>, _> = asked.changes.iter().map(|text| Change::parse(text)).collect();
    baton_settings::change(before, &changes.map_err(refuse)?).map_err(|problems| bad(&problems))
}

/// All problems, a line each. The flag that a value came by is its key once more, and left out.
fn bad(problems: &Problems) -> Refused {
    let line = |problem: &baton_config::Problem| match &problem.origin {
        Origin::Flag(_) => match &problem.value {
            Some(value) => format!("{} = {value}: {}", problem.key, problem.rule),
            None => format!("{}: {}", problem.key, problem.rule),
        },
        Origin::File { .. } | Origin::Environment(_) => problem.to_string(),
    };
    let lines: Vec<_> = problems.0.iter().map(line).collect();
    Refused::new(RefusedKind::BadSettings, format!("nothing was changed:\n  {}", lines.join("\n  ")), "")
}

fn overtaken(expected: u64, now: &Settings) -> Refused {
    let message = format!("nothing was changed: the settings are not those of version {expected} any more");
    Refused::new(RefusedKind::Overtaken, message, "look at them and do it again: batonctl settings show")
        .with_fact("expected", expected)
        .with_fact("version", now.version)
}

fn unavailable(error: &ProviderError) -> Refused {
    let message = format!("the state provider does not answer: {error}; nothing was changed");
    Refused::new(RefusedKind::ProviderUnavailable, message, "look at the state provider")
}

fn answer(settings: &Settings) -> v1::SettingsResponse {
    v1::SettingsResponse {
        version: settings.version.0,
        toml: baton_settings::document(settings),
        json: serde_json::to_string(&baton_settings::table(settings)).unwrap_or_default(),
        ..v1::SettingsResponse::default()
    }
}

#[cfg(test)]
mod tests;
