//! Engines and how they are held: the [`EngineKind`] that a shell connects through, Redis as the first one, the
//! [`deadman`] that ends an engine when its right has run out, and the files of an instance. Nothing here knows leases,
//! terms' meaning or the arbiter: a caller says what to do and by when, and hears how it ended.
//!
//! The contract, which every kind keeps:
//! 1. One [`EngineConnection`] is one connection to one run of one engine. Commands on it are carried out in the order
//!    in which they were given; the next is sent only after the last one was answered.
//! 2. Every call ends within its timeout. What was not answered by then is [`EngineOutcome::Unknown`]: it may have
//!    happened, or may yet happen. The connection is closed from then on and answers nothing but `Unknown`.
//! 3. Nothing is sent twice. Above all no promotion: one that arrives late, over a connection that everybody has
//!    forgotten, makes a second master.
//! 4. [`EngineConnection::check_write`] and the probes that watch an engine belong on a connection of their own, so that
//!    a command that hangs doesn't hide that the engine does, and the other way round.

pub mod deadman;
pub mod disk;
pub mod files;
mod mark;
mod password;
pub mod postgres;
pub mod redis;

use async_trait::async_trait;
use baton_core::engine::{EngineCommand, EngineOutcome};
use baton_core::ids::EngineRun;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One engine as the configuration describes it: how to reach it and how to start it. One value an instance; it may
/// remember, for as long as a run of the engine lasts, what that run's data was marked with.
#[async_trait]
pub trait EngineKind: Send + Sync + std::fmt::Debug {
    /// The name of the kind in the configuration (`redis`).
    fn name(&self) -> &'static str;

    /// The command line that really starts the engine: the configured one, changed so that the engine comes up
    /// read-only and follows nobody, whatever its own configuration file says (design, *Guards start fenced*).
    fn fenced_command(&self, command: &[String]) -> Vec<String>;

    /// Where an engine with this data directory is started, and where the check of its disk writes its file.
    fn folders(&self, data_dir: &Path) -> Folders {
        Folders { working: data_dir.to_owned(), probed: data_dir.to_owned() }
    }

    /// What goes on before an engine that is started answers anybody, in words for people. `None`: nothing, or it is not known.
    async fn doing(&self) -> Option<String> {
        None
    }

    /// Whether a fence of a master takes long unless [`Self::prepare_for_fence`] came before it.
    fn is_prepared_for_fence(&self) -> bool {
        false
    }

    /// Does ahead what a fence would have to wait for, on a connection of its own. Nothing rests on it.
    ///
    /// # Errors
    /// What stood in the way, for people.
    async fn prepare_for_fence(&self) -> Result<(), String> {
        Ok(())
    }

    /// Looks after what an engine needs beside the guard's orders, for as long as it is polled. Nothing rests on it.
    async fn tend(&self) {
        std::future::pending().await
    }

    /// Opens a connection within `timeout` and makes sure that an engine answers on it that this kind can drive.
    ///
    /// # Errors
    /// [`ConnectError`] says what stands in the way, in words for an operator.
    async fn connect(&self, timeout: Duration) -> Result<Box<dyn EngineConnection>, ConnectError>;
}

/// Folders of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// Where its process begins.
    pub working: PathBuf,
    /// On the disk of its data.
    pub probed: PathBuf,
}

/// One connection to one run of one engine (see the contract above).
#[async_trait]
pub trait EngineConnection: Send {
    /// The run that answered when the connection was made.
    fn run(&self) -> &EngineRun;

    /// The engine's main process as the engine itself names it. Compare it with what the deadman holds
    /// ([`deadman::Client::holds`]) before anything that makes the engine writable.
    fn process_id(&self) -> Option<u32>;

    /// What it said of itself when the connection was made.
    fn about(&self) -> About {
        About::default()
    }

    /// Carries out one command; answers within `timeout`.
    async fn execute(&mut self, command: &EngineCommand, timeout: Duration) -> EngineOutcome;

    /// Has the master finish one tiny write that a client's write would have to pass too. Never changes the term or the
    /// identity that the data is marked with, and puts the mark back where a user removed it.
    async fn check_write(&mut self, timeout: Duration) -> WriteCheck;

    /// Who else chooses this engine's masters, in words, where somebody can be seen to. Only for people.
    async fn other_manager(&mut self, _timeout: Duration) -> Option<String> {
        None
    }

    /// Whether an earlier call ended without an answer: every later one answers `Unknown`.
    fn is_closed(&self) -> bool;
}

/// What an engine says of itself, for people who check a host; nothing is decided from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its version, if it tells.
    pub version: Option<String>,
    /// The configuration file that its next start would read again, if it has one.
    pub config_file: Option<PathBuf>,
}

/// How the check of the write path ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteCheck {
    /// A write went through, in this time.
    Done(Duration),
    /// The engine answered that it would not (read-only, disk full, no mark in the data yet).
    Refused(String),
    /// No answer in time: stalled, or gone.
    Unknown(String),
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("no engine answers at {endpoint}: {what}")]
    Missing {
        /// Where.
        endpoint: String,
        /// What the system said.
        what: String,
    },
    /// Somebody listens, but the greeting was not finished in time.
    #[error("the engine at {endpoint} did not answer within {timeout:?}")]
    TimedOut {
        /// Where.
        endpoint: String,
        /// After how long.
        timeout: Duration,
    },
    /// The password file cannot be used.
    #[error("cannot read the password file {file}: {what}")]
    PasswordFile {
        /// Which.
        file: String,
        /// What the system said.
        what: String,
    },
    /// A password is needed and none is configured.
    #[error("the engine at {endpoint} asks for a password: set password_file for this instance")]
    PasswordNeeded {
        /// Where.
        endpoint: String,
    },
    /// The engine refused the password, or the user may not log in.
    #[error("the engine at {endpoint} refused the password of password_file: {what}")]
    PasswordRefused {
        /// Where.
        endpoint: String,
        /// What the engine said.
        what: String,
    },
    /// Logged in, but the user may not do what a guard has to.
    #[error("the engine at {endpoint} forbids a command that a guard needs: {what}")]
    Forbidden {
        /// Where.
        endpoint: String,
        /// What the engine said.
        what: String,
    },
    /// The engine reads its data from disk; its state is not known before it has.
    #[error("the engine at {endpoint} is still reading its data from disk")]
    Loading {
        /// Where.
        endpoint: String,
    },
    /// Too old.
    #[error("the engine at {endpoint} has version {found}; {minimum} or later is needed")]
    TooOld {
        /// Where.
        endpoint: String,
        /// What it has.
        found: String,
        /// What is needed.
        minimum: &'static str,
    },
    /// A mode in which somebody else decides who is master.
    #[error("the engine at {endpoint} runs in {mode} mode, where it chooses its masters itself")]
    WrongMode {
        /// Where.
        endpoint: String,
        /// Which mode.
        mode: String,
    },
    /// A setting that a guard has to change is fixed where it cannot.
    #[error(
        "the engine at {endpoint} was started with {setting} on its command line, where nothing else counts: leave it out"
    )]
    Overridden {
        /// Where.
        endpoint: String,
        /// Which.
        setting: String,
    },
    /// What answers is not such an engine.
    #[error("what answers at {endpoint} is no engine of this kind: {what}")]
    NotThisKind {
        /// Where.
        endpoint: String,
        /// What it said.
        what: String,
    },
}
