//! How much the board keeps and takes. Everything that a client can make grow has its limit here.

/// The limits of one board. Counts unless the name says bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Records, tombstones included.
    pub records: usize,
    /// Members of all sets together.
    pub members: usize,
    /// Members of one set, and of one in-sync set.
    pub members_per_set: usize,
    /// Changes in one request.
    pub changes_per_request: usize,
    /// Lines of history kept for each set.
    pub history_per_set: usize,
    /// The decision that belongs to one change.
    pub decision_bytes: usize,
    /// Any other free text: an endpoint, a reason, the identity of data.
    pub text_bytes: usize,
    /// Candidates in line for the lock.
    pub waiting: usize,
    /// Sets with settings of their own.
    pub overrides: usize,
    /// Tasks of operators, those that have ended included.
    pub tasks: usize,
    /// What is kept of one task.
    pub task_bytes: usize,
    /// Updates kept in memory, from which a watch can be resumed without a snapshot.
    pub updates_kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 20_000,
            members: 60_000,
            members_per_set: 64,
            changes_per_request: 512,
            history_per_set: 16,
            decision_bytes: 16 * 1024,
            text_bytes: 512,
            waiting: 1_024,
            overrides: 20_000,
            tasks: 1_000,
            task_bytes: 16 * 1024,
            updates_kept: 1_024,
        }
    }
}
