//! The stateboard's state machine: lock and epoch, appointments, members, settings, history, watch. Pure: it knows no
//! clock, socket, file, task or randomness; whoever runs it owes it the contract below, and may rely on its other half.
//!
//! # Contract
//! What the machine promises:
//! 1. Nothing leaves before what it rests on is durable: every reply, session message and published update waits
//!    until each [`Action::Persist`] that was emitted before it has been answered by [`Input::Persisted`]. That holds
//!    for reads and refusals too, since they tell of changes.
//! 2. [`Action::Persist`] comes at once and in order; many may be outstanding, so that the shell can put them into one
//!    commit (group commit). `Persisted(op)` speaks for `op` and all before it.
//! 3. Updates are published in the order of their revisions, each once; a watch that was started by
//!    [`Reply::Watching`] sees exactly the updates published after that reply, and its start covers all before.
//! 4. A record changes only under the current epoch with its secret, from the version that was read, and only as
//!    [`baton_core::record::Record::check_follows`] allows; a request is applied wholly or not at all.
//! 5. The epoch rises with each hand-over of the lock and is durable before its holder learns of it.
//! 6. `predecessor_bound` is the latest moment until which any earlier holder could believe in its lock or a grant of
//!    its could live. After a restart the machine knows no renewals, so it counts the longest ttl that it ever gave
//!    from the restart, and keeps the lock for its recorded holder as long.
//!
//! 7. A board whose state was moved away, is being copied, or has not arrived yet changes no record and gives nobody a new
//!    epoch.
//!
//! What the shell promises:
//! 8. `now` never goes back, is read after the input was received, and runs on while the host sleeps.
//! 9. The writes of one [`Persist`] are applied atomically, together with its revision, in the order of emission, and
//!    survive power loss before `Persisted` is given. A sync that failed ends the process: what a failed sync left on
//!    disk is unknown, and so is everything that would be said after it.
//! 10. `Closed` is given once for every session whose connection ended, and no session or request number is used
//!    twice while it is open.
//! 11. [`Board::next_deadline`] is honoured by an [`Input::Tick`] at or after it; after each step all actions are
//!     popped, and carried out in order.
//! 12. Secrets are drawn from a cryptographic source.
//! 13. Who may speak at all (the identity of the cluster) is checked before the machine is asked: [`Identity::check`].

mod appoint;
mod board;
mod history;
mod identity;
mod limits;
mod lock;
mod members;
mod message;
mod moving;
mod outcome;
pub mod rules;
mod settings;
mod state;
mod tasks;
mod watch;

pub use board::Board;
pub use identity::{ForeignCluster, Identity};
pub use limits::Limits;
pub use lock::{Candidate, LockSecret, LockToken, LockView};
pub use message::{
    Action, Input, Persist, Reply, Request, RequestId, Resume, SessionId, SessionMessage, Write,
};
pub use outcome::{AppointOutcome, Refusal, RefusalReason, SettingsOutcome, TaskOutcome, WriteOutcome};
pub use state::{Durable, DurableLock, Restored, Snapshot, Status};
pub use watch::{Item, Update, WatchStart};
