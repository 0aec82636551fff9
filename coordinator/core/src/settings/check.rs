//! Which settings may be put at all, beside the timing's own inequality.

use super::{SetSettings, Settings};
use crate::time::Span;
use crate::timing::{BadTiming, Timing};

/// Longest that the arbiter keeps from moving a master after an appointment.
const IMMUNITY_MAX: Span = Span::from_secs(3_600);
/// Bounds of the window in which failovers of a set are counted; each one is kept in memory for so long.
const WINDOW_MIN: Span = Span::from_secs(1);
/// See [`WINDOW_MIN`].
const WINDOW_MAX: Span = Span::from_secs(86_400);
/// Most failovers of one set that are counted within the window.
const THRESHOLD_MAX: u32 = 1_000;
/// Longest command.
const COMMAND_BYTES_MAX: usize = 1_024;
/// Most replicas for which a commit can wait: a set has not more members.
const ACK_QUORUM_MAX: u32 = 63;

/// Settings that are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// See there.
    #[error(transparent)]
    Timing(#[from] BadTiming),
    /// A value out of its range.
    #[error("{key} = {found} must be {rule}")]
    Range {
        /// Which.
        key: &'static str,
        /// What was asked for.
        found: String,
        /// What it may be.
        rule: &'static str,
    },
}

impl Settings {
    /// Checks all values, the timing among them.
    ///
    /// # Errors
    /// [`BadSettings`] names the first rule that is broken.
    pub fn check(&self) -> Result<Timing, BadSettings> {
        let timing = Timing::new(self)?;
        let range = |key, found: String, rule| Err(BadSettings::Range { key, found, rule });
        let nothing = SetSettings::default();
        for policy in self.overrides.values().chain([&nothing]).map(|own| self.with(own)) {
            if policy.immunity > IMMUNITY_MAX {
                return range("immunity", policy.immunity.to_string(), "at most 1 hour");
            }
            if policy.suppress_window < WINDOW_MIN || policy.suppress_window > WINDOW_MAX {
                let rule = "between 1s and 1 day";
                return range("suppress_window", policy.suppress_window.to_string(), rule);
            }
            if policy.suppress_threshold > THRESHOLD_MAX {
                return range("suppress_threshold", policy.suppress_threshold.to_string(), "at most 1000");
            }
            if policy.ack_quorum > ACK_QUORUM_MAX {
                return range("ack_quorum", policy.ack_quorum.to_string(), "at most 63");
            }
        }
        if self.fence_command.as_ref().is_some_and(|command| command.len() > COMMAND_BYTES_MAX) {
            return range("fence_command", "…".to_owned(), "at most 1024 bytes");
        }
        if self.max_failovers_per_minute == Some(0) {
            return range("max_failovers_per_minute", "0".to_owned(), "1 or more");
        }
        Ok(timing)
    }
}
