//! The coordinator daemon: guard, arbiter and directory of one host, each a shell around a machine of the core or around
//! what the machines published. [`daemon::run`] puts them together; `main` only parses and calls.

pub mod arbiter_shell;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contender;
pub mod daemon;
pub mod directory;
pub mod engines;
pub mod guard_shell;
pub mod http;
pub mod kept;
pub mod link;
pub mod live;
pub mod logging;
pub mod metrics;
pub mod notes;
pub mod operator;
pub mod program;
pub mod provider;
pub mod report;
pub mod surroundings;
pub mod view;

/// Largest gRPC message that is taken from a coordinator: the beats, or the map of masters, of 10,000 instances fit.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
