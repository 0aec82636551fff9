//! Where log lines go and how they look: standard error, for people or as JSON. What is said is each caller's business.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The filter where `RUST_LOG` does not say otherwise.
const DEFAULT_FILTER: &str = "info";

/// Sets the process's log up; to be called once, before anything is logged.
///
/// # Errors
/// Where a log was set up before.
pub fn init(format: LogFormat) -> Result<(), TryInitError> {
    // A filter that cannot be parsed must not keep a failover daemon from starting.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).finish().try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init(),
    }
}
