//! The evidence of one run, as a folder of plain files: what was asked and answered, which faults struck, who was master,
//! how it ended. Everything that is judged or drawn is read from here, so `chaos check` gives a saved run the same verdict.
//!
//! | file | what a line is | written by |
//! | --- | --- | --- |
//! | `run.json` | one [`Run`]: scenario, seed, mode, budgets | the runner, before anything else |
//! | `history/NAME.jsonl` | an [`Operation`] | the client NAME |
//! | `faults.jsonl` | a [`Fault`]; the last line with its `id` counts | the runner, when it strikes and when it is healed |
//! | `masters.jsonl` | a [`Sighting`] of a master | whoever asks the cluster |
//! | `decisions.jsonl` | a [`Decision`] | the runner, when all is over |
//! | `health.jsonl` | a [`Health`] sample | the runner |
//! | `final.json` | one [`Ending`]: the final reads | the runner, last |
//!
//! All times are microseconds since the run's begin, on the machine's one monotonic clock ([`clock`]). A line is handed to
//! the kernel whole, so a suite that dies loses at most the line that it was writing. It must not judge.

pub mod clock;
mod fault;
mod operation;
mod reader;
mod run;
#[cfg(test)]
pub(crate) mod samples;
mod seen;
mod writer;

pub use fault::{Allowed, Bite, Fault};
pub use operation::{Asked, Operation, Outcome};
pub use reader::{BadEvidence, Evidence, Note};
pub use run::{Ending, FORMAT, InstanceEnding, Mode, Run};
pub use seen::{Decision, Health, Sighting, Source};
pub use writer::{Folder, Lines};

/// A moment: microseconds since the run's begin.
pub type Micros = u64;

/// The names of the files.
pub mod file {
    /// One [`super::Run`].
    pub const RUN: &str = "run.json";
    /// A folder with one file of [`super::Operation`]s for each client.
    pub const HISTORY: &str = "history";
    /// [`super::Fault`]s.
    pub const FAULTS: &str = "faults.jsonl";
    /// [`super::Sighting`]s.
    pub const MASTERS: &str = "masters.jsonl";
    /// [`super::Decision`]s.
    pub const DECISIONS: &str = "decisions.jsonl";
    /// [`super::Health`] samples.
    pub const HEALTH: &str = "health.jsonl";
    /// One [`super::Ending`].
    pub const FINAL: &str = "final.json";
    /// The programs' own logs; nobody judges them.
    pub const LOGS: &str = "logs";
}
