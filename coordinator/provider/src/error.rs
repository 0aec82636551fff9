//! How a call to the state provider ends without an answer. Answers, refusals among them, are values of the calls.

use baton_board::ForeignCluster;

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
