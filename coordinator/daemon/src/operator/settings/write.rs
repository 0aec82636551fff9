//! One conditional write of the settings, repeated under the same version until it is known how it ended.

use super::{PATIENCE, unavailable};
use crate::operator::{Refused, RefusedKind};
use baton_core::ids::Version;
use baton_core::record::Settings;
use baton_provider::{ProviderError, SettingsOutcome, StateProvider};
use std::time::Duration;

/// How often one write is made.
const TRIES: usize = 4;
/// Between two of them.
const AGAIN: Duration = Duration::from_millis(100);

/// How it ended.
pub(super) enum Put {
    /// As they are now.
    Done(Box<Settings>),
    /// Somebody else was faster: as they are now.
    Overtaken(Box<Settings>),
}

/// Puts the settings in the place of those of version `expected`.
///
/// A write that was not answered may have been done, or may come yet: the same write, made again, either raises the version,
/// so that the first one can do nothing any more, or meets a conflict that shows our own settings.
pub(super) async fn settle(
    provider: &dyn StateProvider,
    expected: Version,
    settings: &Settings,
) -> Result<Put, Refused> {
    let done = || Settings { version: expected.next(), ..settings.clone() };
    let mut unknown = None;
    for _ in 0..TRIES {
        let put = provider.put_settings(expected, settings.clone());
        let outcome = match tokio::time::timeout(PATIENCE, put).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProviderError::Unknown(format!("no answer within {PATIENCE:?}"))),
        };
        match outcome {
            Ok(SettingsOutcome::Applied(_)) => return Ok(Put::Done(Box::new(done()))),
            Ok(SettingsOutcome::Conflict(now)) if is_ours(&now, &done()) => return Ok(Put::Done(now)),
            Ok(SettingsOutcome::Conflict(now)) => return Ok(Put::Overtaken(now)),
            Ok(SettingsOutcome::Refused(refusal)) => {
                return Err(Refused::new(
                    RefusedKind::BadSettings,
                    format!("nothing was changed: {}", refusal.detail),
                    "",
                ));
            }
            Err(error) if error.is_surely_not_applied() && unknown.is_none() => {
                return Err(unavailable(&error));
            }
            Err(error) => unknown = Some(error),
        }
        tokio::time::sleep(AGAIN).await;
    }
    let why = unknown.map(|error| error.to_string()).unwrap_or_default();
    Err(Refused::new(
        RefusedKind::Unknown,
        format!("whether the settings were changed is not known: {why}"),
        "look at them when the state provider answers again: batonctl settings show",
    ))
}

/// Whether these are what we wrote. What the provider keeps by itself may have moved on.
fn is_ours(now: &Settings, written: &Settings) -> bool {
    let kept = Settings { longest_lease: now.longest_lease, moving: now.moving.clone(), ..written.clone() };
    *now == kept
}
