//! Switches that break one safety rule each, so that tests can show that the checks catch it. They exist for other
//! crates only with the feature `break`, which no daemon turns on.

/// The rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BreakRule {
    /// Records are changed under any epoch (I6).
    IgnoreEpoch,
    /// Records are changed whatever version was read.
    IgnoreVersion,
    /// A term may fall, and may name another master (I1).
    AllowTermReuse,
    /// Replies and updates leave before their change is durable (I4).
    ReplyBeforeDurable,
    /// A new holder of the lock is told that it has to wait for nobody (I2).
    ForgetPredecessorBound,
    /// A board that was left goes on as if it had not been (I2, I6).
    ServeThoughMoved,
}

#[cfg(feature = "break")]
impl BreakRule {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::IgnoreEpoch,
        Self::IgnoreVersion,
        Self::AllowTermReuse,
        Self::ReplyBeforeDurable,
        Self::ForgetPredecessorBound,
        Self::ServeThoughMoved,
    ];
}
