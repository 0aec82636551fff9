//! How a call to the state provider ends without an answer. Answers, refusals among them, are values of the calls.

use baton_board::{
    AppointOutcome, ForeignCluster, Refusal, RefusalReason, SettingsOutcome, TaskOutcome, WriteOutcome,
};

/// A call without an answer. A time-out is [`ProviderError::Unknown`], never a failure: the write may have happened,
/// or may happen yet, and only a conditional write that raises the version settles it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Surely not applied: the request was never sent, or the provider said that it did nothing.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// May have been applied, or may yet be.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// No repetition will help: a person must act.
    #[error(transparent)]
    Fatal(#[from] FatalError),
}

/// What only a person can put right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FatalError {
    /// The provider belongs to another cluster, or to this one with another secret.
    #[error(transparent)]
    ForeignCluster(#[from] ForeignCluster),
    /// The provider does not take our name and password.
    #[error("the state provider refused our credentials: {0}")]
    Unauthenticated(String),
    /// The provider speaks another protocol, or sent what is no message of ours.
    #[error("the state provider sent what cannot be understood: {0}")]
    Protocol(String),
    /// What is configured cannot be used at all (an endpoint that is no address).
    #[error("the state provider is misconfigured: {0}")]
    Config(String),
}

impl ProviderError {
    /// Whether the request has surely changed nothing and may be sent again as it is.
    #[must_use]
    pub fn is_surely_not_applied(&self) -> bool {
        match self {
            Self::NotApplied(_) | Self::Fatal(_) => true,
            Self::Unknown(_) => false,
        }
    }
}

/// An outcome that may be a refusal.
pub(crate) trait MayBeRefused {
    fn refusal(&self) -> Option<&Refusal>;
}

impl MayBeRefused for AppointOutcome {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Applied(_) | Self::Conflict(_) | Self::StaleEpoch(_) => None,
        }
    }
}

impl MayBeRefused for WriteOutcome {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Applied(_) | Self::StaleEpoch(_) => None,
        }
    }
}

impl MayBeRefused for TaskOutcome {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Applied(_) | Self::Conflict(_) | Self::StaleEpoch(_) => None,
        }
    }
}

impl MayBeRefused for SettingsOutcome {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Applied(_) | Self::Conflict(_) => None,
        }
    }
}

/// A refusal because the state moves says nothing of the request: it was not applied, and may be made again when the move
/// is over. So it is no answer, or the caller would take its change for a wrong one.
pub(crate) fn unless_moving<O: MayBeRefused>(outcome: O) -> Result<O, ProviderError> {
    match outcome.refusal() {
        Some(refusal) if refusal.reason == RefusalReason::Moving => {
            Err(ProviderError::NotApplied(refusal.detail.clone()))
        }
        Some(_) | None => Ok(outcome),
    }
}
