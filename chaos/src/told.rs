//! What a person or a service manager tells the program while it works: to end.

use std::fmt;
use std::future::Future;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Why it gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldToEnd(&'static str);

impl fmt::Display for ToldToEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; everything is being ended", self.0)
    }
}

impl std::error::Error for ToldToEnd {}

/// Gives up at SIGINT, SIGTERM or SIGHUP; the caller then ends every process.
///
/// # Errors
/// Those of the work, or [`ToldToEnd`].
pub async fn until_told_to_end<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    tokio::select! {
        biased;
        _ = hangup.recv() => Err(ToldToEnd("the terminal is gone").into()),
        _ = interrupt.recv() => Err(ToldToEnd("interrupted").into()),
        _ = terminate.recv() => Err(ToldToEnd("told to end").into()),
        outcome = work => outcome,
    }
}
