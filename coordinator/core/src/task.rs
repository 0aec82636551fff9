//! What an operator asked for, as the provider keeps it: a numbered text. It must not know what the text says: one that
//! a later version wrote is carried along like any other.

use crate::ids::{TaskId, Version};

/// The first number that no task has: JSON keeps whole numbers below 2^53 only.
pub const TASK_ID_END: u64 = 1 << 53;

/// A task's document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredTask {
    /// Its number: 1 to [`TASK_ID_END`], that one excluded.
    pub id: TaskId,
    /// What it is and how it stands: JSON.
    pub body: String,
    /// Raised by one with each change; set by the provider.
    pub version: Version,
}
